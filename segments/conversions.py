"""One JSON value -> what Arrow stores for it, exactly, or the reason why its column can't hold it."""

import math
import re
from collections.abc import Callable
from datetime import date
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any

import pyarrow as pa

from segments.column_type import ColumnType
from segments.lines import Number, json_literal, json_text
from segments.moments import NotLocal, moment_ticks, parse_date, parse_datetime, tick_range, unix_ticks

UUID_TEXT = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
DECIMAL_TEXT = r"^(?:0|-?[1-9][0-9]*|-?(?:0|[1-9][0-9]*)\.[0-9]+)$"
RANGES = {f"Int{bits}": (-(1 << bits - 1), (1 << bits - 1) - 1) for bits in (8, 16, 32, 64)} | {
    f"UInt{bits}": (0, (1 << bits) - 1) for bits in (8, 16, 32, 64)
}
_UUID = re.compile(UUID_TEXT[1:-1])
_DECIMAL = re.compile(DECIMAL_TEXT[1:-1])
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,19}")
_INTEGERS_AS_TEXT = frozenset({"Int64", "UInt64"})
# More digits than any Decimal column holds; what does not fit is an error, never rounded.
_EXACT = Context(prec=100, traps=[Inexact, InvalidOperation])
_SHOWN_MAX = 60


class DoesNotFit(Exception):
    """A value that its column can't hold exactly; the text says why, for the person who reads the quarantine."""


def convert(kind: ColumnType, value: Any) -> Any:
    """What `pa.array` takes for the value in a column of this type. Raises DoesNotFit."""
    if value is None:
        if kind.nullable:
            return None
        raise DoesNotFit("null or missing in a column that is not Nullable")
    return _CONVERSIONS[kind.name](kind, value)


def _refuse(kind: ColumnType, value: Any) -> DoesNotFit:
    shown = _shown(value)
    if not shown:
        return DoesNotFit(f"an empty string does not fit {kind.name}")
    return DoesNotFit(f"{_describe(value)} {shown!r} does not fit {kind.name}")


def _shown(value: Any) -> str:
    text = json_text(value)
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"


def _describe(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float | Number):
        return "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def _integer(kind: ColumnType, value: Any) -> int:
    if isinstance(value, str) and kind.name in _INTEGERS_AS_TEXT and _INTEGER.fullmatch(value):
        value = int(value)
    if type(value) is not int:
        raise _refuse(kind, value)
    low, high = RANGES[kind.name]
    if not low <= value <= high:
        raise DoesNotFit(f"{value} is out of range for {kind.name}")
    return value


def _float64(kind: ColumnType, value: Any) -> float:
    if isinstance(value, Number):
        as_float = float(value.literal)
        if math.isinf(as_float):
            raise DoesNotFit(f"{_shown(value)} is out of range for Float64")
        if value.literal.lstrip("-").isdigit() and int(as_float) != int(value.literal):
            raise DoesNotFit(f"the integer {_shown(value)} would be rounded in Float64")
        return as_float
    if type(value) is float:
        return value
    if type(value) is not int:
        raise _refuse(kind, value)
    if int(float(value)) != value:
        raise DoesNotFit(f"the integer {value} would be rounded in Float64")
    return float(value)


def _float32(kind: ColumnType, value: Any) -> float:
    """An integer must be the stored value; a fraction must be the shortest text that means the stored value."""
    number = _decimal_of(value)
    if number is None:
        raise _refuse(kind, value)
    stored = pa.scalar(float(number), pa.float32())
    shortest = stored.cast(pa.string()).as_py()
    if shortest.endswith("inf"):
        raise DoesNotFit(f"{_shown(value)} is out of range for Float32")
    is_integer = type(value) is int or (isinstance(value, Number) and value.literal.lstrip("-").isdigit())
    if (Decimal(stored.as_py()) if is_integer else Decimal(shortest)) != number:
        raise DoesNotFit(f"number {_shown(value)} would be rounded in Float32")
    return float(stored.as_py())


def _bool(kind: ColumnType, value: Any) -> bool:
    if type(value) is not bool:
        raise _refuse(kind, value)
    return value


def _string(_kind: ColumnType, value: Any) -> str:
    return json_text(value)


def _fixed_string(kind: ColumnType, value: Any) -> str:
    text = json_text(value)
    size = len(text.encode())
    if size > kind.length:
        raise DoesNotFit(
            f"{_describe(value)} {_shown(value)!r} has {size} bytes, more than the {kind.length} of {kind}"
        )
    return text


def _json(_kind: ColumnType, value: Any) -> str:
    return json_literal(value)


def _uuid(kind: ColumnType, value: Any) -> str:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise _refuse(kind, value)
    return value.lower()


def _date(kind: ColumnType, value: Any) -> date:
    day = parse_date(value) if isinstance(value, str) else None
    if day is None:
        raise _refuse(kind, value)
    return day


def _datetime(kind: ColumnType, value: Any) -> int:
    """Ticks of the column's unit since 1970."""
    if isinstance(value, str):
        ticks = _text_ticks(kind, value)
    else:
        number = _decimal_of(value)
        if number is None:
            raise _refuse(kind, value)
        seconds = unix_ticks(kind, number)
        if seconds is None:
            raise DoesNotFit(f"number {_shown(value)} has no exact place in {kind}")
        ticks = seconds
    low, high = tick_range(kind)
    if not low <= ticks <= high:
        raise DoesNotFit(f"{_shown(value)} is out of range for {kind}")
    return ticks


def _text_ticks(kind: ColumnType, text: str) -> int:
    moment = parse_datetime(text)
    if moment is None:
        raise _refuse(kind, text)
    try:
        ticks = moment_ticks(kind, moment)
    except NotLocal as reason:
        raise DoesNotFit(f"string {text!r} does not fit {kind}: {reason}; send it with its offset from UTC") from None
    except OverflowError:
        raise DoesNotFit(f"{text} is out of range for {kind}") from None
    if ticks is None:
        raise DoesNotFit(f"string {text!r} has more than the {kind.precision} fraction digits that {kind} holds")
    return ticks


def _decimal(kind: ColumnType, value: Any) -> Decimal:
    number = Decimal(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else _decimal_of(value)
    if number is None:
        raise _refuse(kind, value)
    if number and number.adjusted() >= kind.precision - kind.scale:
        raise DoesNotFit(f"{_shown(value)} is out of range for {kind}")
    try:
        return number.quantize(Decimal(1).scaleb(-kind.scale), context=_EXACT)
    except (Inexact, InvalidOperation):
        raise DoesNotFit(f"{_shown(value)} has more than the {kind.scale} fraction digits that {kind} holds") from None


def _decimal_of(value: Any) -> Decimal | None:
    """A JSON number by its digits; None for other values, and for exponents beyond all reason."""
    if type(value) is int:
        return Decimal(value)
    if type(value) is float:
        return Decimal(repr(value))
    if not isinstance(value, Number):
        return None
    try:
        return Decimal(value.literal)
    except InvalidOperation:
        return None


def _array(kind: ColumnType, value: Any) -> list[Any]:
    assert kind.element is not None
    if not isinstance(value, list):
        raise _refuse(kind, value)
    elements = []
    for index, element in enumerate(value):
        try:
            elements.append(convert(kind.element, element))
        except DoesNotFit as reason:
            raise DoesNotFit(f"element {index}: {reason}") from None
    return elements


def _map(kind: ColumnType, value: Any) -> list[tuple[Any, Any]]:
    assert kind.key is not None
    assert kind.element is not None
    if not isinstance(value, dict):
        raise _refuse(kind, value)
    entries: dict[Any, Any] = {}
    for text, element in value.items():
        try:
            key, item = _key(kind.key, text), convert(kind.element, element)
        except DoesNotFit as reason:
            raise DoesNotFit(f"key {_shown(text)!r}: {reason}") from None
        if key in entries:
            raise DoesNotFit(f"key {_shown(text)!r} is the same {kind.key.name} as another key")
        entries[key] = item
    return list(entries.items())


def _key(kind: ColumnType, text: str) -> Any:
    """JSON has no keys but strings, so the text of an integer is one for integers of every width."""
    if kind.name in RANGES and _INTEGER.fullmatch(text):
        return convert(kind, int(text))
    return convert(kind, text)


_CONVERSIONS: dict[str, Callable[[ColumnType, Any], Any]] = dict.fromkeys(RANGES, _integer) | {
    "Float32": _float32,
    "Float64": _float64,
    "Bool": _bool,
    "String": _string,
    "FixedString": _fixed_string,
    "JSON": _json,
    "UUID": _uuid,
    "Date": _date,
    "Date32": _date,
    "DateTime": _datetime,
    "DateTime64": _datetime,
    "Decimal": _decimal,
    "Array": _array,
    "Map": _map,
}
