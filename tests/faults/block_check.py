"""Power cuts all over the recording of a block device: the file system is mounted as it was left, started on, and judged."""

import random
from dataclasses import dataclass
from pathlib import Path

from segments.disk import Disk
from segments.filenames import DataDir
from tests.faults.block_recording import Left, Replay
from tests.faults.block_run import BlockRun
from tests.faults.file_systems import CannotMount, FileSystem
from tests.faults.row_ledger import Violation
from tests.faults.source_start import SourceReader, sources_after_start
from tests.faults.traced_ledger import Ended, Ledgers, Recovered


@dataclass
class Tally:
    """States that were mounted and judged, and sources that were recovered in them."""

    states: int = 0
    sources: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.states + other.states, self.sources + other.sources)

    def __str__(self) -> str:
        return f"{self.states} states mounted, in which a source was recovered {self.sources} times"


@dataclass(frozen=True, order=True)
class Cut:
    """The power fails when the device has answered so much."""

    position: int
    left: Left


def check_run(run: BlockRun, *, seed: int, cuts: int) -> Tally:
    """Judge so many power cuts. Raises Violation, which says where it was."""
    replay = Replay(run.base, run.recording, run.directory)
    state = FileSystem(run.kind, run.directory / "state", run.directory / "mounted")
    reader = SourceReader(run.exchanges, run.token_id)
    ledgers, moments, tally = Ledgers(), iter(run.moments), Tally()
    upcoming = next(moments, None)
    for cut in choose_cuts(run, random.Random(seed), cuts):
        while upcoming is not None and upcoming.position <= cut.position:
            ledgers.take(upcoming.mark)
            upcoming = next(moments, None)
        replay.build(state.image, cut.position, cut.left, seed)
        try:
            found = start_on(state, reader)
            ledgers.check(found)
        except Violation as violation:
            raise Violation(
                f"{run.kind} after block {cut.position} of {run.end}, {cut.left} left: {violation}"
            ) from None
        tally += Tally(1, len(found))
    return tally


def choose_cuts(run: BlockRun, dice: random.Random, count: int) -> list[Cut]:
    """Half of them at the moment of an answer, when a promise is youngest."""
    answered = [one.position for one in run.moments if isinstance(one.mark, Ended)]
    positions = [dice.choice(answered) if n % 2 else dice.randint(0, run.end) for n in range(count)]
    return sorted(Cut(position, dice.choice(list(Left))) for position in positions)


def start_on(state: FileSystem, reader: SourceReader) -> dict[str, Recovered]:
    """The sources, by name, when the kernel has replayed its journal and a start ours; another start finds the same.

    Raises Violation.
    """
    try:
        with state.mounted():
            lives = [_start(state.mount_point, reader) for _ in range(2)]
            # Not only in name: the next state must not meet what the kernel remembers of this one.
            state.unmount()
    except CannotMount as reason:
        raise Violation(f"the file system itself does not come up: {reason}") from reason
    if lives[0] != lives[1]:
        raise Violation(f"a second start finds other rows than the first: {lives}")
    return lives[0]


def _start(directory: Path, reader: SourceReader) -> dict[str, Recovered]:
    disk = Disk()
    return {source.name: reader.recover(disk, source) for source in sources_after_start(disk, DataDir(directory))}
