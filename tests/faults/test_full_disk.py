"""A daemon on a file system that is full or has no inodes left: no false 200, reads go on, and no restart."""

import subprocess
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.daemons import Daemon, query, wal_files

ROW = b'{"id": %d}'
BIG = b'{"id": %d, "text": "' + b"y" * 5000 + b'"}'


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MiB and 500 inodes for `tmp_path/data`."""
    path = tmp_path / "data"
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m,nr_inodes=500", "tmpfs", path], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"this machine does not let us mount: {done.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


@pytest.fixture
def started(small_disk, start):
    """Started after the disk is there, and so ended before it is gone."""

    def start_with(*options):
        return start("--compact-interval", "0.3", *options)

    return start_with


def fill(path: Path) -> Path:
    ballast = path / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return ballast


def use_up_inodes(path: Path) -> list[Path]:
    made = []
    with suppress(OSError):
        for number in range(1000):
            (path / f"ballast{number}").touch()
            made.append(path / f"ballast{number}")
    return made


def read(daemon: Daemon) -> list[int]:
    answer = daemon.call("GET", f"/v0/sql?q={quote('SELECT id FROM t ORDER BY id FORMAT JSON')}")
    assert answer.status == 200, answer
    return [row["id"] for row in answer.json()["data"]]


def post_until(daemon: Daemon, status: int, first: int, row: bytes = ROW) -> list[int]:
    """The ids that were answered with 200 until a post is answered with `status`."""
    deadline, stored = time.monotonic() + 20, []
    while (answer := daemon.post(row % first, "name=t&wait=true")).status != status or status == 200:
        assert time.monotonic() < deadline, answer
        assert answer.status in {200, 503}, answer
        if answer.status == 200:
            stored.append(first)
            if status == 200:
                break
        else:
            time.sleep(0.1)
        first += 1
    return stored


def wait_for_segments(daemon: Daemon) -> None:
    deadline = time.monotonic() + 20
    while wal_files(daemon.data, "t"):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("options", [(), ("--min-free", "0")], ids=["with a reserve", "to the last byte"])
def test_a_full_disk_refuses_rows_answers_reads_even_after_a_start_and_takes_rows_when_there_is_room(
    started, small_disk, options
):
    daemon = started(*options)
    stored = post_until(daemon, 200, 1)
    wait_for_segments(daemon)
    ballast = fill(small_disk)
    stored += post_until(daemon, 503, 100, BIG)
    assert read(daemon) == stored
    assert daemon.stop() == 0

    daemon.start()
    assert read(daemon) == stored
    assert [row["id"] for row in query(daemon.data, "SELECT id FROM t ORDER BY id")] == stored
    ballast.unlink()
    stored += post_until(daemon, 200, 50_000)
    assert read(daemon) == stored
    wait_for_segments(daemon)
    assert read(daemon) == stored


def test_without_inodes_rows_are_refused_and_reads_go_on(started, small_disk):
    daemon = started()
    stored = post_until(daemon, 200, 1)
    wait_for_segments(daemon)
    made = use_up_inodes(small_disk)
    assert len(made) > 100
    deadline = time.monotonic() + 20
    while (answer := daemon.post(ROW % 2, "name=t&wait=true")).status == 200:
        assert time.monotonic() < deadline
    assert answer.status == 503
    stored = read(daemon)
    for path in made:
        path.unlink()
    stored += post_until(daemon, 200, 50_000)
    assert read(daemon) == stored
