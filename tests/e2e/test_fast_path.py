"""Requests under heads that come again are answered as those whose heads are new, whatever they hold and however they are cut."""

import socket
import time
from itertools import count

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.daemons import TOKEN, Daemon
from tests.http_client import connect, parse_answers

_numbers = count()
TOO_LARGE_TO_HOLD = 40_000

bodies = st.sampled_from(
    [
        b'{"n":1}',
        b'{"n":2}\n{"n":3}\n',
        b'{"n":"bad"}',
        b'{"n":4}\n{"n":[]}\n{"n":5,"more":true}',
        b'{"n":null}',
        b'{"n":6,"s":"\xc3\xa9"}',
        b'[{"n":7},{"n":8}]',
        b'{\n"n":9}',
        b"nothing",
        b"",
        b"   ",
        b'{"n":10}' + b" " * TOO_LARGE_TO_HOLD,
        b"\n".join(b'{"n":%d}' % n for n in range(60)),
    ]
)
targets = st.sampled_from(
    [
        "name=small&wait=true",
        "name=small&wait=true",
        "name=small",
        "name=small&wait=maybe",
        "name=small&wait=true&format=json",
        "name=small&wait=true&x-vercel-verify=ab",
        "name=sm/all&wait=true",
    ]
)
fields = st.sampled_from(["", "", "", "Connection: keep-alive\r\n", "Accept: */*\r\n", "Idempotency-Key: k\r\n"])


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("fast") / "data", "--compact-interval", "3600").start()
    try:
        make = daemon.call("POST", "/v0/datasources?name=small", b"SCHEMA >\n    n Int64, s Nullable(String)\n")
        assert make.status == 200, make
        yield daemon
        assert daemon.stop() == 0
    finally:
        daemon.end()


def request(target: str, body: bytes, more: str = "", token: str = TOKEN) -> bytes:
    head = f"POST /v0/events?{target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def understood(daemon: Daemon, requests: list[bytes], cuts: list[int]) -> list[tuple[int, object]]:
    """What one connection is answered to these requests, each sent when the one before was answered, without what differs
    from one row to the next. It ends at an answer that closes the connection."""
    plain = []
    with connect(daemon.address) as connection:
        for request, cut in zip(requests, cuts, strict=True):
            connection.sendall(request[:cut])
            if 0 < cut < len(request):
                time.sleep(0.005)
            connection.sendall(request[cut:])
            received = b""
            while not (found := list(parse_answers(received))):
                more = connection.recv(1 << 16)
                assert more, "closed without an answer"
                received += more
            document = found[0].json()
            document.pop("lsn", None)
            plain.append((found[0].status, document))
            if found[0].headers.get("connection") == "close":
                break
    return plain


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(targets, bodies, fields, st.booleans()), min_size=1, max_size=6), st.data())
def test_known_heads_are_answered_as_new_ones_are(daemon, sequence, data):
    cuts = [data.draw(st.sampled_from([0, 10, 150, 220])) for _ in sequence]
    warm, cold = [], []
    for target, body, more, is_right in sequence:
        token = TOKEN if is_right else "another"
        # A key of their own for each of the two, so that neither is a repeat of the other.
        number = next(_numbers)
        keyed = more.replace("Key: k", f"Key: k{number}")
        warm.append(request(target, body, keyed, token))
        cold.append(request(target, body, more.replace("Key: k", f"Key: c{number}") + f"X-Cold: {number}\r\n", token))
    expected = understood(daemon, cold, [len(one) for one in cold])
    # Twice, so that the heads of the first turn are known in the second.
    again = [one.replace(b"Key: k", b"Key: again") for one in warm]
    assert understood(daemon, warm, [len(one) for one in warm]) == expected
    assert understood(daemon, again, cuts) == expected


GOOD = request("name=small&wait=true", b'{"n":1}')


def warm_up(daemon: Daemon, connection: socket.socket, request: bytes = GOOD) -> None:
    for _ in range(3):
        connection.sendall(request)
        assert b" 200 " in connection.recv(1 << 16)


def test_a_token_taken_away_opens_nothing_any_more(daemon):
    made = daemon.call("POST", "/v0/tokens?name=short&scope=DATASOURCES:APPEND:small")
    token = made.json()["token"]
    post = request("name=small&wait=true", b'{"n":1}', token=token)
    with connect(daemon.address) as connection:
        warm_up(daemon, connection, post)
        assert daemon.call("DELETE", "/v0/tokens/short").status == 200
        connection.sendall(post)
        assert b" 403 " in connection.recv(1 << 16)


def test_a_source_that_is_gone_or_another_is_asked_for_anew(daemon):
    post = request("name=other&wait=true", b'{"n":1}')
    with connect(daemon.address) as connection:
        warm_up(daemon, connection, post)
        assert daemon.call("DELETE", "/v0/datasources/other").status < 300
        made = daemon.call("POST", "/v0/datasources?name=other", b"SCHEMA >\n    n Date\n")
        assert made.status == 200
        connection.sendall(post)
        document = orjson.loads(connection.recv(1 << 16).partition(b"\r\n\r\n")[2])
    assert (document["successful_rows"], document["quarantined_rows"]) == (0, 1)


def test_requests_that_come_before_the_answer_are_answered_in_order(daemon):
    with connect(daemon.address) as connection:
        warm_up(daemon, connection)
        lots = [request("name=small&wait=true", b'{"n":%d}' % n * 1 + b"\n{}" * (n % 3)) for n in range(40)]
        connection.sendall(b"".join(lots))
        received = b""
        while len(found := list(parse_answers(received))) < len(lots):
            received += connection.recv(1 << 16)
    lsns = [answer.json()["lsn"] for answer in found]
    assert lsns == sorted(lsns)
    assert [answer.json()["quarantined_rows"] for answer in found] == [n % 3 for n in range(40)]


def test_a_client_that_says_no_more_still_gets_its_answer(daemon):
    with connect(daemon.address) as connection:
        warm_up(daemon, connection)
        connection.sendall(GOOD)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while piece := connection.recv(1 << 16):
            received += piece
    assert [answer.status for answer in parse_answers(received)] == [200]


def test_a_client_that_leaves_at_once_costs_only_itself(daemon):
    before = daemon.call("GET", "/v0/datasources/small").json()["statistics"]["row_count"]
    for _ in range(50):
        with connect(daemon.address) as connection:
            warm_up(daemon, connection)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(GOOD)
    answer = daemon.post(b'{"n":1}', "name=small&wait=true")
    assert answer.status == 200
    after = daemon.call("GET", "/v0/datasources/small").json()["statistics"]["row_count"]
    # Each of the last requests of the fifty is there or not; those that were answered are.
    assert 151 <= after - before <= 201


def test_an_answer_that_nobody_reads_keeps_nobody_else_waiting(daemon):
    with connect(daemon.address) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        warm = 0
        try:
            while warm < 100_000:
                warm += deaf.send(GOOD * 10) // len(GOOD)
        except BlockingIOError:
            pass
        for _ in range(20):
            assert daemon.post(b'{"n":1}', "name=small&wait=true").status == 200
    assert warm


def test_a_small_limit_on_bodies_holds_under_a_head_that_comes_again_too(tmp_path):
    daemon = Daemon(tmp_path / "data", "--max-body", "2000").start()
    try:
        assert daemon.post(b'{"n":1}').status == 200
        for _ in range(3):
            assert daemon.post(b'{"n":2}' + b" " * 5000).status == 413
        assert daemon.stop() == 0
    finally:
        daemon.end()
