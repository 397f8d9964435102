"""Standing threads for commits: a commit costs one hand-over and one wake-up back, half of what a borrowed thread costs."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

import outcome
import trio

THREADS_MAX = 32
T = TypeVar("T")
_Job = tuple[Callable[[], object], trio.lowlevel.Task, trio.lowlevel.TrioToken]


class WriterThreads:
    """A thread for each commit under way, THREADS_MAX at most; one that has nothing to do waits for the next commit, and
    they end with the process."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._under_way = 0
        self._started = 0

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises. Being cancelled changes nothing: a commit under way is not to be cut."""
        self._under_way += 1
        if self._under_way > self._started and self._started < THREADS_MAX:
            self._started += 1
            threading.Thread(target=self._serve, name=f"writer {self._started}", daemon=True).start()
        self._jobs.put((work, trio.lowlevel.current_task(), trio.lowlevel.current_trio_token()))
        try:
            done: T = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        finally:
            self._under_way -= 1
        return done

    def _serve(self) -> None:
        while True:
            work, task, token = self._jobs.get()
            token.run_sync_soon(trio.lowlevel.reschedule, task, outcome.capture(work))
