"""Large frames past the page cache: the same bytes in the file, whatever the file system says to it."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segments.direct import DIRECT_BYTES, joined
from segments.disk import Disk

SECTOR = 512
Pwrite = Callable[[int, memoryview, int], int]
REAL: Pwrite = vars(os)["pwrite"]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def content(descriptor: int) -> bytes:
    return os.pread(descriptor, 1 << 30, 0)


def is_direct(descriptor: int) -> bool:
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT)


def large(sectors: int = 0) -> bytes:
    return os.urandom(DIRECT_BYTES + sectors * SECTOR)


def use(patch: pytest.MonkeyPatch, direct: Pwrite) -> list[bool]:
    """Have direct writes done so. Returns which of the writes are direct, as they happen."""
    were = list[bool]()

    def pwrite(descriptor: int, data: memoryview, offset: int) -> int:
        were.append(is_direct(descriptor))
        return direct(descriptor, data, offset) if were[-1] else REAL(descriptor, data, offset)

    patch.setattr(os, "pwrite", pwrite)
    return were


@given(st.lists(st.integers(0, DIRECT_BYTES), max_size=4), st.booleans())
def test_pieces_are_joined_as_they_are_and_large_ones_in_aligned_memory(sizes, are_buffers):
    pieces = [os.urandom(size) for size in sizes]
    data = joined([pa.py_buffer(piece) if are_buffers else piece for piece in pieces])

    assert bytes(data) == b"".join(pieces)
    if len(data) >= DIRECT_BYTES:
        assert pa.py_buffer(data).address % 4096 == 0


def test_large_data_goes_past_the_cache_between_small_that_does_not(opened, monkeypatch):
    were = use(monkeypatch, REAL)
    pieces = [b"a" * SECTOR, large(1), b"b" * SECTOR, large(2), b"c" * 3 * SECTOR]
    offset = 0
    for piece in pieces:
        Disk().pwrite(opened, joined([piece]), offset)
        offset += len(piece)
        # A page that a reader has is of one write and of the next.
        assert content(opened) == b"".join(pieces)[:offset]

    assert were == [False, True, False, True, False]
    assert not is_direct(opened)


@pytest.mark.parametrize(
    ("piece", "offset"),
    [(memoryview(large() + b"x")[1:], 0), (joined([large(), b"x"]), SECTOR), (joined([large()]), 3)],
    ids=["memory at an odd address", "an odd length", "an odd place in the file"],
)
def test_data_that_no_device_takes_directly_is_written_all_the_same(opened, piece, offset):
    Disk().pwrite(opened, piece, offset)

    assert content(opened) == bytes(offset) + piece
    assert not is_direct(opened)


def test_a_short_direct_write_is_continued(opened, monkeypatch):
    were = use(monkeypatch, lambda descriptor, data, offset: REAL(descriptor, data[: 8 * SECTOR], offset))
    data = large()

    Disk().pwrite(opened, joined([data]), SECTOR)

    assert content(opened) == bytes(SECTOR) + data
    assert were == [True, False]


def test_a_file_system_that_takes_no_direct_writes_gets_others(opened, monkeypatch):
    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    were = use(monkeypatch, refuse)
    data = large()

    Disk().pwrite(opened, joined([data]), 0)

    assert content(opened) == data
    assert were == [True, False]


def test_a_file_system_that_has_no_direct_files_gets_other_writes(opened, monkeypatch):
    real = fcntl.fcntl

    def refusing(descriptor: int, command: int, flags: int = 0) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(descriptor, command, flags)

    monkeypatch.setattr(fcntl, "fcntl", refusing)
    data = large()

    Disk().pwrite(opened, joined([data]), 0)

    assert content(opened) == data


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_what_goes_wrong_with_a_direct_write_is_said_and_not_tried_again(opened, monkeypatch, code):
    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    were = use(monkeypatch, fail)

    with pytest.raises(OSError) as raised:
        Disk().pwrite(opened, joined([large()]), 0)

    assert raised.value.errno == code
    assert were == [True]
    assert not is_direct(opened)
