"""WAL bytes <-> values."""

import re
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segments import frame
from segments.errors import GroupTooLarge, SchemaError
from segments.filenames import Lsn
from segments.frame import BadBytes, FileHeader, Frame, decode_frame, decode_header, encode_frame, encode_header

NONCE = b"a nonce of 16 by"
HEADER = FileHeader(3, Lsn(7), b"0123456789abcdef", NONCE, date(2026, 11, 23), pa.schema([pa.field("a", pa.int64())]))
sections = st.tuples(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=300))
lsns = st.integers(1, (1 << 64) - (1 << 33))


@given(lsns, st.integers(0, (1 << 32) - 1), lsns, sections)
def test_a_frame_reads_back_as_it_was_written(first, count, durable, parts):
    data, crc = encode_frame(
        nonce=NONCE, first_lsn=Lsn(first), count=count, durable_lsn=Lsn(durable), previous_crc=9, sections=parts
    )
    read = decode_frame(memoryview(data), 0, NONCE)

    assert isinstance(read, Frame)
    assert (read.first_lsn, read.count, read.durable_lsn, read.crc) == (first, count, durable, crc)
    assert (bytes(read.rows), bytes(read.quarantine), read.notes) == parts
    assert frame.previous_crc(memoryview(data), read) == 9
    assert len(data) % frame.SECTOR == 0
    assert read.end == len(data)


def test_every_flipped_bit_of_a_frame_is_noticed():
    data, _ = encode_frame(
        nonce=NONCE,
        first_lsn=Lsn(1),
        count=2,
        durable_lsn=Lsn(0),
        previous_crc=5,
        sections=(b"rows" * 20, b"bad", b"notes"),
    )
    for position in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[position // 8] ^= 1 << (position % 8)
        assert isinstance(decode_frame(memoryview(damaged), 0, NONCE), BadBytes), position


def test_every_flipped_bit_and_every_cut_of_a_header_is_noticed():
    data, crc = encode_header(HEADER)

    whole = decode_header(memoryview(data))
    assert isinstance(whole, FileHeader)
    assert (whole.epoch, whole.first_lsn, whole.day, whole.crc) == (3, 7, HEADER.day, crc)
    assert whole.schema == HEADER.schema
    for position in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[position // 8] ^= 1 << (position % 8)
        assert isinstance(decode_header(memoryview(damaged)), BadBytes), position
    for size in range(len(data)):
        assert isinstance(decode_header(memoryview(data)[:size]), BadBytes)


def test_a_frame_of_another_file_is_no_frame():
    """A client may send bytes that are a frame in every way but the nonce, which it can't know."""
    data, _ = encode_frame(nonce=b"another 16 bytes", first_lsn=Lsn(1), count=2, durable_lsn=Lsn(9), previous_crc=0)
    assert isinstance(decode_frame(memoryview(data), 0, NONCE), BadBytes)


def test_a_header_or_a_frame_that_could_not_be_read_back_is_never_written(monkeypatch):
    monkeypatch.setattr(frame, "SCHEMA_MAX", 64)
    with pytest.raises(SchemaError, match="64 is the limit"):
        encode_header(HEADER)
    monkeypatch.setattr(frame, "PAYLOAD_MAX", 127)
    with pytest.raises(GroupTooLarge, match="127 is the limit"):
        encode_frame(
            nonce=NONCE, first_lsn=Lsn(1), count=1, durable_lsn=Lsn(0), previous_crc=0, sections=(b"x" * 65, b"", b"")
        )


@given(st.binary(max_size=2000), st.integers(0, 600))
def test_noise_is_never_a_frame_and_never_an_exception(noise, offset):
    assert isinstance(decode_frame(memoryview(noise), min(offset, len(noise)), NONCE), BadBytes)
    assert isinstance(decode_header(memoryview(noise)), BadBytes)


def test_format_page_has_the_numbers_of_the_code():
    page = (Path(frame.__file__).parent / "FORMAT.md").read_text()
    said = dict(re.findall(r"^\| `([A-Z_]+)` \| `?([^`|]+?)`? \|", page, flags=re.MULTILINE))

    assert said == {
        "SECTOR": str(frame.SECTOR),
        "SECTION": str(frame.SECTION),
        "VERSION": str(frame.VERSION),
        "FILE_MAGIC": frame.FILE_MAGIC.decode().replace("\n", "\\n"),
        "FRAME_MAGIC": frame.FRAME_MAGIC.decode(),
        "PAYLOAD_MAX": str(frame.PAYLOAD_MAX),
    }
