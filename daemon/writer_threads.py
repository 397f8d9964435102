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
        """What `work` returns or raises. Being cancelled changes nothing: a commit under way is not to be cut.

        Raises RuntimeError, before anything is done, when there is no thread and none can be started.
        """
        self._under_way += 1
        try:
            if self._under_way > self._started and self._started < THREADS_MAX:
                self._start_one()
            self._jobs.put((work, trio.lowlevel.current_task(), trio.lowlevel.current_trio_token()))
            done: T = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        finally:
            self._under_way -= 1
        return done

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
            work, task, token = self._jobs.get()
            token.run_sync_soon(trio.lowlevel.reschedule, task, outcome.capture(work))
