"""Segments whose bytes are what their names say. DuckDB does not look, and would return what rot has made of them."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from time import monotonic

from segments.disk import Disk
from segments.errors import Corruption, Unreadable
from segments.filenames import RowKind
from segments.manifest import SegmentRef
from segments.segment_file import check_segment
from segments.snapshot import Snapshot, is_gone

GOOD_FOR_S = 3600.0
"""Who asks again and again does not have each file read whole each time."""


class SegmentChecks:
    """Which segments were found intact, and when; one for a process."""

    def __init__(self) -> None:
        self._good_until: dict[tuple[Path, datetime], float] = {}

    def without_damaged(self, disk: Disk, snapshot: Snapshot, kind: RowKind) -> Snapshot:
        """The snapshot without the segments of this kind that are damaged, which is said among its damage.

        Raises Unreadable or OSError for a file that is gone, or that the disk does not give out at the moment.
        """
        rows = snapshot.of(kind)
        good, damage = self._check(disk, rows.segments)
        left, said = replace(rows, segments=tuple(good)), (*snapshot.damage, *damage)
        if kind == "rows":
            return replace(snapshot, rows=left, damage=said)
        return replace(snapshot, quarantine=left, damage=said)

    def _check(self, disk: Disk, refs: Iterable[SegmentRef]) -> tuple[list[SegmentRef], list[Corruption]]:
        good, damage, now = [], [], monotonic()
        for ref in refs:
            try:
                key = (ref.path, disk.modified_at(ref.path))
                if self._good_until.get(key, 0.0) <= now:
                    check_segment(disk, ref)
                    self._good_until[key] = now + GOOD_FOR_S
            except Corruption as error:
                if isinstance(error, Unreadable) or is_gone(disk, error):
                    raise
                damage.append(error)
            else:
                good.append(ref)
        self._good_until = {key: until for key, until in self._good_until.items() if until > now}
        return good, damage
