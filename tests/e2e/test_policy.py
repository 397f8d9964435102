"""What a strict server refuses although h11 lets it through, and requests that must never cost an answer of 500."""

import pytest

from tests.daemons import TOKEN, Daemon
from tests.http_client import send_and_stay

BODY = b'{"n":1}'


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """One daemon for all; its log is not judged here, the answers are."""
    daemon = Daemon(tmp_path_factory.mktemp("policy") / "data", "--compact-interval", "3600").start()
    try:
        yield daemon
        assert daemon.stop() == 0
    finally:
        daemon.end()


def request(*lines: bytes, host: bytes = b"x", end: bytes = b"\r\n") -> bytes:
    first = [b"POST /v0/events?name=t&wait=true HTTP/1.1", b"Host: " + host, f"Authorization: Bearer {TOKEN}".encode()]
    return end.join([*first, *lines, b"Content-Length: 7"]) + end + end + BODY


def test_sixty_four_headers_are_taken(daemon):
    (answer,) = send_and_stay(daemon.address, request(*[b"X: y"] * 61), answers=1)

    assert answer.status == 200


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request(end=b"\n"), id="bare LF"),
        pytest.param(request(b"X: a\r\n b"), id="obs-fold"),
        pytest.param(request(b"X: a\x01b"), id="control byte"),
        pytest.param(request(host=b"a b/@"), id="bad Host"),
    ],
)
def test_loose_framing_is_refused(daemon, data):
    (answer,) = send_and_stay(daemon.address, data, answers=1)

    assert answer.status == 400
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("first", [b"gzip", b"br"])
def test_two_codings_in_two_header_lines_are_refused(daemon, first):
    data = request(b"Content-Encoding: " + first, b"Content-Encoding: identity")
    (answer,) = send_and_stay(daemon.address, data, answers=1)

    assert answer.status == 415


@pytest.mark.parametrize(("target", "status"), [(b"/v0/events?name=t", 405), (b"/health", 200), (b"/nope", 404)])
def test_head_is_answered_without_a_body(daemon, target, status):
    with daemon.connect() as connection:
        connection.sendall(b"HEAD " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = b""
        while data := connection.recv(65536):
            received += data

    assert received.startswith(b"HTTP/1.1 %d " % status)
    assert received.endswith(b"\r\n\r\n")


def test_an_object_too_deep_in_an_array_goes_to_quarantine_as_it_does_on_a_line(daemon):
    deep = b'{"n":1,"a":' + b"[" * 300 + b"]" * 300 + b"}"
    on_lines = daemon.post(BODY + b"\n" + deep, "name=deep&wait=true")
    in_array = daemon.post(b"[" + BODY + b"," + deep + b"]", "name=deep&wait=true")

    assert on_lines.json() | {"lsn": 0} == {"successful_rows": 1, "quarantined_rows": 1, "lsn": 0}
    assert in_array.status == 200
    assert in_array.json() | {"lsn": 0} == on_lines.json() | {"lsn": 0}
