"""What a column must hold after a JSON text was sent into it, worked out another way than `segments` does.

Plain Python throughout, from JSON read with every number as a Decimal. Date-times are counts of nanoseconds since 1970, the rest
is what Arrow's `to_pylist` gives.
"""

import json
import struct
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from segments.column_type import ColumnType

YEAR_1 = -62_135_596_800
YEAR_10000 = 253_402_300_800


class Refused(Exception):
    """The value is not for this column."""


class Literal(str):
    """A number as it was sent."""

    __slots__ = ()


def read(text: str) -> Any:
    """JSON with numbers as `Literal`."""
    return json.loads(text, parse_float=Literal, parse_int=Literal)


def held(kind: ColumnType, value: Any) -> Any:
    """What the column holds. Raises Refused."""
    if value is None:
        if kind.nullable:
            return None
        raise Refused
    match kind.name:
        case "String":
            return value if type(value) is str else spelled(value)
        case "FixedString":
            text = value if type(value) is str else spelled(value)
            return must(text, len(text.encode()) <= kind.length)
        case "JSON":
            return spelled(value)
        case "Bool":
            return must(value, type(value) is bool)
        case "UUID":
            return unique_id(value)
        case "Date" | "Date32":
            return day(value)
        case "DateTime" | "DateTime64":
            return nanoseconds(kind, value)
        case "Float64":
            return double(value)
        case "Float32":
            return single(value)
        case "Decimal":
            return decimal(kind, value)
        case "Array":
            assert kind.element is not None
            must(value, type(value) is list)
            return [held(kind.element, element) for element in value]
        case "Map":
            return mapping(kind, value)
    return whole(kind.name, value)


def must(value: Any, fits: object) -> Any:
    if not fits:
        raise Refused
    return value


def spelled(value: Any) -> str:
    if isinstance(value, Literal):
        # An integer has no sign at zero.
        return "0" if value == "-0" else str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{spelled(str(key))}:{spelled(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(spelled, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def whole(name: str, value: Any) -> int:
    bits = int(name.removeprefix("U").removeprefix("Int"))
    is_text = type(value) is str and bits == 64
    must(value, isinstance(value, Literal) or is_text)
    try:
        number = int(value)
    except ValueError:
        raise Refused from None
    must(value, str(number) == value or (value == "-0" and not is_text))
    signed = not name.startswith("U")
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    must(number, low <= number < high)
    return number


def is_whole(value: str) -> bool:
    return not set(value) & set(".eE")


def double(value: Any) -> float:
    must(value, isinstance(value, Literal))
    nearest = float(value)
    must(value, not is_whole(value) or Fraction(nearest) == int(value))
    return nearest


def single(value: Any) -> float:
    must(value, isinstance(value, Literal))
    try:
        (nearest,) = struct.unpack("f", struct.pack("f", float(value)))
    except OverflowError:
        raise Refused from None
    if is_whole(value):
        must(value, Fraction(nearest) == int(value))
    else:
        must(value, shortest(nearest) == exact_decimal(value))
    return float(nearest)


def shortest(number: float) -> Decimal:
    """The decimal of the fewest digits that is nearest to this float32 among all of them."""
    for digits in range(9):
        text = f"{number:.{digits}e}"
        if struct.pack("f", float(text)) == struct.pack("f", number):
            return Decimal(text)
    raise AssertionError(number)


def exact_decimal(text: str) -> Decimal:
    number = Decimal(text)
    return must(number, number.is_finite())  # type: ignore[no-any-return]


def decimal(kind: ColumnType, value: Any) -> Decimal:
    if not isinstance(value, Literal):
        must(value, type(value) is str and value.isascii() and "e" not in value.lower() and is_json_number(value))
        must(value, value != "-0")
    number = exact_decimal(value)
    must(number, number == 0 or abs(number.adjusted()) < 200)
    with localcontext(prec=1000):
        scaled = number.scaleb(kind.scale)
        must(value, scaled == scaled.to_integral_value())
        must(value, abs(scaled) < Decimal(10) ** kind.precision)
        return (number or abs(number)).quantize(Decimal(1).scaleb(-kind.scale))


def is_json_number(text: str) -> bool:
    try:
        return isinstance(read(text), Literal) and text == text.strip()
    except ValueError:
        return False


def unique_id(value: Any) -> str:
    must(value, type(value) is str)
    try:
        text = str(uuid.UUID(value))
    except ValueError:
        raise Refused from None
    return must(text, text == value.lower())  # type: ignore[no-any-return]


def day(value: Any) -> date:
    must(value, type(value) is str and len(value) == 10)
    try:
        return datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise Refused from None


def nanoseconds(kind: ColumnType, value: Any) -> int:
    if isinstance(value, Literal):
        number = exact_decimal(value)
        must(number, number == 0 or (len(value) <= 40 and -40 < number.adjusted() < 40))
        seconds = Fraction(number)
    else:
        seconds = text_seconds(kind, must(value, type(value) is str))
    must(seconds, (seconds * 10**kind.precision).denominator == 1)
    must(seconds, YEAR_1 <= seconds < YEAR_10000)
    count = int(seconds * 10**9)
    must(count, kind.precision < 7 or -(2**63) < count < 2**63)
    return count


def text_seconds(kind: ColumnType, text: str) -> Fraction:
    must(text, len(text) >= 19 and text.isascii())
    try:
        moment = datetime.strptime(text[:19].replace("T", " ", 1), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        raise Refused from None
    must(text, moment.strftime("%H:%M:%S") == text[11:19] and text[:10] == moment.date().isoformat())
    rest, fraction = text[19:], ""
    if rest.startswith("."):
        fraction = rest[1:].split("Z")[0].split("+")[0].split("-")[0]
        must(text, fraction.isdigit() and len(fraction) <= 9)
        rest = rest[1 + len(fraction) :]
    if rest in {"", "Z"}:
        offset = timedelta() if rest or not kind.zone else offset_of(kind.zone, moment.replace(tzinfo=None))
    else:
        must(rest, rest[1:].replace(":", "", 1).isdigit())
        offset = (1 if rest[0] == "+" else -1) * timedelta(hours=int(rest[1:3]), minutes=int(rest[-2:]))
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1) - offset // timedelta(seconds=1)
    must(seconds, YEAR_1 <= seconds < YEAR_10000)
    return seconds + (Fraction(int(fraction), 10 ** len(fraction)) if fraction else Fraction(0))


def offset_of(name: str, local: datetime) -> timedelta:
    zone = ZoneInfo(name)
    offsets = {zone.utcoffset(local.replace(fold=fold)) for fold in (0, 1)}
    must(local, len(offsets) == 1)
    (offset,) = offsets
    assert offset is not None
    return offset


def mapping(kind: ColumnType, value: Any) -> list[tuple[Any, Any]]:
    assert kind.key is not None
    assert kind.element is not None
    must(value, type(value) is dict)
    entries = []
    for key, item in value.items():
        number = kind.key.name.startswith(("Int", "UInt")) and key != "-0"
        entries.append((held(kind.key, Literal(key) if number else key), held(kind.element, item)))
    must(entries, len({key for key, _ in entries}) == len(entries))
    return entries


def plain(kind: ColumnType, cell: Any) -> Any:
    """A cell as `to_pylist` gives it, but a date-time as nanoseconds: cells of those are read as integers."""
    if cell is None:
        return None
    if kind.name in {"DateTime", "DateTime64"}:
        return cell * (10**9 // kind.ticks_per_s)
    if kind.name == "Array":
        assert kind.element is not None
        return [plain(kind.element, element) for element in cell]
    if kind.name == "Map":
        assert kind.key is not None
        assert kind.element is not None
        return [(plain(kind.key, key), plain(kind.element, item)) for key, item in cell]
    return cell
