"""The questions of h1spec, a conformance suite for HTTP/1.1 servers, answered as a strict server does: whatever the cuts
between packets, and again once the head of a good request is known."""

import select

import pytest

from tests.daemons import TOKEN, Daemon
from tests.http_client import connect, parse_answers

GOOD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
PARTS = (1, 4, 11, 12, 16, 20, 21, 22, 25, 27, 28, 37, 38, 39, 40)
"""Inside the method, the target, the version, its line's end, a field's name and value, and the end of the head."""
OK, REFUSED = range(200, 300), range(400, 600)
POST = f"POST /v0/events?name=h&token={TOKEN} HTTP/1.1\r\nHost: example.com\r\n".encode()

QUESTIONS = {
    "no version": (b"GET /health \r\n\r\n", REFUSED),
    "a client that waits for 100": (b"GET /health HTTP/1.1\r\nHost: example.com\r\nExpect: 100-continue\r\n\r\n", OK),
    "a good request": (GOOD, OK),
    "a tab before a value, and no value": (b"GET /health HTTP/1.1\r\nhoSt:\texample.com\r\nempty:\r\n\r\n", OK),
    "brackets in a name": (b"GET /health HTTP/1.1\r\nHost: example.com\r\nX-Invalid[]: test\r\n\r\n", REFUSED),
    "no Host": (b"GET /health HTTP/1.1\r\nContent-Length: 5\r\n\r\n", REFUSED),
    "two Hosts": (b"GET /health HTTP/1.1\r\nHost: example.com\r\nHost: example.org\r\n\r\n", REFUSED),
    "a huge negative length": (POST + b"Content-Length: -123456789123456789123456789\r\n\r\n", REFUSED),
    "a negative length": (POST + b"Content-Length: -1234\r\n\r\n", REFUSED),
    "a length in letters": (POST + b"Content-Length: abc\r\n\r\n", REFUSED),
    "an empty value": (b"GET /health HTTP/1.1\r\nHost: example.com\r\nX-Empty-Header: \r\n\r\n", OK),
    "a control byte": (b"GET /health HTTP/1.1\r\nHost: example.com\r\nX-Bad: test\x07\r\n\r\n", REFUSED),
    "version 9.9": (b"GET /health HTTP/9.9\r\nHost: example.com\r\n\r\n", REFUSED),
    "text before the request": (b"Extra lineGET /health HTTP/1.1\r\nHost: example.com\r\n\r\n", REFUSED),
    "a carriage return alone": (b"GET /health HTTP/1.1\r\nHost: example.com\r\n\rX: Test\r\n\r\n", REFUSED),
    "a good request with a body": (POST + b'Content-Length: 7\r\n\r\n{"n":1}', OK),
    "two framings": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", REFUSED),
    "a length with a sign": (POST + b'Content-Length: +7\r\n\r\n{"n":1}', REFUSED),
    "two lengths in one": (POST + b'Content-Length: 7, 8\r\n\r\n{"n":1}', REFUSED),
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("h1") / "data", "--compact-interval", "3600").start()
    try:
        yield daemon
        assert daemon.stop() == 0
    finally:
        daemon.end()


def test_a_head_that_is_not_all_there_is_waited_for(daemon):
    assert (len(PARTS), PARTS[-1]) == (15, len(GOOD) - 1)
    waiting = []
    for part in PARTS:
        connection = connect(daemon.address)
        connection.sendall(GOOD[:part])
        waiting.append(connection)
    assert select.select(waiting, [], [], 0.5)[0] == []
    for part, connection in zip(PARTS, waiting, strict=True):
        with connection:
            connection.sendall(GOOD[part:])
            assert next(parse_answers(connection.recv(65536))).status == 200


@pytest.mark.parametrize("size", [1 << 20, 1, 7])
@pytest.mark.parametrize("question", QUESTIONS)
def test_each_question_has_a_strict_servers_answer(daemon, question, size):
    data, statuses = QUESTIONS[question]
    for _ in range(2):
        with connect(daemon.address) as connection:
            for start in range(0, len(data), size):
                try:
                    connection.sendall(data[start : start + size])
                except OSError:
                    # It was refused before the end.
                    break
            received = b""
            while not list(parse_answers(received)):
                more = connection.recv(65536)
                assert more, received
                received += more
        assert next(parse_answers(received)).status in statuses
