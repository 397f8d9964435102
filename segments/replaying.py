"""Quarantined rows sent in again, after the schema was altered, say: each becomes a row once, or stays where it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from segments.decode import decode
from segments.disk import Disk
from segments.group import Committed, Write
from segments.lines import Events, parse_lines
from segments.segment_check import check_segment
from segments.segment_file import open_segment
from segments.snapshot import Snapshot, open_snapshot
from segments.source_log import SourceLog

_COLUMNS = ["c__lsn", "c__row", "c__error_column"]
ROWS_AT_ONCE = 10_000
"""In one commit, and in memory."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """Rows that went in, and rows that stay: they still do not fit, or are no JSON objects."""

    successful: int
    remaining: int


def replay(disk: Disk, log: SourceLog, lsns: pa.Array | None, now: datetime) -> Replayed:
    """Send the quarantined rows with these LSNs in again, all of them for None. Called where `log` may be written to.

    A line that was no JSON object stays: it may not have been text, so what is kept of it is not what was sent. A row
    leaves the quarantine in the very commit that makes it a good row. Raises WriteFailed, SourceDamaged, Corruption
    or OSError; the commits before that stand.
    """
    log.sync()
    # Or rows of a failed commit would come in again, which whoever sent them may send again as well.
    log.void_failed(now)
    snapshot = open_snapshot(disk, log.source)
    successful = remaining = 0
    for ref in snapshot.quarantine.segments:
        check_segment(disk, ref)
    for found, texts, others in _quarantined(disk, snapshot, lsns):
        remaining += others
        events = parse_lines([text.encode() for text in texts])
        bad = {row.number for row in decode(log.schema, events, now.astimezone(UTC).replace(tzinfo=None)).bad}
        good = [index for index in range(len(events)) if index not in bad]
        remaining += len(bad)
        if good:
            fitting = Events([events.raws[i] for i in good], [events.objects[i] for i in good], {})
            (done,) = log.commit([Write(fitting, replays=tuple(found[i] for i in good))], now, durably=True)
            assert isinstance(done, Committed)
            assert done.counts.quarantined == 0, done
            successful += done.counts.successful
    return Replayed(successful, remaining)


_Part = tuple[list[int], list[str], int]


def _quarantined(disk: Disk, snapshot: Snapshot, lsns: pa.Array | None) -> Iterator[_Part]:
    """The LSNs and texts of rows that are in quarantine, a part at a time, and how many more there are that are no JSON objects."""
    for ref in snapshot.quarantine.segments:
        file = open_segment(disk, ref)
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=_COLUMNS):
            yield from _chosen(pa.Table.from_batches([batch]), snapshot.replayed, lsns)
    tail = snapshot.quarantine.tail.select(_COLUMNS)
    for start in range(0, tail.num_rows, ROWS_AT_ONCE):
        yield from _chosen(tail.slice(start, ROWS_AT_ONCE), snapshot.replayed, lsns)


def _chosen(rows: pa.Table, replayed: pa.Array, lsns: pa.Array | None) -> Iterator[_Part]:
    rows = rows.filter(pc.invert(pc.is_in(rows["c__lsn"], replayed)))
    if lsns is not None:
        rows = rows.filter(pc.is_in(rows["c__lsn"], lsns))
    objects = rows.filter(pc.not_equal(pc.list_element(rows["c__error_column"], 0), ""))
    if rows.num_rows:
        yield objects["c__lsn"].to_pylist(), objects["c__row"].to_pylist(), rows.num_rows - objects.num_rows
