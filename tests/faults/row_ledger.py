"""What one client knows about the rows of one data source, and what may be found of them."""

import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from segments.disk import Disk
from segments.errors import StorageError
from segments.filenames import SourceDir
from segments.segment_check import check_segment
from segments.snapshot import open_snapshot
from tests.stored import rows_of


class Violation(AssertionError):
    """A promise was broken."""


def event(one: str) -> bytes:
    """The row of an id: its value follows from it, so that content can be checked; one that ends in ! does not fit."""
    return orjson.dumps({"id": one, "v": "bad" if one.endswith("!") else value(one)})


def value(one: str) -> int:
    return zlib.crc32(one.encode())


@dataclass(frozen=True)
class Found:
    """The ids in a source, good and quarantined, as often as they are there."""

    good: Counter[str]
    quarantined: Counter[str]

    @classmethod
    def of(cls, rows: Iterable[dict[str, Any]], quarantined: Iterable[dict[str, Any]]) -> "Found":
        rows, quarantined = list(rows), list(quarantined)
        for row in quarantined:
            if orjson.loads(row["c__row"]) != orjson.loads(event(row["id"])):
                raise Violation(f"the quarantined row {row} is not the one that was sent")
        for row in rows:
            if row["v"] != value(row["id"]):
                raise Violation(f"the row {row} is not the one that was sent")
        return cls(Counter(row["id"] for row in rows), Counter(row["id"] for row in quarantined))


def read_files(directory: Path) -> Found:
    """What the files of a source hold, without a daemon. Raises Violation for damage: no fault may look like it."""
    return read_source(Disk(), SourceDir(directory)) if directory.exists() else Found(Counter(), Counter())


def read_source(disk: Disk, source: SourceDir) -> Found:
    """What a reader finds in a source. Raises Violation for damage."""
    try:
        snapshot = open_snapshot(disk, source)
        for ref in (*snapshot.rows.segments, *snapshot.quarantine.segments, *snapshot.others):
            check_segment(disk, ref)
        if snapshot.damage:
            raise Violation(f"there is damage: {[str(one) for one in snapshot.damage]}")
        return Found.of(rows_of(snapshot, "rows", disk), rows_of(snapshot, "quarantine", disk))
    except StorageError as error:
        raise Violation(f"nothing can be read: {error}") from error


@dataclass
class RowLedger:
    """Every id that was sent is in one of three: `here` once and for all, `maybe` there once, `gone`."""

    here: set[str] = field(default_factory=set)
    maybe: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)

    def sent(self, ids: Iterable[str]) -> None:
        self.maybe |= set(ids)

    def stored(self, ids: Iterable[str]) -> None:
        self.maybe -= set(ids)
        self.here |= set(ids)

    def truncating(self) -> None:
        self.maybe |= self.here
        self.here = set()

    def truncated(self) -> None:
        self.truncating()
        self.gone |= self.maybe
        self.maybe = set()

    def check(self, found: Found) -> None:
        """Raises Violation when something is lost, doubled, in the wrong place, or was never sent or taken away."""
        both = found.good + found.quarantined
        problems = {
            "lost": self.here - set(both),
            "doubled": {one for one, times in both.items() if times > 1},
            "not sent, or taken away": set(both) - self.here - self.maybe,
            "in the wrong place": {one for one in found.good if one.endswith("!")}
            | {one for one in found.quarantined if not one.endswith("!")},
        }
        if any(problems.values()):
            raise Violation(", ".join(f"{what}: {sorted(ids)}" for what, ids in problems.items() if ids))
