"""A daemon finds days that are over full of small files, and makes large ones of them while it is written to and read."""

import os
import signal
import threading
from datetime import timedelta
from pathlib import Path

import duckdb
import orjson
import pytest

from tests.daemons import query, segments, siltstone
from tests.stored import NOW, Stored

DAYS, FILES, ROWS = 3, 8, 20


@pytest.fixture
def past(tmp_path) -> Path:
    """A data directory whose source `events` has rows of days that are long over."""
    stored = Stored(tmp_path / "data")
    log = stored.create().open()
    for number in range(DAYS * FILES):
        now = NOW - timedelta(days=400 - number // FILES)
        stored.publish(log, *range(number * ROWS, (number + 1) * ROWS), -1, now=now)
    assert len(segments(stored.path, "events")) == DAYS * FILES
    return stored.path


def is_merged(data: Path) -> bool:
    """Of each day one file, beside those of the rows that came today."""
    old = [
        path
        for kind in ("rows", "quarantine")
        for path in segments(data, "events", kind)
        if path.parent.name < f"ingested={NOW - timedelta(days=100):%Y-%m-%d}"
    ]
    return len(old) == 2 * DAYS


def test_the_days_are_merged_while_globs_and_sql_read_them_and_rows_come_in(past, start, eventually):
    rows = DAYS * FILES * ROWS
    glob = f"{past}/sources/events/rows/ingested=2025-*/*.parquet"
    globbed: list[list[tuple[int, ...]]] = []
    stop = threading.Event()

    def read_on_and_on() -> None:
        with duckdb.connect() as connection:
            while not stop.is_set():
                try:
                    globbed.append(
                        connection.execute(f"SELECT count(*), count(DISTINCT id), sum(id) FROM '{glob}'").fetchall()
                    )
                except duckdb.IOException:
                    continue

    reader = threading.Thread(target=read_on_and_on)
    reader.start()
    try:
        eventually(lambda: bool(globbed))
        daemon = start()
        posted = 0
        while not is_merged(past):
            # Rows of today in its own log would leave its last day for the next look.
            assert daemon.post(b'{"id":%d}' % posted, "name=other&wait=true").status == 200
            posted += 1
            answer = daemon.call(
                "GET", "/v0/sql?q=SELECT+count(*)+AS+n,count(DISTINCT+id)+AS+d+FROM+events+FORMAT+JSON"
            )
            assert answer.status == 200, answer.body
            (found,) = orjson.loads(answer.body)["data"]
            assert int(found["n"]) == int(found["d"]) == rows
    finally:
        stop.set()
        reader.join()
    assert {tuple(one) for found in globbed for one in found} == {(rows, rows, rows * (rows - 1) // 2)}
    assert len(globbed) > 3
    done = siltstone(past, "verify")
    assert done.returncode == 0, done.stdout.decode()
    assert siltstone(past, "files", "events").stdout.count(b"quarantine/") == DAYS
    assert query(past, "SELECT count(*) AS n FROM events_quarantine") == [{"n": DAYS * FILES}]


def test_while_a_day_is_merged_rows_of_other_sources_find_their_way_into_segments(past, start, eventually):
    """Nothing is to be compacted when the daemon starts, so its first child is one that merges; it is held up."""
    daemon = start("--compact-interval", "0.1")
    stopped: list[int] = []

    def has_stopped_a_merge() -> bool:
        for pid in daemon.children:
            os.kill(pid, signal.SIGSTOP)
            stopped.append(pid)
        return bool(stopped)

    eventually(has_stopped_a_merge)
    assert daemon.post(b'{"id":1}', "name=other&wait=true").status == 200
    eventually(lambda: len(segments(past, "other")) == 1)
    assert stopped[0] in daemon.children
    assert not is_merged(past)

    os.kill(stopped[0], signal.SIGCONT)
    eventually(lambda: is_merged(past))
