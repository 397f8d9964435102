"""Threads for commits: a machine that has none left for a while must not leave commits waiting for ever."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from daemon.writer_threads import THREADS_MAX, WriterThreads


@contextmanager
def no_more_threads() -> Iterator[None]:
    """No address space is large enough for such a stack."""
    before = threading.stack_size(1 << 47)
    try:
        yield
    finally:
        threading.stack_size(before)


def test_a_start_that_failed_is_not_counted() -> None:
    async def scenario() -> None:
        threads = WriterThreads()
        for _ in range(THREADS_MAX + 1):
            with no_more_threads(), pytest.raises(RuntimeError):
                await threads.run(lambda: None)
        with trio.fail_after(30):
            assert await threads.run(lambda: 7) == 7

    trio.run(scenario)


def test_without_another_thread_those_there_do_all_the_work() -> None:
    async def scenario() -> None:
        threads = WriterThreads()
        done: list[int] = []

        async def commit(number: int) -> None:
            await threads.run(lambda: done.append(number))

        await commit(0)
        with no_more_threads(), trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for number in range(1, 5):
                    nursery.start_soon(commit, number)
        assert sorted(done) == [0, 1, 2, 3, 4]

    trio.run(scenario)
