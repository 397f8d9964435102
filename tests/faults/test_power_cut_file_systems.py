"""The power fails under a real ext4 or xfs, in the middle of load: what was answered with 200 before is there once."""

import pytest

from tests.faults.file_systems import CannotMount, FileSystem, FsKind
from tests.faults.kill_storm import ANSWERS, LARGE_FRAMES, Load, Storm
from tests.faults.mounted_storm import cut_power
from tests.faults.shim import Fault, Kind, Shim

QUICK = ("--compact-interval", "0.3", "--sync-interval", "0.3")
LOAD = Load(sizes=(1, 1, 50, 500), rest_s=0.005)


@pytest.fixture
def mounted(request, tmp_path):
    try:
        with FileSystem(request.param, tmp_path / "image", tmp_path / "data").made() as made:
            yield made
    except CannotMount as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize(
    ("mounted", "rounds", "code", "load"),
    [
        (FsKind.EXT4, 5, "now", LOAD),
        (FsKind.EXT4, 5, "never", LOAD),
        (FsKind.XFS, 3, "now", LOAD),
        (FsKind.EXT4, 5, "now", LARGE_FRAMES),
        (FsKind.XFS, 3, "now", LARGE_FRAMES),
    ],
    ids=["ext4", "ext4 without machine code", "xfs", "ext4 past the page cache", "xfs past the page cache"],
    indirect=["mounted"],
)
def test_power_cuts_under_load_take_nothing_that_was_answered_with_200(mounted, start, seed, rounds, code, load):
    daemon = start(*QUICK, "--machine-code", code)
    storm = Storm(daemon, seed=seed, load=load)
    storm.run(lambda: cut_power(storm, daemon, mounted), ends=rounds)
    print(storm)
    assert set(storm.statuses) <= ANSWERS
    assert storm.stored > 1000
    storm.settle()


@pytest.mark.parametrize("mounted", list(FsKind), indirect=True)
def test_the_storm_sees_a_sync_that_does_nothing(mounted, start, tmp_path, seed):
    shim = Shim(tmp_path / "shim", tmp_path / "data")
    daemon = start("--compact-interval", "3600", "--machine-code", "now", env=shim.env)
    shim.arm(Kind.SYNC, Fault.LIE, 20, onwards=True)
    storm = Storm(daemon, seed=seed, load=LOAD)

    assert storm.sees_a_loss(lambda: cut_power(storm, daemon, mounted))
