"""A file system that turns read-only under load by an error of its own: no false 200, no row shown that is not safe.

By hand nobody can do it to a running daemon: the kernel refuses while a file is open for writing, and LOCK always is.
"""

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.file_systems import CannotMount, FileSystem, FsKind
from tests.faults.kill_storm import ANSWERS, Load, Storm
from tests.faults.shim import end_all

QUICK = ("--compact-interval", "0.1", "--sync-interval", "0.1")
LOAD = Load(sizes=(1, 1, 50), rest_s=0.02)


@pytest.fixture
def seed():
    chosen = random.randrange(1 << 32)
    print("seed", chosen)
    return chosen


@pytest.fixture
def mounted(tmp_path):
    file_system = FileSystem(FsKind.EXT4, tmp_path / "image", tmp_path / "data", options=("errors=remount-ro",))
    try:
        with file_system.made() as made:
            yield made
    except CannotMount as reason:
        pytest.skip(str(reason))


def read(daemon):
    """The ids of all rows. Readers sync what they show; where the log can't be synced, what it vouches for is shown."""
    answer = daemon.call("GET", "/v0/sql?q=SELECT%20id%20FROM%20t%20FORMAT%20JSON")
    assert answer.status == 200, answer
    return Counter(row["id"] for row in answer.json()["data"])


def test_an_error_of_the_file_system_makes_it_read_only_under_load_until_it_is_mounted_anew(mounted, start, seed):
    """The journal is dead then, which the kernel lets nobody revive but by unmounting: the daemon has to be restarted."""
    daemon = start(*QUICK)
    storm = Storm(daemon, seed=seed, load=LOAD)
    trigger = Path("/sys/fs/ext4") / Path(mounted.device).name / "trigger_fs_error"
    if not trigger.exists():
        pytest.skip("this kernel's ext4 makes no errors on request")
    with storm.blowing():
        storm.wait_for_rows()
        with pytest.raises(OSError, match="busy"):
            mounted.remount("ro")
        # Syncs under way at this moment may say what they like.
        storm.era.end()
        trigger.write_text("an error made by a test\n")
        storm.pause(0.5)
        refused = storm.statuses[503]
        storm.pause(1)
        shown = read(daemon)
        assert storm.statuses[503] > refused
        end_all(daemon)
        mounted.unmount()
        mounted.mount()
        storm.era.begin()
        daemon.start()
        storm.wait_for_rows()
        assert shown <= read(daemon)
    print(storm)
    assert set(storm.statuses) <= ANSWERS
    storm.settle()
