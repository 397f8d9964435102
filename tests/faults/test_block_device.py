"""A disk in user space under a real ext4 or xfs: the power fails between any two blocks, and blocks fail.

`scripts/torture blocks` does the first for longer. That the disk itself does what it is told is shown at the end.
"""

from contextlib import nullcontext

import pytest

from segments.disk import Disk
from segments.frame import FRAME_MAGIC, SECTOR
from tests.faults.block_check import RECOVERY_CUTS, BlockCheck
from tests.faults.block_control import Operation, header
from tests.faults.block_device import BlockDevice
from tests.faults.block_recording import BlockWrite, Left, Replay, read_entries
from tests.faults.block_run import BlockRun, record
from tests.faults.file_systems import FsKind
from tests.faults.mounting import skipped_where_nothing_can_be_mounted
from tests.faults.row_ledger import Violation

KINDS = pytest.mark.parametrize("kind", list(FsKind))
CUTS, RECOVERIES = 30, 2
"""For each file system. What is left by a cut is mounted, recovered twice, and read; so many of the recoveries are cut too."""


@KINDS
def test_power_cuts_between_blocks_lose_nothing_double_nothing_and_invent_nothing(kind, tmp_path, seed):
    with skipped_where_nothing_can_be_mounted():
        run = record(kind, tmp_path, sources=3, bursts=4, seed=seed)
    tally = BlockCheck(run, seed).check(cuts=CUTS, recoveries=RECOVERIES)
    print(run, tally)
    assert run.end > 400
    assert tally.states == CUTS + tally.of_recoveries
    assert tally.of_recoveries == RECOVERIES * RECOVERY_CUTS
    assert tally.sources > CUTS


@KINDS
def test_power_cuts_between_blocks_see_a_daemon_that_does_not_sync_its_log(kind, tmp_path, seed):
    with skipped_where_nothing_can_be_mounted():
        run = record(kind, tmp_path, sources=2, bursts=2, seed=seed, unsynced=r"\.wal$")
    # In part: of what compaction has published without the log, the cut may have taken one kind of rows and not the other.
    with pytest.raises(Violation, match=r"lost|in part") as caught:
        BlockCheck(run, seed).check(cuts=CUTS, recoveries=0)
    print(caught.value)
    with pytest.raises(Violation) as again:
        BlockCheck(BlockRun.load(tmp_path), seed).check(cuts=CUTS, recoveries=0)
    assert str(again.value) == str(caught.value)


@pytest.fixture
def device(tmp_path):
    """Of 64 KiB, all a."""
    (tmp_path / "base").write_bytes(b"a" * 65536)
    with skipped_where_nothing_can_be_mounted(), BlockDevice(tmp_path / "base", tmp_path / "device").attached() as made:
        yield made


@pytest.fixture
def disk(device):
    """The device's file, open; write with a letter, block and count."""
    with device.disk.open("r+b", buffering=0) as file:
        yield file


def put(disk, letter, at, length=512):
    disk.seek(at)
    return disk.write(letter * length)


def get(disk, at):
    disk.seek(at)
    return disk.read(1)


def test_the_device_records_writes_and_flushes_in_order_and_leaves_its_base_alone(device, disk, tmp_path):
    put(disk, b"b", 512)
    put(disk, b"c", 512)
    Disk().sync(disk.fileno())
    put(disk, b"d", 4096, 1024)

    assert get(disk, 512) == b"c"
    assert list(read_entries(device.recording)) == [
        BlockWrite(512, b"b" * 512),
        BlockWrite(512, b"c" * 512),
        None,
        BlockWrite(4096, b"d" * 1024),
    ]
    assert device.position == 4
    assert (tmp_path / "base").read_bytes() == b"a" * 65536


@pytest.mark.parametrize(
    ("faults", "stored"),
    [
        ({"at": 2}, [True, False, True, True]),
        ({"at": 2, "onwards": True}, [True, False, False, False]),
        ({"within": (1000, 1030), "onwards": True}, [True, False, False, True]),
        ({"within": (1024, 1536)}, [True, True, False, True]),
        ({"content": b"dd"}, [True, True, True, False]),
    ],
)
def test_a_write_that_is_to_fail_fails_and_leaves_the_old_bytes(device, disk, faults, stored):
    rule = device.arm(Operation.WRITE, **faults)
    for number, letter in enumerate((b"b", b"b", b"c", b"d")):
        expected = nullcontext() if stored[number] else pytest.raises(OSError, match="Input/output error")
        with expected:
            put(disk, letter, 512 * number)
        assert get(disk, 512 * number) == (letter if stored[number] else b"a")

    assert rule.hits == stored.count(False)
    assert device.position == stored.count(True)
    device.disarm()
    assert put(disk, b"e", 1024) == 512


def test_a_flush_fails_as_long_as_it_is_to(device, disk):
    device.arm(Operation.FLUSH, onwards=True, error=28)
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            Disk().sync(disk.fileno())
    device.disarm()
    Disk().sync(disk.fileno())
    assert list(read_entries(device.recording)) == [None]


BLOCK = 4096


def entry(letter, block, blocks):
    return header(block * BLOCK, blocks * BLOCK) + letter * blocks * BLOCK


@pytest.fixture
def replay(tmp_path):
    """Of two writes, a flush, and two more; the fourth on top of the third. What comes after that is half an entry."""
    entries = [entry(b"b", 0, 2), entry(b"c", 1, 1), header(0, 0), entry(b"d", 2, 2), entry(b"e", 3, 1)]
    (tmp_path / "recording").write_bytes(b"".join(entries) + entry(b"f", 0, 1)[:600])
    (tmp_path / "base").write_bytes(b"a" * 4 * BLOCK)
    replay = Replay(tmp_path / "base", tmp_path / "recording", tmp_path)

    def build(position, left, seed=0):
        replay.build(tmp_path / "image", position, left, seed)
        image = (tmp_path / "image").read_bytes()
        blocks = [set(image[at : at + BLOCK]) for at in range(0, 4 * BLOCK, BLOCK)]
        return "".join(chr(*letters) for letters in blocks)

    return build


def test_a_power_cut_takes_what_no_flush_vouches_for_or_leaves_it(replay):
    assert replay(1, Left.NOTHING) == "aaaa"
    assert replay(1, Left.EVERYTHING) == "bbaa"
    assert replay(2, Left.NOTHING) == "aaaa"
    assert replay(2, Left.EVERYTHING) == "bcaa"
    assert replay(3, Left.NOTHING) == "bcaa"
    assert replay(5, Left.NOTHING) == "bcaa"
    assert replay(5, Left.EVERYTHING) == "bcde"
    assert replay(6, Left.EVERYTHING) == "bcde"


def test_a_power_cut_leaves_some_writes_whole_and_some_torn(replay):
    found = {replay(5, Left.SOME, seed) for seed in range(200)}

    assert found == {"bcaa", "bcdd", "bcde", "bcae", "bcda", "bcad"}


def test_a_power_cut_tears_blocks_of_the_log_between_sectors(tmp_path):
    frame = FRAME_MAGIC + b"f" * (BLOCK - len(FRAME_MAGIC))
    (tmp_path / "recording").write_bytes(header(0, BLOCK) + frame)
    (tmp_path / "base").write_bytes(b"a" * BLOCK)
    replay = Replay(tmp_path / "base", tmp_path / "recording", tmp_path)
    for seed in range(100):
        replay.build(tmp_path / "image", 1, Left.SOME, seed)
        image = (tmp_path / "image").read_bytes()
        if b"f" in image and b"a" in image:
            break
    else:
        pytest.fail("in a hundred cuts no block was torn")
    assert all(image[at : at + SECTOR] in (b"a" * SECTOR, frame[at : at + SECTOR]) for at in range(0, BLOCK, SECTOR))
