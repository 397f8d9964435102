"""Set what is damaged in a source aside and go on with all that checks; what is lost is said, and stays an empty span.

Every LSN up to the last one known ends in a segment: one that is there and checks, one made of the frames of the log
that check, or an empty one that says how many LSNs were lost. So the source has no gaps, and takes rows again.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

from segments.batches import declared_schema
from segments.compaction import compact_run, remove_covered
from segments.datafile_print import print_schema
from segments.disk import Disk, publish
from segments.errors import Corruption, UnknownSource, Unreadable
from segments.filenames import DataDir, Kind, Lsn, SourceDir
from segments.identity import Identity
from segments.manifest import KINDS, Applied, Manifest, SegmentRef, read_applied, read_manifest, write_applied
from segments.merge import settle_merging
from segments.schema import Schema
from segments.segment_check import check_segment
from segments.segment_file import (
    Span,
    missing_quarantined,
    read_facts,
    read_schema,
    write_segment,
)
from segments.source_files import load_altered_lsn, load_identity, load_schema, write_altered, write_identity
from segments.wal_reader import Log, WalFile, assemble, open_files


@dataclass(frozen=True, slots=True)
class Repaired:
    """Spans of LSNs that are lost, both ends included; where what was set aside is; what else there is to know."""

    lost: tuple[tuple[Lsn, Lsn], ...]
    aside: tuple[Path, ...]
    notes: tuple[str, ...]


def repair_source(disk: Disk, source: SourceDir, *, now: datetime) -> Repaired:
    """Only the owner of the data directory may. Cut short, it goes on when it is called again.

    Raises Corruption when nothing says what the schema was, Unreadable and OSError when the disk refuses, which is no
    damage; nothing is lost by that.
    """
    return _Repair(disk, source, now).run()


def set_tokens_aside(disk: Disk, data: DataDir, *, now: datetime) -> Path:
    """Where the damaged tokens' file is now."""
    aside = data.tokens.with_name(f"{data.tokens.name}.damaged-{now:%Y%m%dT%H%M%SZ}")
    disk.rename(data.tokens, aside)
    disk.sync_dir(data.path)
    return aside


class _Repair:
    def __init__(self, disk: Disk, source: SourceDir, now: datetime) -> None:
        self._disk = disk
        self._source = source
        self._now = now
        self._bad_refs: list[SegmentRef] = []
        self._aside: list[Path] = []
        self._lost: list[tuple[Lsn, Lsn]] = []
        self._notes: list[str] = []

    def run(self) -> Repaired:
        settle_merging(self._disk, self._source, now=self._now)
        files = open_files(self._disk, self._source)
        self._repair_applied(files)
        self._set_segments_aside()
        manifest = read_manifest(self._disk, self._source)
        log = assemble(files, manifest.applied.floor_lsn)
        refs = (*manifest.rows, *manifest.quarantine, *manifest.keys, *manifest.replays)
        end = Lsn(max(log.last_lsn, manifest.published, *(ref.name.last_lsn for ref in refs), *self._bad_ends()))
        schema = self._repair_schema(files, manifest, end)
        self._repair_identity(files)
        for hole in _holes(manifest, end):
            self._fill(hole, log, schema, manifest)
        self._repair_quarantine(manifest)
        write_applied(self._disk, self._source, replace(manifest.applied, applied_lsn=end))
        for path in dict.fromkeys(damage.path for damage in log.damage if damage.path and damage.offset is not None):
            self._set_aside(path)
        self._disk.sync_dir(self._source.wal)
        remove_covered(self._disk, self._source, end, end)
        return Repaired(tuple(self._lost), tuple(self._aside), tuple(self._notes))

    def _bad_ends(self) -> Iterator[Lsn]:
        return (ref.name.last_lsn for ref in self._bad_refs)

    def _set_aside(self, path: Path) -> None:
        """Move a file to where nobody reads it and a person can."""
        directory = self._source.damaged(self._now)
        for made in (directory.parent, directory):
            if not self._disk.exists(made):
                self._disk.mkdir(made)
                self._disk.sync_dir(made.parent)
        target = directory / "-".join(path.relative_to(self._source.path).parts)
        self._disk.rename(path, target)
        self._disk.sync_dir(directory)
        self._disk.sync_dir(path.parent)
        self._aside.append(target)

    def _set_aside_if_there(self, path: Path) -> None:
        if self._disk.exists(path):
            self._set_aside(path)

    def _repair_applied(self, files: list[WalFile]) -> None:
        try:
            read_applied(self._disk, self._source)
        except Unreadable:
            raise
        except Corruption:
            self._set_aside_if_there(self._source.applied)
            write_applied(self._disk, self._source, Applied())
            rows = read_manifest(self._disk, self._source).rows
            first = min((*(ref.name.first_lsn for ref in rows), *(file.name.first_lsn for file in files)), default=1)
            # Files below a floor are removed with it: what is not there in front was truncated.
            write_applied(self._disk, self._source, Applied(floor_lsn=Lsn(first - 1)))
            self._notes.append("applied.json was made anew; rows truncated moments before the damage may be back")

    def _set_segments_aside(self) -> None:
        manifest = read_manifest(self._disk, self._source)
        last = manifest.applied.floor_lsn
        for kind, refs in zip(
            KINDS, (manifest.rows, manifest.quarantine, manifest.keys, manifest.replays), strict=True
        ):
            for ref in refs:
                if self._is_good(ref) and (kind != "rows" or ref.name.first_lsn > last):
                    last = ref.name.last_lsn if kind == "rows" else last
                    continue
                self._set_aside(ref.path)
                self._bad_refs.append(ref)
                self._note_loss(kind, ref)

    def _is_good(self, ref: SegmentRef) -> bool:
        try:
            check_segment(self._disk, ref)
            read_facts(self._disk, ref)
            read_schema(self._disk, ref)
        except Unreadable:
            raise
        except Corruption:
            return False
        return True

    def _note_loss(self, kind: Kind, ref: SegmentRef) -> None:
        span = f"LSNs {ref.name.first_lsn} to {ref.name.last_lsn}"
        if kind == "keys":
            self._notes.append(f"the idempotency keys of {span} are forgotten: a retry of them would be stored again")
        if kind == "replays":
            self._notes.append(f"quarantined rows that {span} replayed are in quarantine again")
        if kind == "quarantine":
            self._notes.append(f"the quarantined rows of {span} are lost, unless the log still has them")

    def _repair_schema(self, files: list[WalFile], manifest: Manifest, end: Lsn) -> Schema:
        disk, source = self._disk, self._source
        try:
            load_altered_lsn(disk, source)
        except Corruption:
            self._set_aside_if_there(source.altered)
        try:
            schema = load_schema(disk, source)
            text = disk.read(source.schema).decode()
        except (Corruption, UnknownSource) as error:
            headers = [declared_schema(file) for file in files if file.header is not None]
            said = [*(read_schema(disk, ref) for ref in manifest.rows), *headers]
            if not said:
                reason = "no file says what the schema was; write its datafile there by hand, and remove altered.json"
                raise Corruption(reason, path=source.schema) from error
            self._set_aside_if_there(source.schema)
            schema = said[-1]
            text = print_schema(schema)
            self._notes.append("the schema was made anew, as the newest rows had it; an alteration after them is lost")
            write_altered(disk, source, end, (text,))
            publish(disk, source.schema, text.encode())
        else:
            if not disk.exists(source.altered):
                write_altered(disk, source, end, (text,))
        return schema

    def _repair_identity(self, files: list[WalFile]) -> None:
        try:
            load_identity(self._disk, self._source)
        except Corruption:
            ids = [file.header.source_id for file in files if file.header is not None]
            self._set_aside_if_there(self._source.identity)
            created_at = self._now.strftime("%Y-%m-%d %H:%M:%S.%f")
            identity = Identity(ids[-1] if ids else uuid4().bytes, created_at)
            write_identity(self._disk, self._source, identity)
            self._notes.append(f"source.json was made anew: the id is {identity.text}")

    def _fill(self, hole: tuple[Lsn, Lsn], log: Log, schema: Schema, manifest: Manifest) -> None:
        """Make segments of what the log has of a hole, and empty ones of the rest."""
        next_lsn, last = hole
        for run in _runs(log, hole):
            first = run.frames[0].first_lsn
            if first < next_lsn:
                continue
            self._write_lost(next_lsn, Lsn(first - 1), schema)
            for ref in (*manifest.quarantine, *manifest.keys, *manifest.replays):
                # The log has all that these had, and they must not be there twice.
                if first <= ref.name.first_lsn and ref.name.last_lsn <= run.frames[-1].last_lsn:
                    self._set_aside_if_there(ref.path)
            compact_run(self._disk, self._source, [run], manifest)
            next_lsn = Lsn(run.frames[-1].last_lsn + 1)
        self._write_lost(next_lsn, last, schema)

    def _write_lost(self, first: Lsn, last: Lsn, schema: Schema) -> None:
        if first > last:
            return
        day = next(
            (ref.day for ref in self._bad_refs if first <= ref.name.last_lsn and ref.name.first_lsn <= last), None
        )
        span = Span(day or self._now.date(), schema, first, last, 0, 0, lost=last - first + 1)
        write_segment(self._disk, self._source, "rows", schema.arrow.empty_table(), span)
        self._lost.append((first, last))

    def _repair_quarantine(self, manifest: Manifest) -> None:
        """A rows segment whose quarantine is missing gets an empty one, which says so."""
        for ref in manifest.rows:
            missing, span = missing_quarantined(self._disk, manifest, ref), (ref.name.first_lsn, ref.name.last_lsn)
            if missing:
                schema = read_schema(self._disk, ref)
                lost = Span(ref.day, schema, *span, missing, 0, lost=missing)
                write_segment(self._disk, self._source, "quarantine", schema.quarantine.empty_table(), lost)
                self._notes.append(f"{missing} quarantined rows of LSNs {span[0]} to {span[1]} are lost")


def _holes(manifest: Manifest, end: Lsn) -> Iterator[tuple[Lsn, Lsn]]:
    """Spans of LSNs up to `end` that no segment has."""
    ends = [manifest.applied.floor_lsn, *(ref.name.last_lsn for ref in manifest.rows)]
    starts = [*(ref.name.first_lsn for ref in manifest.rows), Lsn(end + 1)]
    for last, first in zip(ends, starts, strict=True):
        if last + 1 < first:
            yield Lsn(last + 1), Lsn(first - 1)


def _runs(log: Log, hole: tuple[Lsn, Lsn]) -> Iterator[WalFile]:
    """The log's files, cut into pieces that lie in the hole and have no gaps."""
    for file in log.files:
        inside = [f for f in file.frames if hole[0] <= f.first_lsn and f.last_lsn <= hole[1]]
        cuts = [at for at, (one, two) in enumerate(pairwise(inside), 1) if two.first_lsn != one.last_lsn + 1]
        for start, stop in pairwise([0, *cuts, len(inside)]):
            if inside:
                yield replace(file, frames=tuple(inside[start:stop]))
