"""What a crash or a power cut may leave on a disk, at every operation of a recorded run.

The model is the pessimistic reading of POSIX: what was written to a file may be there, be missing, be torn at a sector, or
be zeros or somebody else's bytes of the right length, until the file was synced; a name may be there or not until its
directory was synced; and nothing of this has an order. A sector holds either its old bytes, its new ones, or, when the
power went while it was written, garbage.
"""

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tests.faults.memory_disk import Change, Entry, Exchange, Mark, Operation, Sync, Tree, Write

SECTOR = 512
RANDOM_STATES = 6


@dataclass
class Device:
    """What is known to be durable at one point of a run, and what may be."""

    durable: Tree
    waiting: list[Change] = field(default_factory=list)
    doomed: list[Write] = field(default_factory=list)

    def take(self, operation: Operation) -> None:
        match operation:
            case Sync(inode, failed, missed):
                if failed:
                    # A failed sync may have written any part of them; no later one will write the rest.
                    lost = [one for one in self.waiting if isinstance(one, Write) and one.inode == inode]
                    lost = [one for one in lost if one not in missed]
                    self.doomed += lost
                    self.waiting = [one for one in self.waiting if one not in lost]
                    return
                waiting, self.waiting = self.waiting, []
                for one in waiting:
                    left = one if one in missed else _unsynced(one, inode)
                    if left is None:
                        self.durable.apply(one)
                    else:
                        self.waiting.append(left)
            case Entry() | Exchange() | Write():
                self.waiting.append(operation)


def _unsynced(one: Change, inode: int) -> Change | None:
    """What is still to be synced of a change after a sync of this inode."""
    if isinstance(one, Exchange):
        synced = one.synced | {inode}
        return None if {one.one.directory, one.other.directory} <= synced else replace(one, synced=synced)
    return None if (one.directory if isinstance(one, Entry) else one.inode) == inode else one


@dataclass(frozen=True)
class CrashState:
    """A disk after a crash before operation `at` of its run; `choice` says which of the possible ones it is."""

    at: int
    choice: int
    tree: Tree


def crash_states(
    base: Tree, log: Sequence[Operation], seed: int, *, first: int = 0, one_in: int = 1
) -> Iterator[CrashState]:
    """Every state at every operation from `first` on of a run that began on `base`, or a sample of them.

    `(at, choice)` names the same one in every call with this seed.
    """
    device = Device(base.copy())
    points_one_in = math.isqrt(one_in)
    points = random.Random(f"{seed} points")
    for at in range(len(log) + 1):
        if at:
            device.take(log[at - 1])
            if at < first:
                continue
            if at < len(log) and isinstance(log[at - 1], Mark) and isinstance(log[at], Mark):
                continue
        if points.randrange(points_one_in):
            continue
        sample = random.Random(f"{seed} sample {at}")
        for choice, kept in enumerate(_choices(device, random.Random(f"{seed} {at}"))):
            if sample.randrange(one_in // points_one_in):
                continue
            tree = device.durable.copy()
            for one in kept:
                tree.apply(one)
            yield CrashState(at, choice, tree)


def _choices(device: Device, dice: random.Random) -> Iterator[Iterable[Change]]:
    """Which waiting operations reached the device, and in what form."""
    waiting: list[Change] = [*device.doomed, *device.waiting]
    yield ()
    if not waiting:
        return
    yield waiting
    writes = [one for one in waiting if isinstance(one, Write)]
    entries = [one for one in waiting if not isinstance(one, Write)]
    if writes and entries:
        yield writes
        yield entries
        yield [*entries, *(_zeros(one) for one in writes)]
        yield [*entries, *(_foreign(one) for one in writes)]
    if len(waiting) > 1:
        for n in range(1, len(waiting)):
            yield waiting[:n]
        for n in range(len(waiting)):
            yield [*waiting[:n], *waiting[n + 1 :]]
            yield [waiting[n]]
    for n, one in enumerate(waiting):
        if isinstance(one, Write):
            before, after = waiting[:n], waiting[n + 1 :]
            last = not any(isinstance(later, Write) for later in after)
            for form in _forms(one, device) if last or one in device.doomed[-1:] else (_zeros(one), _foreign(one)):
                yield [*before, form, *after]
    for _ in range(RANDOM_STATES if len(waiting) > 1 or writes else 0):
        yield [part for one in waiting if dice.random() < 0.7 for part in _some_sectors(one, dice)]


def _forms(write: Write, device: Device) -> Iterator[Write]:
    """One write cut short, cut off at its head, or smashed."""
    size = len(write.data)
    yield _zeros(write)
    yield _foreign(write)
    for cut in range(SECTOR - write.offset % SECTOR, size, SECTOR):
        yield replace(write, data=write.data[:cut])
        yield replace(write, data=write.data[:cut] + bytes(size - cut))
        yield replace(write, offset=write.offset + cut, data=write.data[cut:])
    yield replace(write, data=write.data[: size // 2])
    yield _smashed_first_sector(write, device)


def _smashed_first_sector(write: Write, device: Device) -> Write:
    """Garbage over the whole sector in which the write begins, with what was acknowledged in it before."""
    start = write.offset - write.offset % SECTOR
    there = device.durable.files.get(write.inode, b"")[start : write.offset]
    head = (there.ljust(write.offset - start, b"\0") + write.data)[:SECTOR]
    rest = write.data[SECTOR - (write.offset - start) :]
    return replace(write, offset=start, data=_garbage(len(head)) + rest)


def _garbage(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def _zeros(write: Write) -> Write:
    return replace(write, data=bytes(len(write.data)))


def _foreign(write: Write) -> Write:
    """The file got longer, and what stands there is from a file that was deleted before."""
    return replace(write, data=_garbage(len(write.data)))


def _some_sectors(one: Change, dice: random.Random) -> Iterator[Change]:
    if not isinstance(one, Write) or dice.random() < 0.5:
        yield one
        return
    for at in range(0, len(one.data), SECTOR):
        if dice.random() < 0.7:
            yield replace(one, offset=one.offset + at, data=one.data[at : at + SECTOR])
