"""Rot in segments: never in an answer, by whatever way it is read, and always said."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from query import cli
from query.engine import run_query
from query.intact import SegmentChecks
from segments.disk import Disk
from segments.errors import Unreadable
from segments.filenames import DataDir
from tests.daemons import siltstone
from tests.stored import Stored, flip

STATEMENTS = {
    "SELECT id, text FROM events ORDER BY id": "whole",
    "SELECT id FROM events WHERE id < 3 LIMIT 1": "limited",
    "SELECT count(*) AS n FROM events": "counted from footers",
    "SELECT [id] AS ids FROM events ORDER BY id": "by way of Arrow",
    "SELECT e.id FROM events e, range(3_000) ORDER BY ALL": "many rows",
}


@pytest.fixture
def stored(tmp_path):
    """Three segments and an empty log."""
    stored = Stored(tmp_path / "data").create()
    log = stored.open()
    for ids in ((1, 2), (3,), (4, 5)):
        stored.publish(log, *ids)
    return stored


def answered(stored, sql, format_name):
    done = CliRunner().invoke(cli.main, ["query", sql, "--format", format_name, "--data", str(stored.path)])
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


@pytest.mark.parametrize("format_name", ["ndjson", "table", "csv"])
@pytest.mark.parametrize("sql", STATEMENTS, ids=STATEMENTS.values())
def test_no_way_of_reading_shows_a_segment_with_a_flipped_bit(stored, sql, format_name):
    """What is said is what is said when the file was never there, for bytes all over it."""
    path = stored.snapshot().rows.paths[1]
    content = path.read_bytes()
    only_others, _ = answered(stored, sql.replace("FROM events", "FROM (FROM events WHERE id <> 3)"), format_name)
    for at in range(0, len(content), len(content) // 12):
        flip(path, at)
        text, said = answered(stored, sql, format_name)
        assert text == only_others
        assert "rows are missing" in said
        assert str(path) in said
        path.write_bytes(content)


@pytest.mark.parametrize("format_name", ["table", "json", "ndjson", "csv", "parquet", "arrow"])
def test_a_pipe_gets_nothing_of_a_damaged_segment(stored, format_name):
    sql = "SELECT id FROM events ORDER BY id"
    expected = siltstone(stored.path, "query", sql.replace("events", "events WHERE id <> 3"), "--format", format_name)
    path = stored.snapshot().rows.paths[1]
    flip(path, path.stat().st_size // 2)
    found = siltstone(stored.path, "query", sql, "--format", format_name)

    assert found.returncode == 0
    assert found.stdout == expected.stdout
    assert str(path).encode() in found.stderr


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_all_of_many_damaged_segments_are_found_by_any_number_of_threads(stored, threads):
    log = stored.open()
    for number in range(6, 26):
        stored.publish(log, number)
    snapshot = stored.snapshot()
    damaged = {snapshot.rows.paths[number] for number in (0, 7, 8, 22)}
    for path in damaged:
        flip(path, 100)
    checked = SegmentChecks(threads).without_damaged(stored.disk, snapshot, "rows")

    assert {error.path for error in checked.damage} == damaged
    assert checked.rows.paths == [path for path in snapshot.rows.paths if path not in damaged]


class Refusing(Disk):
    """Does not give out one file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pieces(self, path: Path) -> Iterator[bytes]:
        if path == self._path:
            raise OSError(errno.EIO, "Input/output error")
        yield from super().pieces(path)


def test_a_segment_that_the_disk_does_not_give_out_is_no_answer_without_it(stored):
    with pytest.raises(Unreadable, match="Input/output error"):
        run_query(Refusing(stored.snapshot().rows.paths[2]), DataDir(stored.path), "SELECT count(*) FROM events")


@pytest.mark.parametrize("unreadable", [{"siltstone.json"}, {"sources"}])
@pytest.mark.parametrize("command", ["ls", "verify"])
def test_what_the_user_may_not_read_is_not_called_damaged(stored, monkeypatch, command, unreadable):
    # The tests may run as root, who may read everything.
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name not in unreadable or mode == os.F_OK)
    done = CliRunner().invoke(cli.main, [command, "--data", str(stored.path)])

    assert done.exit_code == 2
    assert "may not read" in done.output
    assert "damaged" not in done.output.lower()
