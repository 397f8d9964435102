"""The shim itself: a layer that loses nothing that was not synced would prove nothing."""

import errno
import subprocess
import sys
import time

import pytest

from tests.daemons import Daemon, query
from tests.faults.shim import Fault, Kind, Role, Shim

ROW = b'{"id": %d}'
UNTIL_SYNCED = ("--sync-interval", "1000")


@pytest.fixture
def run(tmp_path):
    """Run a program with the shim under it, cut the power, and give back the files that are left with their content."""
    data = tmp_path / "data"

    def run_one(program: str, *, before=lambda shim: None) -> dict[str, str]:
        shim = Shim(tmp_path / "shim", data, volatile=True)
        before(shim)
        daemon = Daemon(data)
        command = [sys.executable, "-c", f"import os\nos.chdir({str(data)!r})\nD = os.getcwd()\n{program}"]
        daemon._process = subprocess.Popen(command, env=shim.env, text=True, start_new_session=True)
        daemon.process.wait()
        shim.cut_power(daemon)
        return {str(path.relative_to(data)): path.read_text() for path in data.rglob("*") if path.is_file()}

    return run_one


WRITE = (
    "def write(name, text):\n  f = os.open(f'{D}/{name}', os.O_CREAT | os.O_WRONLY); os.pwrite(f, text, 0); return f\n"
)
SYNC_DIR = "def sync_dir(): os.fsync(os.open(D, os.O_RDONLY))\n"


@pytest.mark.parametrize(
    ("program", "left"),
    [
        ("write('a', b'1')", {}),
        ("os.fsync(write('a', b'1'))", {}),
        ("write('a', b'1'); sync_dir()", {"a": ""}),
        ("os.fdatasync(write('a', b'1')); sync_dir()", {"a": "1"}),
        ("f = write('a', b'1'); os.fsync(f); sync_dir(); os.pwrite(f, b'2', 0)", {"a": "1"}),
        ("os.fsync(write('a', b'1')); sync_dir(); os.rename(f'{D}/a', f'{D}/b')", {"a": "1"}),
        ("os.fsync(write('a', b'1')); sync_dir(); os.rename(f'{D}/a', f'{D}/b'); sync_dir()", {"b": "1"}),
        ("os.fsync(write('a', b'1')); sync_dir(); os.unlink(f'{D}/a')", {"a": "1"}),
        ("os.fsync(write('a', b'1')); sync_dir(); os.unlink(f'{D}/a'); os.fsync(write('b', b'2'))", {"a": "1"}),
        ("os.fsync(write('a', b'1')); sync_dir(); os.unlink(f'{D}/a'); sync_dir()", {}),
        (
            "os.fsync(write('a', b'1')); sync_dir(); os.fsync(write('b', b'2')); os.rename(f'{D}/b', f'{D}/a')",
            {"a": "1"},
        ),
    ],
)
def test_a_power_cut_leaves_what_was_synced_and_nothing_else(run, program, left):
    assert run(WRITE + SYNC_DIR + program) == left


SWAP = """
from pathlib import Path
from segments.disk import Disk
disk = Disk()
for d in ('one', 'other'):
    os.mkdir(f'{D}/{d}'); os.mkdir(f'{D}/{d}/x'); os.fsync(write(f'{d}/x/{d}', b'1'))
    disk.sync_dir(Path(D, d, 'x')); disk.sync_dir(Path(D, d))
sync_dir()
disk.exchange(Path(D, 'one', 'x'), Path(D, 'other', 'x'))
"""
SWAPPED, NOT_SWAPPED = {"one/x/other": "1", "other/x/one": "1"}, {"one/x/one": "1", "other/x/other": "1"}


@pytest.mark.parametrize(
    ("program", "left"),
    [
        ("", NOT_SWAPPED),
        ("sync_dir()", NOT_SWAPPED),
        ("disk.sync_dir(Path(D, 'one'))", SWAPPED),
        ("disk.sync_dir(Path(D, 'other'))", SWAPPED),
    ],
)
def test_a_power_cut_leaves_a_swap_of_two_directories_whole_or_not_at_all(run, program, left):
    assert run(WRITE + SYNC_DIR + SWAP + program) == left


def test_a_swap_can_fail_as_a_rename_can(run):
    program = "\nassert sorted(os.listdir(f'{D}/one/x')) == ['one']"
    caught = SWAP.replace("disk.exchange(", "try: disk.exchange(") + "except OSError as error: assert error.errno == 5"

    def arm(shim: Shim) -> None:
        shim.arm(Kind.RENAME, Fault.FAIL, roles=Role.OTHER)

    assert run(WRITE + SYNC_DIR + caught + program, before=arm) == NOT_SWAPPED


def test_what_a_failed_sync_was_to_save_is_lost_though_the_next_one_succeeds(run):
    program = """
f = write('a', b'lost')
sync_dir()
try:
    os.fdatasync(f)
except OSError as error:
    assert error.errno == 5
os.pwrite(f, b'kept', 4)
os.fdatasync(f)
assert open(f'{D}/a').read() == 'lostkept'
os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)
assert open(f'{D}/a').read() == '\\0\\0\\0\\0kept'
"""

    def arm(shim: Shim) -> None:
        shim.arm(Kind.SYNC, Fault.FAIL, roles=Role.OTHER)

    assert run(WRITE + SYNC_DIR + program, before=arm) == {"a": "\0\0\0\0kept"}


def test_a_failed_sync_is_told_to_every_descriptor_that_was_open_then_and_to_none_opened_later(run):
    program = """
f = write('a', b'lost')
told = []
for g in (os.open(f'{D}/a', os.O_RDONLY), f, f, os.open(f'{D}/a', os.O_RDONLY)):
    try:
        os.fdatasync(g)
    except OSError as error:
        told.append(error.errno)
    else:
        told.append(0)
assert told == [5, 5, 0, 0], told
"""

    run(WRITE + SYNC_DIR + program, before=lambda shim: shim.arm(Kind.SYNC, Fault.FAIL, roles=Role.OTHER))


def test_a_power_cut_takes_rows_that_were_not_synced_and_leaves_those_that_were(start, tmp_path):
    shim = Shim(tmp_path / "shim", tmp_path / "data", volatile=True)
    daemon = start(*UNTIL_SYNCED, env=shim.env)
    assert daemon.post(ROW % 1).status == 200
    assert daemon.post(ROW % 2, "name=t").status == 202
    shim.cut_power(daemon)
    daemon.start()

    assert query(daemon.data, "SELECT id FROM t") == [{"id": 1}]


def test_without_the_volatile_image_rows_outlive_a_kill_unsynced(start, tmp_path):
    """Which is why kill -9 alone tests no sync."""
    shim = Shim(tmp_path / "shim", tmp_path / "data")
    daemon = start(*UNTIL_SYNCED, env=shim.env)
    assert daemon.post(ROW % 1, "name=t").status == 202
    daemon.kill()
    daemon.start()

    assert query(daemon.data, "SELECT id FROM t") == [{"id": 1}]


def test_the_nth_call_meets_the_fault_and_no_other(start, tmp_path):
    shim = Shim(tmp_path / "shim", tmp_path / "data")
    daemon = start(*UNTIL_SYNCED, env=shim.env)
    daemon.post(ROW % 0)
    rule = shim.arm(Kind.WRITE, Fault.FAIL, 2, error=errno.ENOSPC)

    assert [daemon.post(ROW % n, "name=t").status for n in (1, 2, 3)] == [202, 503, 202]
    assert rule.hits == 1
    assert "No space left" in daemon.log.read_text()


def test_a_short_write_is_gone_on_with(start, tmp_path):
    shim = Shim(tmp_path / "shim", tmp_path / "data", volatile=True)
    daemon = start(*UNTIL_SYNCED, env=shim.env)
    daemon.post(ROW % 0)
    rule = shim.arm(Kind.WRITE, Fault.SHORT)
    assert daemon.post(ROW % 1).status == 200
    assert rule.hits == 1
    shim.cut_power(daemon)
    daemon.start()

    assert [row["id"] for row in query(daemon.data, "SELECT id FROM t ORDER BY id")] == [0, 1]


@pytest.mark.parametrize("code", ["now", "never"])
def test_a_sync_that_a_signal_has_interrupted_is_not_tried_again(start, tmp_path, code):
    """As Python does by itself: what the first has lost a second would not find."""
    shim = Shim(tmp_path / "shim", tmp_path / "data")
    daemon = start(*UNTIL_SYNCED, "--machine-code", code, env=shim.env)
    daemon.post(ROW % 0)
    rule = shim.arm(Kind.SYNC, Fault.FAIL, error=errno.EINTR)

    assert [daemon.post(ROW % n).status for n in (1, 2)] == [503, 200]
    assert rule.hits == 1


def test_a_slow_sync_is_waited_for(start, tmp_path):
    shim = Shim(tmp_path / "shim", tmp_path / "data")
    daemon = start(*UNTIL_SYNCED, env=shim.env)
    daemon.post(ROW % 0)
    shim.arm(Kind.SYNC, Fault.DELAY, delay_ms=300)
    before = time.monotonic()

    assert daemon.post(ROW % 1).status == 200
    assert time.monotonic() - before >= 0.3


def test_a_power_cut_soon_after_the_first_start_leaves_the_directories_above_the_data_too(tmp_path):
    """The options after the harness's own --data and --port win."""
    shim = Shim(tmp_path / "shim", tmp_path / "disk", volatile=True)
    (shim.data / "lost+found").mkdir()
    (shim.data / "volume").mkdir()
    (shim.data / "volume" / "lost+found").mkdir()
    shim.adopt()
    for place in ("volume", "a/b/data"):
        daemon = Daemon(shim.data, "--data", str(shim.data / place), env=shim.env)
        daemon.start()
        assert daemon.post(ROW % 1).status == 200
        shim.cut_power(daemon)
        daemon.start()
        daemon.end()

        assert query(shim.data / place, "SELECT id FROM t") == [{"id": 1}]


APPENDS = ".wal$"
"""Files get this name when they have been synced for the first time."""


def test_it_is_under_what_machine_code_writes_and_syncs(tmp_path):
    shim = Shim(tmp_path / "shim", tmp_path / "data", volatile=True)
    daemon = Daemon(shim.data, "--machine-code", "now", env=shim.env)
    try:
        assert daemon.start().post(b'{"id": 1}').status == 200
        failing = shim.arm(Kind.SYNC, Fault.FAIL, scope=APPENDS)
        assert daemon.post(b'{"id": 2}').status == 503
        assert daemon.post(b'{"id": 3}').status == 200
        assert failing.hits == 1
        lying = shim.arm(Kind.SYNC, Fault.LIE, scope=APPENDS)
        assert daemon.post(b'{"id": 4}').status == 200
        assert lying.hits == 1
        shim.cut_power(daemon)
        assert [row["id"] for row in query(daemon.data, "SELECT id FROM t ORDER BY id")] == [1, 3]
    finally:
        daemon.end()
