"""Standing threads for commits: a commit costs one hand-over and one wake-up back, half of what a borrowed thread costs.

Commits of several sources that are begun together share both. A job is a few of them: first all write, then all sync,
then all come back at once.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Protocol

import trio

THREADS_MAX = 32
JOB_COMMITS_MAX = 8
"""So many sources wait for each other's syncs at most. Others sync beside them, which lets the file system merge syncs."""


class Commit(Protocol):
    """What is done in a thread, `write` and `finish`; and then by Trio, `land` and `tell`, which must not raise."""

    failure: BaseException | None
    """What `write` or `finish` has raised."""

    @property
    def is_quick(self) -> bool:
        """Whether others may wait for it."""

    def write(self) -> None: ...

    def finish(self) -> None: ...

    def land(self) -> None:
        """The thread is through with it; what is started here follows at once."""

    def tell(self) -> None:
        """What follows is on its way: time for what can be done meanwhile."""


_Job = tuple[Sequence[Commit], trio.lowlevel.TrioToken]


class WriterThreads:
    """A thread for each job under way, THREADS_MAX at most; one that has nothing to do waits for the next job, and they
    end with the process."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._under_way = 0
        self._started = 0
        self._gathered: list[Commit] = []
        self._gathering = False

    def start(self, commit: Commit) -> None:
        """Have the commit done in a thread, and told of by Trio in its next round. There is no way to cut it short.

        When there is no thread, and none can be started, it lands with RuntimeError before anything is done.
        """
        self._gathered.append(commit)
        if not self._gathering:
            self._hand_over()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Commits that are started meanwhile are handed over at the end, those of several sources as one job."""
        self._gathering = True
        try:
            yield
        finally:
            self._gathering = False
            self._hand_over()

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        if len(gathered) <= 1:
            for commit in gathered:
                self._put([commit])
            return
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

    def _put(self, commits: Sequence[Commit]) -> None:
        if self._under_way == self._started and self._started < THREADS_MAX:
            try:
                self._start_one()
            except RuntimeError as error:
                for commit in commits:
                    commit.failure = error
                    commit.land()
                return
        self._under_way += 1
        self._jobs.put((commits, trio.lowlevel.current_trio_token()))

    def _end(self, commits: Sequence[Commit]) -> None:
        self._under_way -= 1
        with self.together():
            for commit in commits:
                commit.land()
        for commit in commits:
            commit.tell()

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
            commits, token = self._jobs.get()
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
            token.run_sync_soon(self._end, commits)
            del commits
