"""The birth of sources, and what a start does and does not touch."""

import pytest

from segments.column_type import ColumnType
from segments.datafile_print import print_schema
from segments.disk import Disk
from segments.errors import Corruption, SchemaError, UnknownSource
from segments.filenames import DataDir
from segments.recovery import create_source, recover, remove_unborn
from segments.schema import Column, Schema
from tests.faults.faulty_disk import Died, FaultyDisk
from tests.stored import NOW, SCHEMA, Stored, body, commit

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


def test_an_unknown_source_and_a_broken_schema_are_named(tmp_path):
    stored = Stored(tmp_path).create()
    with pytest.raises(UnknownSource, match="no data source nothing"):
        recover(stored.disk, DataDir(tmp_path).source("nothing"), now=NOW)
    stored.source.schema.write_text("SCHEMA >\n    nonsense\n")
    with pytest.raises(Corruption, match="line 2, column 13: expected a column type"):
        stored.open()


def test_a_schema_that_would_not_fit_into_a_wal_file_is_refused(tmp_path):
    data = DataDir(tmp_path)
    data.sources.mkdir()
    columns = tuple(Column(f"c{n}", ColumnType("Int64"), ("k" * 10_000 + str(n),)) for n in range(110))
    with pytest.raises(SchemaError, match="send events with shorter keys"):
        create_source(Disk(), data, "events", print_schema(Schema(columns)), source_id=ID, now=NOW)
    assert Disk().listdir(data.sources) == []
