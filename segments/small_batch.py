"""A few rows as an Arrow IPC message, byte for byte as pyarrow writes it, without making arrays of them first.

Most commits hold a few rows, and for one row Arrow's arrays cost several times what writing the message does. The message
of a record batch has the same metadata for all batches of a schema, but for a few numbers at fixed places. So pyarrow
writes a first one, and this module puts other numbers into a copy of it. The layout is that of Arrow's format
specification ("Encapsulated message format", Message.fbs) and of FlatBuffers' tables and vectors.
"""

import struct
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import pyarrow as pa

from segments.lines import Events
from segments.schema import Schema

ROWS_MAX = 32
"""With more rows Arrow is faster."""
_ALIGNMENT = 8
_PREFIX = 8
"""Before the metadata: the continuation marker and the length."""
_HUGE = 2.0**63
_Packed = Callable[[Sequence[Any]], tuple[bytes, ...]]


class _NotPlain(Exception):
    """A value that has to be looked at more closely."""


def _integers(code: str) -> _Packed:
    def pack(values: Sequence[Any]) -> tuple[bytes, ...]:
        if set(map(type, values)) != {int}:
            raise _NotPlain
        try:
            return (array(code, values).tobytes(),)
        except OverflowError:
            raise _NotPlain from None

    return pack


def _floats(values: Sequence[Any]) -> tuple[bytes, ...]:
    # A float beyond 2^63 may stand for an integer that it is not; an integer may have more digits than a float.
    if set(map(type, values)) != {float} or any(abs(value) >= _HUGE for value in values):
        raise _NotPlain
    return (array("d", values).tobytes(),)


def _booleans(values: Sequence[Any]) -> tuple[bytes, ...]:
    if set(map(type, values)) != {bool}:
        raise _NotPlain
    return (_bits(values),)


def _bits(values: Iterable[bool]) -> bytes:
    bits = list(values)
    return sum(bit << place for place, bit in enumerate(bits)).to_bytes(-(-len(bits) // 8), "little")


def _strings(values: Sequence[Any]) -> tuple[bytes, ...]:
    if set(map(type, values)) != {str}:
        raise _NotPlain
    try:
        texts = [value.encode() for value in values]
    except UnicodeEncodeError:
        raise _NotPlain from None
    return array("i", accumulate(map(len, texts), initial=0)).tobytes(), b"".join(texts)


_WAYS: dict[str, _Packed] = {
    "Int8": _integers("b"),
    "Int16": _integers("h"),
    "Int32": _integers("i"),
    "Int64": _integers("q"),
    "UInt8": _integers("B"),
    "UInt16": _integers("H"),
    "UInt32": _integers("I"),
    "UInt64": _integers("Q"),
    "Float64": _floats,
    "Bool": _booleans,
    "String": _strings,
}


_INSTEAD_OF_NULL: dict[_Packed, object] = {_strings: "", _floats: 0.0, _booleans: False}


@dataclass(frozen=True, slots=True)
class _Column:
    """`instead`: what is packed in place of a null; None where there can't be nulls, or a default stands for them."""

    key: str
    pack: _Packed
    instead: object


@dataclass(frozen=True, slots=True)
class SmallBatches:
    """The writer for one schema: its columns, a message, and where the numbers of that are."""

    columns: tuple[_Column, ...]
    keys: frozenset[str]
    message: bytes
    rows_at: int
    nodes: struct.Struct
    nodes_at: int
    buffers: struct.Struct
    buffers_at: int
    body_at: int

    @classmethod
    def of(cls, schema: Schema) -> "SmallBatches | None":
        """None for a schema with columns that take more than a glance."""
        columns, arrays = [], []
        for column in schema.columns:
            pack = _WAYS.get(column.type.name)
            if pack is None or len(column.path) != 1:
                return None
            instead = _INSTEAD_OF_NULL.get(pack, 0) if column.type.nullable and column.default is None else None
            columns.append(_Column(column.path[0], pack, instead))
            arrays.append(pa.array([_INSTEAD_OF_NULL.get(pack, 0)], column.type.arrow))
        batch = pa.RecordBatch.from_arrays(arrays, schema=schema.arrow)
        return cls._around(tuple(columns), batch.serialize().to_pybytes())

    @classmethod
    def _around(cls, columns: tuple[_Column, ...], example: bytes) -> "SmallBatches":
        (length,) = struct.unpack_from("<i", example, 4)
        message = bytearray(example[: _PREFIX + length])
        root = _PREFIX + _number(message, "<I", _PREFIX)
        batch = _followed(message, _field(message, root, 2))
        nodes, buffers = _followed(message, _field(message, batch, 1)), _followed(message, _field(message, batch, 2))
        return cls(
            columns,
            frozenset(column.key for column in columns),
            bytes(message),
            _field(message, batch, 0),
            struct.Struct("<" + "qq" * _number(message, "<I", nodes)),
            nodes + 4,
            struct.Struct("<" + "qq" * _number(message, "<I", buffers)),
            buffers + 4,
            _field(message, root, 3),
        )

    def encode(self, parts: Sequence[Events]) -> bytes | None:
        """The rows of all parts, as `RecordBatch.serialize` gives them; None when one of them needs a closer look."""
        rows: list[dict[str, Any]] = []
        for part in parts:
            if part.errors:
                return None
            rows += part.objects  # type: ignore[arg-type]  # those without errors are objects
        if not 0 < len(rows) <= ROWS_MAX:
            return None
        if not all(row.keys() <= self.keys for row in rows):
            return None
        nodes: list[int] = []
        places: list[int] = []
        pieces: list[bytes] = []
        at = 0
        try:
            for column in self.columns:
                nulls, packed = _packed(column, [row.get(column.key) for row in rows])
                nodes += (len(rows), nulls)
                for piece in packed:
                    places += (at, len(piece))
                    padding = -len(piece) % _ALIGNMENT
                    pieces.append(piece + bytes(padding) if padding else piece)
                    at += len(piece) + padding
        except _NotPlain:
            return None
        message = bytearray(self.message)
        struct.pack_into("<q", message, self.rows_at, len(rows))
        self.nodes.pack_into(message, self.nodes_at, *nodes)
        self.buffers.pack_into(message, self.buffers_at, *places)
        struct.pack_into("<q", message, self.body_at, at)
        return b"".join((message, *pieces))


def _packed(column: _Column, values: list[Any]) -> tuple[int, tuple[bytes, ...]]:
    """How many nulls there are, and the column's buffers, of which the first says where they are."""
    nulls = values.count(None)
    if not nulls:
        return 0, (b"", *column.pack(values))
    if column.instead is None:
        raise _NotPlain
    valid = _bits(value is not None for value in values)
    return nulls, (valid, *column.pack([column.instead if value is None else value for value in values]))


def _number(message: bytearray, code: str, at: int) -> int:
    return int(struct.unpack_from(code, message, at)[0])


def _field(message: bytearray, table: int, index: int) -> int:
    """Where a table has its field `index`, by its virtual table."""
    virtual = table - _number(message, "<i", table)
    return table + _number(message, "<H", virtual + 4 + 2 * index)


def _followed(message: bytearray, at: int) -> int:
    """Where the offset at `at` leads."""
    return at + _number(message, "<I", at)
