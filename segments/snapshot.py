"""A consistent read of one source, in the daemon's process or any other, while it is written and compacted.

Order is everything here: the WAL is opened first and the segments are listed second, so a row that moves from one to the
other in between is seen in the segments and skipped in the WAL. Every WAL file is synced through our own descriptor and
read to the size it had before, so nothing is shown that a power cut could still take back. On a disk that syncs no more,
what is known to be durable is shown, and `damage` says that there may be more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from segments.disk import Disk
from segments.errors import Corruption, StorageError, Unreadable
from segments.filenames import Lsn, RowKind, SourceDir
from segments.manifest import Manifest, SegmentRef, read_applied, read_manifest
from segments.schema import Schema
from segments.source_files import load_altered_lsn, load_schema
from segments.wal_reader import Log, WalFile, assemble, open_files

if TYPE_CHECKING:
    import pyarrow as pa

    Batches = tuple[pa.RecordBatch, ...]

# Arrow takes longer to load than most of this takes to run, so it is loaded where there is something for it to read:
# rows in the log, replays, segments of an older schema.
# ruff: noqa: PLC0415

T = TypeVar("T")
ATTEMPTS_MAX = 100
REPLACED_MAX = 20
DAMAGE_SEEN = 3
"""Damage counts once it was seen this often: a compaction that goes on can look like a gap for a moment."""


@dataclass(frozen=True)
class Rows:
    """The rows of one kind: segments, then `batches`, what the WAL holds beyond them, all to be read as `arrow`.

    `older` has the schema of each segment that was written under another one than the present.
    """

    kind: RowKind
    schema: Schema
    segments: tuple[SegmentRef, ...]
    batches: "Batches"
    older: dict[Path, Schema]

    @property
    def paths(self) -> list[Path]:
        return [ref.path for ref in self.segments]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns'."""
        return self.schema.names if self.kind == "rows" else self.schema.quarantine_names

    @property
    def arrow(self) -> "pa.Schema":
        return self.schema.arrow if self.kind == "rows" else self.schema.quarantine

    @cached_property
    def tail(self) -> "pa.Table":
        """The batches as one table."""
        import pyarrow as pa

        return pa.Table.from_batches(self.batches, self.arrow)

    @property
    def wal_rows(self) -> int:
        """How many rows the tail has."""
        return sum(batch.num_rows for batch in self.batches)


@dataclass(frozen=True)
class Snapshot:
    """Everything that was stored when it was taken. `damage` names what is lost; the rows are all that check.

    The LSNs in `replays` are of rows in segments of the quarantine that are no longer there. `others` are the segments
    of keys and replays.
    """

    name: str
    schema: Schema
    rows: Rows
    quarantine: Rows
    replays: "tuple[pa.Array, ...]"
    others: tuple[SegmentRef, ...]
    wal: tuple[WalFile, ...]
    last_lsn: Lsn
    damage: tuple[Corruption, ...]

    def of(self, kind: RowKind) -> Rows:
        return self.rows if kind == "rows" else self.quarantine

    @cached_property
    def replayed(self) -> "pa.Array":
        """The LSNs in `replays` together."""
        import pyarrow as pa

        return pa.concat_arrays([*self.replays, pa.array([], pa.uint64())])


def read_consistently(disk: Disk, source: SourceDir, *, to_show: bool) -> tuple[Log, Manifest]:
    """The log above the segments, and the segments, as they were together at one moment. Raises Corruption.

    `to_show`: on a disk that does not sync too, with what is known to be durable.
    """
    damaged = 0
    for _ in range(ATTEMPTS_MAX):
        try:
            # Rows that a floor takes away and those that came in their place must both be seen from one side of it.
            floor = _floor(disk, source)
            files = open_files(disk, source, to_show=to_show)
            manifest = read_manifest(disk, source)
            if floor is not None and floor != manifest.applied.floor_lsn:
                continue
        except FileNotFoundError:
            # A WAL file was compacted away, or a day swapped, between listing and opening.
            continue
        except OSError as error:
            raise Unreadable.unless_missing(error, "the source", source.wal) from error
        log = assemble(files, manifest.published)
        damaged += bool(log.damage or manifest.damage)
        if not (log.damage or manifest.damage) or damaged == DAMAGE_SEEN:
            return log, manifest
    raise Corruption("the WAL changes faster than it can be opened, or a file in it can't be", path=source.wal)


def _floor(disk: Disk, source: SourceDir) -> Lsn | None:
    try:
        return read_applied(disk, source).floor_lsn
    except Corruption:
        # The manifest says so.
        return None


def is_gone(disk: Disk, error: Exception) -> bool:
    """Whether the file that could not be read is no longer there, as after a merge or a truncation."""
    if isinstance(error, StorageError):
        return error.path is not None and not disk.exists(error.path)
    return isinstance(error, FileNotFoundError)


def while_files_last(disk: Disk, read: Callable[[], T]) -> T:
    """What `read` gives, which takes a snapshot and reads its files; anew when they were replaced under it."""
    for _ in range(REPLACED_MAX):
        try:
            return read()
        except (StorageError, OSError) as error:
            if not is_gone(disk, error):
                raise
    return read()


def open_snapshot(disk: Disk, source: SourceDir, *, to_show: bool = False) -> Snapshot:
    """Take a snapshot. Raises UnknownSource, or Corruption when the schema itself can't be read.

    Only one `to_show` can be had where the disk does not sync: of rows that may not be durable it says in `damage` that
    they are missing, which is enough for whoever looks at rows, and for nobody who does something about all of them.
    """
    return while_files_last(disk, lambda: _open_snapshot(disk, source, to_show=to_show))


def _open_snapshot(disk: Disk, source: SourceDir, *, to_show: bool) -> Snapshot:
    # The schema is read before its rows and the LSN of its change after it: what is newer is made to fit, or found old.
    schema = load_schema(disk, source)
    log, manifest = read_consistently(disk, source, to_show=to_show)
    altered_lsn = load_altered_lsn(disk, source)
    files = [file for file in log.files if file.frames]
    rows, quarantined, replays = _log_rows(files, schema) if files else ((), (), ())
    if manifest.replays:
        from segments.segment_file import read_replays

        replays = (read_replays(disk, manifest.replays), *replays)
    if quarantined:
        quarantined = _remaining(quarantined, manifest.applied.quarantine_floor_lsn, replays)
    older = _older(disk, (*manifest.rows, *manifest.quarantine), altered_lsn)
    return Snapshot(
        source.name,
        schema,
        Rows("rows", schema, manifest.rows, rows, older),
        Rows("quarantine", schema, manifest.quarantine, quarantined, older),
        replays,
        (*manifest.keys, *manifest.replays),
        log.files,
        log.last_lsn,
        (*manifest.damage, *log.damage, *log.unsure),
    )


def _log_rows(files: list[WalFile], schema: Schema) -> "tuple[Batches, Batches, tuple[pa.Array, ...]]":
    """The rows, the quarantined rows, and the LSNs of those that the log says were replayed."""
    import pyarrow as pa

    from segments.alteration import conform_quarantine, conform_rows
    from segments.batches import frame_notes, quarantine_batches, row_batches

    rows = tuple(conform_rows(batch, schema) for file in files for batch in row_batches(file))
    quarantined = tuple(conform_quarantine(batch, schema) for file in files for batch in quarantine_batches(file))
    replays = frame_notes(frame for file in files for frame in file.frames).replays
    return rows, quarantined, (pa.array(replays, pa.uint64()),) if replays else ()


def _remaining(quarantined: "Batches", floor: Lsn, replays: "tuple[pa.Array, ...]") -> "Batches":
    import pyarrow as pa

    from segments.batches import remaining

    replayed = pa.concat_arrays([*replays, pa.array([], pa.uint64())])
    return tuple(remaining(pa.Table.from_batches(quarantined), floor, replayed).to_batches())


def _older(disk: Disk, refs: tuple[SegmentRef, ...], altered_lsn: Lsn) -> dict[Path, Schema]:
    """The schemas of the segments that may have been written under another than the present."""
    written_before = [ref for ref in refs if ref.name.first_lsn <= altered_lsn]
    if not written_before:
        return {}
    from segments.segment_file import read_schema

    return {ref.path: read_schema(disk, ref) for ref in written_before}
