"""Taking rows away: a floor in applied.json is the one step at which they are gone, and files follow it.

LSNs go on above the floor; none is used again.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from segments.compaction import compact
from segments.disk import Disk
from segments.filenames import Lsn, RowKind
from segments.group import Committed, Outcome, Write
from segments.manifest import Applied, read_manifest, remove_leftovers, write_applied
from segments.source_log import SourceLog


def truncate(disk: Disk, log: SourceLog, kind: RowKind, now: datetime) -> None:
    """Take away every row, good and quarantined, or every quarantined one. Called where `log` may be written to, and
    while no compaction goes on. `now` is UTC.

    Raises WriteFailed, Corruption or OSError: then they are all still there, or gone already.
    """
    floor = _settle(disk, log, now)
    applied = read_manifest(disk, log.source).applied
    if kind == "rows":
        _raise_floor(disk, log, replace(applied, floor_lsn=floor, quarantine_floor_lsn=floor))
    else:
        _raise_floor(disk, log, replace(applied, quarantine_floor_lsn=floor))


def replace_rows(disk: Disk, log: SourceLog, group: Sequence[Write], now: datetime) -> tuple[Outcome, ...]:
    """Commit the rows of `group` durably, then take away every good row that was there before. As `truncate`.

    When no good row comes in, because none fits or the schema has changed, those that are there stay. A crash in between
    leaves both, and the caller without an answer; doing it again gives what was asked for.
    """
    floor = _settle(disk, log, now)
    done = log.commit(group, now, durably=True)
    if any(isinstance(one, Committed) and one.counts.successful for one in done):
        applied = read_manifest(disk, log.source).applied
        _raise_floor(disk, log, replace(applied, floor_lsn=floor))
    return done


def _settle(disk: Disk, log: SourceLog, now: datetime) -> Lsn:
    """Have all rows in segments that end where the next row begins, with their keys; the LSN at which that is."""
    log.seal()
    log.void(now)
    log.published = compact(disk, log.source, through=log.durable_lsn, now=now).published
    return log.durable_lsn


def _raise_floor(disk: Disk, log: SourceLog, applied: Applied) -> None:
    write_applied(disk, log.source, applied)
    remove_leftovers(disk, read_manifest(disk, log.source))
