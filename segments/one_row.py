"""One row as an Arrow IPC message: of rows whose texts are of the same lengths all but the values is the same.

Where many sources share what comes, most commits hold one row.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from segments.batch_message import ALIGNMENT, BatchMessage
from segments.column_type import ColumnType
from segments.conversions import DoesNotFit, convert

HUGE = 2.0**63
"""A float from here on may stand for an integer that it is not; an integer may have more digits than a float."""
FORM_COLUMNS_MAX = 64
"""Combinations of lengths are remembered up to so many columns in all, and then forgotten at once: 20 KB of each source."""
INTEGERS = {
    "Int8": "b", "Int16": "h", "Int32": "i", "Int64": "q", "UInt8": "B", "UInt16": "H", "UInt32": "I", "UInt64": "Q",
}  # fmt: skip
"""As the struct module calls them."""
MOMENTS = frozenset({"DateTime", "DateTime64"})
_TEXT, _FLOAT, _BOOL, _MOMENT = "s", "d", "?", "q"
_Take = Callable[[Any], Any]


class NotPlain(Exception):
    """A value that has to be looked at more closely."""


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise NotPlain
    return value


def _float(value: Any) -> float:
    if type(value) is not float or abs(value) >= HUGE:
        raise NotPlain
    return value


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise NotPlain
    return value


def _text(value: Any) -> bytes:
    if type(value) is not str:
        raise NotPlain
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise NotPlain from None


def _moment(kind: ColumnType) -> _Take:
    def take(value: Any) -> int:
        if type(value) is not str and type(value) is not int:
            raise NotPlain
        try:
            moment: int = convert(kind, value)
        except DoesNotFit:
            raise NotPlain from None
        return moment

    return take


def _way(kind: ColumnType) -> tuple[str, _Take]:
    """How values of a type are packed, and what of."""
    if kind.name in MOMENTS:
        return _MOMENT, _moment(kind)
    if kind.name in INTEGERS:
        return INTEGERS[kind.name], _integer
    return {"Float64": (_FLOAT, _float), "Bool": (_BOOL, _boolean), "String": (_TEXT, _text)}[kind.name]


@dataclass(frozen=True, slots=True)
class _Form:
    """What stands before the values of such a row, and how these are packed."""

    head: bytes
    pack: Callable[..., bytes]


class OneRow:
    """For columns of such types under these keys; for one thread at a time."""

    def __init__(self, message: BatchMessage, columns: Sequence[tuple[str, ColumnType]]) -> None:
        ways = [(key, *_way(kind)) for key, kind in columns]
        self._codes = [code for _, code, _ in ways]
        self._columns = [(key, take, code == _TEXT) for key, code, take in ways]
        self._keys = len({key for key, _ in columns})
        self._message = message
        self._forms: dict[tuple[int, ...], _Form] = {}

    def encode(self, row: dict[str, Any]) -> bytes | None:
        """As `RecordBatch.serialize` gives it; None for a row that is not plain, or lacks something."""
        try:
            values, lengths = self._taken(row)
            form = self._forms.get(lengths) or self._form(lengths)
            return form.head + form.pack(*values)
        except (NotPlain, struct.error):
            return None

    def _form(self, lengths: tuple[int, ...]) -> _Form:
        if (len(self._forms) + 1) * len(self._codes) > FORM_COLUMNS_MAX:
            self._forms.clear()
        layout, places, at = "<", list[int](), 0
        lengths_left = iter(lengths)
        for code in self._codes:
            # The first buffer would say where nulls are.
            places += (at, 0)
            if code == _TEXT:
                length = next(lengths_left)
                layout += f"ii{length}s{-length % ALIGNMENT}x"
                places += (at, 8, at + 8, length)
                at += 8 + length + -length % ALIGNMENT
            else:
                size = struct.calcsize(code)
                layout += f"{code}{ALIGNMENT - size}x"
                places += (at, size)
                at += ALIGNMENT
        head = self._message.head(1, (1, 0) * len(self._codes), places, at)
        form = self._forms[lengths] = _Form(bytes(head), struct.Struct(layout).pack)
        return form

    def _taken(self, row: dict[str, Any]) -> tuple[list[Any], tuple[int, ...]]:
        """What is packed, and the lengths of the texts in it. Raises NotPlain."""
        if len(row) != self._keys:
            raise NotPlain
        values: list[Any] = []
        lengths: list[int] = []
        for key, take, is_text in self._columns:
            value = take(row.get(key))
            if is_text:
                length = len(value)
                lengths.append(length)
                values += (0, length, value)
            else:
                values.append(value)
        return values, tuple(lengths)
