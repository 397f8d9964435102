"""A daemon ended under load: rows answered with 200 are there exactly once, with 202 at most once, and no others."""

import pytest

from tests.daemons import siltstone, wal_files
from tests.faults.kill_storm import ANSWERS, LARGE_FRAMES, SOURCES, Storm
from tests.faults.shim import Fault, Kind, Shim

QUICK = ("--compact-interval", "0.3", "--sync-interval", "0.3")


@pytest.fixture(params=["now", "never"])
def quick(request) -> tuple[str, ...]:
    """Options of a daemon; machine code has other threads write and sync."""
    return (*QUICK, "--machine-code", request.param)


def finish(storm, daemon, eventually, **claims):
    """Everything agrees, at once and when all of it is in segments."""
    print(storm)
    assert set(storm.statuses) <= ANSWERS
    assert storm.stored > 1000
    assert storm.taken > 100
    storm.check(**claims)
    eventually(lambda: not any(wal_files(daemon.data, source) for source in SOURCES))
    storm.check(**claims)
    done = siltstone(daemon.data, "verify")
    assert done.returncode == 0, done.stdout


def test_kills_under_load_lose_nothing_and_double_nothing(start, quick, eventually, seed):
    daemon = start(*quick)
    storm = Storm(daemon, seed=seed)
    storm.run(daemon.kill, ends=25)
    # What the kernel has outlives a kill.
    finish(storm, daemon, eventually, keeps_taken=True)


def test_kills_between_and_in_large_writes_lose_nothing_and_double_nothing(start, eventually, seed):
    daemon = start(*QUICK, "--machine-code", "now")
    storm = Storm(daemon, seed=seed, load=LARGE_FRAMES)
    storm.run(daemon.kill, ends=10)
    finish(storm, daemon, eventually, keeps_taken=True)


def test_power_cuts_under_load_take_nothing_that_was_answered_with_200(start, quick, eventually, tmp_path, seed):
    shim = Shim(tmp_path / "shim", tmp_path / "data", volatile=True)
    daemon = start(*quick, env=shim.env)
    storm = Storm(daemon, seed=seed)
    storm.run(lambda: shim.cut_power(daemon), ends=8)
    finish(storm, daemon, eventually)


def test_an_orderly_stop_under_load_loses_nothing_that_was_answered_with_202_either(
    start, quick, eventually, tmp_path, seed
):
    """With the power cut right after it, so that nothing can be left in the kernel."""
    shim = Shim(tmp_path / "shim", tmp_path / "data", volatile=True)
    daemon = start(*quick, env=shim.env)
    storm = Storm(daemon, seed=seed)

    def stop():
        assert daemon.stop() == 0
        shim.cut_power(daemon)

    storm.run(stop, ends=5)
    finish(storm, daemon, eventually, keeps_taken=True)


def test_the_storm_sees_a_sync_that_does_nothing(start, quick, tmp_path, seed):
    shim = Shim(tmp_path / "shim", tmp_path / "data", volatile=True)
    daemon = start(*quick, "--compact-interval", "3600", env=shim.env)
    shim.arm(Kind.SYNC, Fault.LIE, 20, onwards=True)
    storm = Storm(daemon, seed=seed)

    assert storm.sees_a_loss(lambda: shim.cut_power(daemon))
