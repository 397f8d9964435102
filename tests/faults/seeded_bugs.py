"""Mistakes to be put into the storage code on purpose, one at a time: the crash check must catch each."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segments import compaction, frame, prepare, recovery, segment_file, source_log, wal_reader
from segments.direct import Data
from segments.filenames import DataDir, Lsn, WalName
from segments.keys import KeyWindow, Notes, encode_notes
from segments.manifest import read_manifest, write_applied
from segments.wal_append import Append, Appended
from segments.wal_writer import WalWriter
from tests.faults.memory_disk import MemoryDisk

Patch = pytest.MonkeyPatch


@contextmanager
def without_syncs_of(directory: Path) -> Iterator[None]:
    whole = MemoryDisk.sync_dir
    with pytest.MonkeyPatch.context() as inner:
        inner.setattr(MemoryDisk, "sync_dir", lambda disk, path: None if path == directory else whole(disk, path))
        yield


def acknowledged_before_the_sync(patch: Patch) -> None:
    def sync(writer: WalWriter) -> None:
        writer.durable_lsn = Lsn(writer.next_lsn - 1)

    patch.setattr(WalWriter, "sync", sync)


def failed_sync_tried_again(patch: Patch) -> None:
    whole = WalWriter.sync

    def sync(writer: WalWriter) -> None:
        try:
            whole(writer)
        except OSError:
            whole(writer)

    patch.setattr(WalWriter, "sync", sync)


def appends_answered_before_the_sync(patch: Patch) -> None:
    whole = Append.make

    def make(append: Append, disk: Any, *, durably: bool) -> Appended:
        return whole(append, disk, durably=False)._replace(is_synced=durably)

    patch.setattr(Append, "make", make)


def failed_sync_of_an_append_tried_again(patch: Patch) -> None:
    whole = Append.make

    def make(append: Append, disk: Any, *, durably: bool) -> Appended:
        appended = whole(append, disk, durably=durably)
        return whole(append, disk, durably=durably) if appended.is_written and appended.error else appended

    patch.setattr(Append, "make", make)


def failed_sync_of_an_append_not_told(patch: Patch) -> None:
    whole = Append.make

    def make(append: Append, disk: Any, *, durably: bool) -> Appended:
        appended = whole(append, disk, durably=durably)
        return Appended(is_written=True, is_synced=durably) if appended.is_written else appended

    patch.setattr(Append, "make", make)


def file_gone_on_with_after_a_failed_append(patch: Patch) -> None:
    """Not dead: what a failed sync may have lost stands before what is written later."""

    def abandon(log: source_log.SourceLog) -> None:
        log.epoch -= 1

    patch.setattr(source_log.SourceLog, "abandon", abandon)


def names_not_synced_in(directory: str) -> Callable[[Patch], None]:
    def seed(patch: Patch) -> None:
        whole = MemoryDisk.sync_dir

        def sync_dir(disk: MemoryDisk, path: Any) -> None:
            if not path.name.startswith(directory):
                whole(disk, path)

        patch.setattr(MemoryDisk, "sync_dir", sync_dir)

    seed.__name__ = f"names_not_synced_in_{directory}"
    return seed


def no_checksum(patch: Patch) -> None:
    patch.setattr(frame, "_crc_without_field", lambda data, at: 0)


def log_deleted_before_publication(patch: Patch) -> None:
    whole = compaction.compact_run

    def run(disk, source, files, manifest):
        for file in files:
            disk.unlink(file.path)
        return whole(disk, source, files, manifest)

    patch.setattr(compaction, "compact_run", run)
    patch.setattr(compaction, "remove_covered", lambda *_: None)


def applied_moved_before_publication(patch: Patch) -> None:
    whole = compaction.compact_run

    def run(disk, source, files, manifest):
        last = files[-1].frames[-1].last_lsn
        write_applied(disk, source, replace(manifest.applied, applied_lsn=last))
        return whole(disk, source, files, manifest)

    patch.setattr(compaction, "compact_run", run)


def keys_forgotten_at_restart(patch: Patch) -> None:
    patch.setattr("segments.recovery.frame_notes", lambda frames: Notes())


def keys_forgotten_at_compaction(patch: Patch) -> None:
    patch.setattr("segments.recovery.read_keys", lambda disk, ref: ())


def keys_of_failed_rows_kept(patch: Patch) -> None:
    patch.setattr(KeyWindow, "forget_after", lambda window, lsn: None)


def later_epochs_void_nothing(patch: Patch) -> None:
    patch.setattr(wal_reader, "_void_from", lambda file, files: wal_reader.LAST)


def vouched_for_before_the_sync(patch: Patch) -> None:
    whole = frame.encode_frame

    def encode(**parts: Any) -> tuple[Data, int]:
        return whole(**parts | {"durable_lsn": parts["first_lsn"] + parts["count"] - 1})

    patch.setattr("segments.wal_writer.encode_frame", encode)


def sealed_without_a_sync(patch: Patch) -> None:
    def seal(log: source_log.SourceLog) -> None:
        if log._writer is not None:
            log.durable_lsn = log.appended_lsn
            log._writer.close()
            log._writer = None

    patch.setattr(source_log.SourceLog, "seal", seal)


def published_rows_read_from_the_log_too(patch: Patch) -> None:
    whole = wal_reader.assemble
    patch.setattr("segments.snapshot.assemble", lambda files, published: whole(files, Lsn(0)))


def replayed_rows_not_named(patch: Patch) -> None:
    whole = encode_notes
    patch.setattr(prepare, "encode_notes", lambda notes: whole(Notes(notes.keys)))


def frames_after_a_torn_one_believed(patch: Patch) -> None:
    whole = wal_reader.read_file

    def read(*file: Any) -> wal_reader.WalFile:
        read = whole(*file)
        return replace(read, frames=(*read.frames, *read.later), bad=None)

    patch.setattr(wal_reader, "read_file", read)


def readers_do_not_sync(patch: Patch) -> None:
    patch.setattr(MemoryDisk, "map_synced", MemoryDisk.map)


def old_names_believed(patch: Patch) -> None:
    """As it was before settle_manifest."""
    patch.setattr("segments.compaction.settle_manifest", read_manifest)
    patch.setattr("segments.recovery.settle_manifest", read_manifest)


def dead_files_removed_in_any_order(patch: Patch) -> None:
    """As it was before the directory was synced between epochs."""

    def remove(disk, source, published, through):
        for name in sorted(n for n in map(WalName.parse, disk.listdir(source.wal)) if n):
            if name.first_lsn <= through <= published:
                disk.unlink(source.wal / str(name))

    patch.setattr(compaction, "remove_covered", remove)


def schema_not_synced_before_a_new_file(patch: Patch) -> None:
    whole = source_log.SourceLog._start_file

    def start(log: source_log.SourceLog, now: Any) -> None:
        with without_syncs_of(log.source.path):
            whole(log, now)

    patch.setattr(source_log.SourceLog, "_start_file", start)


def drop_that_was_cut_short_goes_on_without_a_sync(patch: Patch) -> None:
    whole = recovery.remove_unborn

    def remove(disk: Any, data: DataDir) -> None:
        with without_syncs_of(data.sources):
            whole(disk, data)

    for module in ("judge", "story"):
        patch.setattr(f"tests.faults.{module}.remove_unborn", remove)


def failed_rows_not_void_before_a_truncate(patch: Patch) -> None:
    patch.setattr(source_log.SourceLog, "void", lambda log, now: None)


def failed_rows_of_an_earlier_life_not_void_before_a_truncate(patch: Patch) -> None:
    whole = source_log.SourceLog.__init__

    def init(log: source_log.SourceLog, *parts: Any) -> None:
        whole(log, *parts)
        log._may_have_dead_tail = False

    patch.setattr(source_log.SourceLog, "__init__", init)


def pages_of_a_dead_file_kept(patch: Patch) -> None:
    patch.setattr(WalWriter, "abandon", WalWriter.close)


def days_that_are_there_not_synced(patch: Patch) -> None:
    whole = segment_file.write_segment

    def write(disk: Any, source: Any, kind: Any, table: Any, span: Any) -> Any:
        if not disk.exists(source.day(kind, span.day)):
            return whole(disk, source, kind, table, span)
        with without_syncs_of(source.kind(kind)):
            return whole(disk, source, kind, table, span)

    patch.setattr(segment_file, "write_segment", write)


BUGS = [
    acknowledged_before_the_sync,
    failed_sync_tried_again,
    appends_answered_before_the_sync,
    failed_sync_of_an_append_tried_again,
    failed_sync_of_an_append_not_told,
    file_gone_on_with_after_a_failed_append,
    *map(names_not_synced_in, ("sources", "wal", "rows", "ingested", "keys")),
    no_checksum,
    log_deleted_before_publication,
    applied_moved_before_publication,
    keys_forgotten_at_restart,
    keys_forgotten_at_compaction,
    keys_of_failed_rows_kept,
    later_epochs_void_nothing,
    vouched_for_before_the_sync,
    sealed_without_a_sync,
    published_rows_read_from_the_log_too,
    replayed_rows_not_named,
    frames_after_a_torn_one_believed,
    readers_do_not_sync,
    old_names_believed,
    dead_files_removed_in_any_order,
    schema_not_synced_before_a_new_file,
    drop_that_was_cut_short_goes_on_without_a_sync,
    failed_rows_not_void_before_a_truncate,
    failed_rows_of_an_earlier_life_not_void_before_a_truncate,
    pages_of_a_dead_file_kept,
]
