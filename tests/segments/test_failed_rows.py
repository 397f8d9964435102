"""Rows of a failed commit that lie on the device all the same: what is done next must not take them for rows that are there."""

import pytest

from segments.alteration import alter
from segments.datafile import parse_datafile
from segments.errors import WriteFailed
from segments.replaying import Replayed, replay
from segments.verify import verify_source
from tests.faults.faulty_disk import FaultyDisk
from tests.segments.test_alteration import WIDER
from tests.stored import NOW, body, commit


@pytest.fixture
def failed(stored):
    """A log whose last rows, one good and one bad, may be on the device, though the sync of them has failed."""
    log = stored.open()
    commit(log, body(1))
    log._writer._disk = FaultyDisk(2)
    with pytest.raises(WriteFailed):
        commit(log, body(2, -3))
    return log


def test_after_another_schema_they_are_not_found_under_it(stored, failed):
    alter(stored.disk, failed, parse_datafile(WIDER), NOW)
    log = stored.open()
    stored.compact(log)

    assert stored.ids() == [1]
    assert stored.quarantined() == []
    assert verify_source(stored.disk, stored.source).problems == ()
    commit(log, b'{"id":4,"more":8}')
    assert stored.ids() == [1, 4]


def test_a_replay_does_not_send_them_in_again(stored, failed):
    assert replay(stored.disk, failed, None, NOW) == Replayed(0, 0)
    assert stored.open().appended_lsn == 1
    assert stored.ids() == [1]
