"""Clients that mean harm, beside one that does not: its rows go on being stored, and the daemon's memory stays bounded.

Bounded is: the neighbour is answered within its patience, and the daemon never held more than the budget it was given on
top of what it takes to run.
"""

import gzip
import resource
import socket
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import pyarrow as pa
import pytest

from tests.daemons import TOKEN, Daemon

MIB = 1 << 20
BUDGET = 64 * MIB
NEIGHBOUR_PATIENCE_S = 20
HEAD = f"POST /v0/events?name=t&wait=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()


class Neighbour(threading.Thread):
    """Posts row after row; `statuses` are its answers."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__()
        self._daemon = daemon
        self._halt = threading.Event()
        self.statuses: list[int] = []

    def run(self) -> None:
        with self._daemon.connect() as connection:
            connection.settimeout(NEIGHBOUR_PATIENCE_S)
            body = b'{"id": 1}'
            request = HEAD.replace(b"name=t", b"name=good") + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            while not self._halt.wait(0.005):
                connection.sendall(request)
                answer = b""
                while b"\r\n\r\n" not in answer or not answer.rstrip().endswith(b"}"):
                    received = connection.recv(65536)
                    if not received:
                        break
                    answer += received
                self.statuses.append(int(answer.split(b" ", 2)[1]) if answer else 0)
                if not answer:
                    return

    def end(self) -> list[int]:
        """Its answers, of which some are from after what was done beside it."""
        enough = len(self.statuses) + 5
        while self.is_alive() and len(self.statuses) < enough:
            self.join(0.01)
        self._halt.set()
        self.join()
        return self.statuses


def peak_memory(daemon: Daemon) -> int:
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


@pytest.fixture
def alone(start):
    """A daemon with a small budget."""
    daemon = start("--memory", str(BUDGET))
    assert daemon.post(b'{"id": 1}', "name=good&wait=true").status == 200
    return daemon


@pytest.fixture
def neighbour(alone):
    return Neighbour(alone)


@pytest.fixture
def beside(alone, neighbour):
    """The daemon, and what must be true of its neighbour and its memory in the end."""
    daemon = alone
    before = peak_memory(daemon)
    neighbour.start()
    yield daemon
    statuses = neighbour.end()
    grown = peak_memory(daemon) - before
    print(f"{len(statuses)} answers to the neighbour; the daemon grew by {grown // MIB} MiB")
    assert len(statuses) >= 5
    assert set(statuses) == {200}
    assert grown < 4 * BUDGET
    assert daemon.post(b'{"id": 2}', "name=good&wait=true").status == 200


def repeated(member: bytes, size: int) -> bytes:
    return member * (size // len(member))


BOMBS = {
    "gzip": lambda: repeated(gzip.compress(bytes(64 * MIB), 9), 9 * MIB),
    "zstd": lambda: repeated(pa.compress(bytes(64 * MIB), "zstd", asbytes=True), 9 * MIB),
}


@pytest.mark.parametrize("coding", BOMBS)
def test_bombs_of_9_mb_that_become_gigabytes(beside, coding):
    bomb = BOMBS[coding]()
    for _ in range(3):
        answer = beside.post(bomb, "name=t&wait=true", Content_Encoding=coding)
        assert answer.status == 413
        assert "after decompression" in answer.json()["error"]


def test_many_bombs_at_once(beside):
    bomb = repeated(gzip.compress(bytes(64 * MIB), 9), MIB)
    statuses = []

    def post() -> None:
        # Whoever is refused before the body was read may find the connection gone while still sending.
        with suppress(ConnectionError):
            statuses.append(beside.post(bomb, "name=t", Content_Encoding="gzip").status)

    threads = [threading.Thread(target=post) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {413, 503}


UNPACKED = {
    "analyses": ("/v0/analyze", b'{"a":1}\n' * 250_000),
    "documents": ("/v0/events?name=good&format=json", b"[" + b"{}," * 300_000 + b"{}]"),
}


@pytest.mark.parametrize("what", UNPACKED)
def test_bodies_that_are_much_as_objects_take_their_turns(beside, what):
    target, body = UNPACKED[what]
    statuses = []

    def post() -> None:
        with suppress(ConnectionError):
            statuses.append(beside.call("POST", target, body).status)

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 202, 503}


TINY = {
    "an analysis": "/v0/analyze",
    "the first rows of a source": "/v0/events?name=new",
    "the first document of a source": "/v0/events?name=new&format=json",
}


@pytest.mark.parametrize("what", TINY)
def test_three_million_objects_in_10_mb_are_refused_and_others_are_answered_meanwhile(beside, neighbour, what):
    before = len(neighbour.statuses)

    answer = beside.call("POST", TINY[what], b"[" + b"{}," * (3 * MIB) + b"{}]")

    assert answer.status == 413
    assert "1000000 are the limit" in answer.json()["error"]
    assert len(neighbour.statuses) - before >= 10


EVENTS = {
    "a line of 10 MB": b'{"a": "' + b"x" * (10 * MIB - 100) + b'"}',
    "100,000 levels of arrays": b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 levels of objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a million keys": b"{" + b",".join(b'"k%d":1' % n for n in range(600_000)) + b"}",
    "a number of 1,000 digits": b'{"id": ' + b"9" * 1000 + b"}",
    "an exponent without end": b'{"id": 1e' + b"9" * 1000 + b"}",
    "invalid UTF-8": b'{"id": "\xff\xfe"}',
    "a lone surrogate": b'{"id": "\\ud800"}',
    "NaN": b'{"id": NaN}',
    "a NUL": b'{"id": "a\x00b"}',
    "no JSON": b"\x00" * 100_000,
    "half a line": b'{"id": 1',
    "lines without end": b"\n" * (9 * MIB),
    "a million empty objects": b"{}\n" * 1_000_000,
}


@pytest.mark.parametrize("what", EVENTS)
def test_events_that_mean_harm_are_refused_or_in_quarantine(beside, what):
    beside.post(b'{"id": 1}')
    answer = beside.post(EVENTS[what])
    assert answer.status in {200, 400, 413}
    if answer.status == 200:
        told = answer.json()
        assert (told["successful_rows"] + told["quarantined_rows"] > 0) == bool(EVENTS[what].strip())
    else:
        assert answer.json()["error"]


SLOW = {
    "heads": b"POST /v0/events?name=t HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    "bodies": HEAD + b"Content-Length: 1000000\r\n\r\n{",
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
}


@pytest.mark.parametrize("what", SLOW)
def test_five_hundred_slow_senders_are_cut_off(beside, what):
    with ExitStack() as open_ones:
        slow = [open_ones.enter_context(beside.connect()) for _ in range(500)]
        for connection in slow:
            connection.sendall(SLOW[what])
        waiting = set(slow)
        for _ in range(40):
            for connection in list(waiting):
                connection.settimeout(0.0005)
                try:
                    connection.sendall(b"x")
                    if not connection.recv(65536):
                        waiting.discard(connection)
                except TimeoutError:
                    continue
                except OSError:
                    waiting.discard(connection)
            if not waiting:
                break
        assert not waiting


def test_five_thousand_idle_connections(beside):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 5200:
        pytest.skip(f"this machine gives a process no more than {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 5200), hard))
    try:
        with ExitStack() as open_ones:
            for _ in range(5000):
                connection = open_ones.enter_context(socket.create_connection(beside.address, timeout=20))
            connection.sendall(HEAD + b"Content-Length: 9\r\n\r\n" + b'{"id": 3}')
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


HEADS = {
    "a header of 1 MB": (HEAD + b"X: " + b"a" * MIB + b"\r\n\r\n", {431}),
    "10,000 headers": (HEAD + b"".join(b"X-%d: a\r\n" % n for n in range(10_000)) + b"\r\n", {431}),
    "a target of 1 MB": (b"POST /" + b"a" * MIB + b" HTTP/1.1\r\nHost: x\r\n\r\n", {414, 431}),
    "a chunk of 2^60 bytes": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1000000000000000\r\n{", {408, 413}),
    "a chunk extension of 1 MB": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * MIB + b"\r\n{\r\n",
        {400, 431},
    ),
    "trailers of 1 MB": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"a" * MIB + b"\r\n\r\n", {400, 431}),
}


@pytest.mark.parametrize("what", HEADS)
def test_heads_and_framing_that_mean_harm(beside, what):
    sent, expected = HEADS[what]
    with ExitStack() as stack:
        # All at once: some are answered only when their time is over.
        connections = [stack.enter_context(beside.connect()) for _ in range(20)]
        for connection in connections:
            connection.settimeout(NEIGHBOUR_PATIENCE_S)
            with suppress(ConnectionError):
                connection.sendall(sent)
        for connection in connections:
            answer = b""
            with suppress(ConnectionError):
                answer = connection.recv(65536)
            assert not answer or int(answer.split(b" ", 2)[1]) in expected, answer[:200]
