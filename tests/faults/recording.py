"""One life of a real daemon under strace: the trace, what the seam said meanwhile, and what the clients sent and were told."""

import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from daemon.tokens import open_tokens
from segments.disk import Disk
from segments.filenames import DataDir
from tests.daemons import TOKEN, Daemon
from tests.faults.traced_changes import Event, disagreements, read_events
from tests.faults.traced_story import Exchange, TracedStory
from tests.strace import OPTIONS

SEAM = Path(__file__).with_name("seam")
INTERVALS = ("--compact-interval", "1.0", "--sync-interval", "0.2")


@dataclass(frozen=True)
class Recording:
    """In a directory: `data` as the daemon left it, `trace`, `seam` and `exchanges`."""

    directory: Path

    @classmethod
    def make(
        cls,
        directory: Path,
        *,
        sources: int = 3,
        bursts: int = 8,
        seed: int = 0,
        machine_code: bool = False,
        **mistakes: str,
    ) -> "Recording":
        """Start a daemon under strace, tell it a story, and stop it. With machine code, what writes and syncs the log goes
        round the seam, which is left out then. `mistakes` of the seam's disk: see seam/sitecustomize.py."""
        directory.mkdir(exist_ok=True)
        made = cls(directory)
        made.data.mkdir()
        prefix = ("strace", *OPTIONS, "-o", str(directory / "trace"))
        env = {"PYTHONPATH": str(SEAM), "SILTSTONE_SEAM_LOG": str(directory / "seam")}
        env |= {f"SILTSTONE_SEAM_{name.upper()}": pattern for name, pattern in mistakes.items()}
        options = (*INTERVALS, "--machine-code", "now" if machine_code else "never")
        daemon = Daemon(made.data, *options, prefix=prefix, env={} if machine_code else env)
        try:
            story = TracedStory(daemon.start(), sources=sources, bursts=bursts, seed=seed)
            story.tell()
            # strace itself stays deaf to the signal, and ends with the daemon.
            os.killpg(daemon.process.pid, signal.SIGTERM)
            assert daemon.process.wait(timeout=60) == 0, daemon.log.read_text()
        finally:
            daemon.end()
        assert ('"loaded"' in daemon.log.read_text()) is machine_code
        assert '"exception"' not in daemon.log.read_text(), daemon.log.read_text()
        (directory / "exchanges").write_bytes(orjson.dumps([asdict(one) for one in story.exchanges]))
        return made

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def exchanges(self) -> list[Exchange]:
        return [
            Exchange(**one | {"ids": tuple(one["ids"])})
            for one in orjson.loads((self.directory / "exchanges").read_bytes())
        ]

    def events(self) -> list[Event]:
        with (self.directory / "trace").open() as trace:
            return read_events(trace, self.data)

    def disagreements(self, events: list[Event]) -> list[str]:
        """Where the seam's log and the trace differ."""
        return disagreements(events, (self.directory / "seam").read_text().splitlines(), self.data)

    @property
    def token_id(self) -> str:
        """What the keys of all requests belong to."""
        admin = open_tokens(Disk(), DataDir(self.data), None).find(TOKEN)
        assert admin is not None
        return admin.id
