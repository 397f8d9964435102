"""@chronark/zod-bird (npm): NDJSON called application/json, and every answer checked against a schema."""

import functools

from tests.daemons import query
from tests.e2e.clients.installed import NODE, call, drive

pytestmark = NODE
zod_bird = functools.partial(drive, "call_zod_bird.mjs")
EVENTS = [{"id": "a", "time": 1}, {"id": "ü", "time": 2, "content": "two\nlines"}]


def test_one_event_and_many(daemon):
    answers = zod_bird(
        daemon.url,
        call("publish", name="t", events=EVENTS[0]),
        call("publish", name="t", events=EVENTS),
        call("publish", name="t", events=EVENTS, wait=True),
    )

    assert [(answer["successful_rows"], answer["quarantined_rows"]) for answer in answers] == [(1, 0), (2, 0), (2, 0)]
    assert query(daemon.data, "SELECT id, time, content, count(*) AS times FROM t GROUP BY ALL ORDER BY time") == [
        {"id": "a", "time": 1, "content": "", "times": 3},
        {"id": "ü", "time": 2, "content": "two\nlines", "times": 2},
    ]


def test_rows_that_do_not_fit_are_counted(daemon):
    daemon.post(b'{"n":1}')
    (answer,) = zod_bird(daemon.url, call("publish", name="t", events=[{"n": 2}, {"n": "x"}], any=True))

    assert answer == {"successful_rows": 1, "quarantined_rows": 1}
    assert query(daemon.data, "SELECT c__row FROM t_quarantine") == [{"c__row": '{"n":"x"}'}]


def test_refusals(daemon):
    """403 it words itself; of others it shows the sentence of ours."""
    (wrong,) = zod_bird(daemon.url, call("publish", name="t", events=EVENTS), token="wrong")
    (unnamed,) = zod_bird(daemon.url, call("publish", name="no-name", events=EVENTS))

    assert wrong["message"] == "Unable to ingest to t: Unauthorized"
    assert unnamed["message"].startswith("Unable to ingest to no-name: ")
    assert daemon.post(b'{"n":1}', "name=no-name").json()["error"] in unnamed["message"]


def test_over_the_limit_it_tries_again(start):
    daemon = start("--limit-requests", "1")
    answers = zod_bird(daemon.url, *[call("publish", name="t", events=EVENTS[0], wait=True)] * 4)

    assert [answer["successful_rows"] for answer in answers] == [1] * 4
    assert len(query(daemon.data, "SELECT * FROM t")) == 4
