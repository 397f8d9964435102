"""tinybird-sdk (PyPI) and @tinybirdco/sdk (npm), which are one client in two languages."""

import functools

import pytest

from tests.daemons import query
from tests.e2e.clients.installed import NODE, PYTHON, call, drive

ROWS = [{"n": n, "s": f"ünï {n}"} for n in range(3)]


@pytest.fixture(
    params=[
        pytest.param("call_sdk", marks=PYTHON, id="python"),
        pytest.param("call_typescript_sdk.mjs", marks=NODE, id="typescript"),
    ]
)
def sdk(request):
    return functools.partial(drive, request.param)


def test_it_waits_unless_told_not_to(daemon, sdk):
    """The `lsn` of an answer tells which of the two it was."""
    one, batch, unwaited, empty = sdk(
        daemon.url,
        call("ingest", name="t", event=ROWS[0]),
        call("ingest_batch", name="t", events=ROWS[1:]),
        call("ingest_batch", name="t", events=ROWS, wait=False),
        call("ingest_batch", name="t", events=[]),
    )

    assert one == {"successful_rows": 1, "quarantined_rows": 0, "lsn": 1}
    assert batch == {"successful_rows": 2, "quarantined_rows": 0, "lsn": 3}
    assert unwaited == {"successful_rows": 3, "quarantined_rows": 0}
    assert empty == {"successful_rows": 0, "quarantined_rows": 0}
    assert query(daemon.data, "SELECT n, s, count(*) AS times FROM t GROUP BY ALL ORDER BY n") == [
        row | {"times": 2} for row in ROWS
    ]


def test_its_typed_client(daemon, sdk):
    rows = [{"timestamp": "2024-01-15 10:30:00", "pathname": "/home"}]
    (answers,) = sdk(daemon.url, call("ingest_typed", rows=rows))

    assert answers == [{"successful_rows": 1, "quarantined_rows": 0, "lsn": 1}]
    assert query(daemon.data, "SELECT pathname, year(timestamp) AS y FROM page_views") == [
        {"pathname": "/home", "y": 2024}
    ]


def test_large_integers_and_decimals_come_as_text_and_stay_exact(daemon, sdk):
    """Into columns that were made for numbers: integers above 2**53 are sent as strings."""
    daemon.post(b'{"big":1,"huge":18446744073709551615,"exact":1,"money":"0"}')
    (answer,) = sdk(daemon.url, call("ingest_values", name="t"))

    assert (answer["successful_rows"], answer["quarantined_rows"]) == (1, 0)
    assert query(daemon.data, "SELECT big, huge, exact, money FROM t WHERE big > 1") == [
        {"big": 2**63 - 1, "huge": 2**64 - 1, "exact": 2**53 + 1, "money": "12.34"}
    ]


def test_rows_that_do_not_fit_are_counted(daemon, sdk):
    daemon.post(b'{"n":0}')
    some, all_of_them = sdk(
        daemon.url,
        call("ingest_batch", name="t", events=[{"n": 1}, {"n": "two"}, {"n": 1.5}]),
        call("ingest", name="t", event={"n": "three"}),
    )

    assert (some["successful_rows"], some["quarantined_rows"]) == (1, 2)
    assert (all_of_them["successful_rows"], all_of_them["quarantined_rows"]) == (0, 1)
    assert query(daemon.data, "SELECT count(*) AS n FROM t_quarantine") == [{"n": 3}]


def test_refusals_reach_the_caller_with_status_and_sentence(daemon, sdk):
    (wrong,) = sdk(daemon.url, call("ingest", name="t", event=ROWS[0]), token="wrong")
    (unnamed,) = sdk(daemon.url, call("ingest", name="no-name", event=ROWS[0]))

    assert (wrong["raised"], wrong["status"]) == ("TinybirdApiError", 403)
    assert wrong["message"] == daemon.post(b"{}", token="wrong").json()["error"]
    assert (unnamed["raised"], unnamed["status"]) == ("TinybirdApiError", 400)
    assert "no-name" in unnamed["message"]


def test_over_the_limit_it_gives_up_or_waits_as_asked(start, sdk):
    """Retries are off by default; with them it sleeps for `Retry-After`."""
    daemon = start("--limit-requests", "1")
    impatient = sdk(daemon.url, *[call("ingest", name="t", event={"n": 1})] * 5)
    patient = sdk(daemon.url, *[call("ingest", name="p", event={"n": 1}, max_retries=9, maxRetries=9)] * 4)

    refused = [answer for answer in impatient if "raised" in answer]
    assert refused
    assert {answer["status"] for answer in refused} == {429}
    assert len(query(daemon.data, "SELECT * FROM t")) == 5 - len(refused)
    assert [answer.get("successful_rows") for answer in patient] == [1] * 4
    assert len(query(daemon.data, "SELECT * FROM p")) == 4


def test_appending_and_replacing_files(daemon, sdk, tmp_path):
    """A multipart body whose part is always called `csv`, whatever is in it; `format` says what it is."""
    daemon.post(b'{"n":0,"s":"x"}')
    csv, ndjson, semicolons, bad, new = (
        tmp_path / name for name in ("rows.csv", "rows.ndjson", "dialect.csv", "bad.jsonl", "new.csv")
    )
    csv.write_text('n,s\n1,"a, ü"\n2,b\n')
    ndjson.write_text('{"n":3,"s":"c"}\n')
    semicolons.write_text("n;s\n4;d\n")
    bad.write_text('{"n":5,"s":"e"}\n{"n":"six","s":"f"}\n')
    new.write_text("n,s\n7,g\n")
    dialect = {"csv_dialect": {"delimiter": ";"}, "csvDialect": {"delimiter": ";"}}
    appended = sdk(
        daemon.url,
        call("append", name="t", file=str(csv)),
        call("append", name="t", file=str(ndjson)),
        call("append", name="t", file=str(semicolons), **dialect),
        call("append", name="t", file=str(bad)),
    )

    assert [answer["quarantine_rows"] for answer in appended] == [0, 0, 0, 1]
    assert {answer["datasource"]["name"] for answer in appended} == {"t"}
    assert query(daemon.data, "SELECT n, s FROM t ORDER BY n") == [
        {"n": n, "s": s} for n, s in enumerate(("x", "a, ü", "b", "c", "d", "e"))
    ]
    sdk(daemon.url, call("replace", name="t", file=str(new)))
    assert query(daemon.data, "SELECT n, s FROM t") == [{"n": 7, "s": "g"}]


def test_emptying_a_data_source(daemon, sdk):
    daemon.post(b'{"n":1}')
    _, missing = sdk(daemon.url, call("truncate", name="t"), call("truncate", name="missing"))

    assert missing["status"] == 404
    assert query(daemon.data, "SELECT * FROM t") == []


def test_deleting_rows_by_a_condition_is_refused_with_what_there_is(daemon, sdk):
    daemon.post(b'{"n":1}\n{"n":2}\n{"n":3}')
    (refused,) = sdk(daemon.url, call("delete", name="t", condition="n > 1"))

    assert refused["status"] == 400
    assert "truncate" in refused["message"]
    assert len(query(daemon.data, "SELECT * FROM t")) == 3


def test_sql(daemon, sdk):
    """The statement as a text/plain body, and the answer read as JSON though it names no format."""
    daemon.post(b'{"n":1}\n{"n":2}')
    plain, formatted, missing, wrong = sdk(
        daemon.url,
        call("sql", query="SELECT count() AS total FROM t"),
        call("sql", query="SELECT n FROM t ORDER BY n FORMAT JSON"),
        call("sql", query="SELECT * FROM missing"),
        call("sql", query="SELEKT"),
    )

    assert plain["data"] == [{"total": 2}]
    assert formatted["data"] == [{"n": 1}, {"n": 2}]
    assert (missing["status"], missing["message"]) == (403, "Resource 'missing' not found")
    assert wrong["status"] == 400


def test_a_token_for_others(daemon, sdk):
    """Made for one data source and an hour: good for that, and no more."""
    daemon.post(b'{"n":1}')
    daemon.post(b'{"n":1}', "name=other&wait=true")
    append, read, other, refused = sdk(
        daemon.url,
        call("create_token", name="a", scopes=[{"type": "DATASOURCES:APPEND", "resource": "t"}]),
        call("create_token", name="b", scopes=[{"type": "DATASOURCES:READ", "resource": "t"}]),
        call("create_token", name="c", scopes=[{"type": "DATASOURCES:APPEND", "resource": "other"}]),
        call("create_token", name="d", scopes=[{"type": "NONSENSE"}]),
    )

    assert append["successful_rows"] == 1
    assert read["status"] == other["status"] == 403
    assert refused["raised"] == "TinybirdError"
    assert "400" in refused["message"] or "Invalid JWT token request" in refused["message"]
    assert query(daemon.data, "SELECT n FROM t ORDER BY n") == [{"n": 1}, {"n": 2}]


def test_its_workspace(daemon, sdk):
    """The Python one takes exactly the keys that it knows."""
    (name,) = sdk(daemon.url, call("workspace"))

    assert isinstance(name, str)
    assert name
