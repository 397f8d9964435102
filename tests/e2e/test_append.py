"""Real events by `siltstone append`, read back value for value: before compaction, after it, after every kind of end."""

import gzip
import json
import os
import signal
import threading
import time
from pathlib import Path

import duckdb
import pyarrow.dataset
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from segments.datafile import parse_datafile
from segments.decode import value_at
from tests.daemons import Daemon, query, segments, siltstone, wal_files

HERE = Path(__file__).parent.parent
FLIGHTS = HERE / "data" / "flights-10000.ndjson.gz"
SHARED = HERE.parent.parent / "shared" / "data"


def flights(path: Path = FLIGHTS) -> list[dict[str, object]]:
    with gzip.open(path) as file:
        return [json.loads(line) for line in file]


def in_order(rows: list[dict[str, object]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def append(daemon: Daemon, name: str, *paths: str, stdin: bytes = b"") -> str:
    done = siltstone(daemon.data, "append", name, *paths, url=daemon.url, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_flights_come_back_value_for_value_at_every_stage(start, eventually):
    sent = in_order(flights())
    daemon = start("--compact-interval", "3600")
    assert append(daemon, "flights", str(FLIGHTS)).startswith("10000 lines sent: 10000 rows stored, 0 quarantined")
    assert in_order(query(daemon.data, "SELECT * FROM flights")) == sent
    daemon.kill()
    assert in_order(query(daemon.data, "SELECT * FROM flights")) == sent
    daemon = start("--compact-interval", "0.2")
    eventually(lambda: not wal_files(daemon.data, "flights"))
    assert in_order(query(daemon.data, "SELECT * FROM flights")) == sent
    assert daemon.stop() == 0
    assert in_order(query(daemon.data, "SELECT * FROM flights")) == sent
    glob = f"{daemon.data}/sources/flights/rows/**/*.parquet"
    count, mean = (
        "SELECT count(*), avg(dep_delay) FROM '{}'",
        "SELECT count(*) AS n, avg(dep_delay) AS mean FROM flights",
    )
    assert duckdb.execute(count.format(glob)).fetchall() == [tuple(query(daemon.data, mean)[0].values())]
    plain = pyarrow.dataset.dataset(segments(daemon.data, "flights")).to_table().to_pylist()
    for row in plain:
        row["time_hour"] = str(row["time_hour"])
    assert in_order(plain) == sent
    done = siltstone(daemon.data, "verify")
    assert (done.returncode, done.stdout) == (0, b"flights: ok: 10000 rows in 1 segments and 0 WAL files\n")


def test_plain_gzip_and_standard_input(daemon, tmp_path):
    lines = gzip.decompress(FLIGHTS.read_bytes()).splitlines(keepends=True)
    (tmp_path / "plain").write_bytes(b"".join(lines[:100]))
    append(daemon, "flights", str(tmp_path / "plain"), "-", stdin=b"".join(lines[100:150]))

    assert in_order(query(daemon.data, "SELECT * FROM flights")) == in_order([json.loads(line) for line in lines[:150]])


def test_the_same_append_again_adds_nothing_across_compaction_and_kill(start, eventually):
    daemon = start("--compact-interval", "0.2")
    append(daemon, "flights", str(FLIGHTS))
    append(daemon, "flights", str(FLIGHTS))
    eventually(lambda: not wal_files(daemon.data, "flights"))
    daemon.kill()
    daemon.start()
    append(daemon, "flights", str(FLIGHTS))

    assert query(daemon.data, "SELECT count(*) AS n FROM flights") == [{"n": 10000}]


def test_an_append_through_kills_and_restarts_ends_with_every_row_once(start, tmp_path):
    """Many small batches, so that the kills fall between, before and after them."""
    daemon = start("--compact-interval", "0.3")
    lines = gzip.decompress(FLIGHTS.read_bytes()).splitlines()
    files = []
    for at in range(0, len(lines), 100):
        files.append(tmp_path / f"{at:05}.ndjson")
        files[-1].write_bytes(b"\n".join(lines[at : at + 100]))
    stop = threading.Event()

    def kill_now_and_then() -> None:
        start_s = 0.0
        # Up for as long as it was down, or a busy machine sees nothing but starts.
        while not stop.wait(max(0.25, start_s)):
            daemon.kill()
            began = time.monotonic()
            daemon.start()
            start_s = time.monotonic() - began

    killer = threading.Thread(target=kill_now_and_then)
    killer.start()
    try:
        said = append(daemon, "flights", *map(str, files))
    finally:
        stop.set()
        killer.join()

    assert said.startswith("10000 lines sent: 10000 rows stored, 0 quarantined (100 batches")
    assert in_order(query(daemon.data, "SELECT * FROM flights")) == in_order(flights())


def test_an_append_that_is_refused_says_why(daemon, tmp_path):
    (tmp_path / "bad").write_text("no JSON here\n")
    done = siltstone(daemon.data, "append", "t", str(tmp_path / "bad"), url=daemon.url)

    assert done.returncode == 1
    assert b"no JSON object" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["json", "ndjson", "csv", "parquet", "arrow", "table"])
def test_output_formats(daemon, name):
    daemon.post(b'{"a":1,"t":"2013-01-01 10:00:00","s":"x,y"}\n{"a":9007199254740993,"s":null}')
    out = siltstone(daemon.data, "query", "SELECT * FROM t ORDER BY a", "--format", name).stdout
    if name in ("json", "ndjson"):
        rows = json.loads(out) if name == "json" else [json.loads(line) for line in out.splitlines()]
        assert rows[0] == {"a": 1, "t": "2013-01-01 10:00:00", "s": "x,y"}
        assert rows[1] == {"a": 9007199254740993, "t": None, "s": None}
    elif name == "csv":
        assert out.decode().splitlines()[1:] == ['1,"2013-01-01 10:00:00","x,y"', "9007199254740993,,"]
    elif name == "parquet":
        assert pq.read_table(pyarrow.BufferReader(out))["a"].to_pylist() == [1, 9007199254740993]
    elif name == "arrow":
        assert pyarrow.ipc.open_stream(out).read_all()["a"].to_pylist() == [1, 9007199254740993]
    else:
        assert b"9007199254740993" in out


def test_wrong_calls_of_the_cli_exit_with_2_and_failed_ones_with_1(daemon):
    daemon.post(b'{"a":1}')
    for code, arguments in [
        (2, ("query",)),
        (2, ("query", "SELECT 1", "--format", "yaml")),
        (1, ("query", "SELECT nope FROM t")),
        (1, ("query", "SELECT * FROM unknown")),
        (1, ("schema", "unknown")),
        (1, ("schema", "../../etc")),
        (0, ("schema", "t")),
        (0, ("ls",)),
        (0, ("files", "t")),
    ]:
        done = siltstone(daemon.data, *arguments)
        assert done.returncode == code, (arguments, done)
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["github_events", "tweets"])
def test_nested_events_with_64_bit_ids_come_back_equal(daemon, name):
    source = SHARED / f"{name}.ndjson"
    if not source.exists():
        pytest.skip(f"{source.name} is not here; the project may not commit it")
    sent = [json.loads(line) for line in source.read_text().splitlines()]
    append(daemon, name, str(source))

    assert query(daemon.data, f"SELECT count(*) AS n FROM {name}_quarantine") == [{"n": 0}]
    rows = query(daemon.data, f"SELECT * FROM {name}")
    columns = parse_datafile(siltstone(daemon.data, "schema", name).stdout.decode()).schema.columns
    assert len(rows) == len(sent)
    for row, event in zip(rows, sent, strict=True):
        for column in columns:
            expected, found = value_at(column.path, event), row[column.name]
            if column.type.name == "String" and found is not None and not isinstance(expected, str):
                found = json.loads(found)
            if column.type.name == "DateTime64" and expected is not None:
                expected = expected.replace("T", " ").removesuffix("Z")
            assert found == expected, column
    kept = {column.path[: n + 1] for column in columns for n in range(len(column.path))}
    for event in sent:
        left_out = {key: value for key, value in event.items() if (key,) not in kept}
        assert all(value in (None, []) for value in left_out.values()), left_out


def test_a_hundred_thousand_flights(start, eventually):
    """Equal value for value from the snapshot before compaction, after it, and after a kill while it runs."""
    source = Path(os.environ.get("SILTSTONE_FLIGHTS", SHARED / "flights.ndjson.gz"))
    if not source.exists():
        pytest.skip("set SILTSTONE_FLIGHTS to the full flights.ndjson.gz to run this one")
    daemon = start("--compact-interval", "3600")
    append(daemon, "flights", str(source))
    sent = in_order(flights(source))
    assert in_order(query(daemon.data, "SELECT * FROM flights")) == sent
    for _ in range(4):
        daemon.stop(signal.SIGKILL)
        daemon = start("--compact-interval", "0.1")
        time.sleep(0.35)
    daemon.kill()
    assert in_order(query(daemon.data, "SELECT * FROM flights")) == sent
    daemon = start("--compact-interval", "0.1")
    eventually(lambda: not wal_files(daemon.data, "flights"))
    assert in_order(query(daemon.data, "SELECT * FROM flights")) == sent
    assert sum(pq.read_metadata(path).num_rows for path in segments(daemon.data, "flights")) == len(sent)
