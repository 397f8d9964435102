"""curl, as the documentation of every events API shows it: -d, --data-binary, gzip, large bodies, --retry."""

import csv
import gzip
import json

import pytest

from tests.daemons import TOKEN, query
from tests.e2e.clients.installed import CURL, run

pytestmark = CURL
BEARER = ["-H", f"Authorization: Bearer {TOKEN}"]


@pytest.fixture
def curl(tmp_path):
    """Run curl in `tmp_path`; returns the status and the body of the answer, and what -v told."""

    def run_curl(*arguments: str, stdin: str = ""):
        marked = ["-w", "\n%{http_code}"]
        done = run(["curl", "-sS", *marked, *arguments], cwd=tmp_path, stdin=stdin)
        assert done.returncode == 0, done.stderr
        body, _, status = done.stdout.rpartition("\n")
        return int(status), body, done.stderr

    return run_curl


@pytest.fixture
def rows(tmp_path):
    """A file of 3 rows, the last without a line end."""
    text = "\n".join(f'{{"n":{n},"s":"a&b=c+d%20é"}}' for n in range(3))
    (tmp_path / "rows.ndjson").write_text(text)
    (tmp_path / "rows.ndjson.gz").write_bytes(gzip.compress(text.encode()))
    return "rows.ndjson"


def test_a_row_on_the_command_line(daemon, curl):
    """curl calls it application/x-www-form-urlencoded, which it is not."""
    status, body, _ = curl(f"{daemon.url}/v0/events?name=t", *BEARER, "-d", '{"n":1,"s":"a&b=c+d%20é"}')

    assert (status, json.loads(body)) == (202, {"successful_rows": 1, "quarantined_rows": 0})
    assert query(daemon.data, "SELECT n, s FROM t") == [{"n": 1, "s": "a&b=c+d%20é"}]


def test_rows_on_the_command_line(daemon, curl):
    """Several -d would be joined with `&`; line ends within one are kept, and one row of two may be bad."""
    url = f"{daemon.url}/v0/events?name=t&wait=true"
    status, body, _ = curl(url, *BEARER, "-d", '{"n":1}\n{"n":2}\n')
    assert (status, json.loads(body)["successful_rows"]) == (200, 2)
    status, body, _ = curl(url, *BEARER, "-d", '{"n":"three"}\n{"n":4}')
    assert (status, json.loads(body)["successful_rows"], json.loads(body)["quarantined_rows"]) == (200, 1, 1)


def test_a_file(daemon, curl, rows):
    """--data-binary sends it as it is; -d @file would take the line ends out, and two objects in a line are no JSON."""
    url = f"{daemon.url}/v0/events?name=t&wait=true&token={TOKEN}"
    status, body, _ = curl(url, "--data-binary", f"@{rows}")
    assert (status, json.loads(body)["successful_rows"]) == (200, 3)
    status, body, _ = curl(url, "-H", "Content-Type: application/x-ndjson", "-T", rows, "-X", "POST")
    assert (status, json.loads(body)["successful_rows"]) == (200, 3)
    status, body, _ = curl(url, "-d", f"@{rows}")
    assert status == 400
    assert set(json.loads(body)) == {"error", "documentation"}
    assert query(daemon.data, "SELECT n, s, count(*) AS times FROM t GROUP BY ALL ORDER BY n") == [
        {"n": n, "s": "a&b=c+d%20é", "times": 2} for n in range(3)
    ]


def test_a_pipe_in_chunks(daemon, curl, rows, tmp_path):
    url = f"{daemon.url}/v0/events?name=t&wait=true"
    chunked = ["-H", "Transfer-Encoding: chunked", "--data-binary", "@-"]
    status, body, _ = curl(url, *BEARER, *chunked, stdin=(tmp_path / rows).read_text())

    assert (status, json.loads(body)["successful_rows"]) == (200, 3)


def test_a_compressed_file(daemon, curl, rows):
    url = f"{daemon.url}/v0/events?name=t&wait=true"
    status, body, _ = curl(url, *BEARER, "-H", "Content-Encoding: gzip", "--data-binary", f"@{rows}.gz")

    assert (status, json.loads(body)["successful_rows"]) == (200, 3)
    assert len(query(daemon.data, "SELECT * FROM t")) == 3


def test_a_large_body_goes_out_after_100_continue(daemon, curl, tmp_path):
    """curl asks by itself above a megabyte, and waits for a second before it sends without an answer."""
    (tmp_path / "large").write_text('{"n":1,"s":"' + "x" * 1000 + '"}\n')
    (tmp_path / "large").write_text((tmp_path / "large").read_text() * 9000)
    url = f"{daemon.url}/v0/events?name=t&wait=true"
    status, body, told = curl(url, *BEARER, "-v", "--data-binary", "@large")

    assert (status, json.loads(body)["successful_rows"]) == (200, 9000)
    assert "> Expect: 100-continue" in told
    assert "< HTTP/1.1 100 Continue" in told


@pytest.mark.parametrize(("token", "expected"), [(TOKEN, 413), ("wrong", 403), (None, 403)])
def test_a_large_body_is_refused_before_it_is_sent(daemon, curl, tmp_path, token, expected):
    (tmp_path / "large").write_bytes(b" " * 20_000_000)
    bearer = [] if token is None else ["-H", f"Authorization: Bearer {token}"]
    status, body, told = curl(f"{daemon.url}/v0/events?name=t", *bearer, "-v", "--data-binary", "@large")

    assert status == expected
    assert "error" in json.loads(body)
    assert "100 Continue" not in told


def test_over_the_limit_it_tries_again_by_the_header(start, curl):
    """--retry counts 429 as passing and waits for Retry-After."""
    daemon = start("--limit-requests", "1")
    url = f"{daemon.url}/v0/events?name=t&wait=true"
    answers = [curl(url, *BEARER, "-i", "-d", '{"n":1}') for _ in range(5)]
    stored = [status for status, _, _ in answers if status == 200]
    refused = [head.lower() for status, head, _ in answers if status == 429]

    assert len(stored) + len(refused) == 5
    assert refused
    for head in refused:
        fields = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
        assert (fields["x-ratelimit-limit"], fields["x-ratelimit-remaining"]) == ("1", "0")
        assert fields["x-ratelimit-reset"].isdigit()
        assert int(fields["retry-after"]) >= 1
    # What it prints of refusals it could not take back is before what it prints of the last answer.
    retried = [curl(url, *BEARER, "--retry", "9", "-d", '{"n":1}')[:2] for _ in range(3)]
    assert [status for status, _ in retried] == [200] * 3
    assert [json.loads(body[body.rindex("{") :])["successful_rows"] for _, body in retried] == [1] * 3
    assert len(query(daemon.data, "SELECT * FROM t")) == len(stored) + 3


def test_sql(daemon, curl):
    daemon.post(b'{"n":1,"s":"a b"}\n{"n":2,"s":"\xc3\xbc"}')
    url = f"{daemon.url}/v0/sql"
    by_query = curl(url, *BEARER, "-G", "--data-urlencode", "q=SELECT n, s FROM t ORDER BY n FORMAT CSVWithNames")
    by_form = curl(url, *BEARER, "--data-urlencode", "q=SELECT sum(n) AS s FROM t FORMAT JSON")
    raw = curl(url, *BEARER, "-d", "SELECT n, s FROM t ORDER BY n")

    assert by_query[0] == 200
    assert list(csv.reader(by_query[1].splitlines())) == [["n", "s"], ["1", "a b"], ["2", "ü"]]
    assert json.loads(by_form[1])["data"] == [{"s": 3}]
    assert raw[:2] == (200, "1\ta b\n2\tü\n")


def test_making_a_data_source_of_a_file(daemon, curl, tmp_path):
    (tmp_path / "rows.csv").write_text("n,s\n1,a\n2,b\n")
    created = curl(f"{daemon.url}/v0/datasources?mode=create&name=t", *BEARER, "-F", "csv=@rows.csv")
    appended = curl(f"{daemon.url}/v0/datasources?mode=append&name=t", *BEARER, "-F", "csv=@rows.csv")

    assert created[0] in {200, 201}
    assert json.loads(appended[1])["quarantine_rows"] == 0
    assert query(daemon.data, "SELECT n, s, count(*) AS times FROM t GROUP BY ALL ORDER BY n") == [
        {"n": 1, "s": "a", "times": 2},
        {"n": 2, "s": "b", "times": 2},
    ]


def test_a_token_for_one_data_source(daemon, curl):
    """Made, used, renewed, taken away."""
    daemon.post(b'{"n":1}')
    tokens = f"{daemon.url}/v0/tokens"
    made = json.loads(curl(f"{tokens}?name=tracker&scope=DATASOURCES:APPEND:t", *BEARER, "-X", "POST")[1])
    theirs = ["-H", f"Authorization: Bearer {made['token']}", "-d", '{"n":2}']
    assert made["scopes"] == [{"type": "DATASOURCES:APPEND", "resource": "t"}]
    assert curl(f"{daemon.url}/v0/events?name=t", *theirs)[0] == 202
    assert curl(f"{daemon.url}/v0/events?name=other", *theirs)[0] == 403
    renewed = json.loads(curl(f"{tokens}/tracker/refresh", *BEARER, "-X", "POST")[1])
    assert curl(f"{daemon.url}/v0/events?name=t", *theirs)[0] == 403
    theirs = ["-H", f"Authorization: Bearer {renewed['token']}", "-d", '{"n":3}']
    assert curl(f"{daemon.url}/v0/events?name=t", *theirs)[0] == 202
    listed = json.loads(curl(tokens, *BEARER)[1])["tokens"]
    assert "tracker" in [token["name"] for token in listed]
    assert made["token"] not in json.dumps(listed)
    assert curl(f"{tokens}/tracker", *BEARER, "-X", "DELETE")[0] in {200, 204}
    assert curl(f"{daemon.url}/v0/events?name=t", *theirs)[0] == 403
    assert query(daemon.data, "SELECT n FROM t ORDER BY n") == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_every_answer_may_be_read_by_a_browser(daemon, curl):
    url = f"{daemon.url}/v0/events?name=t"
    asking = ["-H", "Origin: https://example.com", "-H", "Access-Control-Request-Method: POST"]
    asked = curl(url, "-i", "-X", "OPTIONS", *asking, "-H", "Access-Control-Request-Headers: content-type")
    for status, head, _ in (asked, curl(url, "-i", "-d", "{}"), curl(url, "-i", *BEARER, "-d", '{"n":1}')):
        assert status in {204, 403, 202}
        assert "\naccess-control-allow-origin: *\n" in head.lower()
    assert asked[0] == 204
    assert "content-type" in asked[1].lower().partition("access-control-allow-headers:")[2].partition("\n")[0]
