"""Values of one column -> one Arrow array, exactly, or a reason for each value that does not fit (API §3).

Each conversion has two speeds and one meaning: when every value of a column is of the plain kind, Arrow converts them
in one call; otherwise each value is judged alone. Nothing is rounded, cut or guessed.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from segments.lines import Number, json_text
from segments.schema import ColumnType

DATE_TEXT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
DATETIME_TEXT = (
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:?[0-9]{2})?$"
)
_DATETIME_WITHOUT_ZONE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?$"
_DATE = re.compile(DATE_TEXT[:-1])
_DATETIME = re.compile(DATETIME_TEXT[:-1])
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 -- Arrow's timestamps without a zone are UTC here
_NULL = type(None)
_RANGES = {"Int64": (-(1 << 63), (1 << 63) - 1), "UInt64": (0, (1 << 64) - 1)}
_TICKS_PER_S = {3: 1_000, 6: 1_000_000, 9: 1_000_000_000}
_SHOWN_MAX = 60


class DoesNotFit(Exception):
    """A value that its column can't hold exactly; the text says why, for the person who reads the quarantine."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A column's array, with a null in place of each value in `errors` (index -> reason)."""

    array: pa.Array
    errors: dict[int, str]


def fit_column(kind: ColumnType, values: Sequence[Any]) -> Fitted:
    """Convert JSON values (as orjson gives them, or `Number`) to `kind`."""
    plain = _plain(kind, values)
    if plain is not None:
        return Fitted(plain, {})
    converted: list[Any] = []
    errors: dict[int, str] = {}
    for index, value in enumerate(values):
        try:
            converted.append(_convert(kind, value))
        except DoesNotFit as reason:
            converted.append(None)
            errors[index] = str(reason)
    return Fitted(pa.array(converted, kind.arrow), errors)


def _plain(kind: ColumnType, values: Sequence[Any]) -> pa.Array | None:
    """The array when all values are of the kind's plain JSON type; None when each has to be looked at."""
    types = set(map(type, values))
    if _NULL in types and not kind.nullable:
        return None
    types.discard(_NULL)
    if not types <= _PLAIN[kind.name]:
        return None
    try:
        if kind.name == "Array":
            return _plain_array(kind, values)
        if kind.name == "DateTime64":
            return _plain_datetimes(kind, pa.array(values, pa.string()))
        if kind.name == "Date":
            return _plain_dates(pa.array(values, pa.string()))
        if kind.name == "Float64" and float in types and any(abs(v) >= 2.0**63 for v in values if v is not None):
            return None
        return pa.array(values, kind.arrow)
    except (pa.ArrowInvalid, OverflowError):
        return None


_PLAIN: dict[str, set[type]] = {
    "Int64": {int},
    "UInt64": {int},
    "Float64": {int, float},
    "Bool": {bool},
    "String": {str},
    "Date": {str},
    "DateTime64": {str},
    "Array": {list},
}


def _plain_array(kind: ColumnType, values: Sequence[Any]) -> pa.Array | None:
    assert kind.element is not None
    elements = [element for value in values if value is not None for element in value]
    flat = _plain(kind.element, elements)
    if flat is None:
        return None
    offsets, total = [], 0
    for value in values:
        offsets.append(None if value is None else total)
        total += len(value) if value is not None else 0
    offsets.append(total)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat, type=kind.arrow)


def _plain_dates(texts: pa.Array) -> pa.Array | None:
    return texts.cast(pa.date32()) if _all_match(texts, DATE_TEXT) else None


def _plain_datetimes(kind: ColumnType, texts: pa.Array) -> pa.Array | None:
    # A fraction longer than the precision, or an impossible date, makes the cast raise ArrowInvalid.
    if _all_match(texts, _DATETIME_WITHOUT_ZONE):
        return texts.cast(kind.arrow)
    return None


def _all_match(texts: pa.Array, pattern: str) -> bool:
    return pc.all(pc.match_substring_regex(texts, pattern)).as_py() is not False


def _convert(kind: ColumnType, value: Any) -> Any:
    if value is None:
        if kind.nullable:
            return None
        raise DoesNotFit("null or missing in a column that is not Nullable")
    return _CONVERSIONS[kind.name](kind, value)


def _refuse(kind: ColumnType, value: Any) -> DoesNotFit:
    text = value if isinstance(value, str) else json_text(value)
    shown = text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"
    return DoesNotFit(
        f"{_describe(value)} {shown!r} does not fit {kind.name}"
        if shown
        else f"an empty string does not fit {kind.name}"
    )


def _describe(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float | Number):
        return "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def _integer(kind: ColumnType, value: Any) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if type(value) is not int:
        raise _refuse(kind, value)
    low, high = _RANGES[kind.name]
    if not low <= value <= high:
        raise DoesNotFit(f"{value} is out of range for {kind.name}")
    return value


def _float(kind: ColumnType, value: Any) -> float:
    if isinstance(value, Number):
        as_float = float(value.literal)
        if value.literal.lstrip("-").isdigit() and int(as_float) != int(value.literal):
            raise DoesNotFit(f"the integer {value.literal[:_SHOWN_MAX]} would be rounded in Float64")
        return as_float
    if type(value) is float:
        return value
    if type(value) is not int:
        raise _refuse(kind, value)
    if int(float(value)) != value:
        raise DoesNotFit(f"the integer {value} would be rounded in Float64")
    return float(value)


def _bool(kind: ColumnType, value: Any) -> bool:
    if type(value) is not bool:
        raise _refuse(kind, value)
    return value


def _string(_kind: ColumnType, value: Any) -> str:
    return json_text(value)


def _date(kind: ColumnType, value: Any) -> date:
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise _refuse(kind, value)
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise _refuse(kind, value) from None


def parse_datetime(text: str) -> tuple[datetime, str] | None:
    """An ISO date with time as (UTC to the second, digits of the fraction); None when it is not one."""
    match = _DATETIME.fullmatch(text)
    if match is None:
        return None
    day, clock, fraction, zone = match.groups()
    try:
        instant = datetime.fromisoformat(f"{day}T{clock}")
        if zone and zone != "Z":
            hours, minutes = int(zone[1:3]), int(zone[-2:])
            if hours > 23 or minutes > 59:
                return None
            offset = timedelta(hours=hours, minutes=minutes)
            instant = instant - offset if zone[0] == "+" else instant + offset
    except (ValueError, OverflowError):
        return None
    return instant, fraction or ""


def _datetime(kind: ColumnType, value: Any) -> int:
    """Ticks of the column's unit since 1970."""
    digits = kind.precision
    if isinstance(value, str):
        parsed = parse_datetime(value)
        if parsed is None:
            raise _refuse(kind, value)
        instant, fraction = parsed
        if len(fraction) > digits:
            raise DoesNotFit(f"string {value!r} has more than the {digits} fraction digits that {kind} holds")
        seconds = (instant - _EPOCH) // timedelta(seconds=1)
        ticks = seconds * _TICKS_PER_S[digits] + int(fraction.ljust(digits, "0") or "0")
    elif type(value) is int:
        ticks = value * _TICKS_PER_S[digits]
    elif type(value) is float or (isinstance(value, Number) and len(value.literal) <= _SHOWN_MAX):
        ticks = _unix_ticks(kind, value)
    else:
        raise _refuse(kind, value)
    if not _TICKS_LOW[digits] <= ticks <= _TICKS_HIGH[digits]:
        raise DoesNotFit(f"{json_text(value)} is out of range for {kind}")
    return ticks


def _unix_ticks(kind: ColumnType, value: float | Number) -> int:
    literal = value.literal if isinstance(value, Number) else repr(value)
    whole, _, fraction = literal.partition(".")
    if "e" in literal.lower() or len(fraction.rstrip("0")) > kind.precision:
        raise DoesNotFit(f"number {literal} has no exact place in {kind}")
    ticks = int(whole.lstrip("-")) * _TICKS_PER_S[kind.precision] + int(
        fraction.rstrip("0").ljust(kind.precision, "0") or "0"
    )
    return -ticks if whole.startswith("-") else ticks


def _ticks(year: int, month: int, day: int, digits: int) -> int:
    return (
        int((datetime(year, month, day, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
        * _TICKS_PER_S[digits]
    )


_TICKS_LOW = {3: _ticks(1, 1, 1, 3), 6: _ticks(1, 1, 1, 6), 9: -(1 << 63) + 1}
_TICKS_HIGH = {
    3: _ticks(9999, 12, 31, 3) + 86_400_000 - 1,
    6: _ticks(9999, 12, 31, 6) + 86_400_000_000 - 1,
    9: (1 << 63) - 1,
}


def _array(kind: ColumnType, value: Any) -> list[Any]:
    assert kind.element is not None
    if not isinstance(value, list):
        raise _refuse(kind, value)
    elements = []
    for index, element in enumerate(value):
        try:
            elements.append(_convert(kind.element, element))
        except DoesNotFit as reason:
            raise DoesNotFit(f"element {index}: {reason}") from None
    return elements


_CONVERSIONS: dict[str, Callable[[ColumnType, Any], Any]] = {
    "Int64": _integer,
    "UInt64": _integer,
    "Float64": _float,
    "Bool": _bool,
    "String": _string,
    "Date": _date,
    "DateTime64": _datetime,
    "Array": _array,
}
