"""Every name on disk, built and parsed in one place."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Literal, NewType, Self, TypeVar

T = TypeVar("T")
Lsn = NewType("Lsn", int)
RowKind = Literal["rows", "quarantine"]
Kind = Literal[RowKind, "keys", "replays"]
"""Directories of segments: good rows, rows that did not fit, the idempotency keys of both, and which of the rows that did
not fit were replayed."""

NAME_MAX = 128
_SOURCE_NAME = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{NAME_MAX - 1}}}")
SOURCE_ID = re.compile(r"t_[0-9a-f]{32}")
_WAL_NAME = re.compile(r"(\d{10})-(\d{20})\.wal")
_SEGMENT_NAME = re.compile(r"(\d{20})-(\d{20})-([0-9a-f]{8})\.parquet")
_MERGING_NAME = re.compile(r"(\d{10})-(rows|quarantine)-(\d{20})-(\d{20})")
_DAY_NAME = re.compile(r"ingested=(\d{4}-\d{2}-\d{2})")


def name_problem(name: str) -> str | None:
    """Why `name` can't be a data source's name, as half a sentence; None when it can."""
    if not name:
        return "is empty"
    if len(name) > NAME_MAX:
        return f"is longer than {NAME_MAX} characters"
    if not _SOURCE_NAME.fullmatch(name):
        return "must be letters, digits and underscores, and must not start with a digit"
    if SOURCE_ID.fullmatch(name):
        return "looks like the id of a data source, and none has that id"
    if name.lower().endswith("_quarantine"):
        return "must not end in _quarantine, which names the rows that did not fit"
    return None


@dataclass(frozen=True, slots=True, order=True)
class WalName:
    epoch: int
    first_lsn: Lsn

    def __str__(self) -> str:
        return f"{self.epoch:010d}-{self.first_lsn:020d}.wal"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """The value of a WAL file's name; None for any other name."""
        return _parsed(_WAL_NAME, name, lambda epoch, first: cls(int(epoch), Lsn(int(first))))


@dataclass(frozen=True, slots=True, order=True)
class SegmentName:
    first_lsn: Lsn
    last_lsn: Lsn
    crc32c: int

    def __str__(self) -> str:
        return f"{self.first_lsn:020d}-{self.last_lsn:020d}-{self.crc32c:08x}.parquet"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """The value of a segment's name; None for any other name."""
        return _parsed(_SEGMENT_NAME, name, lambda first, last, crc: cls(Lsn(int(first)), Lsn(int(last)), int(crc, 16)))


@dataclass(frozen=True, slots=True)
class MergingName:
    """A directory in `merging/`: a day with a merged segment, or, once they are swapped, the day as it was before."""

    built_at_s: int
    kind: RowKind
    first_lsn: Lsn
    last_lsn: Lsn

    def __str__(self) -> str:
        return f"{self.built_at_s:010d}-{self.kind}-{self.first_lsn:020d}-{self.last_lsn:020d}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """The value of such a directory's name; None for any other name."""
        return _parsed(
            _MERGING_NAME,
            name,
            lambda at, kind, first, last: cls(
                int(at), "rows" if kind == "rows" else "quarantine", Lsn(int(first)), Lsn(int(last))
            ),
        )


@dataclass(frozen=True, slots=True)
class DataDir:
    """The directory one daemon owns."""

    path: Path

    @property
    def lock(self) -> Path:
        return self.path / "LOCK"

    @property
    def format(self) -> Path:
        return self.path / "siltstone.json"

    @property
    def tokens(self) -> Path:
        return self.path / "tokens.json"

    @property
    def admin_token(self) -> Path:
        return self.path / "admin.token"

    @property
    def sql(self) -> Path:
        """For the daemon's SQL worker: answers on their way and rows moved out of memory; nothing that lasts."""
        return self.path / "sql"

    @property
    def sources(self) -> Path:
        return self.path / "sources"

    def source(self, name: str) -> "SourceDir":
        assert name_problem(name) is None, name
        return SourceDir(self.sources / name)


@dataclass(frozen=True, slots=True)
class SourceDir:
    """The directory of one data source; only its ingest actor and the compactor write in it."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def identity(self) -> Path:
        return self.path / "source.json"

    @property
    def schema(self) -> Path:
        return self.path / "schema.datasource"

    @property
    def applied(self) -> Path:
        return self.path / "applied.json"

    @property
    def altered(self) -> Path:
        return self.path / "altered.json"

    @property
    def wal(self) -> Path:
        return self.path / "wal"

    def damaged(self, at: datetime) -> Path:
        """Where a repair at that time (UTC) sets files aside."""
        return self.path / "damaged" / f"{at:%Y%m%dT%H%M%SZ}"

    @property
    def merging(self) -> Path:
        """Where days are built anew, and what they were replaced by stays for a while; no tool that reads rows looks there."""
        return self.path / "merging"

    def kind(self, kind: Kind) -> Path:
        """`rows/`, `quarantine/` and so on."""
        return self.path / kind

    def day(self, kind: Kind, day: date) -> Path:
        return self.path / kind / f"ingested={day.isoformat()}"


def parse_day(name: str) -> date | None:
    """The date of a day directory's name; None for any other name."""
    return _parsed(_DAY_NAME, name, date.fromisoformat)


def _parsed(pattern: re.Pattern[str], name: str, make: Callable[..., T]) -> T | None:
    """What `make` makes of a name's parts; None for a name that has other ones, or parts that are no value."""
    match = pattern.fullmatch(name)
    try:
        return make(*match.groups()) if match else None
    except ValueError:
        return None
