"""Which segments a source has. The directory is the manifest: a segment's name says which LSNs it holds."""

from bisect import bisect_left
from dataclasses import asdict, astuple, dataclass
from datetime import date
from pathlib import Path

import google_crc32c
import orjson

from segments.disk import Disk, publish
from segments.errors import Corruption, Unreadable
from segments.filenames import Kind, Lsn, SegmentName, SourceDir, parse_day

_NONE = Lsn(0)
KINDS: tuple[Kind, ...] = ("rows", "quarantine", "keys", "replays")


@dataclass(frozen=True, slots=True)
class Applied:
    """What applied.json says. Up to `applied_lsn` the WAL is no longer needed; rows, or quarantined rows, up to a floor
    were truncated: they are not there for anyone any more, whatever files still hold them."""

    applied_lsn: Lsn = _NONE
    floor_lsn: Lsn = _NONE
    quarantine_floor_lsn: Lsn = _NONE


@dataclass(frozen=True, slots=True)
class SegmentRef:
    path: Path
    name: SegmentName
    day: date


@dataclass(frozen=True, slots=True)
class Manifest:
    """The published segments in LSN order, files a crash left over, and what is missing."""

    rows: tuple[SegmentRef, ...]
    quarantine: tuple[SegmentRef, ...]
    keys: tuple[SegmentRef, ...]
    replays: tuple[SegmentRef, ...]
    leftovers: tuple[Path, ...]
    damage: tuple[Corruption, ...]
    published: Lsn
    applied: Applied


def read_manifest(disk: Disk, source: SourceDir) -> Manifest:
    """List the segments; damage is reported, not raised.

    In the order that is safe while a compaction goes on: applied.json moves after its segment is there, so it is read
    before the segments are listed; the others are there before their rows file, so those are listed last.
    """
    damage: list[Corruption] = []
    applied = Applied()
    try:
        applied = read_applied(disk, source)
    except Corruption as error:
        damage.append(error)
    listed = {kind: _list(disk, source, kind, damage) for kind in KINDS}
    rows = tuple(ref for ref in listed["rows"].refs if ref.name.last_lsn > applied.floor_lsn)
    last = applied.floor_lsn
    for ref in rows:
        if ref.name.first_lsn != last + 1:
            damage.append(
                Corruption(
                    f"the segment before this one is missing: LSNs {last + 1} to {ref.name.first_lsn - 1}"
                    if ref.name.first_lsn > last
                    else "the segment overlaps the one before it",
                    path=ref.path,
                )
            )
        last = max(last, ref.name.last_lsn)
    if applied.applied_lsn > last:
        missing = f"the segments of LSNs {last + 1} to {applied.applied_lsn} are missing"
        damage.append(Corruption(missing, path=source.kind("rows")))
    leftovers = [path for one in listed.values() for path in one.temporary]
    floor = applied.quarantine_floor_lsn
    quarantine = tuple(ref for ref in listed["quarantine"].refs if floor < ref.name.last_lsn <= last)
    keys, replays = (tuple(ref for ref in listed[k].refs if ref.name.last_lsn <= last) for k in KINDS[2:])
    current = {ref.path for ref in (*rows, *quarantine, *keys, *replays)}
    leftovers += [ref.path for one in listed.values() for ref in one.refs if ref.path not in current]
    published = Lsn(max(applied.applied_lsn, last))
    return Manifest(rows, quarantine, keys, replays, tuple(leftovers), tuple(damage), published, applied)


def settle_manifest(disk: Disk, source: SourceDir) -> Manifest:
    """The manifest, once every name that it goes by is durable. Raises OSError.

    A name can be seen before it is durable, after a kill or a failed sync; what is deleted because of it would be gone
    when a power cut takes it back. Only who may write segments, and recovery, need it.
    """
    manifest = read_manifest(disk, source)
    refs = (*manifest.rows, *manifest.quarantine, *manifest.keys, *manifest.replays)
    days = {ref.path.parent for ref in refs if ref.name.last_lsn > manifest.applied.applied_lsn}
    for directory in (source.path, *map(source.kind, KINDS), *sorted(days)):
        disk.sync_dir(directory)
    return manifest


def companions(manifest: Manifest, ref: SegmentRef) -> tuple[SegmentRef, ...]:
    """The segments of quarantined rows in the LSN range of a rows segment.

    There is one, or none, until segments are merged: those of a day's rows first, those of its quarantine later.
    """
    start = bisect_left(manifest.quarantine, ref.name.first_lsn, key=lambda other: other.name.first_lsn)
    stop = bisect_left(manifest.quarantine, ref.name.last_lsn + 1, key=lambda other: other.name.first_lsn)
    return tuple(other for other in manifest.quarantine[start:stop] if other.name.last_lsn <= ref.name.last_lsn)


@dataclass(frozen=True, slots=True)
class _Listed:
    refs: tuple[SegmentRef, ...]
    temporary: tuple[Path, ...]


def _list(disk: Disk, source: SourceDir, kind: Kind, damage: list[Corruption]) -> _Listed:
    refs, temporary = [], []
    try:
        days = disk.listdir(source.kind(kind))
    except OSError as error:
        damage.append(Unreadable.unless_missing(error, "the directory", source.kind(kind)))
        return _Listed((), ())
    for day_name in days:
        day = parse_day(day_name)
        if day is None:
            continue
        for file_name in disk.listdir(source.day(kind, day)):
            name = SegmentName.parse(file_name)
            path = source.day(kind, day) / file_name
            if name is not None:
                refs.append(SegmentRef(path, name, day))
            elif file_name.endswith(".tmp"):
                temporary.append(path)
    return _Listed(tuple(sorted(refs, key=lambda ref: ref.name)), tuple(temporary))


def remove_leftovers(disk: Disk, manifest: Manifest) -> None:
    """Delete what a cut-short publication, or a floor that rose, left. Only who may write segments, and recovery, may.

    Where something is damaged, or only could not be read, nothing is known to be left over.
    """
    if manifest.damage:
        return
    for path in manifest.leftovers:
        disk.unlink(path)


def read_applied(disk: Disk, source: SourceDir) -> Applied:
    """How far the source is in segments, and what was truncated. Raises Corruption when the file does not check."""
    try:
        document = orjson.loads(disk.read(source.applied))
        said = document.pop("crc32c")
        applied = Applied(**document)
    except OSError as error:
        raise Unreadable.unless_missing(error, "applied.json", source.applied) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Corruption(f"applied.json can't be read: {error}", path=source.applied) from error
    if said != _crc(applied):
        raise Corruption("the checksum of applied.json does not match", path=source.applied)
    return applied


def write_applied(disk: Disk, source: SourceDir, applied: Applied) -> None:
    document = asdict(applied) | {"crc32c": _crc(applied)}
    publish(disk, source.applied, orjson.dumps(document) + b"\n")


def _crc(applied: Applied) -> str:
    return f"{google_crc32c.value(' '.join(map(str, astuple(applied))).encode()):08x}"
