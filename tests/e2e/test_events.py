"""What goes in by POST /v0/events, in all the forms that clients send."""

import gzip
import shutil
import subprocess

import orjson
import pyarrow as pa
import pytest

from tests.daemons import TOKEN, query
from tests.http_client import Client, send_and_stay

BODY = b'{"n":1,"s":"x"}'
AUTH = f"Authorization: Bearer {TOKEN}\r\n".encode()


def request(body: bytes, query: str = "name=t&wait=true", *, headers: bytes = b"") -> bytes:
    head = b"POST /v0/events?%b HTTP/1.1\r\nHost: x\r\n%b%b" % (query.encode(), AUTH, headers)
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    coded = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    head = b"POST /v0/events?name=t&wait=true HTTP/1.1\r\nHost: x\r\n" + AUTH
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + coded


def test_the_answer_counts_rows_and_says_where_they_are(daemon):
    answer = daemon.post(BODY)

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.json() == {"successful_rows": 1, "quarantined_rows": 0, "lsn": 1}
    assert {"date", "x-request-id"} <= set(answer.headers)
    assert daemon.post(BODY + b'\n{"n":"bad"}\n\n').json() == {"successful_rows": 1, "quarantined_rows": 1, "lsn": 3}


@pytest.mark.parametrize(
    ("wait", "status"),
    [("&wait=true", 200), ("&wait=True", 200), ("&wait=1", 200), ("&wait=false", 202), ("&wait=0", 202), ("&wait=", 202),
     ("", 202), ("&wait=yes", 400)],
)  # fmt: skip
def test_wait(daemon, wait, status):
    answer = daemon.post(BODY, f"name=t{wait}")

    assert answer.status == status
    assert ("lsn" in answer.json()) == (status == 200)


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (BODY, 1),
        (BODY + b"\n" + BODY + b"\n", 2),
        (BODY + b"\r\n\r\n" + BODY, 2),
        (b"\xef\xbb\xbf" + BODY, 1),
        (b"[" + BODY + b"," + BODY + b"]", 2),
        (b'{\n  "n": 1\n}\n', 1),
    ],
)
def test_forms_of_a_body(daemon, body, rows):
    assert daemon.post(body, Content_Type="application/x-www-form-urlencoded").json()["successful_rows"] == rows
    assert len(query(daemon.data, "SELECT n FROM t")) == rows


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\n\n \t\r\n"])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\n\r\n"])
def test_forms_of_a_large_body(daemon, before, ending):
    """Large bodies are decoded elsewhere and in slices; what counts as a row must not depend on that."""
    rows = [orjson.dumps({"n": n, "s": "x" * 20}) for n in range(40_000)]
    for last in (b"", ending):
        answer = daemon.post(before + ending.join(rows) + last)
        assert answer.json() | {"lsn": 0} == {"successful_rows": 40_000, "quarantined_rows": 0, "lsn": 0}
    assert query(daemon.data, "SELECT count(*) AS n, sum(n) AS s, min(length(s)) AS l FROM t") == [
        {"n": 80_000, "s": 40_000 * 39_999, "l": 20}
    ]


def test_a_bad_row_in_a_large_body_is_quarantined_alone(daemon):
    daemon.post(b'{"n":1}')
    rows = [orjson.dumps({"n": n}) for n in range(20_000)]
    rows[7], rows[19_000] = b'{"n":"seven"}', b"no JSON"

    assert daemon.post(b"\n".join(rows)).json() == {"successful_rows": 19_998, "quarantined_rows": 2, "lsn": 20_001}
    assert [row["c__row"] for row in query(daemon.data, "SELECT c__row FROM t_quarantine ORDER BY c__lsn")] == [
        '{"n":"seven"}',
        "no JSON",
    ]


def test_an_empty_body_is_a_success_without_rows_and_makes_nothing(daemon):
    assert daemon.post(b"", "name=new").json() == {"successful_rows": 0, "quarantined_rows": 0}
    assert not list((daemon.data / "sources").iterdir())


def test_codings(daemon):
    zstd = pa.compress(BODY * 1, codec="zstd", asbytes=True)
    for body, coding in ((gzip.compress(BODY), "gzip"), (zstd, "zstd"), (BODY, "identity"), (b"", "gzip")):
        assert daemon.post(body, Content_Encoding=coding).status == 200
    two_members = gzip.compress(BODY + b"\n") + gzip.compress(BODY)
    assert daemon.post(two_members, Content_Encoding="gzip").json()["successful_rows"] == 2
    assert len(query(daemon.data, "SELECT * FROM t")) == 5


def test_the_token_may_be_in_the_query(daemon):
    assert daemon.post(BODY, f"name=t&token={TOKEN}", token=None).status == 202


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_chunked_bodies(daemon, size):
    (answer,) = daemon.raw(chunked(b"\n".join([BODY] * 20), size))

    assert answer.json()["successful_rows"] == 20


def test_a_chunked_body_may_be_compressed(daemon):
    packed = gzip.compress(b"\n".join([BODY] * 5000))
    head, _, body = chunked(packed, 1).partition(b"\r\n\r\n")
    (answer,) = daemon.raw(head + b"\r\nContent-Encoding: gzip\r\n\r\n" + body)

    assert answer.json()["successful_rows"] == 5000


def test_pipelined_requests_are_answered_in_order(daemon):
    """Twice, so that the second time every head is known from before; the client goes on listening only."""
    bodies = [b"\n".join([BODY] * n) for n in range(1, 21)]
    for _ in range(2):
        answers = send_and_stay(daemon.address, b"".join(map(request, bodies)), answers=20)
        assert [answer.json()["successful_rows"] for answer in answers] == list(range(1, 21))


def test_a_connection_is_kept_open_from_request_to_request_even_after_a_refusal(daemon):
    with Client(daemon.address) as client:
        ports = set()
        for target, status in [("name=t&wait=true", 200), ("name=..", 400), ("name=t", 202), ("name=t&wait=1", 200)]:
            answer = client.request("POST", f"/v0/events?{target}", BODY, Authorization=f"Bearer {TOKEN}")
            assert answer.status == status
            ports.add(client.local_port)
    assert len(ports) == 1
    assert ports != {0}


def test_a_request_may_come_byte_by_byte_and_a_known_head_changes_nothing(daemon):
    whole = request(BODY)
    for pieces in (
        [whole],
        [whole],
        [whole[:-5], whole[-5:]],
        [bytes([b]) for b in whole],
        [whole + whole[:30], whole[30:]],
    ):
        answers = daemon.raw(*pieces)
        assert {answer.status for answer in answers} == {200}
    assert len(query(daemon.data, "SELECT * FROM t")) == 6


def test_a_known_head_does_not_let_another_token_in(daemon):
    assert daemon.raw(request(BODY), request(BODY))[1].status == 200
    wrong = request(BODY).replace(TOKEN.encode(), b"x" * len(TOKEN))
    assert [answer.status for answer in daemon.raw(wrong, wrong)] == [403, 403]


def test_connection_close_and_http_1_0_close(daemon):
    (answer,) = daemon.raw(request(BODY, headers=b"Connection: close\r\n") + request(BODY))
    assert answer.headers["connection"] == "close"
    (answer,) = daemon.raw(request(BODY).replace(b"HTTP/1.1", b"HTTP/1.0") + request(BODY))
    assert answer.status == 200


def test_curl_waits_for_100_continue_with_a_large_body(daemon, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    body = tmp_path / "body"
    rows = 60_000
    body.write_bytes(b"\n".join(orjson.dumps({"n": n, "s": "x" * 80}) for n in range(rows)))
    url = f"{daemon.url}/v0/events?name=t&wait=true&token={TOKEN}"
    done = subprocess.run(
        ["curl", "-sv", "-H", "Expect: 100-continue", "--data-binary", f"@{body}", url], capture_output=True, check=True
    )

    assert b"100 Continue" in done.stderr
    assert orjson.loads(done.stdout)["successful_rows"] == rows


def test_health(daemon):
    (answer,) = daemon.raw(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")

    assert answer.json() == {"status": "ok"}


def test_a_refusal_points_to_a_page_that_is_there(daemon):
    page = daemon.post(b"nope").json()["documentation"]
    (answer,) = daemon.raw(b"GET " + page.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n")

    assert answer.status == 200
    assert "POST /v0/events" in answer.json()["events"]


def test_two_requests_racing_to_make_a_source_make_one(daemon):
    connections = [daemon.connect() for _ in range(20)]
    for connection in connections:
        connection.sendall(request(BODY, "name=raced&wait=true", headers=b"Connection: close\r\n"))
    for connection in connections:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.close()
    assert query(daemon.data, "SELECT count(*) AS n FROM raced") == [{"n": 20}]


def test_the_same_idempotency_key_is_stored_once_and_another_body_is_refused(daemon):
    first = daemon.post(BODY, Idempotency_Key="k1")
    again = daemon.post(BODY, Idempotency_Key="k1")
    other = daemon.post(b'{"n":2}', Idempotency_Key="k1")

    assert again.body == first.body
    assert other.status == 422
    assert len(query(daemon.data, "SELECT * FROM t")) == 1
    daemon.kill()
    daemon.start()
    assert daemon.post(BODY, Idempotency_Key="k1").body == first.body
