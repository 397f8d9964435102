"""Standing threads for commits: a commit costs one hand-over and one wake-up back, half of what a borrowed thread costs."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

import outcome
import trio

THREADS_MAX = 32
T = TypeVar("T")
_Job = tuple[Callable[[], Any], Callable[[Any], None], trio.lowlevel.TrioToken]


class WriterThreads:
    """A thread for each commit under way, THREADS_MAX at most; one that has nothing to do waits for the next commit, and
    they end with the process."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._under_way = 0
        self._started = 0

    def start(self, work: Callable[[], T], done: Callable[[outcome.Outcome[T]], None]) -> None:
        """Have `work` done in a thread, and `done` called with what came of it by Trio, in its next round. There is no way
        to cut it short. `done` must not raise.

        Raises RuntimeError, before anything is done, when there is no thread and none can be started.
        """
        if self._under_way == self._started and self._started < THREADS_MAX:
            self._start_one()
        self._under_way += 1
        self._jobs.put((work, done, trio.lowlevel.current_trio_token()))

    def _end(self, done: Callable[[outcome.Outcome[T]], None], came_of_it: outcome.Outcome[T]) -> None:
        self._under_way -= 1
        done(came_of_it)

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
            work, done, token = self._jobs.get()
            token.run_sync_soon(self._end, done, outcome.capture(work))
