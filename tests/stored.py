"""A source in a directory of its own, driven through the doors that the daemon uses."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from segments.compaction import Compacted, compact
from segments.datafile import parse_datafile
from segments.datafile_print import print_schema
from segments.disk import Disk
from segments.filenames import DataDir, RowKind, SourceDir
from segments.format_version import write_format
from segments.group import Committed, Write
from segments.keys import Key
from segments.lines import parse_body
from segments.recovery import create_source, recover
from segments.segment_file import open_segment
from segments.snapshot import Snapshot, open_snapshot
from segments.source_log import SourceLog

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
REAL = Disk()
SCHEMA = parse_datafile(
    "SCHEMA >\n    `id` Nullable(Int64) `json:$.id`,\n    `text` Nullable(String) `json:$.text`\n"
).schema


def body(*ids: int) -> bytes:
    """Events with these ids; a negative one is an event that does not fit and goes to quarantine."""
    return b"\n".join(orjson.dumps({"id": n if n >= 0 else "bad", "text": f"event {n}"}) for n in ids)


def key(name: str, sent: bytes, *, at_s: int = int(NOW.timestamp())) -> Key:
    """An idempotency key of a request with this body."""
    return Key("token", name, sent.hex(), at_s)


@dataclass
class Stored:
    """A data directory with one source, `events`."""

    path: Path
    disk: Disk = field(default_factory=Disk)

    @property
    def source(self) -> SourceDir:
        return DataDir(self.path).source("events")

    def create(self, text: str = "") -> "Stored":
        """With this datafile, or that of SCHEMA."""
        self.path.mkdir(exist_ok=True)
        write_format(Disk(), DataDir(self.path))
        DataDir(self.path).sources.mkdir()
        create_source(
            self.disk,
            DataDir(self.path),
            "events",
            text or print_schema(SCHEMA),
            source_id=b"0123456789abcdef",
            now=NOW,
        )
        return self

    def open(self, *, now: datetime = NOW) -> SourceLog:
        """What a daemon has after a start."""
        return recover(self.disk, self.source, now=now).log

    def compact(self, log: SourceLog, *, now: datetime = NOW) -> Compacted:
        log.seal()
        done = compact(self.disk, self.source, through=log.sealed_lsn, now=now)
        log.published = done.published
        return done

    def publish(self, log: SourceLog, *ids: int, now: datetime = NOW) -> None:
        """One more small segment."""
        commit(log, body(*ids), now=now)
        self.compact(log, now=now)

    def snapshot(self) -> Snapshot:
        return open_snapshot(Disk(), self.source)

    def ids(self) -> list[int]:
        """The ids of all good rows, in no order."""
        return sorted(row["id"] for row in self.rows())

    def rows(self) -> list[dict[str, Any]]:
        return rows_of(self.snapshot(), "rows")

    def quarantined(self) -> list[dict[str, Any]]:
        return rows_of(self.snapshot(), "quarantine")


def rows_of(snapshot: Snapshot, kind: RowKind, disk: Disk = REAL) -> list[dict[str, Any]]:
    """What a snapshot of that disk holds of one kind: segments first, then the rest of the log."""
    rows = snapshot.of(kind)
    found: list[dict[str, Any]] = [row for ref in rows.segments for row in open_segment(disk, ref).read().to_pylist()]
    tail: list[dict[str, Any]] = rows.tail.to_pylist()
    return found + tail


def commit(log: SourceLog, *bodies: bytes, durably: bool = True, now: datetime = NOW) -> list[Committed]:
    """One group of requests without keys."""
    done = log.commit([Write(parse_body(sent)) for sent in bodies], now, durably=durably)
    assert all(isinstance(one, Committed) for one in done)
    return [one for one in done if isinstance(one, Committed)]


def flip(path: Path, at: int) -> None:
    """Have one bit of the byte at this place of a file be another."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
