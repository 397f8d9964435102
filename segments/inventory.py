"""How much a source holds: of segments by their footers, of the log by a snapshot of it."""

from dataclasses import dataclass

from segments.disk import Disk
from segments.filenames import Lsn, SourceDir
from segments.segment_file import open_segment, read_facts
from segments.snapshot import Rows, Snapshot, open_snapshot, while_files_last


@dataclass(frozen=True, slots=True)
class Stock:
    """Counts of rows; `bytes` of all files; `last_lsn` of the newest row."""

    rows: int
    quarantined_rows: int
    wal_rows: int
    segments: int
    bytes: int
    last_lsn: Lsn


def take_stock(disk: Disk, source: SourceDir) -> Stock:
    """Count what is there now. Raises UnknownSource or Corruption."""
    return while_files_last(disk, lambda: _take_stock(disk, source))


def _take_stock(disk: Disk, source: SourceDir) -> Stock:
    snapshot = open_snapshot(disk, source)
    refs = (*snapshot.rows.segments, *snapshot.quarantine.segments, *snapshot.others)
    return Stock(
        _count(disk, snapshot.rows),
        _count(disk, snapshot.quarantine) - replayed_in_segments(disk, snapshot),
        snapshot.rows.wal_rows + snapshot.quarantine.wal_rows,
        len(snapshot.rows.segments),
        sum(disk.size(ref.path) for ref in refs) + sum(file.size for file in snapshot.wal),
        snapshot.last_lsn,
    )


def _count(disk: Disk, rows: Rows) -> int:
    return sum(read_facts(disk, ref).rows for ref in rows.segments) + rows.wal_rows


def replayed_in_segments(disk: Disk, snapshot: Snapshot) -> int:
    """Replayed rows that a segment of the quarantine still holds."""
    if not snapshot.replays:
        return 0
    import pyarrow.compute as pc  # noqa: PLC0415 -- takes longer to load than all else here

    lsns = [open_segment(disk, ref).read(["c__lsn"])["c__lsn"] for ref in snapshot.quarantine.segments]
    return sum(pc.sum(pc.is_in(one, snapshot.replayed)).as_py() or 0 for one in lsns)
