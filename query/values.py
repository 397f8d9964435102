"""Arrow columns -> plain values that orjson writes without losing a digit, and their text for people.

Conversion is by column, not by value: `to_pylist` on timestamps and decimals builds a Python object a cell, which costs
more than all the rest of writing a row, and refuses nanoseconds.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

import orjson
import pyarrow as pa

from query.moment_text import PER_SECOND, far_moment
from query.texts import as_text, unique_names

PLAIN_SCALES = range(7)
"""Scales of decimals that Arrow never writes with an exponent."""
_Child = TypeVar("_Child")


@dataclass(frozen=True, slots=True)
class Style:
    """How values are spelled where formats differ.

    `whole_fractions`: timestamps have all digits of their unit, and no zone; otherwise a fraction of zero is left out,
    and what has a zone says so. `quoted_64bit`: integers of 64 bits and more are strings, for readers that have floats.
    """

    whole_fractions: bool = False
    quoted_64bit: bool = False


OURS = Style()
CLICKHOUSE = Style(whole_fractions=True)


def plain_values(column: pa.Array, style: Style = OURS) -> list[object]:
    """One value a row: None, bool, int, float, str, list, dict, or an `orjson.Fragment` holding a decimal's digits."""
    kind = column.type
    if isinstance(kind, pa.UuidType):
        return [None if value is None else str(value) for value in column.to_pylist()]
    if isinstance(kind, pa.BaseExtensionType):
        return plain_values(column.storage, style)
    if pa.types.is_dictionary(kind):
        return plain_values(column.dictionary_decode(), style)
    if pa.types.is_nested(kind):
        return _nested_values(column, style)
    return _scalars(column, style)


def is_wide_integer(kind: pa.DataType) -> bool:
    """An integer beyond what a float holds exactly; those of 128 bits come from DuckDB as decimals without a scale."""
    return kind in {pa.int64(), pa.uint64()} or (pa.types.is_decimal(kind) and kind.scale == 0 and kind.precision > 18)


def _scalars(column: pa.Array, style: Style) -> list[object]:
    kind = column.type
    if style.quoted_64bit and is_wide_integer(kind):
        texts: list[object] = column.cast(pa.string()).to_pylist()
        return texts
    if pa.types.is_decimal(kind):
        return [None if digits is None else orjson.Fragment(digits) for digits in _decimal_digits(column)]
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        return list(_moment_texts(column, style))
    if pa.types.is_interval(kind):
        return [None if span is None else _interval_text(*span) for span in column.to_pylist()]
    if _is_bytes(kind):
        return [None if data is None else data.decode("utf-8", "backslashreplace") for data in column.to_pylist()]
    if pa.types.is_floating(kind) and not pa.types.is_float64(kind):
        # by way of text, or the float32 nearest to 0.1 becomes 0.10000000149011612
        column = column.cast(pa.float32()).cast(pa.string()).cast(pa.float64())
    elif pa.types.is_duration(kind):
        column = column.cast(pa.int64())
    values: list[object] = column.to_pylist()
    return values


def _is_bytes(kind: pa.DataType) -> bool:
    checks = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
    return any(check(kind) for check in checks)


def _decimal_digits(column: pa.Array) -> list[str | None]:
    texts: list[str | None] = column.cast(pa.string()).to_pylist()
    if column.type.scale in PLAIN_SCALES:
        return texts
    return [format(Decimal(text), "f") if text and "E" in text else text for text in texts]


def _moment_texts(column: pa.Array, style: Style) -> list[str | None]:
    """Dates, times and timestamps; a fraction has all digits of the column's unit, or none when it is zero (see Style)."""
    import pyarrow.compute as pc  # noqa: PLC0415 -- takes as long to load as all of Arrow

    kind = column.type
    zone = ""
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        column, zone = column.cast(pa.timestamp(kind.unit)), "" if style.whole_fractions else "+00:00"
    elif pa.types.is_date64(kind):
        column = column.cast(pa.date32())
    formatted = column.cast(pa.string())
    whole = style.whole_fractions and pa.types.is_timestamp(kind)
    if not whole and not pa.types.is_date(kind) and kind.unit != "s":
        formatted = pc.replace_substring_regex(formatted, r"\.0+$", "")
    texts: list[str | None] = formatted.to_pylist()
    if pc.any(pc.starts_with(formatted, "<")).as_py():
        unit = PER_SECOND[kind.unit] if pa.types.is_timestamp(kind) else None
        counts = column.cast(pa.int32() if unit is None else pa.int64()).to_pylist()
        texts = [
            far_moment(count, unit) if text is not None and text.startswith("<") else text
            for text, count in zip(texts, counts, strict=True)
        ]
    if zone:
        texts = [text if text is None or text.endswith("infinity") else text + zone for text in texts]
    return texts


def _interval_text(months: int, days: int, nanoseconds: int) -> str:
    """As DuckDB writes and reads it: `1 year 2 months 3 days 04:05:06.5`."""
    years = int(months / 12)
    named = {"year": years, "month": months - 12 * years, "day": days}
    parts = [f"{count} {unit}" + ("" if abs(count) == 1 else "s") for unit, count in named.items() if count]
    seconds, fraction = divmod(abs(nanoseconds), 1_000_000_000)
    if nanoseconds or not parts:
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        tail = f".{fraction:09}".rstrip("0") if fraction else ""
        parts.append(("-" if nanoseconds < 0 else "") + clock + tail)
    return " ".join(parts)


def _nested_values(column: pa.Array, style: Style) -> list[object]:
    kind = column.type
    if pa.types.is_struct(kind):
        return _structs(column, style)
    if pa.types.is_union(kind):
        return _members(column, style)
    if pa.types.is_map(kind):
        keys = ["" if key is None else as_text(key) for key in _children(column, column.keys, style)]
        entries = list(zip(keys, _children(column, column.items, style), strict=True))
        return [None if pairs is None else dict(pairs) for pairs in _by_row(column, entries)]
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        # fixed-size lists and list views address their children each in its own way; this one is the common way
        column = column.cast(pa.large_list(kind.value_type))
    return list(_by_row(column, _children(column, column.values, style)))


def _structs(column: pa.Array, style: Style) -> list[object]:
    names = unique_names(field.name for field in column.type)
    if not names:
        return [{} if valid else None for valid in column.is_valid().to_pylist()]
    rows = zip(*(plain_values(column.field(index), style) for index in range(len(names))), strict=True)
    valid = column.is_valid().to_pylist()
    return [dict(zip(names, row, strict=True)) if there else None for row, there in zip(rows, valid, strict=True)]


def _members(column: pa.Array, style: Style) -> list[object]:
    """The value of whichever member of a union each row has."""
    positions = {code: position for position, code in enumerate(column.type.type_codes)}
    children = [plain_values(column.field(position), style) for position in positions.values()]
    codes = column.type_codes.to_pylist()
    sparse = column.type.mode == "sparse"
    rows: Iterable[int] = range(len(column)) if sparse else column.offsets.to_pylist()
    return [children[positions[code]][row] for code, row in zip(codes, rows, strict=True)]


def _children(column: pa.Array, children: pa.Array, style: Style) -> list[object]:
    """The part of a list's or map's children that belongs to `column`, which may be a slice of a longer one."""
    if len(column) == 0:
        return []
    offsets = column.offsets
    first, last = offsets[0].as_py(), offsets[-1].as_py()
    return plain_values(children.slice(first, last - first), style)


def _by_row(column: pa.Array, children: list[_Child]) -> list[list[_Child] | None]:
    offsets = column.offsets.to_pylist() if children else [0] * (len(column) + 1)
    return [
        children[start - offsets[0] : stop - offsets[0]] if valid else None
        for start, stop, valid in zip(offsets, offsets[1:], column.is_valid().to_pylist(), strict=False)
    ]
