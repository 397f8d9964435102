"""The ingest actor: one for each open source, with one group in flight.

While a group is written and synced, new requests collect in the inbox; when the sync returns, all that collected is the
next group. There is no timer and no batch to fill: the disk sets the pace, and one fdatasync answers every request.
"""

from collections import deque
from collections.abc import Callable
from typing import TypeVar, cast

import structlog
import trio

from daemon.commit import Commit
from daemon.config import GROUP_BYTES_MAX, INBOX_BYTES_MAX, TICKET_BYTES
from daemon.inbox import ActorClosing, ActorFailed, Errand, Group, InboxFull, Outcome, Ticket
from daemon.writer_threads import WriterThreads
from segments.errors import WriteFailed
from segments.filenames import Lsn
from segments.group import BodiesCommitted, Outcomes, Unread, Write
from segments.source_log import SourceLog

MARK_AFTER_S = 1.0
PREPARED_HERE_BYTES_MAX = 192 * 1024
"""Groups up to here are made into a frame in the actor's task: two threads that want the interpreter at once cost each
other more than that. Larger ones would keep everybody waiting."""
_log = structlog.get_logger("ingest")
T = TypeVar("T")


class Ingest:
    """The actor of one source. `submit` from any task; `run` in exactly one."""

    def __init__(self, log: SourceLog, threads: WriterThreads, *, sync_interval_s: float, idle_after_s: float) -> None:
        self.log = log
        self._threads = threads
        self._sync_interval_s = sync_interval_s
        self._idle_after_s = idle_after_s
        self._waiting: deque[Group] = deque()
        # Kept until it has landed well: what is left of it when the actor fails, its end answers.
        self._flying: Group | None = None
        self._is_under_way = False
        self._failure: BaseException | None = None
        self._queued_bytes = 0
        self._wake = trio.Event()
        self._wakes_at = 0.0
        self._errands: deque[Errand] = deque()
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
        return not (self._waiting or self._is_under_way or self._errands) and self._is_in_segments

    async def submit(self, write: Write, *, size_bytes: int, durably: bool) -> Outcome:
        """Put one request into the next group and wait for its outcome. `size_bytes` is what it takes in memory.

        `Committed` means durable if `durably`, else handed to the kernel. Being cancelled here changes nothing for the
        rows. Raises InboxFull or ActorClosing before anything is queued.
        """
        done = trio.Event()
        ticket = self.enqueue(write, size_bytes=size_bytes, durably=durably, tell=lambda _: done.set())
        # At the actor's turn, so that others who have their turn before it share the commit.
        self._wake.set()
        await done.wait()
        assert ticket.outcome is not None
        assert not isinstance(ticket.outcome, BodiesCommitted | tuple)
        return ticket.outcome

    def enqueue(
        self, write: Write | Unread, *, size_bytes: int, durably: bool, tell: Callable[[Outcome | Outcomes], None]
    ) -> Ticket:
        """The same, for who does not wait: `tell` is called when the ticket has its outcome. To be followed by `begin`."""
        if self._closing:
            raise ActorClosing
        if self.is_full:
            raise InboxFull
        size_bytes += TICKET_BYTES
        if not self._waiting or self._waiting[-1].size_bytes + size_bytes > GROUP_BYTES_MAX:
            self._waiting.append(Group())
        group = self._waiting[-1]
        ticket = Ticket(write, tell)
        group.tickets.append(ticket)
        group.durably = group.durably or durably
        group.size_bytes += size_bytes
        self._queued_bytes += size_bytes
        return ticket

    def begin(self) -> None:
        """Begin the next commit now, unless one is under way, which it will follow."""
        try:
            self._begin_commit()
        except Exception as error:  # noqa: BLE001 -- raised where the actor runs
            self._failure = error
            self._wake.set()

    async def perform(self, work: Callable[[SourceLog], T]) -> T:
        """Have `work` done on the log between two groups, in a thread, and give back what it returns.

        Raises ActorClosing before anything is done, ActorFailed, and the StorageError or OSError that `work` raises.
        Being cancelled here does not stop the work.
        """
        if self._closing:
            raise ActorClosing
        errand = Errand(work)
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
            while self._is_under_way or self._waiting or self._errands or not self._closing:
                self._begin_commit()
                if not await self._wait():
                    self._closing = True
                if self._failure is not None:
                    raise self._failure
            if self.log.has_active_file:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self.log.seal)
        except WriteFailed as error:
            _log.error("the last rows could not be synced", source=self.log.source.name, reason=str(error))
        finally:
            self._closing = True
            # The one place where a commit can't be cancelled: left here, rows would be on disk that nobody was told about.
            with trio.CancelScope(shield=True):
                while self._is_under_way:
                    self._wake = trio.Event()
                    await self._wake.wait()
            self.log.abandon()
            for group in (self._flying, *self._waiting):
                if group is not None:
                    group.resolve(ActorFailed())
            for errand in self._errands:
                errand.error = errand.error or ActorFailed()
                errand.done.set()
            self.finished.set()

    async def _wait(self) -> bool:
        """Wait for a reason to look again; False when the source has been idle for long."""
        if self._failure or (self._closing and not self._is_under_way):
            return True
        self._wake = trio.Event()
        now, chore = trio.current_time(), self._next_chore()
        if self._is_under_way and chore is not None and chore <= now:
            # What is under way wakes it for that, when it has landed; meanwhile there is nothing to turn for.
            chore = None
        self._wakes_at = now + self._idle_after_s if chore is None else chore
        with trio.CancelScope(deadline=self._wakes_at):
            await self._wake.wait()
        return self._is_under_way or chore is not None or self._wake.is_set() or not self._is_in_segments

    def _next_chore(self) -> float | None:
        chores = [] if self._mark_at is None else [self._mark_at]
        if self._unsynced_since is not None:
            chores.append(self._unsynced_since + self._sync_interval_s)
        return min(chores, default=None)

    def _begin_commit(self) -> None:
        """Hand the next group, errand or chore to a thread, if there is one and no other is under way."""
        if self._is_under_way or self._failure:
            return
        now = trio.current_time()
        if not (self._waiting or self._errands):
            chore = self._next_chore()
            if chore is None or now < chore:
                return
        group = self._flying = self._waiting.popleft() if self._waiting else Group()
        errand = self._errands[0] if self._errands else None
        commit = Commit(self.log, group, errand, self._landed, began=now)
        sync_due = self._unsynced_since is not None and now >= self._unsynced_since + self._sync_interval_s
        commit.durably = sync_due or group.durably
        mark_due = not group.tickets and self._mark_at is not None and now >= self._mark_at
        commit.mark = mark_due and (commit.durably or self.log.is_synced)
        if group.tickets and group.size_bytes <= PREPARED_HERE_BYTES_MAX:
            commit.prepare()
        if commit.mark:
            self._mark_at = None
        elif group.tickets or errand is not None or mark_due:
            self._mark_at = now + MARK_AFTER_S
        self._is_under_way = True
        try:
            self._threads.start(commit)
        except BaseException:
            self._is_under_way = False
            raise

    def _landed(self, commit: Commit) -> None:
        """The thread is through: begin the next commit. The senders of this one are told while that is being written."""
        self._is_under_way = False
        if commit.failure is None:
            self._flying = None
            self._queued_bytes -= commit.group.size_bytes
            if self.log.has_active_file:
                self._unsealed_since = self._unsealed_since or commit.began
            else:
                self._mark_at = self._unsealed_since = None
            self._unsynced_since = None if self.log.is_synced else (self._unsynced_since or commit.began)
            if commit.errand is not None:
                self._errands.popleft()
                commit.errand.done.set()
            if self._waiting or self._errands:
                self.begin()
        else:
            self._failure = commit.failure
        chore = self._next_chore()
        if self._failure or self._closing or (chore is not None and chore < self._wakes_at):
            self._wake.set()

    def note_published(self, lsn: Lsn) -> None:
        """The compactor tells: everything up to `lsn` is in segments."""
        self.log.published = Lsn(max(self.log.published, lsn))

    def is_due(self, now: float, interval_s: float) -> bool:
        """Whether rows wait for the compactor: sealed ones, or ones older than `interval_s` at Trio's time `now`."""
        since = self._unsealed_since
        return (since is not None and now >= since + interval_s) or self.log.sealed_lsn > self.log.published
