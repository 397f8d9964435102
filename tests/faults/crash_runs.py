"""Many stories with many faults on all cores."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from tests.faults.crash_check import Tally, born, check_story
from tests.faults.judge import Violation
from tests.faults.memory_disk import KILL, NO_FAULT, ON, Fault, MemoryDisk
from tests.faults.read_once import reading_once
from tests.faults.stories import STORIES, made_up
from tests.faults.story import Story

FAULTS = {
    "none": NO_FAULT,
    "once": Fault(1, 1, errno.EIO),
    "thrice": Fault(1, 3, errno.EIO),
    "on": Fault(1, ON, errno.ENOSPC),
    "kill": Fault(1, 1, KILL),
}
"""Each is moved over every operation of a story."""


@dataclass(frozen=True)
class Job:
    """A story, by its name or the number of one that is made up, with a fault at one in `every` of its operations in turn."""

    story: str
    fault: str
    one_in: int
    seed: int = 0
    every: int = 1

    @property
    def tell(self) -> Callable[[Story], None]:
        return STORIES[self.story] if self.story in STORIES else made_up(int(self.story))

    def faults(self) -> Iterator[Fault]:
        fault = FAULTS[self.fault]
        if fault == NO_FAULT:
            yield fault
            return
        disk = MemoryDisk(born())
        self.tell(Story(disk))
        for at in range(1 + self.seed % self.every, disk.steps + 1, self.every):
            yield Fault(at, fault.times, fault.code)

    def run(self) -> Tally:
        """Raises Violation, which says how to see it again."""
        tally = Tally()
        try:
            with reading_once():
                for fault in self.faults():
                    tally += check_story(self.tell, fault=fault, seed=self.seed, one_in=self.one_in)
        except Violation as violation:
            again = f"scripts/torture crash --story {self.story} --fault {self.fault} --seed {self.seed} --one-in {self.one_in}"
            raise Violation(f"{violation}\nagain: {again}") from violation
        return tally


def plan(*, made_up_stories: int, one_in: int, seed: int = 0, every: int = 1) -> list[Job]:
    """Every story with every fault, and so many that are made up; without a fault the stories are crashed in every way.

    Of the longest story one in `every` is taken, of states without a fault and of faults; those that are made up meet
    their faults at one operation in a quarter of `every`.
    """
    names = [*STORIES, *(str(seed * 1000 + n) for n in range(made_up_stories))]
    return [_job(name, fault, one_in, seed, every) for name in names for fault in FAULTS]


def _job(name: str, fault: str, one_in: int, seed: int, every: int) -> Job:
    is_whole = fault == "none" and name in STORIES
    if name in ("vain_commits", "vain_starts"):
        # Their faults are their point, and they are short.
        return Job(name, fault, min(one_in, 12), seed)
    if name == "merges":
        return Job(name, fault, every if is_whole else one_in, seed, every)
    return Job(name, fault, 1 if is_whole else one_in, seed, 1 if name in STORIES else max(1, every // 4))


def run_all(jobs: Iterable[Job]) -> Tally:
    """Raises the first Violation."""
    tally = Tally()
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for one in pool.map(Job.run, jobs):
            tally += one
    return tally
