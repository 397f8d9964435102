"""From a directory as a crash left it to a writer that is safe to use, and the birth of new sources."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from segments.batches import frame_notes
from segments.compaction import remove_covered
from segments.disk import Disk, publish, remove_tree
from segments.errors import Corruption, SchemaError, Unreadable
from segments.filenames import DataDir, Lsn, SourceDir
from segments.frame import BadBytes
from segments.identity import Identity
from segments.keys import Key, KeyMemory, KeyWindow, oldest_keys_day
from segments.manifest import KINDS, Applied, Manifest, remove_leftovers, settle_manifest, write_applied
from segments.merge import settle_merging
from segments.segment_file import read_keys
from segments.source_files import load_identity, load_schema, write_altered, write_identity
from segments.source_log import SourceLog, Start
from segments.wal_reader import assemble, open_files

SCHEMA_TEXT_MAX = 1 << 20
"""As a datafile. It stands in the header of every WAL file and in the footer of every segment."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """A writer, and what recovery stepped over: tails of writes that nobody was told about."""

    log: SourceLog
    torn: tuple[tuple[Path, BadBytes], ...]


def create_source(disk: Disk, data: DataDir, name: str, text: str, *, source_id: bytes, now: datetime) -> None:
    """Make a source's directory, whole and durable under its name when this returns. `text` is a valid datafile.

    One that is there already, because an earlier call could not sync its name, is taken as it is. Raises SchemaError for
    a schema too large to keep, and OSError.
    """
    check_size(text)
    final = data.source(name)
    if disk.exists(final.path):
        disk.sync_dir(data.sources)
        return
    building = SourceDir(data.sources / f".{name}.new")
    if disk.exists(building.path):
        remove_tree(disk, building.path)
    for directory in (building.path, building.wal, *map(building.kind, KINDS)):
        disk.mkdir(directory)
    write_identity(disk, building, Identity(source_id, now.strftime("%Y-%m-%d %H:%M:%S.%f")))
    write_altered(disk, building, Lsn(0), (text,))
    publish(disk, building.schema, text.encode())
    write_applied(disk, building, Applied())
    disk.rename(building.path, final.path)
    disk.sync_dir(data.sources)


def check_size(text: str) -> None:
    """Raises SchemaError when a datafile is too long to keep with every file of its source."""
    size = len(text.encode())
    if size > SCHEMA_TEXT_MAX:
        raise SchemaError(
            f"the datafile, names and paths of all columns, takes {size} bytes; {SCHEMA_TEXT_MAX} is the limit: "
            "use fewer columns, or send events with shorter keys"
        )


def remove_unborn(disk: Disk, data: DataDir) -> None:
    """Delete sources whose creation or removal a crash cut short. Only the owner of the data directory may."""
    unborn = [
        name for name in disk.listdir(data.sources) if name.startswith(".") and name.endswith((".new", ".dropped"))
    ]
    if unborn:
        # A source must have lost its name for good before it loses its files.
        disk.sync_dir(data.sources)
    for name in unborn:
        remove_tree(disk, data.sources / name)


def unname_source(disk: Disk, data: DataDir, source: SourceDir) -> Path:
    """Take a source's name from its directory: the one step at which it is gone. Where the directory is now."""
    gone = data.sources / f".{source.name}.dropped"
    if disk.exists(gone):
        disk.sync_dir(data.sources)
        remove_tree(disk, gone)
    disk.rename(source.path, gone)
    disk.sync_dir(data.sources)
    return gone


def rename_source(disk: Disk, data: DataDir, source: SourceDir, name: str) -> None:
    """Give a source's directory another name, which must be free."""
    disk.rename(source.path, data.source(name).path)
    disk.sync_dir(data.sources)


def recover(disk: Disk, source: SourceDir, *, now: datetime, memory: KeyMemory | None = None) -> Recovered:
    """Read back what is known to be on the device and make a writer that continues after it.

    Writes nothing but the removal of leftovers; the writer starts a file of its own with its first commit, or before when it
    has to make older rows void. Damage does not raise: the writer refuses to write, and readers get every row that
    checks. Raises Corruption when even the schema or the identity is lost, OSError or Unreadable when the disk refuses,
    which says nothing about the source, and KeysFull when `memory` has no room for the source's keys.
    """
    keys = KeyWindow(memory)
    try:
        return _recover(disk, source, now, keys)
    except BaseException:
        keys.clear()
        raise


def _recover(disk: Disk, source: SourceDir, now: datetime, keys: KeyWindow) -> Recovered:
    schema = load_schema(disk, source)
    identity = load_identity(disk, source)
    for directory in (source.path.parent, source.wal):
        disk.sync_dir(directory)
    for name in disk.listdir(source.wal):
        disk.sync_path(source.wal / name)
    settle_merging(disk, source, now=now)
    manifest = settle_manifest(disk, source)
    remove_leftovers(disk, manifest)
    for directory in (source.path, source.wal):
        for name in disk.listdir(directory):
            if name.endswith(".tmp"):
                disk.unlink(directory / name)
    log = assemble(open_files(disk, source), manifest.published)
    damage = [*manifest.damage, *log.damage, *_read_keys(disk, manifest, keys, now)]
    _remember(keys, frame_notes(frame for file in log.files for frame in file.frames).keys, now)
    for one in damage:
        if isinstance(one, Unreadable):
            raise one
    if not damage:
        # Their removal may not have outlived a power cut, and no compaction would come to repeat it.
        remove_covered(disk, source, manifest.published, log.last_lsn)
    days = [ref.day for ref in manifest.rows] + [file.header.day for file in log.files if file.header]
    day = max(days, default=date.min)
    start = Start(log.last_lsn, day, log.epoch + 1, manifest.published, keys, tuple(damage))
    return Recovered(SourceLog(disk, source, identity, schema, start), log.torn)


def _read_keys(disk: Disk, manifest: Manifest, keys: KeyWindow, now: datetime) -> list[Corruption]:
    """Remember what is in segments; the damage among them. Raises KeysFull."""
    damage = []
    for ref in manifest.keys:
        if ref.day >= oldest_keys_day(now):
            try:
                read = read_keys(disk, ref)
            except Corruption as error:
                damage.append(error)
            else:
                _remember(keys, read, now)
    return damage


def _remember(keys: KeyWindow, read: Iterable[Key], now: datetime) -> None:
    """Raises KeysFull."""
    keys.add(read)
    keys.expire(int(now.timestamp()))
    keys.trim()
    keys.check_room()
