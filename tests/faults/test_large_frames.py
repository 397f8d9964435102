"""A write past the page cache, and the sync after it, that go wrong: as with any other, nothing answered with 200 is lost."""

import errno

import pytest

from segments.direct import DIRECT_BYTES
from tests.daemons import query
from tests.faults.shim import Fault, Kind, Shim

NEVER = ("--compact-interval", "3600", "--sync-interval", "1000")
LARGE_ROWS = 40


def large(first: int) -> bytes:
    text = "x" * (DIRECT_BYTES // LARGE_ROWS + 1)
    return b"\n".join(b'{"id": %d, "text": "%s"}' % (first + n, text.encode()) for n in range(LARGE_ROWS))


@pytest.mark.parametrize("code", ["now", "never"])
@pytest.mark.parametrize(
    ("kind", "fault", "error", "status"),
    [
        (Kind.WRITE, Fault.SHORT, 0, 200),
        (Kind.WRITE, Fault.FAIL, errno.EIO, 503),
        (Kind.WRITE, Fault.FAIL, errno.ENOSPC, 503),
        (Kind.SYNC, Fault.FAIL, errno.EIO, 503),
    ],
    ids=["a short write", "a write refused", "a full disk", "a sync refused"],
)
def test_a_large_frame_that_fails_is_gone_and_those_around_it_are_there(
    start, tmp_path, code, kind, fault, error, status
):
    shim = Shim(tmp_path / "shim", tmp_path / "data", volatile=True)
    daemon = start(*NEVER, "--machine-code", code, env=shim.env)
    assert daemon.post(b'{"id": 0, "text": ""}').status == 200
    assert daemon.post(large(100)).status == 200
    assert daemon.post(b'{"id": 1, "text": ""}').status == 200

    rule = shim.arm(kind, fault, error=error)
    assert daemon.post(large(200)).status == status
    assert rule.hits == 1
    rule.disarm()
    assert daemon.post(b'{"id": 2, "text": ""}').status == 200
    assert daemon.post(large(300)).status == 200
    assert daemon.post(b'{"id": 3, "text": ""}', "name=t&wait=false").status == 202
    shim.cut_power(daemon)
    daemon.start()

    there = [0, 1, 2, *range(100, 140), *(range(200, 240) if status == 200 else ()), *range(300, 340)]
    assert [row["id"] for row in query(daemon.data, "SELECT id FROM t ORDER BY id")] == there
    assert query(daemon.data, f"SELECT count() AS n FROM t WHERE length(text) > {DIRECT_BYTES // LARGE_ROWS}") == [
        {"n": len(there) - 3}
    ]
