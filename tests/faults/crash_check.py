"""Recover every state that a crash may leave of a story, judge each, and crash some of them again."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from segments.segment_file import read_facts, read_schema
from tests.faults.crash_states import CrashState, crash_states
from tests.faults.judge import Expectation, Found, Violation, recovered
from tests.faults.memory_disk import NO_FAULT, Fault, Mark, MemoryDisk, Tree
from tests.faults.story import Request, Story

AGAIN_EVERY = 100
"""One state in so many is crashed again, during its recovery and after it."""
DEPTH_MAX = 3


@dataclass
class Tally:
    """Checks made, states that differ, and how many of them were crashed again."""

    checks: int = 0
    states: int = 0
    again: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.checks + other.checks, self.states + other.states, self.again + other.again)

    def __str__(self) -> str:
        return f"{self.checks} checks of {self.states} states, {self.again} of them crashed again"


def check_story(tell: Callable[[Story], None], *, seed: int = 0, fault: Fault = NO_FAULT, one_in: int = 1) -> Tally:
    """Tell a story once, crash it everywhere, and judge. Raises Violation, which says how to see it again."""
    disk = MemoryDisk(born(), fault)
    story = Story(disk)
    tell(story)
    tally = Tally()
    if fault.at <= disk.steps:
        _check(disk, Expectation(), tally, seed, where=str(fault), depth=1, one_in=one_in)
    return tally


def born() -> Tree:
    """A data directory without sources."""
    return Tree({0: {"data": 1}, 1: {"sources": 2}, 2: {}})


def _check(
    disk: MemoryDisk, expected: Expectation, tally: Tally, seed: int, *, where: str, depth: int, one_in: int
) -> None:
    seen: dict[int, Found] = {}
    requests = [mark.what.request for mark in disk.log if isinstance(mark, Mark) and hasattr(mark.what, "request")]
    requests = [*expected.requests, *(one for one in requests if isinstance(one, Request))]
    taken = 0
    # Before its fault a run is the same as without.
    for state in crash_states(disk.base, disk.log, seed, first=disk.failed_at, one_in=one_in):
        for operation in disk.log[taken : state.at]:
            if isinstance(operation, Mark):
                expected.take(operation.what)
        taken = state.at
        here = f"{where} at={state.at} choice={state.choice} seed={seed}"
        tally.checks += 1
        key = hash(tuple(state.tree.walk()))
        try:
            if key not in seen:
                tally.states += 1
                seen[key] = _recover(state.tree, requests)
            expected.check(seen[key])
        except Violation as violation:
            raise Violation(f"{here}: {violation}") from violation
        if depth < DEPTH_MAX and random.Random(f"{seed} {depth} {state.at} {state.choice}").random() < 1 / AGAIN_EVERY:
            tally.again += 1
            _crash_again(state, expected, seen[key], tally, seed, where=here, depth=depth, one_in=one_in)


def _recover(tree: Tree, requests: list[Request]) -> Found:
    # Footers are remembered by disk and path, and the disks of a run are many.
    read_facts.cache_clear()
    read_schema.cache_clear()
    return recovered(MemoryDisk(tree), requests)


def _crash_again(
    state: CrashState,
    expected: Expectation,
    found: Found,
    tally: Tally,
    seed: int,
    *,
    where: str,
    depth: int,
    one_in: int,
) -> None:
    """What one recovery has shown stays, whatever happens to the next ones and to what is stored after it."""
    disk = MemoryDisk(state.tree)
    story = Story(disk, first_id=10_000 * depth)
    story.unknown = [request for request in expected.requests if request.key and request.number not in found.keys]
    story.open()
    story.read()
    story.commit(story.request(2, 1), story.request(1, key=True))
    story.retry()
    story.compact()
    story.later(days=1)
    story.merge()
    story.commit(story.request(1), durably=False)
    # The third crash in a row has most states by far: of them every other one will do.
    _check(disk, expected.after(found), tally, seed, where=where, depth=depth + 1, one_in=one_in * depth)
