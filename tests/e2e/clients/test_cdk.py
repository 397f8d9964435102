"""tinybird-cdk (PyPI): events without a Content-Type, CSV and NDJSON appends raw and as multipart, SQL."""

import functools

import pyarrow as pa
import pyarrow.parquet

from tests.daemons import query
from tests.e2e.clients.installed import PYTHON, call, drive

pytestmark = PYTHON
cdk = functools.partial(drive, "call_cdk")


def test_events(daemon):
    one, many = cdk(
        daemon.url,
        call("append_event", event='{"n":1}', name="t"),
        call("append_events", events=['{"n":2}', '{"n":"three"}', '{"n":4}'], name="t"),
    )

    assert one == {"successful_rows": 1, "quarantined_rows": 0}
    assert many == {"successful_rows": 2, "quarantined_rows": 1}
    assert query(daemon.data, "SELECT n FROM t ORDER BY n") == [{"n": 1}, {"n": 2}, {"n": 4}]


def test_a_wrong_token_is_an_error_with_our_sentence(daemon):
    (answer,) = cdk(daemon.url, call("append_event", event='{"n":1}', name="t"), token="wrong")

    assert answer["raised"] == "HTTPError"
    assert daemon.post(b"{}", token="wrong").json()["error"] in answer["message"]


def test_over_the_limit_it_waits_by_the_header(start):
    """`int(headers["Retry-After"])`: without the header, or with a fraction, it would crash."""
    daemon = start("--limit-requests", "1")
    *answers, waits = cdk(daemon.url, *[call("append_event", event='{"n":1}', name="t")] * 4, call("waits"))

    assert [answer["successful_rows"] for answer in answers] == [1] * 4
    assert waits
    assert len(query(daemon.data, "SELECT * FROM t")) == 4


def test_appending_and_replacing(daemon, tmp_path):
    """Of CSV it says the delimiter and the line end, and sends the column names or not."""
    daemon.post(b'{"n":0,"s":"x"}')
    csv, parquet = tmp_path / "rows.csv", tmp_path / "rows.parquet"
    csv.write_text('n,s\n4,"a, ü"\n')
    pa.parquet.write_table(pa.table({"n": [5], "s": ["p"]}), parquet)
    answers = cdk(
        daemon.url,
        call("append_data", data="1,b\n2,c\n", name="t", fmt="csv"),
        call("append_data", data='{"n":3,"s":"d"}\n{"n":"bad","s":"d"}\n', name="t", fmt="ndjson"),
        call("append_file", filename=str(csv), name="t", fmt="csv"),
        call("append_file", filename=str(parquet), name="t", fmt="parquet"),
    )

    assert [answer["quarantine_rows"] for answer in answers] == [0, 1, 0, 0]
    assert query(daemon.data, "SELECT n, s FROM t ORDER BY n") == [
        {"n": n, "s": s} for n, s in enumerate(("x", "b", "c", "d", "a, ü", "p"))
    ]
    cdk(daemon.url, call("replace_data", data="n,s\n7,z\n", name="t", fmt="csv"))
    assert query(daemon.data, "SELECT n, s FROM t") == [{"n": 7, "s": "z"}]


def test_data_sources_and_sql(daemon):
    daemon.post(b'{"n":1,"s":"x"}')
    source, rows, one, none, altered, truncated, missing = cdk(
        daemon.url,
        call("data_source", name="t"),
        call("query", sql="SELECT n, s FROM t"),
        call("query", sql="SELECT max(n) AS m FROM t", scalar=True),
        call("query", sql="SELECT n FROM t WHERE n > 9", scalar=True),
        call("alter", name="t", schema="`n` Nullable(Int64), `s` Nullable(String), `more` Nullable(String)"),
        call("truncate", name="t"),
        call("data_source", name="missing"),
    )

    assert (source["name"], source["statistics"]["row_count"]) == ("t", 1)
    assert rows == [{"n": 1, "s": "x"}]
    assert (one, none) == (1, None)
    assert altered == 200
    assert 200 <= truncated < 300
    assert missing["raised"] == "HTTPError"
    assert query(daemon.data, "SELECT n, s, more FROM t") == []
