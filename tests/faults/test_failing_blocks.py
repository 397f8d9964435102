"""Blocks of the disk fail under a real ext4 or xfs and a daemon under load: what the file system says then, and the daemon.

After a sync that failed Linux calls the pages clean: the next sync says success, a read shows what is not on the disk, and only a mount
anew shows the truth. So each test ends with one, after a power cut or without.
"""

import random

import pytest

from tests.faults.block_control import Operation
from tests.faults.block_device import BlockDevice
from tests.faults.file_systems import FileSystem, FsKind
from tests.faults.kill_storm import ANSWERS, LARGE_FRAMES, Load, Storm
from tests.faults.mounted_storm import cut_power
from tests.faults.mounting import skipped_where_nothing_can_be_mounted
from tests.faults.recording import SEAM
from tests.faults.row_ledger import Violation
from tests.faults.shim import end_all

QUICK = ("--compact-interval", "0.2", "--sync-interval", "0.2")
LOAD = Load(sizes=(1, 1, 50), rest_s=0.02)
LARGE = Load(sizes=(50, 500), rest_s=0.02)
"""Frames that fill whole pages, so that the next one does not write again what the kernel has given up."""
FRAMES, HEADS, SEGMENTS, APPLIED = b"SLTF", b"SILTWAL\n", b"PAR1", b'{"applied_lsn":'
"""What blocks hold: frames and heads of log files, segments, and how far a source's rows are in segments."""


@pytest.fixture(params=list(FsKind))
def kind(request):
    return request.param


@pytest.fixture
def device(kind, tmp_path):
    with skipped_where_nothing_can_be_mounted():
        kind.make_in_file(tmp_path / "base")
        with BlockDevice(tmp_path / "base", tmp_path / "device").attached() as device:
            yield device


@pytest.fixture
def mounted(kind, device, tmp_path):
    with (
        skipped_where_nothing_can_be_mounted(),
        FileSystem(kind, device.disk, tmp_path / "data").mounted() as mounted,
    ):
        yield mounted


def read(daemon):
    return daemon.call("GET", "/v0/sql?q=SELECT%20count()%20AS%20n%20FROM%20t%20FORMAT%20JSON")


def fail_once(storm, device, content, at):
    """The n-th write from now on of such a block."""
    rule = device.arm(Operation.WRITE, at, content=content)
    storm.wait_until(lambda: rule.hits, "a block fails")
    rule.disarm()


@pytest.mark.parametrize("load", [LOAD, LARGE_FRAMES], ids=["small", "past the page cache too"])
def test_blocks_that_fail_under_load_cost_nothing_that_was_answered_with_200_and_no_restart(
    mounted, device, start, seed, load
):
    dice = random.Random(seed)
    daemon = start(*QUICK)
    storm = Storm(daemon, seed=seed, load=load)
    with storm.blowing():
        storm.wait_for_rows()
        for content in (FRAMES, HEADS):
            for _ in range(3):
                fail_once(storm, device, content, at=dice.randint(1, 5))
                assert read(daemon).status in {200, 503}
            device.arm(Operation.WRITE, onwards=True, content=content)
            storm.pause(0.5)
            device.disarm()
            storm.wait_for_rows()
            assert read(daemon).status == 200
        # Once each: after that the daemon gives the compaction of such a source a rest of half a minute.
        for content in (SEGMENTS, APPLIED):
            fail_once(storm, device, content, at=1)
            assert read(daemon).status == 200
        cut_power(storm, daemon, mounted)
        daemon.start()
        storm.wait_for_rows()
        for _ in range(5):
            fail_once(storm, device, FRAMES, at=dice.randint(1, 5))
        storm.wait_for_rows()
    print(storm)
    assert storm.statuses[503] >= 5
    assert set(storm.statuses) <= ANSWERS
    assert daemon.stop() == 0
    mounted.unmount()
    mounted.mount()
    daemon.start()
    storm.settle()


def test_a_daemon_that_tries_a_failed_sync_again_is_caught(mounted, device, start, tmp_path, seed):
    env = {"PYTHONPATH": str(SEAM), "SILTSTONE_SEAM_LOG": str(tmp_path / "seam"), "SILTSTONE_SEAM_RETRIED": r"\.wal$"}
    daemon = start("--compact-interval", "3600", env=env)
    storm = Storm(daemon, seed=seed, load=LARGE)
    with storm.blowing():
        storm.wait_for_rows()
        for _ in range(10):
            fail_once(storm, device, FRAMES, at=1)
        cut_power(storm, daemon, mounted)
        daemon.start()

    with pytest.raises(Violation, match="lost") as caught:
        storm.check()
    print(caught.value)


@pytest.mark.parametrize("operation", [Operation.WRITE, Operation.FLUSH], ids=["writes", "flushes"])
def test_a_disk_that_is_gone_is_answered_with_503_until_it_is_there_and_mounted_anew(
    mounted, device, start, seed, operation
):
    """Both file systems give up for good when their own blocks can't be written, also when the disk is back."""
    daemon = start(*QUICK)
    storm = Storm(daemon, seed=seed, load=LOAD)
    with storm.blowing():
        storm.wait_for_rows()
        device.arm(operation, onwards=True)
        storm.pause(0.5)
        refused = storm.statuses[503]
        device.disarm()
        storm.pause(1)
        assert storm.statuses[503] > refused
        assert read(daemon).status in {200, 503}
        storm.era.end()
        end_all(daemon)
        mounted.unmount()
        mounted.mount()
        storm.era.begin()
        daemon.start()
        storm.wait_for_rows()
        assert read(daemon).status == 200
    print(storm)
    assert set(storm.statuses) <= ANSWERS
    storm.settle()
