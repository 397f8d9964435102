"""Segments whose bytes are what their names say. DuckDB does not look, and would return what rot has made of them."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from threading import Lock, Thread
from time import monotonic

from segments.disk import Disk
from segments.errors import Corruption, Unreadable
from segments.filenames import RowKind
from segments.manifest import SegmentRef
from segments.segment_check import check_segment
from segments.snapshot import Snapshot, is_gone

GOOD_FOR_S = 3600.0
"""Who asks again and again does not have each file read whole each time."""
THREADS_MAX = 8
"""Memory gives no more to more of them."""


class SegmentChecks:
    """Which segments were found intact, and when; one for a process."""

    def __init__(self, threads: int | None = None) -> None:
        self._threads = min(threads or len(os.sched_getaffinity(0)), THREADS_MAX)
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
        now = monotonic()
        self._good_until = {key: until for key, until in self._good_until.items() if until > now}
        keys = {ref: (ref.path, disk.modified_at(ref.path)) for ref in refs}
        problems = _check_each(disk, [ref for ref, key in keys.items() if key not in self._good_until], self._threads)
        good, damage = [], []
        for ref, key in keys.items():
            error = problems.get(ref)
            if error is None:
                self._good_until.setdefault(key, now + GOOD_FOR_S)
                good.append(ref)
            elif isinstance(error, Corruption) and not isinstance(error, Unreadable) and not is_gone(disk, error):
                damage.append(error)
            else:
                raise error
        return good, damage


def _check_each(disk: Disk, refs: Sequence[SegmentRef], threads: int) -> dict[SegmentRef, Exception]:
    """What is wrong with each of the segments, for those with which anything is."""
    waiting, lock = iter(refs), Lock()
    problems: dict[SegmentRef, Exception] = {}

    def check_on() -> None:
        while True:
            with lock:
                ref = next(waiting, None)
            if ref is None:
                return
            try:
                check_segment(disk, ref)
            except Exception as error:  # noqa: BLE001 -- raised, or told, by who asked
                problems[ref] = error

    others = [Thread(target=check_on) for _ in range(min(threads, len(refs)) - 1)]
    for thread in others:
        thread.start()
    check_on()
    for thread in others:
        thread.join()
    return problems
