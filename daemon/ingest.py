"""The ingest actor: one for each open source, with one group in flight.

While a group is written and synced, new requests collect in the inbox; when the sync returns, all that collected is the
next group. There is no timer and no batch size: the disk sets the pace, and one fdatasync answers every request.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar, cast

import structlog
import trio

from daemon.config import GROUP_BYTES_MAX, INBOX_BYTES_MAX, TICKET_BYTES
from daemon.writer_threads import WriterThreads
from segments.errors import StorageError, WriteFailed
from segments.filenames import Lsn
from segments.group import Committed, Write
from segments.source_log import SourceLog

MARK_AFTER_S = 1.0
_log = structlog.get_logger("ingest")


class InboxFull(Exception):
    """The source has as many bytes waiting as it may; try again soon."""


class ActorClosing(Exception):
    """The actor takes no more requests; nothing of this one was stored."""


class ActorFailed(Exception):
    """The actor failed with the request in its hands; its rows may or may not be stored."""


T = TypeVar("T")
Outcome = Committed | StorageError | ActorFailed


@dataclass(slots=True)
class Ticket:
    """One request on its way to disk, resolved exactly once: its outcome is set and its group's event fires."""

    write: Write
    durably: bool
    outcome: Outcome | None = None


class _Group:
    """The requests that share one commit, and the event that tells all of them."""

    __slots__ = ("done", "size_bytes", "tickets")

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []
        self.size_bytes = 0
        self.done = trio.Event()

    def resolve_rest(self, outcome: Outcome) -> None:
        for ticket in self.tickets:
            if ticket.outcome is None:
                ticket.outcome = outcome
        self.done.set()

    def resolved(self) -> None:
        """Tell the senders; each has an outcome by now."""
        assert all(ticket.outcome is not None for ticket in self.tickets)
        self.done.set()


class _Errand:
    """Work for the log between two groups, and what became of it once `done` is set."""

    __slots__ = ("done", "error", "result", "work")

    def __init__(self, work: Callable[[SourceLog], object]) -> None:
        self.work = work
        self.done = trio.Event()
        self.result: object = None
        self.error: Exception | None = None


class Ingest:
    """The actor of one source. `submit` from any task; `run` in exactly one."""

    def __init__(self, log: SourceLog, threads: WriterThreads, *, sync_interval_s: float, idle_after_s: float) -> None:
        self.log = log
        self._threads = threads
        self._sync_interval_s = sync_interval_s
        self._idle_after_s = idle_after_s
        self._waiting: deque[_Group] = deque()
        self._flying: _Group | None = None
        self._queued_bytes = 0
        self._wake = trio.Event()
        self._errands: deque[_Errand] = deque()
        self._closing = False
        self.finished = trio.Event()
        self._unsynced_since: float | None = None
        self._unsealed_since: float | None = None
        self._mark_at: float | None = None

    @property
    def is_full(self) -> bool:
        return self._queued_bytes >= INBOX_BYTES_MAX

    @property
    def _is_in_segments(self) -> bool:
        return self.log.sealed_lsn == self.log.published == self.log.appended_lsn

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits for it, neither a request nor the compactor."""
        return not (self._waiting or self._flying or self._errands) and self._is_in_segments

    async def submit(self, write: Write, *, size_bytes: int, durably: bool) -> Outcome:
        """Put one request into the next group and wait for its outcome. `size_bytes` is what it takes in memory.

        `Committed` means durable if `durably`, else handed to the kernel. Being cancelled here changes nothing for the
        rows. Raises InboxFull or ActorClosing before anything is queued.
        """
        if self._closing:
            raise ActorClosing
        if self.is_full:
            raise InboxFull
        size_bytes += TICKET_BYTES
        if not self._waiting or self._waiting[-1].size_bytes + size_bytes > GROUP_BYTES_MAX:
            self._waiting.append(_Group())
        group = self._waiting[-1]
        ticket = Ticket(write, durably)
        group.tickets.append(ticket)
        group.size_bytes += size_bytes
        self._queued_bytes += size_bytes
        self._wake.set()
        await group.done.wait()
        assert ticket.outcome is not None
        return ticket.outcome

    async def perform(self, work: Callable[[SourceLog], T]) -> T:
        """Have `work` done on the log between two groups, in a thread, and give back what it returns.

        Raises ActorClosing before anything is done, ActorFailed, and the StorageError or OSError that `work` raises.
        Being cancelled here does not stop the work.
        """
        if self._closing:
            raise ActorClosing
        errand = _Errand(work)
        self._errands.append(errand)
        self._wake.set()
        await errand.done.wait()
        if errand.error is not None:
            raise errand.error
        return cast(T, errand.result)

    async def seal(self) -> None:
        """Have the active file sealed after the group in flight. Raises as `perform` does."""
        await self.perform(SourceLog.seal)

    def close(self) -> None:
        """Take no more requests; `run` commits what it has, syncs, and returns."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        """Commit groups until closed, or idle for long with nothing left to do. Fails its requests if it fails."""
        try:
            while self._waiting or self._errands or not self._closing:
                if await self._something_to_do():
                    await self._commit_next()
                else:
                    self._closing = True
            if self.log.has_active_file:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self.log.seal)
        except WriteFailed as error:
            _log.error("the last rows could not be synced", source=self.log.source.name, reason=str(error))
        finally:
            self._closing = True
            self.log.abandon()
            for group in (self._flying, *self._waiting):
                if group is not None:
                    group.resolve_rest(ActorFailed())
            for errand in self._errands:
                errand.error = errand.error or ActorFailed()
                errand.done.set()
            self.finished.set()

    async def _something_to_do(self) -> bool:
        """Wait for requests, work to perform, or the next chore; False when the source has been idle for long."""
        if self._waiting or self._errands or self._closing:
            return True
        self._wake = trio.Event()
        chores = [self._mark_at] if self._mark_at is not None else []
        if self._unsynced_since is not None:
            chores.append(self._unsynced_since + self._sync_interval_s)
        with trio.CancelScope(deadline=min(chores, default=trio.current_time() + self._idle_after_s)):
            await self._wake.wait()
        return bool(chores) or self._wake.is_set() or not self._is_in_segments

    async def _commit_next(self) -> None:
        group = self._flying = self._waiting.popleft() if self._waiting else _Group()
        errand = self._errands[0] if self._errands else None
        now = trio.current_time()
        sync_due = self._unsynced_since is not None and now >= self._unsynced_since + self._sync_interval_s
        durably = sync_due or any(ticket.durably for ticket in group.tickets)
        mark_due = not group.tickets and self._mark_at is not None and now >= self._mark_at
        mark = mark_due and (durably or self.log.is_synced)
        work = partial(self._work, group, durably=durably, mark=mark, errand=errand)
        # The one place where a commit can't be cancelled: cut here, rows would be on disk that nobody was told about.
        await self._threads.run(work)
        self._flying = None
        self._queued_bytes -= group.size_bytes
        if group.tickets or errand is not None or (mark_due and not mark):
            self._mark_at = now + MARK_AFTER_S
        if mark or not self.log.has_active_file:
            self._mark_at = None
        self._unsynced_since = None if self.log.is_synced else (self._unsynced_since or now)
        self._unsealed_since = (self._unsealed_since or now) if self.log.has_active_file else None
        group.resolved()
        if errand is not None:
            self._errands.popleft()
            errand.done.set()

    def _work(self, group: _Group, *, durably: bool, mark: bool, errand: "_Errand | None") -> None:
        """In a worker thread: write and sync as one step."""
        try:
            if group.tickets:
                now = datetime.now(UTC)
                done = self.log.commit([ticket.write for ticket in group.tickets], now, durably=durably)
                for ticket, outcome in zip(group.tickets, done, strict=True):
                    ticket.outcome = outcome
            elif durably:
                self.log.sync()
            if mark:
                self.log.mark()
        except StorageError as error:
            _log.error("rows could not be stored", source=self.log.source.name, reason=str(error))
            for ticket in group.tickets:
                if ticket.outcome is None:
                    ticket.outcome = error
        if errand is not None:
            try:
                errand.result = errand.work(self.log)
            except (StorageError, OSError) as error:
                errand.error = error

    def note_published(self, lsn: Lsn) -> None:
        """The compactor tells: everything up to `lsn` is in segments."""
        self.log.published = Lsn(max(self.log.published, lsn))

    def is_due(self, interval_s: float) -> bool:
        """Whether rows wait for the compactor: sealed ones, or ones older than `interval_s`."""
        since = self._unsealed_since
        is_old = since is not None and trio.current_time() >= since + interval_s
        return is_old or self.log.sealed_lsn > self.log.published
