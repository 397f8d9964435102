"""Starting, stopping, and who owns the data directory."""

import http.client
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

from tests.daemons import TOKEN, query, segments, siltstone, wal_files
from tests.http_client import parse_answers

BODY = b'{"id":%d}'


def unread_bytes(connection: socket.socket) -> int:
    """What the other end, on this machine and over IPv4, has not read, as proc_pid_net(5) tells it."""
    ours, theirs = (f":{end[1]:04X}" for end in (connection.getsockname(), connection.getpeername()))
    for line in Path("/proc/net/tcp").read_text().splitlines():
        _, local, remote, _, queues, *_ = line.split()
        if local.endswith(theirs) and remote.endswith(ours):
            return int(queues.partition(":")[2], 16)
    raise LookupError


def test_sigterm_under_load_loses_nothing_that_was_accepted(daemon):
    """202 too: an orderly stop syncs what was only handed to the kernel."""
    accepted: list[int] = []
    started = threading.Barrier(9)

    def post(client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)
        number = client * 1_000_000
        while True:
            number += 1
            wait = "true" if number % 2 else "false"
            path = f"/v0/events?name=t&wait={wait}"
            try:
                connection.request("POST", path, BODY % number, {"Authorization": f"Bearer {TOKEN}"})
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                return
            finally:
                if number == client * 1_000_000 + 20:
                    started.wait()
            if response.status in (200, 202):
                accepted.append(number)

    threads = [threading.Thread(target=post, args=(client,)) for client in range(8)]
    for thread in threads:
        thread.start()
    started.wait()
    assert daemon.stop(signal.SIGTERM) == 0
    for thread in threads:
        thread.join()

    rows = [row["id"] for row in query(daemon.data, "SELECT id FROM t")]
    assert len(rows) == len(set(rows))
    assert set(accepted) <= set(rows)
    assert len(accepted) >= 160


def test_a_second_daemon_is_refused_in_one_sentence(daemon):
    daemon.post(b'{"a":1}')
    command = [sys.executable, "-m", "daemon", "--data", str(daemon.data), "--port", "0"]
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert second.returncode == 1
    assert second.stdout == ""
    assert second.stderr.startswith("siltstoned: another siltstoned owns this data directory")
    assert second.stderr.count("\n") == 1
    assert daemon.post(b'{"a":1}').status == 200


def test_a_directory_that_can_not_be_used_is_said_in_one_sentence():
    command = [sys.executable, "-m", "daemon", "--data", "/proc/no/such", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 1
    assert done.stderr.startswith(
        "siltstoned: the data directory can't be used: No such file or directory; give another"
    )
    assert done.stderr.count("\n") == 1


def test_a_daemon_whose_output_nobody_can_take_starts_and_ends_as_any_other(tmp_path):
    command = [sys.executable, "-m", "daemon", "--data", str(tmp_path / "data"), "--port", "0"]
    with Path("/dev/full").open("wb") as full:
        process = subprocess.Popen(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while '"event": "ready"' not in (line := process.stderr.readline()):
        assert line, "it ended before it was ready"
    process.terminate()
    assert "Error" not in process.communicate(timeout=60)[1]
    assert process.returncode == 0


def test_the_first_start_makes_an_admin_token_for_its_owner_alone(tmp_path):
    data = tmp_path / "data"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SILTSTONED_")}
    environment |= {"SILTSTONED_DATA": str(data), "SILTSTONED_PORT": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "daemon"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        token = (data / "admin.token").read_text().strip()
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
        connection.request("POST", "/v0/events?name=t&wait=true", b'{"a":1}', {"Authorization": f"Bearer {token}"})
        assert connection.getresponse().status == 200
        connection.close()
    finally:
        process.terminate()
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert token.startswith("p.")
    assert token not in log
    assert str(data / "admin.token") in log
    for name in ("admin.token", "tokens.json"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600
    assert token not in (data / "tokens.json").read_text()


def test_a_body_under_way_at_sigterm_is_taken_answered_and_stored(daemon, eventually):
    daemon.post(BODY % 0)
    body = BODY % 1 + b"\n" + BODY % 2
    head = f"POST /v0/events?name=t&token={TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with daemon.connect() as connection:
        connection.sendall(head + body[:9])
        eventually(lambda: unread_bytes(connection) == 0)
        daemon.process.send_signal(signal.SIGTERM)
        eventually(lambda: "stopping" in daemon.log.read_text())
        connection.sendall(body[9:])
        (answer,) = parse_answers(connection.recv(65536))
    # Not by stop(): a second signal kills.
    assert daemon.process.wait(timeout=60) == 0

    assert answer.status == 202
    assert answer.headers["connection"] == "close"
    assert query(daemon.data, "SELECT id FROM t ORDER BY id") == [{"id": n} for n in range(3)]


def test_options_may_come_from_the_environment(start, eventually):
    settings = ("SILTSTONED_MAX_BODY=1024", "SILTSTONED_COMPACT_INTERVAL=0.1")
    daemon = start(prefix=("env", *settings))
    assert daemon.post(b'{"s":"%b"}' % (b"x" * 1024)).status == 413
    assert daemon.post(b'{"s":"x"}').status == 200

    eventually(lambda: len(segments(daemon.data, "t")) == 1)


def test_a_mark_vouches_for_the_last_commit_within_seconds(daemon, eventually):
    """From then on rot in the last rows is told from a torn tail, though nothing else was sent."""
    daemon.post(b'{"a":1}')
    (path,) = wal_files(daemon.data, "t")
    before = path.stat().st_size
    eventually(lambda: path.stat().st_size > before)
    daemon.kill()
    data = bytearray(path.read_bytes())
    data[-512 - 100] ^= 1
    path.write_bytes(bytes(data))
    verdict = siltstone(daemon.data, "verify", "t")

    assert verdict.returncode == 1
    assert b"LSNs 1 to 1, which were durable" in verdict.stdout
    daemon.start()
    refused = daemon.post(b'{"a":2}')
    assert refused.status == 503
    assert "siltstone verify t" in refused.json()["error"]
    assert daemon.post(b'{"a":2}', "name=other&wait=true").status == 200


def test_rows_answered_with_202_are_synced_by_themselves(start):
    """Nothing else is sent; a second later a SIGKILL takes nothing (kill -9 never did: the mark vouches for them)."""
    daemon = start("--sync-interval", "0.1")
    answer = daemon.post(b'{"a":1}', "name=t")
    assert answer.status == 202
    daemon.kill()
    assert query(daemon.data, "SELECT a FROM t") == [{"a": 1}]
    daemon.start()
    assert daemon.post(b'{"a":2}').json()["lsn"] == 2
