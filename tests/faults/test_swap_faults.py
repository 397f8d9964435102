"""The swap of a merged day on the real process: whatever it, or a sync around it, meets, all rows are there once."""

import errno
from datetime import timedelta

import pytest

from tests.daemons import query, segments
from tests.faults.shim import Fault, Kind, Role, Shim
from tests.stored import NOW, Stored

FILES, ROWS = 4, 5
SWAP = "/ingested="


@pytest.fixture
def shim(tmp_path):
    """Under it a source with one day, long over, of small files: rows, and one in quarantine for each."""
    stored = Stored(tmp_path / "data")
    log = stored.create().open()
    for number in range(FILES):
        now = NOW - timedelta(days=400)
        stored.publish(log, *range(number * ROWS, (number + 1) * ROWS), -1, now=now)
    return Shim(tmp_path / "shim", stored.path, volatile=True)


def check(shim: Shim) -> None:
    (found,) = query(shim.data, "SELECT count(*) AS n, count(DISTINCT id) AS d FROM events")
    assert found == {"n": FILES * ROWS, "d": FILES * ROWS}
    assert query(shim.data, "SELECT count(*) AS n FROM events_quarantine") == [{"n": FILES}]


@pytest.mark.parametrize("n", [1, 2], ids=["of the rows", "of the quarantine"])
@pytest.mark.parametrize(
    ("kind", "fault", "scope"),
    [
        (Kind.RENAME, Fault.FAIL, SWAP),
        (Kind.RENAME, Fault.KILL, SWAP),
        (Kind.RENAME, Fault.KILL_AFTER, SWAP),
        (Kind.SYNC_DIR, Fault.FAIL, "/merging$"),
        (Kind.SYNC_DIR, Fault.KILL, "/merging$"),
        (Kind.SYNC_DIR, Fault.KILL_AFTER, "/merging$"),
    ],
)
def test_a_swap_that_meets_a_fault_costs_no_row_and_is_made_by_a_later_life(
    shim, start, eventually, kind, fault, scope, n
):
    rule = shim.arm(kind, fault, n, error=errno.EIO, roles=Role.COMPACTOR, scope=scope, power=True)
    daemon = start(env=shim.env)
    eventually(lambda: rule.hits == 1)
    if fault == Fault.FAIL:
        eventually(lambda: "could not be merged" in daemon.log.read_text())
        check(shim)
    shim.cut_power(daemon)
    check(shim)

    daemon.start()
    eventually(lambda: len(segments(shim.data, "events")) + len(segments(shim.data, "events", "quarantine")) == 2)
    check(shim)
    shim.cut_power(daemon)
    check(shim)


def test_a_swap_that_only_says_so_is_seen(shim, start, eventually):
    """What these tests are worth: the kernel's word for it is what the merge goes by."""
    rule = shim.arm(Kind.RENAME, Fault.LIE, roles=Role.COMPACTOR, scope=SWAP, onwards=True)
    daemon = start(env=shim.env)
    eventually(lambda: rule.hits >= 2)

    assert len(segments(shim.data, "events")) == FILES
    daemon.end()
    check(shim)
