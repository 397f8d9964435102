"""CSV and Parquet files: what is in them is what is stored, and no file takes more than its share."""

import io
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.daemons import query
from tests.http_client import send_and_stay

MIB = 1024 * 1024


def parquet(table: pa.Table, **options) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def rss_mib(daemon) -> int:
    """The most memory that the daemon has had."""
    status = f"/proc/{daemon.process.pid}/status"
    with open(status) as file:  # noqa: PTH123 -- a file of the kernel's
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) // 1024


def append(daemon, body, kind="parquet", mode="append"):
    return daemon.call("POST", f"/v0/datasources?mode={mode}&format={kind}&name=t", body)


def test_parquet_values_are_stored_as_they_are(daemon):
    schema = "f Float32, d Decimal(10,2), b String, t DateTime64(9), m Map(String,Int8), u Nullable(Int64) `json:$.user.id`, big UInt64"
    assert daemon.call("POST", f"/v0/datasources?name=t&schema={schema.replace(' ', '+')}", b"").status == 200
    at = pa.array([1_709_200_800_123_456_789], pa.timestamp("ns"))
    table = pa.table(
        {
            "f": pa.array([0.1], pa.float32()),
            "d": pa.array([Decimal("12345678.90")], pa.decimal128(10, 2)),
            "b": pa.array(["é".encode()], pa.binary()),
            "t": at,
            "m": pa.array([[("k", 7)]], pa.map_(pa.string(), pa.int8())),
            "U": pa.array([2**53 + 1], pa.int64()),
            "big": pa.array([2**64 - 1], pa.uint64()),
        }
    )
    answer = append(daemon, parquet(table)).json()
    assert answer["quarantine_rows"] == 0
    (row,) = query(daemon.data, "SELECT f::VARCHAR AS f, d::VARCHAR AS d, b, t::VARCHAR AS t, m, u, big FROM t")
    assert row == {
        "f": "0.1",
        "d": "12345678.90",
        "b": "é",
        "t": "2024-02-29 10:00:00.123456789",
        "m": {"k": 7},
        "u": 2**53 + 1,
        "big": 2**64 - 1,
    }


def test_what_answers_send_as_parquet_can_be_sent_back(daemon):
    daemon.post(b'{"n":9007199254740993,"user":{"id":7},"a":[1,2],"t":"2024-02-29T10:00:00.5Z","s":null}\n{"s":"x"}')
    file = daemon.call("POST", "/v0/sql", b"SELECT * FROM t FORMAT Parquet").body
    assert append(daemon, file).json()["quarantine_rows"] == 0
    rows = query(daemon.data, "SELECT count(*) AS n, count(DISTINCT (n, user_id, a, t, s)) AS different FROM t")
    assert rows == [{"n": 4, "different": 2}]


def test_values_that_json_has_no_text_for_go_to_quarantine(daemon):
    daemon.post(b'{"f":0.5}')
    table = pa.table({"f": [float("nan"), float("inf"), 1.5]})
    assert append(daemon, parquet(table)).json()["quarantine_rows"] == 2
    assert query(daemon.data, "SELECT count(*) AS n FROM t WHERE f IS NULL") == [{"n": 0}]


def test_a_file_that_unfolds_without_end_is_refused_and_costs_the_daemon_nothing(daemon):
    daemon.post(b'{"s":"x"}')
    bomb = parquet(pa.table({"s": pa.array(["x" * 20_000_000] * 256).dictionary_encode()}), compression="zstd")
    assert len(bomb) < 10_000
    for target in ("/v0/datasources?mode=append&format=parquet&name=t", "/v0/analyze"):
        assert daemon.call("POST", target, bomb).status == 400
    header = b"n" * 20_000 + b"\n" + b"1\n" * 400_000
    assert daemon.call("POST", "/v0/analyze", header).status == 400
    assert append(daemon, b"1\n" * 900_000, "csv").status == 200
    assert rss_mib(daemon) < 700


def test_replacing_has_the_limits_that_events_have(daemon):
    daemon.post(b"{" + b",".join(b'"c%d":1' % n for n in range(500)) + b"}")
    assert append(daemon, b"{}\n" * 300_000, "ndjson", "replace").status == 413
    assert query(daemon.data, "SELECT count(*) AS n FROM t") == [{"n": 1}]


@pytest.mark.parametrize("fields", [b"a,ab\nx,y\n", b"ab,a\ny,x\n"])
def test_columns_of_which_one_is_within_the_other_can_not_come_from_one_row_of_csv(daemon, fields):
    schema = "a+String+`json:$.a`,ab+String+`json:$.a.b`"
    daemon.call("POST", f"/v0/datasources?name=t&schema={schema}", b"")
    answer = append(daemon, fields, "csv")
    assert answer.status == 400 or answer.json()["quarantine_rows"] == 1


def test_an_own_row_that_was_no_text_is_never_replayed_as_another(daemon):
    daemon.post(b'{"s":"x"}')
    daemon.post(b'{"s":"a\\\xff"}\n{"s":"y"}')
    assert daemon.call("POST", "/v0/datasources/t/replay", b"").json()["successful_rows"] == 0
    assert query(daemon.data, "SELECT s FROM t ORDER BY s") == [{"s": "x"}, {"s": "y"}]


def test_bytes_that_were_not_announced_count_too(start):
    daemon = start("--limit-bytes", "1000")
    body = b'{"s":"' + b"x" * 5000 + b'"}'
    chunked = (
        b"POST /v0/events?name=t HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer the-admin-token-of-the-tests\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    )
    statuses = [send_and_stay(daemon.address, chunked, answers=1)[0].status for _ in range(6)]
    assert 429 in statuses


def test_a_refreshed_token_never_comes_back(daemon):
    daemon.post(b'{"n":1}')
    for number in range(15):
        old = daemon.call("POST", f"/v0/tokens?name=x{number}&scope=DATASOURCES:APPEND:t", b"").json()["token"]
        with ThreadPoolExecutor(2) as pool:
            refreshed = pool.submit(daemon.call, "POST", f"/v0/tokens/x{number}/refresh", b"")
            pool.submit(daemon.call, "PUT", f"/v0/tokens/x{number}?description=d", b"").result()
        new = refreshed.result().json()["token"]
        assert [daemon.post(b'{"n":1}', token=token).status for token in (old, new)] == [403, 200]


def test_two_that_create_at_once_are_told_apart(daemon):
    for number in range(10):
        with ThreadPoolExecutor(2) as pool:
            targets = [f"/v0/datasources?name=s{number}&schema=n+{kind}" for kind in ("Int8", "String")]
            statuses = list(pool.map(lambda target: daemon.call("POST", target, b"").status, targets))
        assert sorted(statuses) == [200, 409]


def test_times_of_parquet_files_may_have_a_zone(daemon):
    daemon.post(b'{"t":"2024-02-29T10:00:00Z"}')
    moment = datetime.fromisoformat("2024-02-29T12:00:00+02:00")
    table = pa.table({"t": pa.array([moment], pa.timestamp("us", "Europe/Helsinki"))})
    assert append(daemon, parquet(table)).json()["quarantine_rows"] == 0
    assert query(daemon.data, "SELECT count(DISTINCT t) AS n FROM t") == [{"n": 1}]
