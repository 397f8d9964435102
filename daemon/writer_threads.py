"""Standing threads for commits, of two kinds.

Once there is machine code for it, commits that are one write and one sync go to threads that never take the interpreter lock
(`segments.append_threads`). All others, and before that all, go to threads of Python's. There, commits of several sources that
are begun together share a hand-over and a wake-up back: a job is a few of them; first all write, then all sync, then all come
back at once.
"""

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from queue import SimpleQueue
from typing import Protocol

import trio

from segments.append_threads import AppendThreads
from segments.compiled.load import MachineCode
from segments.wal_append import Append, Appended

THREADS_MAX = 32
JOB_COMMITS_MAX = 8
"""So many sources wait for each other's syncs at most. Others sync beside them, which lets the file system merge syncs."""


class Commit(Protocol):
    """What is done in a thread, `write` and `finish`, or, where machine code makes the append, in its place by Trio, `end`;
    and then by Trio, `land` and `tell`, which must not raise."""

    durably: bool
    failure: BaseException | None
    """What `write`, `finish` or `end` has raised."""

    @property
    def is_quick(self) -> bool:
        """Whether others may wait for it."""

    def as_append(self) -> Append | None:
        """All that `write` and `finish` would ask of the disk; None when it is more than that. Begins nothing."""

    def end(self, appended: Appended) -> None:
        """Instead of `write` and `finish`: what the disk has said to that. In a thread if that was an error."""

    def write(self) -> None: ...

    def finish(self) -> None: ...

    def land(self) -> None:
        """The thread is through with it; what is started here follows at once."""

    def tell(self) -> None:
        """What follows is on its way: time for what can be done meanwhile."""


_Work = Callable[[Sequence[Commit]], None]
_Job = tuple[_Work, Sequence[Commit], trio.lowlevel.TrioToken]


def _write(commits: Sequence[Commit]) -> None:
    for commit in commits:
        try:
            commit.write()
        except BaseException as error:  # noqa: BLE001 -- raised where the commit came from
            commit.failure = error
    for commit in commits:
        if commit.failure is None:
            try:
                commit.finish()
            except BaseException as error:  # noqa: BLE001 -- raised where the commit came from
                commit.failure = error


def _end(commits: Sequence[Commit], appended: Appended) -> None:
    for commit in commits:
        try:
            commit.end(appended)
        except BaseException as error:  # noqa: BLE001 -- raised where the commit came from
            commit.failure = error


def _end_the_daemon(error: Exception) -> None:
    """For a mistake where commits land; the actors of all others wait for those to land, and can't end before."""
    trio.lowlevel.current_trio_token().run_sync_soon(_raise, error)


def _raise(error: Exception) -> None:
    raise error


class _Together:
    """Commits that are started meanwhile are handed over at the end, those of several sources as one job."""

    def __init__(self, threads: "WriterThreads") -> None:
        self._threads = threads

    def __enter__(self) -> None:
        self._threads.gathers = True

    def __exit__(self, *_: object) -> None:
        self._threads.gathers = False
        self._threads.hand_over()


class WriterThreads:
    """A thread of Python's for each job under way, THREADS_MAX at most; one that has nothing to do waits for the next job, and
    they end with the process. Those of machine code end with `run`."""

    def __init__(self) -> None:
        self._appends: AppendThreads | None = None
        self._appending: dict[int, Commit] = {}
        self._has_appends = trio.Event()
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._under_way = 0
        self._started = 0
        self._gathered: list[Commit] = []
        self.gathers = False
        self.together = _Together(self)

    def use(self, code: MachineCode) -> None:
        """From now on, have machine code do what it can. Raises RuntimeError or OSError, and goes on without it."""
        self._appends = AppendThreads(code)
        self._has_appends.set()

    async def run(self) -> None:
        """Land what machine code has done, until cancelled; nothing may be under way then."""
        await self._has_appends.wait()
        appends = self._appends
        assert appends is not None
        try:
            while True:
                await trio.lowlevel.wait_readable(appends.ended)
                self._land(appends)
        finally:
            self._appends = None
            appends.close()
            # After a mistake here: their actors wait for them, whatever cancels those, and nobody else will land them.
            left = list(self._appending.values())
            self._appending.clear()
            for commit in left:
                commit.failure = RuntimeError("the threads that append have ended")
            self._go_on(left)

    def start(self, commit: Commit) -> None:
        """Have the commit done in a thread, and told of by Trio in its next round. There is no way to cut it short.

        When there is no thread, and none can be started, it lands with RuntimeError before anything is done.
        """
        self._gathered.append(commit)
        if not self.gathers:
            self.hand_over()

    def hand_over(self) -> None:
        """Let the threads have what has been started."""
        gathered, self._gathered = self._gathered, []
        if self._appends is not None:
            appends = self._appends
            gathered = [commit for commit in gathered if not self._is_put(appends, commit)]
            appends.start()
        quick = []
        for commit in gathered:
            if commit.is_quick:
                quick.append(commit)
            else:
                self._put([commit])
        # Jobs of the same size are through at the same time.
        jobs = -(-len(quick) // JOB_COMMITS_MAX)
        for job in range(jobs):
            self._put(quick[job::jobs])

    def _is_put(self, appends: AppendThreads, commit: Commit) -> bool:
        """Whether machine code does it."""
        try:
            append = commit.as_append() if appends.has_room else None
        except Exception:  # noqa: BLE001 -- met again by the thread that does the commit instead, which says so
            append = None
        if append is None:
            return False
        self._appending[appends.put(append, durably=commit.durably)] = commit
        return True

    def _land(self, appends: AppendThreads) -> None:
        landed = []
        for number, appended in appends.take():
            commit = self._appending.pop(number)
            if appended.error is None:
                _end([commit], appended)
                landed.append(commit)
            else:
                # What is left of the file has to be saved, or given up.
                self._put([commit], partial(_end, appended=appended))
        self._go_on(landed)

    def _put(self, commits: Sequence[Commit], work: _Work = _write) -> None:
        if self._under_way == self._started and self._started < THREADS_MAX:
            try:
                self._start_one()
            except RuntimeError as error:
                for commit in commits:
                    commit.failure = error
                    commit.land()
                return
        self._under_way += 1
        self._jobs.put((work, commits, trio.lowlevel.current_trio_token()))

    def _end_job(self, commits: Sequence[Commit]) -> None:
        self._under_way -= 1
        self._go_on(commits)

    def _go_on(self, commits: Sequence[Commit]) -> None:
        with self.together:
            for commit in commits:
                try:
                    commit.land()
                except Exception as error:  # noqa: BLE001 -- see `_end_the_daemon`
                    _end_the_daemon(error)
        for commit in commits:
            try:
                commit.tell()
            except Exception as error:  # noqa: BLE001 -- see `_end_the_daemon`
                _end_the_daemon(error)

    def _start_one(self) -> None:
        thread = threading.Thread(target=self._serve, name=f"writer {self._started + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # Those that are there do its work too; counted only once it runs, or commits would wait for nobody.
            if not self._started:
                raise
        else:
            self._started += 1

    def _serve(self) -> None:
        while True:
            work, commits, token = self._jobs.get()
            work(commits)
            token.run_sync_soon(self._end_job, commits)
            del work, commits


@asynccontextmanager
async def writer_threads() -> AsyncIterator[WriterThreads]:
    """Threads for the actors that run in the block: whatever cancels them, what they have begun is landed to the end."""
    threads = WriterThreads()
    async with trio.open_nursery() as nursery:
        landing = trio.CancelScope(shield=True)
        nursery.start_soon(_run_in, landing, threads)
        try:
            yield threads
        finally:
            landing.cancel()


async def _run_in(scope: trio.CancelScope, threads: WriterThreads) -> None:
    with scope:
        await threads.run()
