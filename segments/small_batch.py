"""A few rows as an Arrow IPC message, byte for byte as pyarrow writes it, without making arrays of them first.

Most commits hold a few rows, and for one row Arrow's arrays cost several times what writing the message does.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from segments.batch_message import ALIGNMENT, BatchMessage
from segments.column_type import ColumnType
from segments.conversions import DoesNotFit, convert
from segments.lines import Events
from segments.one_row import HUGE, INTEGERS, MOMENTS, NotPlain, OneRow
from segments.schema import Schema

ROWS_MAX = 32
"""With more rows Arrow is faster."""
_Packed = Callable[[Sequence[Any]], tuple[bytes, ...]]


def _integers(code: str) -> _Packed:
    def pack(values: Sequence[Any]) -> tuple[bytes, ...]:
        if set(map(type, values)) != {int}:
            raise NotPlain
        try:
            return (array(code, values).tobytes(),)
        except OverflowError:
            raise NotPlain from None

    return pack


def _floats(values: Sequence[Any]) -> tuple[bytes, ...]:
    if set(map(type, values)) != {float} or any(abs(value) >= HUGE for value in values):
        raise NotPlain
    return (array("d", values).tobytes(),)


def _booleans(values: Sequence[Any]) -> tuple[bytes, ...]:
    if set(map(type, values)) != {bool}:
        raise NotPlain
    return (_bits(values),)


def _bits(values: Iterable[bool]) -> bytes:
    bits = list(values)
    return sum(bit << place for place, bit in enumerate(bits)).to_bytes(-(-len(bits) // 8), "little")


def _strings(values: Sequence[Any]) -> tuple[bytes, ...]:
    if set(map(type, values)) != {str}:
        raise NotPlain
    try:
        texts = [value.encode() for value in values]
    except UnicodeEncodeError:
        raise NotPlain from None
    return array("i", accumulate(map(len, texts), initial=0)).tobytes(), b"".join(texts)


def _moments(kind: ColumnType) -> _Packed:
    def pack(values: Sequence[Any]) -> tuple[bytes, ...]:
        if not set(map(type, values)) <= {str, int}:
            raise NotPlain
        try:
            return (array("q", [convert(kind, value) for value in values]).tobytes(),)
        except DoesNotFit:
            raise NotPlain from None

    return pack


_WAYS: dict[str, _Packed] = {
    **{name: _integers(code) for name, code in INTEGERS.items()},
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
    """The writer for one schema."""

    columns: tuple[_Column, ...]
    keys: frozenset[str]
    message: BatchMessage
    one: OneRow

    @classmethod
    def of(cls, schema: Schema) -> "SmallBatches | None":
        """None for a schema with columns that take more than a glance."""
        columns = []
        for column in schema.columns:
            pack = _moments(column.type) if column.type.name in MOMENTS else _WAYS.get(column.type.name)
            if pack is None or len(column.path) != 1:
                return None
            instead = _INSTEAD_OF_NULL.get(pack, 0) if column.type.nullable and column.default is None else None
            columns.append(_Column(column.path[0], pack, instead))
        keys = frozenset(column.key for column in columns)
        message = BatchMessage.of(schema.arrow)
        one = OneRow(message, [(column.path[0], column.type) for column in schema.columns])
        return cls(tuple(columns), keys, message, one)

    def encode(self, parts: Sequence[Events]) -> bytes | None:
        """The rows of all parts, as `RecordBatch.serialize` gives them; None when one of them needs a closer look."""
        rows: list[dict[str, Any]] = []
        for part in parts:
            if part.errors:
                return None
            rows += part.objects  # type: ignore[arg-type]  # those without errors are objects
        if not 0 < len(rows) <= ROWS_MAX:
            return None
        return (self.one.encode(rows[0]) if len(rows) == 1 else None) or self._encode(rows)

    def _encode(self, rows: Sequence[dict[str, Any]]) -> bytes | None:
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
                    padding = -len(piece) % ALIGNMENT
                    pieces.append(piece + bytes(padding) if padding else piece)
                    at += len(piece) + padding
        except NotPlain:
            return None
        return b"".join((self.message.head(len(rows), nodes, places, at), *pieces))


def _packed(column: _Column, values: list[Any]) -> tuple[int, tuple[bytes, ...]]:
    """How many nulls there are, and the column's buffers, of which the first says where they are."""
    nulls = values.count(None)
    if not nulls:
        return 0, (b"", *column.pack(values))
    if column.instead is None:
        raise NotPlain
    valid = _bits(value is not None for value in values)
    return nulls, (valid, *column.pack([column.instead if value is None else value for value in values]))
