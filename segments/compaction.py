"""Sealed WAL files -> segments -> the WAL files deleted, so that a crash anywhere neither loses nor doubles a row.

For each run of files: the segments of quarantined rows, keys and replays are published first and the rows segment last;
the rename of the rows segment is the commit point for all. Only then does applied.json move, and only then do WAL files
go. Runs in a process of its own, or, before rows are taken away, in the actor's thread; at most one for a source at a
time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby, zip_longest

import pyarrow as pa

from segments.batches import declared_schema, frame_notes, quarantine_batches, remaining, row_batches
from segments.disk import Disk
from segments.filenames import Lsn, SourceDir, WalName
from segments.keys import keys_table, oldest_keys_day
from segments.manifest import Manifest, SegmentRef, remove_leftovers, settle_manifest, write_applied
from segments.merge import settle_merging
from segments.segment_file import Span, replays_table, write_segment
from segments.wal_reader import WalFile, assemble, open_files

RUN_BYTES_MAX = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Compacted:
    """`published`: every LSN up to here is in a segment; `lsns` of them were moved by this call."""

    published: Lsn
    lsns: int
    segments: tuple[SegmentRef, ...]


def compact(disk: Disk, source: SourceDir, *, through: Lsn, now: datetime) -> Compacted:
    """Move every row up to `through` from the WAL into segments; files with rows beyond it are not touched.

    `through` is a durable LSN at which a file ends. Keys older than they are kept at `now` (UTC) go. Raises Corruption before anything is changed when the source is
    damaged, and OSError when the disk refuses; both leave the source as it was or a step further, never worse.
    """
    settle_merging(disk, source, now=now)
    manifest = settle_manifest(disk, source)
    for corruption in manifest.damage:
        raise corruption
    remove_leftovers(disk, manifest)
    # The file beyond `through` is another process's to write and to sync.
    log = assemble(open_files(disk, source, through=through), manifest.published, through=through)
    for corruption in log.damage:
        raise corruption
    published = manifest.published
    segments: list[SegmentRef] = []
    for run in _runs(log.files):
        segment = compact_run(disk, source, run, manifest)
        assert segment.name.first_lsn == published + 1, (segment.name, published)
        segments.append(segment)
        published = segment.name.last_lsn
    if published > manifest.applied.applied_lsn:
        write_applied(disk, source, replace(manifest.applied, applied_lsn=published))
    remove_covered(disk, source, published, through)
    for ref in manifest.keys:
        if ref.day < oldest_keys_day(now):
            disk.unlink(ref.path)
    return Compacted(published, published - manifest.published, tuple(segments))


def _runs(files: tuple[WalFile, ...]) -> Iterator[list[WalFile]]:
    """Neighbouring files of one day and one schema, up to a size that fits in memory."""
    filled = [file for file in files if file.frames]
    for _, same in groupby(filled, key=lambda file: (file.header.day, declared_schema(file)) if file.header else None):
        run: list[WalFile] = []
        for file in same:
            if run and sum(f.size for f in run) + file.size > RUN_BYTES_MAX:
                yield run
                run = []
            run.append(file)
        yield run


def compact_run(disk: Disk, source: SourceDir, run: list[WalFile], manifest: Manifest) -> SegmentRef:
    """Publish the frames of neighbouring files of one day and one schema, which have no gaps, as one segment."""
    schema = declared_schema(run[0])
    assert run[0].header is not None
    day = run[0].header.day
    frames = [frame for file in run for frame in file.frames]
    first, last = frames[0].first_lsn, frames[-1].last_lsn
    rows = pa.Table.from_batches([batch for file in run for batch in row_batches(file)], schema.arrow)
    if schema.sorting_key:
        rows = rows.sort_by([(name, "ascending") for name in schema.sorting_key])
    quarantine = pa.Table.from_batches([b for file in run for b in quarantine_batches(file)], schema.quarantine)
    assert rows.num_rows + quarantine.num_rows == last - first + 1
    notes = frame_notes(frames)
    # A row replayed by a later run is in the segment, and taken out of what is read by that run's replays.
    quarantine = remaining(quarantine, manifest.applied.quarantine_floor_lsn, replays_table(notes.replays)["lsn"])
    keys = keys_table(notes.keys)
    span = Span(day, schema, first, last, quarantine.num_rows, keys.num_rows)
    if quarantine.num_rows:
        write_segment(disk, source, "quarantine", quarantine, span)
    if keys.num_rows:
        write_segment(disk, source, "keys", keys, span)
    if notes.replays:
        write_segment(disk, source, "replays", replays_table(notes.replays), span)
    return write_segment(disk, source, "rows", rows, span)


def remove_covered(disk: Disk, source: SourceDir, published: Lsn, through: Lsn) -> None:
    """Delete the files whose rows are all published, oldest first. Files beyond `through` may still be written."""
    if published < through:
        return
    names = sorted(name for name in map(WalName.parse, disk.listdir(source.wal)) if name and name.first_lsn <= through)
    for name, next_name in zip_longest(names, names[1:]):
        disk.unlink(source.wal / str(name))
        if next_name and next_name.epoch > name.epoch:
            # What it voids must not come back when it is gone.
            disk.sync_dir(source.wal)
