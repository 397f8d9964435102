"""The fast way: a column whose values are all of the plain JSON type becomes an Arrow array in a few calls.

Each function here gives what `segments.conversions` would give value by value, or None where one value might be refused
or needs a closer look.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from segments.column_type import ColumnType
from segments.conversions import DECIMAL_TEXT, RANGES, UUID_TEXT
from segments.lines import Number, json_literal
from segments.moments import DATE_TEXT, UTC_NAMES, datetime_pattern, tick_range

_NULL = type(None)
_INTEGERS_IN_FLOAT32 = 1 << 24
# Literals that a float64 tells apart: at most 15 digits and no exponent.
_SHORT_LITERAL = r"^-?[0-9.]{1,16}$"
_DECIMAL_CHARACTERS_MAX = 80
_TO_THE_SECOND = dict.fromkeys(("min", "max"), len("2013-01-01 10:00:00"))


def plain_column(kind: ColumnType, values: Sequence[Any]) -> pa.Array | None:
    """The array when all values are plain ones of the type; None when each has to be looked at."""
    types = set(map(type, values))
    if _NULL in types:
        if not kind.nullable:
            return None
        types.discard(_NULL)
    way = _WAYS.get(kind.name)
    try:
        return _simple(kind, values, types) if way is None else way(kind, values, types)
    except (pa.ArrowInvalid, OverflowError):
        return None


def _simple(kind: ColumnType, values: Sequence[Any], types: set[type]) -> pa.Array | None:
    return pa.array(values, kind.arrow) if types <= _SIMPLE_TYPES[kind.name] else None


def _float64(kind: ColumnType, values: Sequence[Any], types: set[type]) -> pa.Array | None:
    if not types <= {int, float}:
        return None
    if float in types and any(abs(v) >= 2.0**63 for v in values if v is not None):
        # Such a float may stand for an integer that it is not.
        return None
    return pa.array(values, kind.arrow)


def _float32(kind: ColumnType, values: Sequence[Any], types: set[type]) -> pa.Array | None:
    if not types <= {int, Number}:
        return None
    if int in types and any(type(v) is int and abs(v) > _INTEGERS_IN_FLOAT32 for v in values):
        return None
    sent = _literals(values)
    if not _all_match(sent, _SHORT_LITERAL):
        return None
    stored = sent.cast(kind.arrow)
    exact = pc.equal(stored.cast(pa.string()).cast(pa.float64()), sent.cast(pa.float64()))
    return stored if pc.all(exact).as_py() is not False else None


def _decimal(kind: ColumnType, values: Sequence[Any], types: set[type]) -> pa.Array | None:
    if not types <= {int, Number, str}:
        return None
    sent = _literals(values)
    if not _all_match(sent, DECIMAL_TEXT) or (pc.max(pc.binary_length(sent)).as_py() or 0) > _DECIMAL_CHARACTERS_MAX:
        return None
    return sent.cast(kind.arrow)


def _literals(values: Sequence[Any]) -> pa.Array:
    return pa.array(
        [v.literal if type(v) is Number else v if v is None or type(v) is str else str(v) for v in values], pa.string()
    )


def _fixed_string(kind: ColumnType, values: Sequence[Any], types: set[type]) -> pa.Array | None:
    if not types <= {str}:
        return None
    texts = pa.array(values, pa.string())
    return texts if (pc.max(pc.binary_length(texts)).as_py() or 0) <= kind.length else None


def _uuid(_kind: ColumnType, values: Sequence[Any], types: set[type]) -> pa.Array | None:
    if not types <= {str}:
        return None
    texts = pa.array(values, pa.string())
    return pc.ascii_lower(texts) if _all_match(texts, UUID_TEXT) else None


def _json(_kind: ColumnType, values: Sequence[Any], _types: set[type]) -> pa.Array:
    return pa.array([None if value is None else json_literal(value) for value in values], pa.string())


def plain_texts(kind: ColumnType, texts: pa.Array) -> pa.Array | None:
    """A date or date-time column from strings; None when each has to be looked at."""
    is_date = kind.name in {"Date", "Date32"}
    quickly = None if is_date else _to_the_second(kind, texts)
    if quickly is not None:
        return quickly
    if not _all_match(texts, DATE_TEXT if is_date else datetime_pattern(kind)):
        return None
    try:
        # An impossible date, or one beyond the range of the unit, makes the cast raise ArrowInvalid.
        return (texts if is_date else pc.utf8_rtrim(texts, "Z")).cast(kind.arrow)
    except pa.ArrowInvalid:
        return None


def _to_the_second(kind: ColumnType, texts: pa.Array) -> pa.Array | None:
    """Date-times that are all as long as one without fraction and zone, and mean the same in Arrow: then its own parser,
    which is several times as fast as a pattern, takes nothing of that length but those, and the year 0000."""
    if kind.zone not in UTC_NAMES or pc.min_max(pc.binary_length(texts)).as_py() != _TO_THE_SECOND:
        return None
    try:
        moments = texts.cast(kind.arrow)
    except pa.ArrowInvalid:
        return None
    first = pc.min(moments.view(pa.int64())).as_py()
    return moments if first >= tick_range(kind)[0] else None


def _date(kind: ColumnType, values: Sequence[Any], types: set[type]) -> pa.Array | None:
    return plain_texts(kind, pa.array(values, pa.string())) if types <= {str} else None


def _datetime(kind: ColumnType, values: Sequence[Any], types: set[type]) -> pa.Array | None:
    if types == {int}:
        return _unix(kind, values)
    return plain_texts(kind, pa.array(values, pa.string())) if types <= {str} else None


def _unix(kind: ColumnType, values: Sequence[Any]) -> pa.Array | None:
    low, high = tick_range(kind)
    ticks = [None if value is None else value * kind.ticks_per_s for value in values]
    if not all(tick is None or low <= tick <= high for tick in ticks):
        return None
    return pa.array(ticks, kind.arrow)


def _array(kind: ColumnType, values: Sequence[Any], types: set[type]) -> pa.Array | None:
    assert kind.element is not None
    if not types <= {list}:
        return None
    flat = plain_column(kind.element, [element for value in values if value is not None for element in value])
    return None if flat is None else pa.ListArray.from_arrays(_offsets(values), flat, type=kind.arrow)


def _map(kind: ColumnType, values: Sequence[Any], types: set[type]) -> pa.Array | None:
    assert kind.key is not None
    assert kind.element is not None
    # Two texts can be one key of any other type.
    if kind.key.name not in {"String", "FixedString"} or not types <= {dict}:
        return None
    maps = [value for value in values if value is not None]
    keys = plain_column(kind.key, [key for value in maps for key in value])
    if keys is None:
        return None
    flat = plain_column(kind.element, [element for value in maps for element in value.values()])
    return None if flat is None else pa.MapArray.from_arrays(_offsets(values), keys, flat, type=kind.arrow)


def _offsets(values: Sequence[Any]) -> pa.Array:
    offsets, total = [], 0
    for value in values:
        offsets.append(None if value is None else total)
        total += len(value) if value is not None else 0
    offsets.append(total)
    return pa.array(offsets, pa.int32())


def _all_match(texts: pa.Array, pattern: str) -> bool:
    return pc.all(pc.match_substring_regex(texts, pattern)).as_py() is not False


_SIMPLE_TYPES: dict[str, set[type]] = {**{name: {int} for name in RANGES}, "Bool": {bool}, "String": {str}}
_WAYS: dict[str, Callable[[ColumnType, Sequence[Any], set[type]], pa.Array | None]] = {
    "Float64": _float64,
    "Float32": _float32,
    "FixedString": _fixed_string,
    "UUID": _uuid,
    "JSON": _json,
    "Date": _date,
    "Date32": _date,
    "DateTime": _datetime,
    "DateTime64": _datetime,
    "Decimal": _decimal,
    "Array": _array,
    "Map": _map,
}
