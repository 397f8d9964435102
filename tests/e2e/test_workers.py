"""Several front processes take connections: what clients see, and what is stored, is what one process would do."""

import http.client
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from segments.disk import Disk
from segments.filenames import DataDir
from segments.snapshot import open_snapshot
from tests.daemons import TOKEN, Daemon, query
from tests.http_client import connect, parse_answers

ROOT = Path(__file__).parents[2]
THE_SAME_TESTS = ("test_fast_path.py", "test_h1.py", "test_life.py", "test_events.py")


@pytest.fixture
def daemon(start, eventually) -> Daemon:
    daemon: Daemon = start("--workers", "2", "--compact-interval", "3600")
    eventually(lambda: len(fronts(daemon)) == 2)
    return daemon


def request(target: str, body: bytes, token: str = TOKEN) -> bytes:
    head = f"POST /v0/events?{target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def ask(connection: socket.socket, post: bytes):
    connection.sendall(post)
    received = b""
    while not (found := list(parse_answers(received))):
        more = connection.recv(1 << 16)
        if not more:
            raise ConnectionResetError
        received += more
    return found[0]


def fronts(daemon: Daemon) -> list[int]:
    found = []
    for pid in daemon.children:
        # Children end, even while they are looked at.
        with suppress(FileNotFoundError, ProcessLookupError):
            if b"daemon.front" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


@pytest.mark.parametrize("module", THE_SAME_TESTS)
def test_the_tests_of_one_process_pass_with_two_fronts(module):
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/e2e/{module}"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"SILTSTONED_WORKERS": "2"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:]


def test_all_fronts_share_the_port_and_what_they_store(daemon):
    assert daemon.post(b'{"id":-1}').status == 200

    def post(client: int) -> list[int]:
        with connect(daemon.address) as connection:
            found = []
            for turn in range(50):
                number = client * 1000 + turn
                answer = ask(connection, request("name=t&wait=true", b'{"id":%d}\n{"id":"bad"}' % number))
                assert answer.status == 200
                assert (answer.json()["successful_rows"], answer.json()["quarantined_rows"]) == (1, 1)
                found.append(answer.json()["lsn"])
            return found

    with ThreadPoolExecutor(16) as clients:
        answered = list(clients.map(post, range(16)))
    assert all(lsns == sorted(lsns) for lsns in answered)
    assert len({lsn for lsns in answered for lsn in lsns}) == 800
    ids = sorted(row["id"] for row in query(daemon.data, "SELECT id FROM t"))
    assert ids[1:] == [client * 1000 + turn for client in range(16) for turn in range(50)]


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("bad_one_in", [0, 9])
def test_each_of_many_that_come_at_once_is_told_of_its_own_rows(start, workers, bad_one_in):
    """Machine code reads them together, where all fit; what it says of whose each is has to be right."""
    daemon = start("--workers", workers, "--compact-interval", "3600", "--machine-code", "now")
    assert daemon.call("POST", "/v0/datasources?name=t", b"SCHEMA >\n    id Int64\n").status == 200

    def post(client: int) -> list[tuple[int, int, bool]]:
        """The last LSN of each request, the number that its last row has, and whether that is good."""
        told = []
        with connect(daemon.address) as connection:
            for turn in range(30):
                first = client * 1000 + turn * 10
                is_bad = bad_one_in > 0 and first % bad_one_in == 0
                # First one row each, then some with more.
                rows = 1 if is_bad or turn < 15 else 1 + first % 3
                lines = b"\n".join(b'{"id":%d}' % number for number in range(first, first + rows))
                body = b'{"id":"x%d"}' % first if is_bad else lines
                document = ask(connection, request("name=t&wait=true", body)).json()
                assert (document["successful_rows"], document["quarantined_rows"]) == ((0, 1) if is_bad else (rows, 0))
                told.append((document["lsn"], first + rows - 1, not is_bad))
        return told

    with ThreadPoolExecutor(96) as clients:
        told = [one for client in clients.map(post, range(1, 97)) for one in client]
    snapshot = open_snapshot(Disk(), DataDir(daemon.data).source("t"))
    quarantined = {row["c__lsn"]: int(row["id"][1:]) for row in snapshot.of("quarantine").tail.to_pylist()}
    good = [row["id"] for row in snapshot.of("rows").tail.to_pylist()]
    for lsn, number, is_good in sorted(told):
        if is_good:
            assert good[lsn - 1 - sum(1 for other in quarantined if other < lsn)] == number
        else:
            assert quarantined[lsn] == number
    assert len(told) == 96 * 30
    assert max(told)[0] == len(good) + len(quarantined)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_rows_of_many_that_came_at_once_are_there_after_a_kill(start, workers, eventually):
    """All under one head, and more of them than machine code needs to read them as one."""
    daemon = start("--workers", workers, "--machine-code", "now")
    assert daemon.post(b'{"id":1000000000}').status == 200
    numbers = itertools.count(2_000_000_000)
    stored: list[int] = []
    killed = threading.Event()

    def post() -> None:
        with suppress(OSError), connect(daemon.address) as connection:
            while not killed.is_set():
                number = next(numbers)
                if ask(connection, request("name=t&wait=true", b'{"id":%d}' % number)).status == 200:
                    stored.append(number)

    for _ in range(3):
        killed.clear()
        had = len(stored)
        with ThreadPoolExecutor(64) as clients:
            posting = [clients.submit(post) for _ in range(64)]
            eventually(lambda had=had: len(stored) > had + 2000)
            daemon.kill()
            killed.set()
        for one in posting:
            one.result()
        daemon.start()
        found = [row["id"] for row in query(daemon.data, "SELECT id FROM t")]
        assert len(found) == len(set(found))
        assert set(stored) <= set(found)


def test_one_source_is_made_when_many_send_its_first_event_at_once(daemon):
    gate = threading.Barrier(12)

    def post(client: int) -> int:
        with connect(daemon.address) as connection:
            gate.wait()
            return int(ask(connection, request("name=race&wait=true", b'{"id":%d}' % client)).status)

    with ThreadPoolExecutor(12) as clients:
        assert list(clients.map(post, range(12))) == [200] * 12
    assert len(query(daemon.data, "SELECT id FROM race")) == 12


def test_a_front_that_is_killed_costs_its_connections_and_comes_again(daemon, eventually):
    assert daemon.post(b'{"id":0}').status == 200
    accepted: list[int] = []
    stop = threading.Event()

    def post(client: int) -> None:
        number = client * 1_000_000
        while not stop.is_set():
            try:
                with connect(daemon.address) as connection:
                    while not stop.is_set():
                        number += 1
                        if ask(connection, request("name=t&wait=true", b'{"id":%d}' % number)).status == 200:
                            accepted.append(number)
            except OSError:
                # Cut off with a front; whether the row is stored is not known, so it is not sent again.
                continue

    threads = [threading.Thread(target=post, args=(client,)) for client in range(1, 9)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            old = fronts(daemon)
            eventually(lambda: len(accepted) > 50)
            os.kill(old[0], signal.SIGKILL)
            before = len(accepted)
            eventually(
                lambda old=old, before=before: len(set(fronts(daemon)) - set(old)) == 1 and len(accepted) > before
            )
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    rows = [row["id"] for row in query(daemon.data, "SELECT id FROM t")]
    assert len(rows) == len(set(rows))
    assert set(accepted) <= set(rows)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_fronts_end_with_the_daemon(daemon, eventually, number):
    with connect(daemon.address) as connection:
        assert ask(connection, request("name=t&wait=true", b'{"id":1}')).status == 200
        left = fronts(daemon)
        os.kill(daemon.process.pid, number)
        daemon.process.wait(60)
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))
        assert connection.recv(100) == b""
    assert len(query(daemon.data, "SELECT id FROM t")) == 1


def test_a_connection_goes_to_and_fro_and_keeps_its_order(daemon):
    """Between requests for the fronts and others, which the daemon itself answers."""
    get = f"GET /v0/datasources/t?token={TOKEN} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    ids = set()
    with connect(daemon.address) as connection:
        for number in range(40):
            answer = ask(connection, request("name=t&wait=true", b'{"id":%d}' % number))
            assert answer.json()["lsn"] == number + 1
            assert answer.headers["x-request-id"] not in ids
            ids.add(answer.headers["x-request-id"])
            if number % 3 == 0:
                assert ask(connection, get).json()["statistics"]["row_count"] == number + 1
            if number % 5 == 0:
                assert ask(connection, request("name=t&wait=true", b"nothing")).status == 400


def test_a_signal_while_the_fronts_are_being_started_ends_the_daemon(start):
    for _ in range(5):
        assert start("--workers", "2").stop() == 0


def test_more_connections_than_descriptors_cost_only_themselves(start, eventually):
    daemon = start("--workers", "2", prefix=("prlimit", "--nofile=256:256"))
    eventually(lambda: len(fronts(daemon)) == 2)
    waiting = []
    for _ in range(600):
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(daemon.address)
        waiting.append(connection)
    for connection in waiting:
        # Half a head, which the daemon is to wait for.
        with suppress(OSError):
            connection.send(b"G")
    assert daemon.process.poll() is None
    for connection in waiting:
        connection.close()

    def is_taken() -> bool:
        with suppress(OSError, http.client.HTTPException):
            return bool(daemon.post(b'{"id":1}').status == 200)
        return False

    eventually(is_taken)
    assert daemon.process.poll() is None


def test_a_port_that_another_daemon_has_is_refused(daemon, tmp_path):
    """Though sockets that share a port would share it with anybody's."""
    command = [sys.executable, "-m", "daemon", "--data", str(tmp_path / "other"), "--port", str(daemon.port)]
    for workers in ("1", "2"):
        done = subprocess.run([*command, "--workers", workers], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 1
        assert "choose --host and --port" in done.stderr
