"""tinybird-python-sdk (PyPI): its buffer, its logging handlers, its plain API objects."""

import functools

from tests.daemons import query
from tests.e2e.clients.installed import PYTHON, call, drive

pytestmark = PYTHON
sdk = functools.partial(drive, "call_python_sdk")
ROWS = [{"n": n} for n in range(5)]


def test_its_buffer_sends_rows_as_one_request(daemon):
    """`mode=append&format=ndjson&wait=false`, without a Content-Type."""
    assert sdk(daemon.url, call("send", name="t", rows=ROWS)) == [None]
    assert query(daemon.data, "SELECT n FROM t ORDER BY n") == ROWS


def test_rows_that_do_not_fit_do_not_trouble_it(daemon):
    daemon.post(b'{"n":0}')
    assert sdk(daemon.url, call("send", name="t", rows=[{"n": 1}, {"n": "two"}])) == [None]
    assert query(daemon.data, "SELECT c__row FROM t_quarantine") == [{"c__row": '{"n": "two"}'}]


def test_a_wrong_token_is_an_http_error_of_403(daemon):
    (answer,) = sdk(daemon.url, call("send", name="t", rows=ROWS), token="wrong")

    assert answer["raised"] == "HTTPError"
    assert answer["message"].startswith("403 Client Error: Forbidden")


def test_log_records_arrive_with_their_attributes(daemon):
    """One event a record, in a data source that its first record makes; the handlers swallow errors."""
    sdk(
        daemon.url,
        call("log", messages=["the answer is %(answer)d", "again"]),
        call("log_by_queue", messages=["x"] * 3),
    )

    assert query(daemon.data, "SELECT levelname, message, formatted_message, app_name, args_answer FROM tb_logs") == [
        {
            "levelname": "ERROR",
            "message": text,
            "formatted_message": f"ERROR {text}",
            "app_name": "app",
            "args_answer": 42,
        }
        for text in ("the answer is 42", "again")
    ]
    assert query(daemon.data, "SELECT count(*) AS n FROM queued WHERE message = 'x'") == [{"n": 3}]


def test_any_path_by_its_api_objects(daemon):
    body = '{"n":1}\n{"n":2}'
    answers = sdk(
        daemon.url,
        call("post", path="/events", data=body, params={"name": "t", "wait": "true"}),
        call("post_async", path="events?name=t", data=body),
    )

    assert [answer["successful_rows"] for answer in answers] == [2, 2]
    assert query(daemon.data, "SELECT count(*) AS n FROM t") == [{"n": 4}]


def test_over_the_limit_it_waits_and_sends_again(start):
    """It sleeps by `X-RateLimit-Remaining: 0`, and after a 429 tries for ever; without that header it would never sleep."""
    daemon = start("--limit-requests", "1")
    ((seconds, warnings),) = sdk(daemon.url, call("send_one_each", name="t", rows=ROWS))

    assert warnings
    assert set(warnings) == {"Too many requests, you can do 1 requests per minute..."}
    assert seconds >= 2
    assert query(daemon.data, "SELECT n FROM t ORDER BY n") == ROWS


def test_its_asynchronous_api_gives_up_at_once(start):
    daemon = start("--limit-requests", "1")
    answers = sdk(daemon.url, *[call("post_async", path="events?name=t", data='{"n":1}')] * 5)

    stored = [answer for answer in answers if "successful_rows" in answer]
    assert len(stored) < 5
    assert {answer["raised"] for answer in answers if answer not in stored} == {"RateLimitError"}
    assert len(query(daemon.data, "SELECT * FROM t")) == len(stored)


def test_asking_and_deleting_by_its_api_object(daemon):
    daemon.post(b'{"n":1}')
    listed, rows, deleted, gone = sdk(
        daemon.url,
        call("get", path="/datasources"),
        call("get", path="/sql", params={"q": "SELECT n FROM t FORMAT JSON"}),
        call("delete", path="/datasources/t"),
        call("get", path="/datasources/t"),
    )

    assert [source["name"] for source in listed["datasources"]] == ["t"]
    assert rows["data"] == [{"n": 1}]
    assert deleted == 204
    assert gone["message"].startswith("404 Client Error: Not Found")
