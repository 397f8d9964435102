"""Tables about the service itself: what is stored, in which files, and which requests came.

`siltstone.*` are ours; `tinybird.*` show the same under the columns that Tinybird documents, so that queries written
for it run. What has no meaning here is there and null, or empty.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial

import pyarrow as pa

from segments.disk import Disk
from segments.errors import StorageError
from segments.filenames import DataDir, RowKind, SourceDir
from segments.inventory import replayed_in_segments
from segments.manifest import SegmentRef
from segments.segment_file import read_facts
from segments.snapshot import Snapshot, is_gone, open_snapshot, while_files_last
from segments.source_files import load_identity

OPS_LOG = pa.schema(
    [
        ("timestamp", pa.timestamp("ms")),
        ("event_type", pa.string()),
        ("datasource", pa.string()),
        ("result", pa.string()),
        ("status", pa.int16()),
        ("rows", pa.int64()),
        ("rows_quarantined", pa.int64()),
        ("bytes", pa.int64()),
        ("elapsed_s", pa.float64()),
        ("request_id", pa.string()),
        ("error", pa.string()),
    ]
)
"""`siltstone.ops_log`, which the daemon provides: one row a request."""

_SOURCES = pa.schema(
    [
        ("name", pa.string()),
        ("id", pa.string()),
        ("created_at", pa.timestamp("us")),
        ("columns", pa.int32()),
        ("sorting_key", pa.list_(pa.string())),
        ("rows", pa.int64()),
        ("quarantined_rows", pa.int64()),
        ("wal_rows", pa.int64()),
        ("segments", pa.int64()),
        ("bytes", pa.int64()),
        ("bytes_quarantine", pa.int64()),
        ("wal_bytes", pa.int64()),
        ("last_lsn", pa.int64()),
        ("damage", pa.string()),
    ]
)
_SEGMENTS = pa.schema(
    [
        ("source", pa.string()),
        ("kind", pa.string()),
        ("path", pa.string()),
        ("day", pa.date32()),
        ("first_lsn", pa.int64()),
        ("last_lsn", pa.int64()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
        ("crc32c", pa.string()),
    ]
)


def make_table(key: tuple[str, ...], disk: Disk, data: DataDir, names: Iterable[str]) -> pa.Table:
    """`siltstone.sources` or `siltstone.segments` over those data sources; what can't be read is null."""
    schema, rows_of = _MADE[key]
    sources = [data.source(name) for name in names]
    rows = [row for source in sources for row in while_files_last(disk, partial(rows_of, disk, source))]
    return pa.Table.from_pylist(rows, schema)


def _source_rows(disk: Disk, source: SourceDir) -> list[dict[str, object]]:
    try:
        identity = load_identity(disk, source)
        snapshot = open_snapshot(disk, source, to_show=True)
    except StorageError as error:
        return [{"name": source.name, "damage": str(error)}]
    damage = [str(corruption) for corruption in snapshot.damage]
    counts: dict[RowKind, int] = {}
    kinds: tuple[RowKind, ...] = ("rows", "quarantine")
    for kind in kinds:
        counts[kind] = snapshot.of(kind).tail.num_rows
        for ref in snapshot.of(kind).segments:
            rows, problem = _rows_in(disk, ref)
            counts[kind] += rows or 0
            damage += [problem] if problem else []
    return [
        {
            "name": source.name,
            "id": f"t_{identity.id.hex()}",
            "created_at": datetime.strptime(identity.created_at, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC),
            "columns": len(snapshot.schema.columns),
            "sorting_key": list(snapshot.schema.sorting_key),
            "rows": counts["rows"],
            "quarantined_rows": counts["quarantine"] - replayed_in_segments(disk, snapshot),
            "wal_rows": snapshot.rows.tail.num_rows + snapshot.quarantine.tail.num_rows,
            "segments": len(snapshot.rows.segments),
            "bytes": _bytes_in(disk, snapshot, "rows"),
            "bytes_quarantine": _bytes_in(disk, snapshot, "quarantine"),
            "wal_bytes": sum(file.size for file in snapshot.wal),
            "last_lsn": snapshot.last_lsn,
            "damage": "; ".join(damage) or None,
        }
    ]


def _segment_rows(disk: Disk, source: SourceDir) -> list[dict[str, object]]:
    try:
        snapshot = open_snapshot(disk, source, to_show=True)
    except StorageError:
        return []
    kinds: tuple[RowKind, ...] = ("rows", "quarantine")
    return [
        {
            "source": source.name,
            "kind": kind,
            "path": str(ref.path.relative_to(source.path)),
            "day": ref.day,
            "first_lsn": ref.name.first_lsn,
            "last_lsn": ref.name.last_lsn,
            "rows": _rows_in(disk, ref)[0],
            "bytes": disk.size(ref.path),
            "crc32c": f"{ref.name.crc32c:08x}",
        }
        for kind in kinds
        for ref in snapshot.of(kind).segments
    ]


def _rows_in(disk: Disk, ref: SegmentRef) -> tuple[int | None, str]:
    """How many rows a segment has, or why that can't be said."""
    try:
        return read_facts(disk, ref).rows, ""
    except StorageError as error:
        if is_gone(disk, error):
            raise
        return None, str(error)


def _bytes_in(disk: Disk, snapshot: Snapshot, kind: RowKind) -> int:
    return sum(disk.size(path) for path in snapshot.of(kind).paths)


_MADE: dict[tuple[str, ...], tuple[pa.Schema, Callable[[Disk, SourceDir], list[dict[str, object]]]]] = {
    ("siltstone", "sources"): (_SOURCES, _source_rows),
    ("siltstone", "segments"): (_SEGMENTS, _segment_rows),
}
