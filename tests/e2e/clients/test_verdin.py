"""verdin (PyPI): events with and without gzip and wait, appends, SQL, data sources, tokens."""

import functools

import pytest

from tests.daemons import query
from tests.e2e.clients.installed import PYTHON, call, drive

pytestmark = PYTHON
verdin = functools.partial(drive, "call_verdin")
ROWS = [{"n": n, "s": f"ünï {n}"} for n in range(3)]


def test_the_events_of_its_readme(daemon):
    """send_events does not wait unless told to; either way it learns how many rows are in."""
    answers = verdin(
        daemon.url,
        call("send_events", name="t", records=ROWS),
        call("send_events", name="t", records=ROWS, wait=True),
    )

    assert answers == [[202, 3, 0], [200, 3, 0]]
    assert query(daemon.data, "SELECT n, s, count(*) AS times FROM t GROUP BY ALL ORDER BY n") == [
        row | {"times": 2} for row in ROWS
    ]


@pytest.mark.parametrize("wait", [False, True])
def test_compressed_events(daemon, wait):
    many = [{"n": n, "s": "x" * 50} for n in range(5000)]
    (answer,) = verdin(daemon.url, call("events", name="t", records=many, wait=wait, compress=True))

    assert answer == [200 if wait else 202, 5000, 0]
    assert query(daemon.data, "SELECT count(*) AS n, sum(n) AS s FROM t") == [{"n": 5000, "s": 4999 * 2500}]


def test_rows_that_do_not_fit_are_counted(daemon):
    answers = verdin(
        daemon.url,
        call("events", name="t", records=[{"n": 1}], wait=True),
        call("events", name="t", records=[{"n": 2}, {"n": "two"}], wait=True),
        call("events", name="t", records=[{"n": "three"}], wait=True),
        call("events", name="t", records=[], wait=True),
    )

    assert answers == [[200, 1, 0], [200, 1, 1], [200, 0, 1], [200, 0, 0]]
    assert query(daemon.data, "SELECT n FROM t ORDER BY n") == [{"n": 1}, {"n": 2}]
    assert query(daemon.data, "SELECT count(*) AS n FROM t_quarantine") == [{"n": 2}]


def test_refusals_reach_the_caller_with_status_and_sentence(daemon):
    (wrong,) = verdin(daemon.url, call("events", name="t", records=ROWS), token="wrong")
    (unnamed,) = verdin(daemon.url, call("events", name="no-name", records=ROWS))

    assert (wrong["raised"], wrong["status"]) == ("ApiError", 403)
    assert wrong["message"].startswith("API Error (403): ")
    assert (unnamed["raised"], unnamed["status"]) == ("ApiError", 400)
    assert "no-name" in unnamed["message"]
    assert " Documentation: " in unnamed["message"]


def test_over_the_limit_is_an_error_of_429(start):
    """Its API objects leave retrying to the caller."""
    daemon = start("--limit-requests", "1")
    answers = verdin(daemon.url, *[call("events", name="t", records=ROWS, wait=True)] * 5)

    refused = [answer for answer in answers if answer != [200, 3, 0]]
    assert refused
    assert {(answer["raised"], answer["status"]) for answer in refused} == {("ApiError", 429)}
    assert query(daemon.data, "SELECT count(*) AS n FROM t") == [{"n": 3 * (5 - len(refused))}]


def test_appending_csv(daemon):
    """Its CSV has no line of names: the values stand in the order of the columns."""
    daemon.post(b'{"n":1,"s":"x"}')
    comma, semicolon, bad = verdin(
        daemon.url,
        call("append_csv", name="t", records=[[2, 'quoted "," and ü'], [3, "two\nlines"]]),
        call("append_csv", name="t", records=[[4, "z"]], delimiter=";"),
        call("append_csv", name="t", records=[[5, "z"], ["six", "z"]]),
    )

    assert comma["datasource"]["name"] == "t"
    assert (comma["quarantine_rows"], comma["invalid_lines"], comma["error"] or "") == (0, 0, "")
    assert semicolon["quarantine_rows"] == 0
    assert bad["quarantine_rows"] == 1
    assert query(daemon.data, "SELECT n, s FROM t ORDER BY n") == [
        {"n": 1, "s": "x"},
        {"n": 2, "s": 'quoted "," and ü'},
        {"n": 3, "s": "two\nlines"},
        {"n": 4, "s": "z"},
        {"n": 5, "s": "z"},
    ]


def test_appending_ndjson(daemon):
    """A list as one body, a generator in chunks."""
    daemon.post(b'{"n":1}')
    whole, stream = verdin(
        daemon.url,
        call("append_ndjson", name="t", records=[{"n": 2}, {"n": "no"}]),
        call("append_stream", name="t", lines=['{"n":3}\n', '{"n":', "4}\n"]),
    )

    assert (whole["datasource"]["name"], whole["quarantine_rows"]) == ("t", 1)
    assert stream == ["t", 0, 0, None]
    assert query(daemon.data, "SELECT n FROM t ORDER BY n") == [{"n": n} for n in (1, 2, 3, 4)]


def test_its_queue_appends_in_batches(daemon):
    daemon.post(b'{"n":0,"s":"x"}')
    assert verdin(daemon.url, call("append_queued", name="t", records=[[n, "y"] for n in range(1, 50)])) == [None]
    assert query(daemon.data, "SELECT count(*) AS c, sum(n) AS s FROM t") == [{"c": 50, "s": 49 * 25}]


def test_listing_and_emptying_data_sources(daemon):
    daemon.post(b'{"n":1,"s":"x"}')
    daemon.post(b'{"n":"bad"}')
    before, one, _, after, missing = verdin(
        daemon.url,
        call("ls"),
        call("information", name="t"),
        call("truncate", name="t"),
        call("ls"),
        call("information", name="missing"),
    )

    (listed,) = before
    assert (listed["name"], listed["statistics"]["row_count"], listed["quarantine_rows"]) == ("t", 1, 1)
    assert one["id"] == listed["id"]
    assert one["id"].startswith("t_")
    assert after[0]["statistics"]["row_count"] == 0
    assert (missing["raised"], missing["status"]) == ("DataSourceNotFoundError", 404)
    assert query(daemon.data, "SELECT * FROM t") == []


def test_sql(daemon):
    daemon.post(b'{"n":9007199254740993,"s":"x"}\n{"n":1,"s":"\xc3\xbc"}')
    json, csv, lines, tsv, long, missing, wrong = verdin(
        daemon.url,
        call("sql", query="SELECT n, s FROM t ORDER BY n"),
        call("query", query="SELECT n, s FROM t ORDER BY n", form="CSVWithNames"),
        call("query", query="SELECT n, s FROM t ORDER BY n", form="JSONEachRow"),
        call("query", query="SELECT n, s FROM t ORDER BY n", form="TSVWithNames"),
        call("query", query=f"SELECT n FROM t WHERE s <> '{'y' * 9000}' ORDER BY n", form="JSON"),
        call("sql", query="SELECT * FROM missing"),
        call("sql", query="SELEKT"),
    )

    rows = [{"n": 1, "s": "ü"}, {"n": 9007199254740993, "s": "x"}]
    meta, data = json
    assert [column["name"] for column in meta] == ["n", "s"]
    assert data == lines == rows
    assert csv == tsv == [{name: str(value) for name, value in row.items()} for row in rows]
    assert long == [{"n": row["n"]} for row in rows]
    assert missing == {"raised": "QueryError", "message": "403: Resource 'missing' not found"}
    assert wrong["message"].startswith("400: ")


def test_tokens(daemon):
    """It lists tokens and asks for its own by its text."""
    tokens, own = verdin(daemon.url, call("tokens"), call("own_token"))

    assert [scope["type"] for scope in own["scopes"]] == ["ADMIN"]
    assert own["name"] in [token["name"] for token in tokens]
