"""The compaction child and its daemon: neither's death costs a row, and readers never see a row missing or twice."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from daemon.compactor import LOOKED_AT_ONCE
from query.engine import run_query
from segments.disk import Disk
from segments.filenames import DataDir
from tests.daemons import TOKEN, query, segments, siltstone, wal_files
from tests.http_client import Client

TARGET = "/v0/events?name=t&wait=true"


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_starting(pid: int) -> bool:
    """Whether the child has not yet made itself nice, which is the last thing before it reads its orders."""
    try:
        return os.getpriority(os.PRIO_PROCESS, pid) == 0 and is_running(pid)
    except ProcessLookupError:
        return False


def kill_if_running(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def test_the_child_dies_with_its_daemon(start, eventually):
    """Killed while the child is at work, and the next daemon has the data directory at once."""
    daemon = start("--compact-interval", "0.1")
    acknowledged = 0
    for _ in range(4):
        children: list[int] = []
        while not children:
            acknowledged += daemon.post(b'{"n":1}').status == 200
            children = daemon.children
        daemon.kill()
        daemon.start()
        eventually(lambda pids=tuple(children): not any(map(is_running, pids)))
    assert query(daemon.data, "SELECT count(*) AS n FROM t") == [{"n": acknowledged}]


def test_a_killed_child_costs_no_row_and_not_the_daemon(start, eventually):
    daemon = start("--compact-interval", "0.1")
    acknowledged = 0
    while "the child process ended early" not in daemon.log.read_text():
        acknowledged += daemon.post(b'{"n":1}').status == 200
        for pid in daemon.children:
            # Not before it is about to read its orders; see below for one that dies at once.
            while is_starting(pid):
                pass
            kill_if_running(pid)
        assert acknowledged < 10_000
    acknowledged += daemon.post(b'{"n":1}').status == 200

    assert query(daemon.data, "SELECT count(*) AS n FROM t") == [{"n": acknowledged}]
    assert daemon.stop() == 0
    daemon.start()
    eventually(lambda: not wal_files(daemon.data, "t"))
    assert query(daemon.data, "SELECT count(*) AS n FROM t") == [{"n": acknowledged}]


def test_another_process_sees_every_acknowledged_row_once_while_rows_move(start):
    """Acknowledged before the query began: in it. Not sent when the query ended: not in it."""
    daemon = start("--compact-interval", "0.1")
    counts = {"sent": 0, "acknowledged": 0}
    lock, stop = threading.Lock(), threading.Event()

    def count(what: str) -> None:
        with lock:
            counts[what] += 1

    def post() -> None:
        with Client(daemon.address) as client:
            while not stop.is_set():
                count("sent")
                assert client.request("POST", TARGET, b'{"n":1}', Authorization=f"Bearer {TOKEN}").status == 200
                count("acknowledged")

    daemon.post(b'{"n":0}')
    threads = [threading.Thread(target=post) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        while len(segments(daemon.data, "t")) < 12:
            low = counts["acknowledged"]
            result = run_query(Disk(), DataDir(daemon.data), "SELECT count(*) AS n FROM t WHERE n = 1")
            found = result.reader.read_all()["n"][0].as_py()
            assert low <= found <= counts["sent"]
            assert result.damage == ()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert counts["sent"] == counts["acknowledged"]


def test_a_write_that_the_disk_refuses_is_answered_503_and_its_retry_is_stored_once(start):
    """No file may grow beyond 40,000 bytes, as on a disk that is full for a while."""
    if shutil.which("prlimit") is None:
        pytest.skip("prlimit is not installed")
    daemon = start("--compact-interval", "3600", prefix=("prlimit", "--fsize=40000"))
    statuses = []
    for number in range(200):
        body = b'{"n":%d,"s":"%b"}' % (number, b"x" * 300)
        while True:
            answer = daemon.post(body, Idempotency_Key=str(number))
            statuses.append(answer.status)
            if answer.status == 200:
                break
            assert answer.status == 503
            assert int(answer.headers["retry-after"]) >= 1

    assert statuses.count(503) >= 2
    count = "SELECT count(*) AS n, count(DISTINCT n) AS different FROM t"
    assert query(daemon.data, count) == [{"n": 200, "different": 200}]
    daemon.kill()
    daemon.start()
    assert query(daemon.data, count) == [{"n": 200, "different": 200}]
    assert siltstone(daemon.data, "verify").returncode == 0


def test_children_that_are_killed_at_once_do_not_cost_the_daemon(start):
    """As the system does when it is out of memory."""
    daemon = start("--compact-interval", "0.1")
    stop = threading.Event()

    def kill_children() -> None:
        while not stop.is_set():
            for pid in daemon.children:
                kill_if_running(pid)

    killer = threading.Thread(target=kill_children)
    killer.start()
    try:
        for number in range(300):
            assert daemon.post(b'{"n":1}', f"name=source_{number}&wait=true").status == 200
            time.sleep(0.02)
    finally:
        stop.set()
        killer.join()


def test_a_disk_that_refuses_new_files_for_a_while_is_not_littered(start):
    """The header of a WAL file with 500 columns is larger than any file may be for a while."""
    if shutil.which("prlimit") is None:
        pytest.skip("prlimit is not installed")
    daemon = start("--compact-interval", "3600")
    row = b"{%b}" % b",".join(b'"column_%d":1' % n for n in range(500))
    assert daemon.post(row).status == 200
    daemon.kill()
    daemon.start()
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (32_768, 1 << 40))
    for _ in range(20):
        assert daemon.post(row).status == 503
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (1 << 40, 1 << 40))
    assert daemon.post(row).status == 200

    assert not list((daemon.data / "sources/t/wal").glob(".*"))


def test_a_daemon_that_can_not_start_its_child_goes_on_taking_rows(tmp_path):
    """As when the virtual environment under it is replaced by an upgrade, or the system has no process to give."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(Path(sys.executable).resolve())
    (tmp_path / "venv" / "pyvenv.cfg").write_text((Path(sys.prefix) / "pyvenv.cfg").read_text())
    (tmp_path / "venv" / "lib").symlink_to(Path(sys.prefix) / "lib")
    status, log = post_after(python, tmp_path, gone=python.unlink)

    assert status == 200, log[-2000:]


def test_a_daemon_whose_log_has_lost_its_reader_goes_on_taking_rows(tmp_path):
    status, _ = post_after(Path(sys.executable), tmp_path, gone=None)

    assert status == 200


def post_after(python: Path, tmp_path: Path, *, gone) -> tuple[int, str]:
    """The answer to a request sent after the daemon had to compact; 0 when there was nobody to answer it.

    `gone` takes something away once it has started; None closes the pipe that it logs to.
    """
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [python, "-m", "daemon", "--data", tmp_path / "data", "--port", "0", "--compact-interval", "0.2"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if gone is None else file,
            env=os.environ | {"SILTSTONED_ADMIN_TOKEN": TOKEN},
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(b":")[2])
        address, headers = ("127.0.0.1", port), {"Authorization": f"Bearer {TOKEN}"}
        if process.stderr is not None:
            process.stderr.readline()
        with Client(address) as client:
            assert client.request("POST", TARGET, b'{"n":1}', **headers).status == 200
        if process.stderr is not None:
            process.stderr.close()
        else:
            gone()
        try:
            process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            pass
        with Client(address) as client:
            return client.request("POST", TARGET, b'{"n":1}', **headers).status, ""
    except ConnectionError:
        return 0, log.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def test_of_more_sources_than_it_looks_at_at_once_none_is_left_out(start, eventually):
    daemon = start("--compact-interval", "0.2")
    names = [f"s{number}" for number in range(LOOKED_AT_ONCE + 2)]
    with Client(daemon.address) as client:
        for name in names:
            target = f"/v0/events?name={name}"
            assert client.request("POST", target, b'{"n":1}', Authorization=f"Bearer {TOKEN}").status == 202

    eventually(lambda: all(segments(daemon.data, name) for name in names))
