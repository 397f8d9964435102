"""Wrong calls: a clear answer, and nothing changes on disk."""

import gzip
import socket
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.daemons import TOKEN, Daemon
from tests.http_client import parse_answers

BODY = b'{"n":1}'
AUTH = f"Authorization: Bearer {TOKEN}\r\n".encode()
MIB = 1024 * 1024


def state(data: Path) -> dict[str, bytes | None]:
    """Everything below the sources, files with their bytes, except the source by which the tests see it alive."""
    paths = [path for path in (data / "sources").rglob("*") if "alive" not in path.parts]
    return {str(path.relative_to(data)): path.read_bytes() if path.is_file() else None for path in paths}


def head(*lines: bytes, target: bytes = b"/v0/events?name=t&wait=true", version: bytes = b"HTTP/1.1") -> bytes:
    return b"\r\n".join([b"POST " + target + b" " + version, b"Host: x", AUTH.strip(), *lines]) + b"\r\n\r\n"


def bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(1024)) + packer.flush()


POSTS: dict[str, tuple[int, bytes, str, dict[str, Any]]] = {
    "no token": (403, BODY, "name=t", {"token": None}),
    "unknown token": (403, BODY, "name=t", {"token": "nobody"}),
    "token of another scheme": (403, BODY, "name=t", {"token": None, "Authorization": f"Basic {TOKEN}"}),
    "no name": (400, BODY, "wait=true", {}),
    "empty name": (400, BODY, "name=", {}),
    "name with dots": (400, BODY, "name=../x", {}),
    "name with coded dots": (400, BODY, "name=%2e%2e%2fx", {}),
    "name with a space": (400, BODY, "name=a+b", {}),
    "name in unicode": (400, BODY, "name=%C3%A9", {}),
    "name with NUL": (400, BODY, "name=a%00", {}),
    "name too long": (400, BODY, "name=" + "x" * 200, {}),
    "name of a quarantine": (400, BODY, "name=x_quarantine", {}),
    "name that differs by case": (400, BODY, "name=KNOWN", {}),
    "not JSON": (400, b"nope", "name=t", {}),
    "only scalars": (400, b"1\n2", "name=t", {}),
    "array of scalars": (400, b"[1,2]", "name=t", {}),
    "only nulls in a new source": (400, b'{"a":null}', "name=new", {}),
    "11 MB": (413, b'{"n":1}\n' * (11 * MIB // 8), "name=known", {}),
    "11 MB once unpacked": (413, gzip.compress(b'{"n":1}\n' * (11 * MIB // 8)), "name=known", {"Content_Encoding": "gzip"}),
    "a gigabyte of zeros": (413, bomb(), "name=known", {"Content_Encoding": "gzip"}),
    "cut gzip": (400, gzip.compress(BODY)[:-9], "name=known", {"Content_Encoding": "gzip"}),
    "flipped gzip": (400, gzip.compress(BODY)[:-6] + b"xx" + gzip.compress(BODY)[-4:], "name=known", {"Content_Encoding": "gzip"}),
    "not gzip": (400, BODY, "name=known", {"Content_Encoding": "gzip"}),
    "not zstd": (400, BODY, "name=known", {"Content_Encoding": "zstd"}),
    "unknown coding": (415, BODY, "name=known", {"Content_Encoding": "br"}),
    "two codings": (415, BODY, "name=known", {"Content_Encoding": "gzip, gzip"}),
    "too many rows": (413, b'{"n":1}\n' * 1_000_001, "name=known", {}),
    "cut zstd": (400, pa.compress(BODY * 9, codec="zstd", asbytes=True)[:-3], "name=known", {"Content_Encoding": "zstd"}),
    "11 MB in zstd": (413, pa.compress(bytes(11 * MIB), codec="zstd", asbytes=True), "name=known", {"Content_Encoding": "zstd"}),
    "gzip with more behind it": (400, gzip.compress(BODY) + b"more", "name=known", {"Content_Encoding": "gzip"}),
    "wait with something else": (400, BODY, "name=known&wait=perhaps", {}),
    "empty key": (400, BODY, "name=known", {"Idempotency_Key": ""}),
}  # fmt: skip


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """One daemon for all: that it goes on answering is part of the promise."""
    daemon = Daemon(tmp_path_factory.mktemp("refusals") / "data", "--compact-interval", "3600").start()
    try:
        assert daemon.post(BODY, "name=known&wait=true").status == 200
        time.sleep(1.6)  # the mark that follows a commit within a second
        yield daemon
    finally:
        daemon.end()


@pytest.fixture
def unchanged(daemon):
    """Nothing changes on disk, no token is logged, and a good request is answered afterwards."""
    before = state(daemon.data)
    assert any(path.endswith(".wal") for path in before)
    yield
    assert state(daemon.data) == before
    assert daemon.post(BODY, "name=alive&wait=true").status == 200
    assert TOKEN not in daemon.log.read_text()
    assert "nobody" not in daemon.log.read_text()


def check(answer, status: int) -> None:
    assert answer.status == status, answer
    error = answer.json()
    assert set(error) == {"error", "documentation"}
    assert len(error["error"]) > 15
    assert TOKEN not in answer.body.decode()
    assert "nobody" not in answer.body.decode()


def test_posts_that_are_refused(daemon, unchanged):
    for name, (status, body, query, extra) in POSTS.items():
        print(name)
        try:
            answer = daemon.post(body, query, **extra)
        except ConnectionError:
            # The client was still sending when it was answered; a raw client below reads the answer.
            assert len(body) > 10 * MIB, name
            continue
        check(answer, status)


def test_a_body_too_large_is_refused_from_its_announcement_and_while_it_comes(daemon, unchanged):
    (answer,) = daemon.raw(head(b"Content-Length: 11000000"))
    check(answer, 413)
    assert "11000000" in answer.json()["error"]
    (answer,) = daemon.raw(head(b"Content-Length: 11000000", b"Expect: 100-continue"))
    check(answer, 413)
    chunk = b"%x\r\n%b\r\n" % (MIB, b" " * MIB)
    with daemon.connect() as connection:
        connection.sendall(head(b"Transfer-Encoding: chunked"))
        for _ in range(12):
            connection.sendall(chunk)
        (answer,) = parse_answers(connection.recv(65536))
    check(answer, 413)


@pytest.mark.parametrize(
    ("status", "data"),
    [
        (404, b"POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"),
        (404, b"GET /favicon.ico HTTP/1.1\r\nHost: x\r\n\r\n"),
        (405, b"GET /v0/events?name=t HTTP/1.1\r\nHost: x\r\n\r\n"),
        (405, b"DELETE /v0/events?name=t HTTP/1.1\r\nHost: x\r\n\r\n"),
        (431, head(b"X: " + b"x" * 17_000)),
        (431, head(*[b"X: y"] * 63)),
        (400, head(b"Content-Length: 7", b"Transfer-Encoding: chunked") + b"0\r\n\r\n"),
        (400, head(b"Content-Length: 7", b"Content-Length: 8") + BODY),
        (400, head(b"Content-Length: -1")),
        (400, head(b"Transfer-Encoding: chunked", version=b"HTTP/1.0") + b"0\r\n\r\n"),
        (501, head(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n"),
        (505, head(b"Content-Length: 7", version=b"HTTP/2.0") + BODY),
        (417, head(b"Content-Length: 7", b"Expect: miracles") + BODY),
        (400, b"nonsense\r\n\r\n"),
        (400, head(b"Transfer-Encoding: chunked") + b"zz\r\n"),
    ],
)
def test_requests_that_are_no_good(daemon, unchanged, status, data):
    for pieces in ([data], [data[:20], data[20:]]):
        answers = daemon.raw(*pieces)
        assert len(answers) == 1
        check(answers[0], status)
        assert ("allow" in answers[0].headers) == (status == 405)


def test_a_refused_request_with_a_short_body_leaves_the_connection_usable(daemon):
    good = head(b"Content-Length: 7", target=b"/v0/events?name=alive&wait=true") + BODY
    bad = head(b"Content-Length: 7", target=b"/v0/events?name=..&wait=true") + BODY

    assert [answer.status for answer in daemon.raw(good + bad + good + bad + good)] == [200, 400, 200, 400, 200]


def test_slow_clients_are_cut_off_and_others_do_not_wait(daemon, unchanged):
    """A slow head, a slow body, and a connection on which nothing comes at all, all at once."""
    answers: dict[str, bytes] = {}

    def slowly(name: str, first: bytes, drop: bytes) -> None:
        with daemon.connect() as connection:
            connection.sendall(first)
            connection.settimeout(0.5)
            started = time.monotonic()
            while time.monotonic() - started < 45:
                try:
                    answers[name] = connection.recv(65536)
                    break
                except TimeoutError:
                    connection.sendall(drop)
            answers[name + " took"] = b"%d" % (time.monotonic() - started)

    cases = {
        "head": (b"POST /v0/events?name=known HTTP/1.1\r\nHost: x\r\n", b"X"),
        "body": (head(b"Content-Length: 1000000"), b"x"),
        "idle": (b"", b""),
    }
    threads = [threading.Thread(target=slowly, args=(name, *case)) for name, case in cases.items()]
    for thread in threads:
        thread.start()
    assert daemon.post(b"", "name=known").status == 202
    for thread in threads:
        thread.join()
    for name in ("head", "body"):
        (answer,) = parse_answers(answers[name])
        check(answer, 408)
        assert 4 <= int(answers[f"{name} took"]) <= 9
    assert answers["idle"] == b""
    assert 28 <= int(answers["idle took"]) <= 36


def test_a_refused_client_that_leaves_in_the_middle_of_its_body_is_no_error_of_ours(daemon, unchanged):
    wrong = head(b"Content-Length: 100").replace(TOKEN.encode(), b"wrong") + BODY
    (answer,) = daemon.raw(wrong)
    check(answer, 403)
    assert "a request failed" not in daemon.log.read_text()


def test_a_client_that_leaves_in_the_middle_of_a_body_stores_nothing(daemon, unchanged):
    with daemon.connect() as connection:
        connection.sendall(head(b"Content-Length: 100") + BODY + b"\n" + BODY)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert daemon.post(b"", "name=known").status == 202
