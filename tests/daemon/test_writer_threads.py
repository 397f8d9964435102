"""Threads for commits: a machine that has none left for a while must not leave commits waiting for ever."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import outcome
import pytest
import trio

from daemon.writer_threads import THREADS_MAX, WriterThreads

T = TypeVar("T")


@contextmanager
def no_more_threads() -> Iterator[None]:
    """No address space is large enough for such a stack."""
    before = threading.stack_size(1 << 47)
    try:
        yield
    finally:
        threading.stack_size(before)


async def run(threads: WriterThreads, work: Callable[[], T]) -> T:
    came_of_it: list[outcome.Outcome[T]] = []
    done = trio.Event()

    def end(result: outcome.Outcome[T]) -> None:
        came_of_it.append(result)
        done.set()

    threads.start(work, end)
    await done.wait()
    return came_of_it[0].unwrap()


def test_a_start_that_failed_is_not_counted() -> None:
    async def scenario() -> None:
        threads = WriterThreads()
        for _ in range(THREADS_MAX + 1):
            with no_more_threads(), pytest.raises(RuntimeError):
                await run(threads, lambda: None)
        with trio.fail_after(30):
            assert await run(threads, lambda: 7) == 7

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
