"""Rows decoded while their body arrives are those of the whole body, wherever it was cut."""

import gc
import mmap
import weakref
from datetime import datetime

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from daemon.answers import Refused
from daemon.arriving import decode_arriving
from daemon.body_rooms import BodyRooms
from segments.bulk import BulkDecoder
from segments.datafile import parse_datafile
from segments.errors import BodyRejected
from segments.line_reader import LineReader

NOW = datetime(2026, 11, 23, 12)
SCHEMA = parse_datafile("SCHEMA > n Int64, f Nullable(Float64)\n").schema
ROOMS = BodyRooms()
"""The same for all, so that each body arrives over what is left of another."""
lines = st.sampled_from(
    [b'{"n":1}', b'{"n":2,"f":0.5}', b'{"n":"x"}', b"junk", b"", b" ", b"{", b'"n":3}', b"[", b"]", b'{"n":4},', b"\xef\xbb\xbf", b'{"n":1,"k":2}']
)  # fmt: skip


def arrive(body: bytes, size: int, check_rows=lambda _: None):
    """What decoding in pieces of so many bytes gives."""

    async def read(sink) -> bytes:
        for start in range(0, len(body), size):
            piece = body[start : start + size]
            sink.room()[: len(piece)] = piece
            sink.came(len(piece))
            await trio.lowlevel.checkpoint()
        return b""

    async def run():
        return await decode_arriving(
            read, len(body), ROOMS, BulkDecoder(LineReader(SCHEMA), NOW, check_rows), trio.CapacityLimiter(2)
        )

    arrived, decoded = trio.run(run)
    whole = arrived[:]
    if isinstance(arrived, mmap.mmap):
        ROOMS.give_back(arrived)
    return whole, decoded


@pytest.fixture(scope="module", autouse=True)
def _small_parts():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("daemon.arriving.PART_BYTES", 20)
        yield


@given(st.lists(lines, max_size=12).map(b"\n".join).filter(len), st.integers(1, 40))
def test_pieces_are_the_whole(body, size):
    read, decoded = arrive(body, size)
    assert read == body
    try:
        whole = BulkDecoder(LineReader(SCHEMA), NOW, lambda _: None).decode_whole(body)
    except BodyRejected:
        assert decoded is None
        return
    if decoded is not None:
        assert decoded.good.equals(whole.good)
        assert decoded.bad == whole.bad
        assert decoded.unknown == whole.unknown
    else:
        # Then the whole body is looked at again; never when its first line is an object.
        first = next((line for line in body.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()), b"")
        assert not (first.startswith(b"{") and first.endswith(b"}"))


def test_what_reading_or_decoding_refuses_comes_out_as_it_is():
    def too_many(rows: int) -> None:
        if rows > 100:
            raise Refused(413, "too many")

    with pytest.raises(Refused, match="too many"):
        arrive(b'{"n":1}\n' * 1000, 64, too_many)

    async def leave(_sink) -> bytes:
        raise trio.BrokenResourceError

    with pytest.raises(trio.BrokenResourceError):
        trio.run(
            decode_arriving, leave, 1, ROOMS, BulkDecoder(LineReader(SCHEMA), NOW, too_many), trio.CapacityLimiter(2)
        )


def test_a_body_that_was_refused_takes_no_memory_any_more():
    """Not even until garbage is collected, which is seldom here."""
    held: list[weakref.ref[BulkDecoder]] = []

    async def refuse(sink) -> bytes:
        sink.room()[:1] = b"{"
        sink.came(1)
        raise Refused(503, "no room")

    async def run() -> None:
        decoder = BulkDecoder(LineReader(SCHEMA), NOW, lambda _: None)
        held.append(weakref.ref(decoder))
        try:
            await decode_arriving(refuse, 100, ROOMS, decoder, trio.CapacityLimiter(2))
        except Refused:
            pass

    gc.collect()
    gc.disable()
    try:
        trio.run(run)
        assert held[0]() is None
    finally:
        gc.enable()
