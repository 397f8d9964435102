"""Threads for commits: a machine that has none left for a while must not leave commits waiting for ever."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import trio

from daemon.writer_threads import THREADS_MAX, WriterThreads
from segments.wal_append import Append, Appended


@contextmanager
def no_more_threads() -> Iterator[None]:
    """No address space is large enough for such a stack."""
    before = threading.stack_size(1 << 47)
    try:
        yield
    finally:
        threading.stack_size(before)


class Landing:
    """A commit that does `work`, and what came of it."""

    is_quick = True
    durably = True

    def __init__(self, work: Callable[[], object]) -> None:
        self.failure: BaseException | None = None
        self.told = trio.Event()
        self._work = work

    def as_append(self) -> Append | None:
        return None

    def end(self, appended: Appended) -> None:
        raise AssertionError(appended)

    def write(self) -> None:
        pass

    def finish(self) -> None:
        self._work()

    def land(self) -> None:
        if self.failure is not None:
            self.told.set()

    def tell(self) -> None:
        self.told.set()


class Noting(Landing):
    """One that notes its halves, and starts another in its place when it lands."""

    def __init__(self, notes: list[str], threads: WriterThreads, again: int) -> None:
        super().__init__(lambda: notes.append("finish"))
        self._notes = notes
        self._threads = threads
        self._again = again

    def write(self) -> None:
        self._notes.append("write")

    def land(self) -> None:
        self._notes.append("land")
        if self._again:
            self._threads.start(Noting(self._notes, self._threads, self._again - 1))

    def tell(self) -> None:
        super().tell()
        self._notes.append("tell")


async def run(threads: WriterThreads, work: Callable[[], object]) -> None:
    commit = Landing(work)
    threads.start(commit)
    await commit.told.wait()
    if commit.failure is not None:
        raise commit.failure


def test_a_start_that_failed_is_not_counted() -> None:
    async def scenario() -> None:
        threads = WriterThreads()
        for _ in range(THREADS_MAX + 1):
            with no_more_threads(), pytest.raises(RuntimeError):
                await run(threads, lambda: None)
        done: list[int] = []
        with trio.fail_after(30):
            await run(threads, lambda: done.append(7))
        assert done == [7]

    trio.run(scenario)


def test_without_another_thread_those_there_do_all_the_work() -> None:
    async def scenario() -> None:
        threads = WriterThreads()
        done: list[int] = []

        async def commit(number: int) -> None:
            await run(threads, lambda: done.append(number))

        await commit(0)
        with no_more_threads(), trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for number in range(1, 5):
                    nursery.start_soon(commit, number)
        assert sorted(done) == [0, 1, 2, 3, 4]

    trio.run(scenario)


def test_a_job_goes_through_its_steps_together_and_what_follows_is_a_job_again() -> None:
    """Told of it is whom it concerns when all have landed, so that the next syncs are on their way by then."""

    async def scenario() -> None:
        notes: list[str] = []
        threads = WriterThreads()
        with threads.together:
            for _ in range(2):
                threads.start(Noting(notes, threads, 1))
        with trio.fail_after(30):
            while notes.count("tell") < 4:
                await trio.lowlevel.checkpoint()
        steps = ["write", "finish", "land", "tell"]
        order = {step: [place for place, note in enumerate(notes) if note == step] for step in steps}
        for step, following in (("write", "finish"), ("finish", "land"), ("land", "tell")):
            # Of the first job and of the second.
            assert order[step][1] < order[following][0]
            assert order[step][3] < order[following][2]

    trio.run(scenario)


def test_commits_that_can_have_no_thread_all_land_with_what_is_wrong() -> None:
    async def scenario() -> None:
        threads = WriterThreads()
        commits = [Landing(lambda: None) for _ in range(3)]
        with no_more_threads(), threads.together:
            for commit in commits:
                threads.start(commit)
        assert [type(commit.failure) for commit in commits] == [RuntimeError] * 3

    trio.run(scenario)
