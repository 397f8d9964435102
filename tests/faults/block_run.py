"""A real daemon on a file system of which every block is recorded, and every exchange of its clients beside it."""

import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from daemon.tokens import open_tokens
from segments.disk import Disk
from segments.filenames import DataDir
from tests.daemons import TOKEN, Daemon
from tests.faults.block_device import BlockDevice
from tests.faults.file_systems import FileSystem, FsKind
from tests.faults.recording import INTERVALS, SEAM
from tests.faults.traced_ledger import Began, Ended
from tests.faults.traced_story import Exchange, TracedStory


@dataclass(frozen=True)
class Moment:
    """What a client knew when the recording had `position` entries: what it saw of the device after that, came later."""

    position: int
    mark: Began | Ended


class PositionedStory(TracedStory):
    """Keeps, in order, at which positions of the device's recording requests began and answers were there."""

    def __init__(self, daemon: Daemon, device: BlockDevice, *, sources: int, bursts: int, seed: int) -> None:
        super().__init__(daemon, sources=sources, bursts=bursts, seed=seed)
        self._device = device
        self._writing = threading.Lock()
        self.moments: list[Moment] = []

    def began(self, exchange: Exchange) -> None:
        self._note(Began(exchange))

    def ended(self, exchange: Exchange) -> None:
        super().ended(exchange)
        self._note(Ended(exchange))

    def _note(self, mark: Began | Ended) -> None:
        with self._writing:
            self.moments.append(Moment(self._device.position, mark))


@dataclass(frozen=True)
class BlockRun:
    """In a directory: `base`, the file system as it was when it was new, and what was written to it since, up to `end`."""

    kind: FsKind
    directory: Path
    end: int
    token_id: str
    moments: list[Moment] = field(repr=False)

    @property
    def base(self) -> Path:
        return self.directory / "base"

    @property
    def recording(self) -> Path:
        return BlockDevice(self.base, self.directory / "device").recording

    def save(self) -> None:
        """Into its directory, which is then all that it takes to judge it again."""
        moments = [(one.position, isinstance(one.mark, Ended), asdict(one.mark.exchange)) for one in self.moments]
        document = {"kind": self.kind, "end": self.end, "token_id": self.token_id, "moments": moments}
        (self.directory / "run").write_bytes(orjson.dumps(document))

    @classmethod
    def load(cls, directory: Path) -> "BlockRun":
        document = orjson.loads((directory / "run").read_bytes())
        moments = [
            Moment(position, (Ended if is_end else Began)(Exchange(**exchange | {"ids": tuple(exchange["ids"])})))
            for position, is_end, exchange in document["moments"]
        ]
        return cls(FsKind(document["kind"]), directory, document["end"], document["token_id"], moments)

    @property
    def exchanges(self) -> list[Exchange]:
        return [one.mark.exchange for one in self.moments if isinstance(one.mark, Ended)]


def record(kind: FsKind, directory: Path, *, sources: int, bursts: int, seed: int, unsynced: str = "") -> BlockRun:
    """Tell a daemon a story. It says of files whose path matches `unsynced` that they are synced. Raises CannotMount."""
    directory.mkdir(exist_ok=True)
    kind.make_in_file(directory / "base")
    device = BlockDevice(directory / "base", directory / "device")
    env = {"PYTHONPATH": str(SEAM), "SILTSTONE_SEAM_LOG": str(directory / "seam"), "SILTSTONE_SEAM_UNSYNCED": unsynced}
    with device.attached(), FileSystem(kind, device.disk, directory / "data").mounted() as mounted:
        daemon = Daemon(mounted.mount_point, *INTERVALS, "--machine-code", "now", env=env if unsynced else {})
        try:
            story = PositionedStory(daemon.start(), device, sources=sources, bursts=bursts, seed=seed)
            story.tell()
            assert daemon.stop() == 0, daemon.log.read_text()
        finally:
            daemon.end()
        admin = open_tokens(Disk(), DataDir(mounted.mount_point), None).find(TOKEN)
        assert admin is not None
        run = BlockRun(kind, directory, device.position, admin.id, story.moments)
    run.save()
    return run
