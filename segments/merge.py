"""Small segments of a day that is over -> one large one, while a reader sees the old ones or the new one, never both.

Several files can't be replaced by one in one step, a directory can. So the day is built anew, beside the directories that
tools read: the merged segment, and one more name for each file that stays. It is swapped with the day as it was, both
names are synced, and what it replaced stays in `merging/` for a while. Each call merges one group of neighbours, so that
neither memory nor the time that a source is held grows with the day. Runs where, and while, a compaction may.

The rows of a group are merged first and their quarantine later, in a step of its own; in between, a rows segment has
several segments of quarantined rows in its range. Keys, which go after a day, and replays, which are few, stay as they are.
"""

import errno
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from segments.disk import FOR_READERS, Disk, remove_tree
from segments.errors import Corruption, SwapRefused
from segments.filenames import MergingName, RowKind, SegmentName, SourceDir, WalName
from segments.manifest import Manifest, SegmentRef, companions, read_manifest, settle_manifest
from segments.segment_check import check_segment
from segments.segment_file import (
    Span,
    encode_segment,
    missing_quarantined,
    open_segment,
    read_facts,
    read_schema,
)

TARGET_BYTES = 128 * 1024 * 1024
"""A merged segment is about this large at most, and one of half this size is large enough."""
ARROW_BYTES_MAX = 512 * 1024 * 1024
"""Of one group in memory; sorting and encoding take about twice as much on top."""
ARROW_PER_FILE_BYTE = 16
"""Assumed of segments that do not say how large they are in memory."""
KEPT_S = 600
"""What was replaced stays this long: who is listing a directory when it is swapped must find it whole."""
_REFUSALS = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


@dataclass(frozen=True, slots=True)
class Group:
    """Segments of one day that are to become one."""

    kind: RowKind
    refs: tuple[SegmentRef, ...]


def is_merge_due(disk: Disk, source: SourceDir, *, now: datetime) -> bool:
    """Whether `merge_next` has something to do. Changes nothing. Raises Corruption or OSError."""
    manifest = read_manifest(disk, source)
    if manifest.damage:
        return False
    return next_group(disk, source, manifest, now) is not None or any(_outdated(disk, source, now))


def merge_next(disk: Disk, source: SourceDir, *, now: datetime) -> SegmentRef | None:
    """Merge the first group that there is; None when there is none. `now` is UTC.

    Raises SwapRefused where the file system can't do it at all, Corruption before anything is changed when an input is
    damaged, and OSError; all of them leave every row where it was or where it belongs.
    """
    settle_merging(disk, source, now=now)
    manifest = settle_manifest(disk, source)
    for corruption in manifest.damage:
        raise corruption
    # Rows of the group must not come back in the log: a repair would take them for others than those in quarantine.
    disk.sync_dir(source.wal)
    group = next_group(disk, source, manifest, now)
    if group is None:
        return None
    name, data = _encode(disk, manifest, group)
    day = source.day(group.kind, group.refs[0].day)
    if not disk.exists(source.merging):
        disk.mkdir(source.merging)
    disk.sync_dir(source.path)
    built = source.merging / str(MergingName(int(now.timestamp()), group.kind, name.first_lsn, name.last_lsn))
    _build(disk, source, built, group, name, data)
    try:
        disk.exchange(built, day)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        remove_tree(disk, built)
        raise SwapRefused(f"the file system can't swap two directories: {error.strerror}", path=day) from error
    for directory in (source.kind(group.kind), source.merging):
        disk.sync_dir(directory)
    return SegmentRef(day / str(name), name, group.refs[0].day)


def settle_merging(disk: Disk, source: SourceDir, *, now: datetime) -> None:
    """Have swaps of an earlier call or life be durable, and delete what was replaced, or never finished, long ago.

    Comes before anything else is written to the source: what goes into a day must not go away with a swap.
    """
    if not disk.exists(source.merging) or not disk.listdir(source.merging):
        return
    for directory in (source.kind("rows"), source.kind("quarantine"), source.merging):
        disk.sync_dir(directory)
    for name in list(_outdated(disk, source, now)):
        remove_tree(disk, source.merging / name)


def _outdated(disk: Disk, source: SourceDir, now: datetime) -> Iterator[str]:
    if disk.exists(source.merging):
        for name in disk.listdir(source.merging):
            parsed = MergingName.parse(name)
            # One from the future is of a clock that was set back since.
            if parsed is not None and not 0 <= now.timestamp() - parsed.built_at_s < KEPT_S:
                yield name


def next_group(disk: Disk, source: SourceDir, manifest: Manifest, now: datetime) -> Group | None:
    """The first segments to merge of days that are over. Raises Corruption or OSError."""
    names = [name for name in map(WalName.parse, disk.listdir(source.wal)) if name]
    if any(name.first_lsn <= manifest.published for name in names):
        return None
    # The log may hold more of the last day.
    unfinished = manifest.rows[-1].day if names and manifest.rows else None
    rows = [ref for ref in manifest.rows if ref.day < now.date() and ref.day != unfinished]
    for ref in rows:
        quarantine = companions(manifest, ref)
        if len(quarantine) > 1 and all(_are_alike(disk, quarantine[0], other) for other in quarantine):
            return Group("quarantine", quarantine)
    return next(_row_groups(disk, manifest, rows), None)


def _row_groups(disk: Disk, manifest: Manifest, rows: list[SegmentRef]) -> Iterator[Group]:
    """Two and more small segments that join, as many as make one large one."""
    for run in _neighbours(manifest, rows):
        # A segment without neighbours is not even looked at.
        for group in _packed(disk, manifest, run) if len(run) > 1 else ():
            if len(group) > 1:
                yield Group("rows", tuple(group))


def _neighbours(manifest: Manifest, rows: list[SegmentRef]) -> Iterator[list[SegmentRef]]:
    """Segments of one day whose LSNs join, and all of whose quarantine was truncated or none of it."""
    floor = manifest.applied.quarantine_floor_lsn
    run: list[SegmentRef] = []
    for ref in rows:
        if run and not (
            run[-1].day == ref.day
            and run[-1].name.last_lsn + 1 == ref.name.first_lsn
            and (run[-1].name.last_lsn <= floor) == (ref.name.last_lsn <= floor)
        ):
            yield run
            run = []
        run.append(ref)
    yield run


def _packed(disk: Disk, manifest: Manifest, run: list[SegmentRef]) -> Iterator[list[SegmentRef]]:
    group: list[SegmentRef] = []
    total = _NOTHING
    for ref in run:
        size = _size(disk, manifest, ref)
        if not (size.is_small and (total + size).is_bearable and (not group or _are_alike(disk, group[-1], ref))):
            yield group
            group, total = [], _NOTHING
        if size.is_small:
            group.append(ref)
            total += size
    yield group


def _are_alike(disk: Disk, one: SegmentRef, other: SegmentRef) -> bool:
    return one.day == other.day and read_schema(disk, one) == read_schema(disk, other)


@dataclass(frozen=True, slots=True)
class _Size:
    file_bytes: int
    arrow_bytes: int

    def __add__(self, other: "_Size") -> "_Size":
        return _Size(self.file_bytes + other.file_bytes, self.arrow_bytes + other.arrow_bytes)

    @property
    def is_small(self) -> bool:
        return self.file_bytes < TARGET_BYTES // 2 and self.arrow_bytes < ARROW_BYTES_MAX // 2

    @property
    def is_bearable(self) -> bool:
        return self.file_bytes <= TARGET_BYTES and self.arrow_bytes <= ARROW_BYTES_MAX


_NOTHING = _Size(0, 0)


def _size(disk: Disk, manifest: Manifest, ref: SegmentRef) -> _Size:
    """Of the rows or of the quarantined rows, whichever is more: first the ones are merged, then the others."""
    rows = _size_of(disk, ref)
    quarantine = sum((_size_of(disk, other) for other in companions(manifest, ref)), _NOTHING)
    return _Size(max(rows.file_bytes, quarantine.file_bytes), max(rows.arrow_bytes, quarantine.arrow_bytes))


def _size_of(disk: Disk, ref: SegmentRef) -> _Size:
    size = disk.size(ref.path)
    return _Size(size, read_facts(disk, ref).arrow_bytes or ARROW_PER_FILE_BYTE * size)


def _encode(disk: Disk, manifest: Manifest, group: Group) -> tuple[SegmentName, bytes]:
    """The merged segment. Raises Corruption when an input, or what belongs to it, is damaged."""
    first = group.refs[0]
    schema = read_schema(disk, first)
    facts = [read_facts(disk, ref) for ref in group.refs]
    for ref in group.refs:
        check_segment(disk, ref)
        if group.kind == "rows" and missing_quarantined(disk, manifest, ref):
            # The merged segment would no longer say which rows they are.
            raise Corruption("quarantined rows of this segment are missing", path=ref.path)
    table = pa.concat_tables([open_segment(disk, ref).read() for ref in group.refs])
    table = table.cast(schema.arrow if group.kind == "rows" else schema.quarantine)
    key = schema.sorting_key if group.kind == "rows" else ("c__lsn",)
    if key:
        table = table.sort_by([(name, "ascending") for name in key])
    assert table.num_rows == sum(one.rows for one in facts)
    span = Span(
        first.day,
        schema,
        first.name.first_lsn,
        max(ref.name.last_lsn for ref in group.refs),
        sum(one.quarantined_rows for one in facts),
        sum(one.keys for one in facts),
        lost=sum(one.lost for one in facts),
    )
    return encode_segment(table, span)


def _build(disk: Disk, source: SourceDir, built: Path, group: Group, name: SegmentName, data: bytes) -> None:
    """The day as it is to be, durable in `merging/`."""
    replaced = {ref.path.name for ref in group.refs}
    day = group.refs[0].path.parent
    if disk.exists(built):
        remove_tree(disk, built)
    try:
        disk.mkdir(built)
        for other in disk.listdir(day):
            if other not in replaced:
                disk.link(day / other, built / other)
        descriptor = disk.create(built / str(name), FOR_READERS)
        try:
            disk.pwrite(descriptor, data, 0)
            disk.sync(descriptor)
        finally:
            disk.close(descriptor)
        for directory in (built, source.merging):
            disk.sync_dir(directory)
    except OSError:
        # A disk that is full for a while must not be littered meanwhile.
        with suppress(OSError):
            remove_tree(disk, built)
        raise
