"""The birth of sources, and what a start does and does not touch."""

import errno
from itertools import count
from pathlib import Path

import pytest

from segments.column_type import ColumnType
from segments.datafile_print import print_schema
from segments.disk import Disk
from segments.errors import Corruption, SchemaError, StorageError, UnknownSource
from segments.filenames import DataDir
from segments.group import Committed, Write
from segments.lines import parse_body
from segments.recovery import create_source, recover, remove_unborn
from segments.schema import Column, Schema
from tests.faults.faulty_disk import Died, FaultyDisk
from tests.stored import NOW, SCHEMA, Stored, body, commit, key

ID = b"0123456789abcdef"


@pytest.mark.parametrize("fault", ["die", "fail once"])
def test_a_source_is_born_whole_or_not_at_all(tmp_path, fault):
    """Whatever operation was the last: no half-made source is seen, and making it again works."""
    at = 0
    while True:
        at += 1
        data = DataDir(tmp_path / str(at))
        data.path.mkdir()
        data.sources.mkdir()
        disk = FaultyDisk(at, fault=fault)
        try:
            create_source(disk, data, "events", print_schema(SCHEMA), source_id=ID, now=NOW)
        except (Died, OSError):
            pass
        if disk.exists(data.source("events").path):
            assert recover(Disk(), data.source("events"), now=NOW).log.schema == SCHEMA
        create_source(Disk(), data, "events", print_schema(SCHEMA), source_id=ID, now=NOW)
        assert recover(Disk(), data.source("events"), now=NOW).log.schema == SCHEMA
        remove_unborn(Disk(), data)
        assert Disk().listdir(data.sources) == ["events"]
        if len(disk.operations) < at:
            break
    assert at > 15


def test_a_start_writes_nothing(tmp_path):
    """A full disk must not keep the daemon down."""
    stored = Stored(tmp_path).create()
    log = stored.open()
    commit(log, body(1, -2))
    stored.compact(log)
    commit(log, body(3))
    stored.disk = FaultyDisk()
    stored.open()

    assert {operation.split()[0] for operation in stored.disk.operations} == {"sync_dir"}


class Unwilling(Disk):
    """Refuses the n-th listing or read, and no other: a process that was out of descriptors for a moment."""

    def __init__(self, at: int) -> None:
        self.left = at

    def _step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError(errno.EMFILE, "Too many open files")

    def listdir(self, path: Path) -> list[str]:
        self._step()
        return super().listdir(path)

    def read(self, path: Path) -> bytes:
        self._step()
        return super().read(path)


def test_what_could_not_be_read_for_once_is_not_damaged_and_nothing_is_deleted_because_of_it(tmp_path):
    stored = Stored(tmp_path).create()
    log = stored.open()
    write = Write(parse_body(body(1, -2)), key("k", body(1, -2)))
    log.commit([write], NOW, durably=True)
    stored.compact(log)
    commit(log, body(3, -4))
    for at in count(1):
        stored.disk = Unwilling(at)
        try:
            recovered = stored.open()
        except (OSError, StorageError):
            recovered = None
        stored.disk = Disk()
        if recovered is not None:
            assert not recovered.damage
            break
    again = stored.open()

    assert at > 8
    assert not again.damage
    assert stored.ids() == [1, 3]
    assert len(stored.quarantined()) == 2
    assert isinstance(again.commit([write], NOW, durably=True)[0], Committed)
    assert stored.ids() == [1, 3]


def test_files_of_the_log_that_are_in_segments_and_came_back_with_a_power_cut_are_removed(tmp_path):
    stored = Stored(tmp_path).create()
    log = stored.open()
    for n in range(2):
        commit(log, body(n))
        log.seal()
    before = {path: path.read_bytes() for path in stored.source.wal.iterdir()}
    stored.compact(log)
    for path, content in before.items():
        path.write_bytes(content)

    stored.open()
    assert list(stored.source.wal.iterdir()) == []
    assert stored.ids() == [0, 1]


def test_an_unknown_source_and_a_broken_schema_are_named(tmp_path):
    stored = Stored(tmp_path).create()
    with pytest.raises(UnknownSource, match="no data source nothing"):
        recover(stored.disk, DataDir(tmp_path).source("nothing"), now=NOW)
    stored.source.schema.write_text("SCHEMA >\n    nonsense\n")
    with pytest.raises(Corruption, match="its checksum does not match"):
        stored.open()


def test_a_schema_that_would_not_fit_into_a_wal_file_is_refused(tmp_path):
    data = DataDir(tmp_path)
    data.sources.mkdir()
    columns = tuple(Column(f"c{n}", ColumnType("Int64"), ("k" * 10_000 + str(n),)) for n in range(110))
    with pytest.raises(SchemaError, match="send events with shorter keys"):
        create_source(Disk(), data, "events", print_schema(Schema(columns)), source_id=ID, now=NOW)
    assert Disk().listdir(data.sources) == []
