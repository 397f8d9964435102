"""WAL bytes <-> values, without I/O. FORMAT.md describes the same bytes in words; a test compares the two.

A file is a header and then frames, each padded with zeros to SECTOR bytes, so that no later write touches a sector that
holds acknowledged bytes. All integers are little-endian.
"""

import struct
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import google_crc32c

from segments.direct import Data, Piece, joined
from segments.errors import GroupTooLarge, SchemaError
from segments.filenames import Lsn

if TYPE_CHECKING:
    import pyarrow as pa

SECTOR = 512
SECTION = 64
"""Sections of a payload start at multiples of this, so that Arrow reads them from a memory map without copying."""
VERSION = 1
FILE_MAGIC = b"SILTWAL\n"
FRAME_MAGIC = b"SLTF"
PAYLOAD_MAX = 1 << 30
SCHEMA_MAX = 1 << 24
SUMMED_AS_ONE_BYTES = 16 * 1024
"""The pieces of a frame with less than this are joined before their checksum is made: a copy costs less than a call."""

NONCE_BYTES = 16
"""Random bytes that a file's header and each of its frames carry. A client chooses what lies inside a frame, down to
bytes that read as frames of their own; it can't know these, so what it sends is never taken for a frame."""

# magic, version, crc, length of the padded header, length of the schema, epoch, first LSN, source id, nonce, day since
# 1970
_FILE = struct.Struct("<8sIIIIQQ16s16si4x")
# magic, payload length, crc, crc of the frame (or header) before, first LSN, durable LSN, count, lengths of 3 sections,
# nonce
_FRAME = struct.Struct("<4sIIIQQIIII16s")
_CRC_AT_FILE, _CRC_AT_FRAME = 12, 8
assert _FILE.size == 80
assert _FRAME.size == SECTION
_EPOCH_DAY = date(1970, 1, 1)

Sections = tuple[Piece, Piece, bytes]


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What a WAL file says of itself; `crc` is 0 until it has been encoded or decoded."""

    epoch: int
    first_lsn: Lsn
    source_id: bytes
    nonce: bytes
    day: date
    schema: "pa.Schema"
    length: int = 0
    crc: int = 0


@dataclass(frozen=True, slots=True)
class Frame:
    """One group commit as read back; the sections are views into the mapped file. A mark has `count` 0."""

    offset: int
    end: int
    first_lsn: Lsn
    count: int
    durable_lsn: Lsn
    crc: int
    rows: memoryview
    quarantine: memoryview
    notes: bytes

    @property
    def last_lsn(self) -> Lsn:
        return Lsn(self.first_lsn + self.count - 1)


@dataclass(frozen=True, slots=True)
class BadBytes:
    """Why no frame or header could be read at `offset`."""

    offset: int
    reason: str


def _padded(length: int, unit: int) -> int:
    return -(-length // unit) * unit


def _crc_without_field(data: bytes | memoryview, crc_at: int) -> int:
    crc = google_crc32c.value(bytes(data[:crc_at]))
    return int(google_crc32c.extend(crc, bytes(data[crc_at + 4 :])))


def encode_header(header: FileHeader) -> tuple[bytes, int]:
    """The header's bytes and its CRC, which the first frame repeats. Raises SchemaError for one too large to read."""
    schema = header.schema.serialize().to_pybytes()
    if len(schema) > SCHEMA_MAX:
        raise SchemaError(f"the schema takes {len(schema)} bytes; {SCHEMA_MAX} is the limit")
    length = _padded(_FILE.size + len(schema), SECTOR)
    data = bytearray(length)
    days = (header.day - _EPOCH_DAY).days
    _FILE.pack_into(
        data,
        0,
        FILE_MAGIC,
        VERSION,
        0,
        length,
        len(schema),
        header.epoch,
        header.first_lsn,
        header.source_id,
        header.nonce,
        days,
    )
    data[_FILE.size : _FILE.size + len(schema)] = schema
    crc = _crc_without_field(bytes(data), _CRC_AT_FILE)
    struct.pack_into("<I", data, _CRC_AT_FILE, crc)
    return bytes(data), crc


def decode_header(view: memoryview) -> FileHeader | BadBytes:
    """The header at the start of a WAL file, or why there is none. A foreign version is bad bytes too."""
    if len(view) < _FILE.size:
        return BadBytes(0, f"the file is {len(view)} bytes long, shorter than a header")
    magic, version, crc, length, schema_length, epoch, first_lsn, source_id, nonce, days = _FILE.unpack_from(view, 0)
    if magic != FILE_MAGIC:
        return BadBytes(0, "the file does not start with a WAL file's magic number")
    if version != VERSION:
        return BadBytes(8, f"the file has format version {version}; this program reads version {VERSION}")
    if schema_length > SCHEMA_MAX or length != _padded(_FILE.size + schema_length, SECTOR) or length > len(view):
        return BadBytes(16, "the header's lengths contradict the file")
    if _crc_without_field(view[:length], _CRC_AT_FILE) != crc:
        return BadBytes(0, "the header's checksum does not match")
    import pyarrow as pa  # noqa: PLC0415 -- a source whose rows are all in segments is read without Arrow

    schema = pa.ipc.read_schema(pa.py_buffer(view[_FILE.size : _FILE.size + schema_length]))
    day = _EPOCH_DAY + timedelta(days=days)
    return FileHeader(epoch, Lsn(first_lsn), source_id, nonce, day, schema, length, crc)


def encode_frame(
    *,
    nonce: bytes,
    first_lsn: Lsn,
    count: int,
    durable_lsn: Lsn,
    previous_crc: int,
    sections: Sections = (b"", b"", b""),
) -> tuple[Data, int]:
    """A frame's bytes, padded to whole sectors, and its CRC. `sections`: rows, quarantined rows, notes.

    Raises GroupTooLarge for one that could not be read back.
    """
    pieces: list[Piece] = []
    length = 0
    for section in sections:
        size = len(section)
        if size:
            padding = -size % SECTION
            pieces.append(section)
            if padding:
                pieces.append(bytes(padding))
            length += size + padding
    if length > PAYLOAD_MAX:
        raise GroupTooLarge(f"the rows take {length} bytes; {PAYLOAD_MAX} is the limit for one commit, send fewer")
    pieces.append(bytes(-(_FRAME.size + length) % SECTOR))
    good, bad, notes = map(len, sections)
    head = _FRAME.pack(FRAME_MAGIC, length, 0, previous_crc, first_lsn, durable_lsn, count, good, bad, notes, nonce)
    before, after = head[:_CRC_AT_FRAME], head[_CRC_AT_FRAME + 4 :]
    parts: list[Piece] = [after, *pieces]
    if length < SUMMED_AS_ONE_BYTES:
        parts = [b"".join(parts)]
    crc = google_crc32c.value(before)
    for part in parts:
        crc = google_crc32c.extend(crc, part)
    return joined((before, crc.to_bytes(4, "little"), *parts)), crc


def decode_frame(view: memoryview, offset: int, nonce: bytes) -> Frame | BadBytes:
    """The frame at `offset`, or why there is none. The chain and the LSNs are the caller's to check."""
    if len(view) - offset < _FRAME.size:
        return BadBytes(offset, "the file ends inside a frame's header")
    magic, length, crc, _, first_lsn, durable_lsn, count, *lengths, said_nonce = _FRAME.unpack_from(view, offset)
    if magic != FRAME_MAGIC or said_nonce != nonce:
        return BadBytes(offset, "no frame starts here")
    padded = [_padded(section, SECTION) for section in lengths]
    end = offset + _padded(_FRAME.size + length, SECTOR)
    if length > PAYLOAD_MAX or sum(padded) != length:
        return BadBytes(offset, "the frame's lengths contradict each other")
    if end > len(view):
        return BadBytes(offset, "the file ends inside a frame")
    if _crc_without_field(view[offset:end], _CRC_AT_FRAME) != crc:
        return BadBytes(offset, "the frame's checksum does not match")
    starts = [offset + _FRAME.size]
    starts += [starts[0] + padded[0], starts[0] + padded[0] + padded[1]]
    rows, quarantine, notes = (view[start : start + size] for start, size in zip(starts, lengths, strict=True))
    return Frame(offset, end, Lsn(first_lsn), count, Lsn(durable_lsn), crc, rows, quarantine, bytes(notes))


def previous_crc(view: memoryview, frame: Frame) -> int:
    """The CRC of the frame (or header) that was written before this one, as this one recorded it."""
    return int(_FRAME.unpack_from(view, frame.offset)[3])
