"""What idempotency keys take in memory, and what becomes of them when that is all taken."""

import tracemalloc
from hashlib import sha256

import pytest

from segments.errors import KeysFull
from segments.group import Write
from segments.keys import KEY_BYTES, Key, KeyMemory, KeyWindow
from segments.lines import parse_body
from segments.recovery import recover
from tests.stored import NOW, Stored, body


def numbered(number: int) -> Key:
    return Key("a-token", f"{number:0250}", sha256(b"%d" % number).hexdigest(), int(NOW.timestamp()), 5, 0, 1 + number)


def keyed(number: int) -> Write:
    return Write(parse_body(body(1 + number)), numbered(number))


@pytest.mark.parametrize("count", [10_000, 60_000, 90_000], ids="{:_}".format)
def test_a_key_takes_no_more_memory_than_is_said(count):
    """Just before and just after its table doubles, too."""
    tracemalloc.start()
    try:
        window = KeyWindow()
        for number in range(count):
            window.add([numbered(number)])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(window) == count
    assert most <= count * KEY_BYTES


def test_new_keys_are_refused_when_all_sources_together_hold_as_many_as_they_may(tmp_path):
    """Those that are there are known on, and rows without a key are taken."""
    memory = KeyMemory(3 * KEY_BYTES)
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    one, other = Stored(tmp_path / "one").create(), Stored(tmp_path / "other").create()
    first = recover(one.disk, one.source, now=NOW, memory=memory).log
    second = recover(other.disk, other.source, now=NOW, memory=memory).log
    stored = first.commit([keyed(0), keyed(1)], NOW, durably=True)

    taken, refused, _ = second.commit([keyed(2), keyed(3), Write(parse_body(body(9)))], NOW, durably=True)

    assert isinstance(refused, KeysFull)
    assert other.ids() == [3, 9]
    assert first.commit([keyed(0), keyed(1)], NOW, durably=True) == stored
    assert second.commit([keyed(2)], NOW, durably=True) == (taken,)
    first.keys.clear()
    assert not isinstance(second.commit([keyed(3)], NOW, durably=True)[0], KeysFull)


def test_a_source_whose_keys_have_no_room_is_not_opened_and_takes_none(tmp_path):
    stored = Stored(tmp_path).create()
    log = stored.open()
    log.commit([keyed(0), keyed(1)], NOW, durably=True)
    stored.compact(log)
    log.commit([keyed(2), keyed(3)], NOW, durably=True)
    memory = KeyMemory(3 * KEY_BYTES)

    with pytest.raises(KeysFull):
        recover(stored.disk, stored.source, now=NOW, memory=memory)

    assert memory.held == 0
    assert recover(stored.disk, stored.source, now=NOW, memory=KeyMemory(4 * KEY_BYTES)).log.appended_lsn == 4
