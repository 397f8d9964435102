"""What each command loads, by what the interpreter says of its own imports, and how the process ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stored import Stored, body, commit

HEAVY = {"_duckdb", "duckdb", "pyarrow", "trio", "orjson", "rich", "structlog", "urllib3"}


@pytest.fixture
def stored(tmp_path):
    """Rows in segments, and none in the log."""
    stored = Stored(tmp_path / "data").create()
    stored.publish(stored.open(), 1, 2)
    return stored


def run(stored, *arguments, **given):
    environment = os.environ | {"SILTSTONE_DATA": str(stored.path)}
    command = [sys.executable, "-X", "importtime", "-m", "query", *arguments]
    return subprocess.run(command, env=environment, check=False, stdin=subprocess.DEVNULL, timeout=300, **given)


def loaded(stored, *arguments):
    """What was printed, and the packages that were imported for it, of those that are slow to."""
    done = run(stored, *arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "click" in names
    return done.stdout, names & HEAVY


@pytest.mark.parametrize("arguments", [["--help"], ["query", "--help"], ["token", "create", "--help"], ["--version"]])
def test_help_loads_nothing_that_is_slow(stored, arguments):
    text, packages = loaded(stored, *arguments)

    assert "Usage: " in text or "version" in text
    assert packages == set()


@pytest.mark.parametrize("command", [["ls"], ["files", "events"], ["verify"], ["schema", "events"]])
def test_looking_around_takes_no_duckdb(stored, command):
    text, packages = loaded(stored, *command)

    assert text
    assert not packages & {"_duckdb", "duckdb"}


@pytest.mark.parametrize("format_name", ["table", "json", "ndjson"])
def test_a_small_answer_from_segments_takes_neither_arrow_nor_relations_nor_the_library_for_terminals(
    stored, format_name
):
    columns = (
        "id, text, id::DECIMAL(9, 2) AS d, DATE '2026-11-29' AS day, now() AS moment, TIMESTAMP_S 'epoch' AS first"
    )
    text, packages = loaded(stored, "query", f"SELECT {columns} FROM events", "--format", format_name)

    assert "event 2" in text
    assert "1970-01-01 00:00:00" in text
    assert packages == {"_duckdb", "orjson"}


def test_rows_in_the_log_are_there_too_by_way_of_arrow(stored):
    commit(stored.open(), body(3))
    text, packages = loaded(stored, "query", "SELECT sum(id) FROM events", "--format", "ndjson")

    assert text == '{"sum(id)":6}\n'
    assert "pyarrow" in packages


@pytest.mark.parametrize("format_name", ["table", "ndjson", "csv", "parquet"])
def test_an_answer_that_could_not_be_written_is_no_success(stored, format_name):
    with Path("/dev/full").open("wb") as full:
        done = run(stored, "query", "SELECT 1 AS a", "--format", format_name, stdout=full, stderr=subprocess.PIPE)

    assert done.returncode == 1
    assert b"siltstone: [Errno 28] No space left on device" in done.stderr


def test_a_reader_that_has_had_enough_ends_the_command(stored):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = run(stored, "query", "SELECT 1 AS a", stdout=pipe, stderr=subprocess.PIPE)

    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
