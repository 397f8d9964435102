"""Power cuts all over the recording of a block device: the file system is mounted as it was left, started on, and judged."""

import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

from segments.disk import Disk
from segments.filenames import DataDir
from tests.faults.block_device import BlockDevice
from tests.faults.block_recording import Left, Replay
from tests.faults.block_run import BlockRun
from tests.faults.file_systems import CannotMount, FileSystem
from tests.faults.row_ledger import Violation
from tests.faults.source_start import SourceReader, sources_after_start
from tests.faults.traced_ledger import Ended, Ledgers, Recovered

RECOVERY_CUTS = 5
"""For each recovery that is recorded in its turn."""


@dataclass
class Tally:
    """States that were mounted and judged, how many of them were cuts of a recovery, and sources recovered in all of them."""

    states: int = 0
    of_recoveries: int = 0
    sources: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.states + other.states, self.of_recoveries + other.of_recoveries, self.sources + other.sources)

    def __str__(self) -> str:
        return (
            f"{self.states} states mounted, {self.of_recoveries} of them left by cuts in a recovery; "
            f"a source was recovered {self.sources} times"
        )


@dataclass(frozen=True, order=True)
class Cut:
    """The power fails when the device has answered so much."""

    position: int
    left: Left


class BlockCheck:
    """Judges the states of a run in the order of their positions."""

    def __init__(self, run: BlockRun, seed: int) -> None:
        self._run = run
        self._seed = seed
        self._dice = random.Random(seed)
        self._reader = SourceReader(run.exchanges, run.token_id)
        self._ledgers = Ledgers()
        self._told = 0
        self.tally = Tally()

    def check(self, *, cuts: int, recoveries: int) -> Tally:
        """Judge so many cuts, and cuts of so many of the recoveries after them. Raises Violation, which says where it was."""
        try:
            self._check(cuts, recoveries)
        except Violation as violation:
            again = f"scripts/torture blocks --recording {self._run.directory} --seed {self._seed}"
            raise Violation(f"{violation}\nagain: {again} --per-run {cuts} --recoveries {recoveries}") from violation
        return self.tally

    def _check(self, cuts: int, recoveries: int) -> None:
        replay = Replay(self._run.base, self._run.recording, self._run.directory)
        image = self._run.directory / "state"
        again = set(self._dice.sample(range(cuts), recoveries))
        for number, cut in enumerate(choose_cuts(self._run, self._dice, cuts)):
            self._tell_until(cut.position)
            where = f"{self._run.kind} after block {cut.position} of {self._run.end}, {cut.left} left"
            replay.build(image, cut.position, cut.left, self._seed)
            if number in again:
                self._cut_recovery(image, where)
            self._judge(image, where)

    def _tell_until(self, position: int) -> None:
        moments = self._run.moments
        while self._told < len(moments) and moments[self._told].position <= position:
            self._ledgers.take(moments[self._told].mark)
            self._told += 1

    def _judge(self, image: Path, where: str) -> None:
        """Changes the image. Raises Violation."""
        try:
            found = start_on(FileSystem(self._run.kind, image, self._run.directory / "mounted"), self._reader)
            self._ledgers.check(found)
        except Violation as violation:
            raise Violation(f"{where}: {violation}") from None
        self.tally += Tally(1, 0, len(found))

    def _cut_recovery(self, image: Path, where: str) -> None:
        """The power fails once more, while the kernel replays its journal or a start reads back; the image stays as it is."""
        with tempfile.TemporaryDirectory(dir=self._run.directory) as scratch:
            device = BlockDevice(image, Path(scratch) / "device")
            with device.attached():
                start_on(FileSystem(self._run.kind, device.disk, Path(scratch) / "mounted"), self._reader)
            replay = Replay(image, device.recording, Path(scratch))
            for position in sorted(self._dice.randint(0, device.position) for _ in range(RECOVERY_CUTS)):
                left = self._dice.choice(list(Left))
                replay.build(Path(scratch) / "state", position, left, self._seed)
                self._judge(
                    Path(scratch) / "state",
                    f"{where}, and after block {position} of {device.position} of the recovery, {left} left",
                )
                self.tally += Tally(0, 1, 0)


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
