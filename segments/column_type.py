"""Column types and their spelling, which is ClickHouse's. Arrow is loaded by who asks for the types that hold them."""

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Literal

from segments.scanner import Scanner

if TYPE_CHECKING:
    import pyarrow as pa

TypeName = Literal[
    "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64", "Bool", "String",
    "UUID", "Date", "Date32", "JSON", "FixedString", "DateTime", "DateTime64", "Decimal", "Array", "Map",
]  # fmt: skip

DEPTH_MAX = 16
"""Of types within types; a parser that calls itself must not be led on for ever."""
_SIMPLE: tuple[TypeName, ...] = (
    "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64", "Bool", "String",
    "UUID", "Date", "Date32", "JSON",
)  # fmt: skip
_KNOWN = (
    "(U)Int8, (U)Int16, (U)Int32, (U)Int64, Float32, Float64, Bool, String, FixedString(n), LowCardinality(T), UUID, "
    "Date, Date32, DateTime, DateTime('zone'), DateTime64(p), DateTime64(p, 'zone'), Decimal(p, s), Array(T), "
    "Map(K, V), Nullable(T), JSON"
)
_UNITS = ("s", "ms", "ms", "ms", "us", "us", "us", "ns", "ns", "ns")
_TICKS_PER_S = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_DECIMAL_PRECISION = {"Decimal32": 9, "Decimal64": 18, "Decimal128": 38}
_DECIMAL_PRECISION_MAX = 38
"""More digits fit into Parquet, and hardly any tool reads them from there without rounding."""
_FIXED_BYTES_MAX = 0xFFFFFF
_NUMBERS = frozenset(name for name in _SIMPLE if name.startswith(("Int", "UInt", "Float")))
_IN_LOW_CARDINALITY = _NUMBERS | {"String", "FixedString", "UUID", "Date", "Date32", "DateTime"}
_MAP_KEYS = (_IN_LOW_CARDINALITY | {"DateTime64"}) - {"Float32", "Float64"}
_LITERALS_COUNT = frozenset({"String", "FixedString", "JSON", "Decimal", "Float32", "DateTime", "DateTime64"})
_WHOLE_NUMBER = re.compile(r"[0-9]{1,9}")
_QUOTED = re.compile(r"'([^'\n]*)'")


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A column type.

    `precision` is the digits of a DateTime64's fraction, or all digits of a Decimal; `scale` those of a Decimal's
    fraction; `length` a FixedString's bytes; `element` an Array's elements, or a Map's values.
    """

    name: TypeName
    nullable: bool = False
    low_cardinality: bool = False
    precision: int = 0
    scale: int = 0
    length: int = 0
    zone: str = ""
    key: "ColumnType | None" = None
    element: "ColumnType | None" = None

    def __str__(self) -> str:
        arguments: list[object] = []
        match self.name:
            case "FixedString":
                arguments = [self.length]
            case "DateTime64":
                arguments = [self.precision]
            case "Decimal":
                arguments = [self.precision, self.scale]
            case "Array":
                arguments = [self.element]
            case "Map":
                arguments = [self.key, self.element]
        if self.zone:
            arguments.append(f"'{self.zone}'")
        text: str = self.name
        if arguments:
            text += f"({', '.join(map(str, arguments))})"
        if self.nullable:
            text = f"Nullable({text})"
        return f"LowCardinality({text})" if self.low_cardinality else text

    @property
    def arrow(self) -> "pa.DataType":
        """The Arrow type. Date-times are UTC without a zone, so that every tool shows the digits of UTC."""
        from segments.arrow_type import arrow_type  # noqa: PLC0415 -- who only reads a schema does without Arrow

        return arrow_type(self)

    @property
    def unit(self) -> str:
        """That of a date-time's Arrow type: the coarsest one that has all digits of the fraction."""
        return _UNITS[self.precision]

    @property
    def ticks_per_s(self) -> int:
        """The units of a date-time's Arrow type in a second."""
        return _TICKS_PER_S[self.unit]

    @property
    def takes_literals(self) -> bool:
        """Whether a number must reach the column, or a part of its values, with the digits that were sent."""
        if self.element is not None:
            return self.element.takes_literals
        return self.name in _LITERALS_COUNT

    @property
    def is_sortable(self) -> bool:
        return self.element is None


def parse_type(text: str) -> ColumnType:
    """The type that `text` spells, such as `Nullable(DateTime64(3))`. Raises SchemaError naming what is not known."""
    scanner = Scanner(text)
    kind = read_type(scanner)
    if not scanner.is_done:
        raise scanner.fail(f"expected nothing after the type {kind}, found {scanner.found()}")
    return kind


def read_type(scanner: Scanner, *, depth: int = 0) -> ColumnType:
    """The type that stands next. Raises SchemaError."""
    before = scanner.at
    if scanner.is_done:
        raise scanner.fail(f"expected a column type, found the end; known are {_KNOWN}", at=before)
    start = scanner.at
    word = scanner.take_word()
    if depth == DEPTH_MAX:
        raise scanner.fail(f"types within types go {DEPTH_MAX} deep and no further", at=start)
    for name in _SIMPLE:
        if word == name:
            return ColumnType(name)
    match word:
        case "Nullable":
            return _nullable(scanner, depth)
        case "LowCardinality":
            return _low_cardinality(scanner, depth)
        case "Array":
            scanner.expect_mark("(", "after Array")
            kind = ColumnType("Array", element=read_type(scanner, depth=depth + 1))
        case "Map":
            kind = _map(scanner, depth)
        case "FixedString":
            scanner.expect_mark("(", "after FixedString")
            kind = ColumnType("FixedString", length=_number(scanner, "the bytes of a FixedString", 1, _FIXED_BYTES_MAX))
        case "DateTime":
            if not scanner.take_mark("("):
                return ColumnType("DateTime")
            kind = ColumnType("DateTime", zone=_zone(scanner))
        case "DateTime64":
            kind = _datetime64(scanner)
        case "Decimal" | "Decimal32" | "Decimal64" | "Decimal128" | "Decimal256":
            kind = _decimal(scanner, word)
        case _:
            raise scanner.fail(f"{_named(scanner, start)} is not a column type; known are {_KNOWN}", at=start)
    scanner.expect_mark(")", f"after {word}'s arguments")
    return kind


def _named(scanner: Scanner, start: int) -> str:
    return Scanner(scanner.text, start, scanner.end).found()


def _nullable(scanner: Scanner, depth: int) -> ColumnType:
    scanner.expect_mark("(", "after Nullable")
    scanner.skip_blank()
    start = scanner.at
    inner = read_type(scanner, depth=depth + 1)
    if inner.low_cardinality:
        raise scanner.fail(
            f"LowCardinality can't stand inside Nullable; write {replace(inner, nullable=True)}", at=start
        )
    if inner.nullable:
        raise scanner.fail("Nullable can't stand inside Nullable", at=start)
    scanner.expect_mark(")", "after Nullable's type")
    return replace(inner, nullable=True)


def _low_cardinality(scanner: Scanner, depth: int) -> ColumnType:
    scanner.expect_mark("(", "after LowCardinality")
    scanner.skip_blank()
    start = scanner.at
    inner = read_type(scanner, depth=depth + 1)
    if inner.low_cardinality or inner.name not in _IN_LOW_CARDINALITY:
        raise scanner.fail(f"LowCardinality takes strings, numbers, UUID, Date and DateTime, not {inner}", at=start)
    scanner.expect_mark(")", "after LowCardinality's type")
    return replace(inner, low_cardinality=True)


def _map(scanner: Scanner, depth: int) -> ColumnType:
    scanner.expect_mark("(", "after Map")
    scanner.skip_blank()
    start = scanner.at
    key = read_type(scanner, depth=depth + 1)
    if key.nullable or key.name not in _MAP_KEYS:
        raise scanner.fail(f"a Map's keys are strings, integers, UUID, dates or date-times, not {key}", at=start)
    scanner.expect_mark(",", "between a Map's keys and values")
    return ColumnType("Map", key=key, element=read_type(scanner, depth=depth + 1))


def _datetime64(scanner: Scanner) -> ColumnType:
    scanner.expect_mark("(", "after DateTime64, as in DateTime64(3)")
    precision = _number(scanner, "the digits of a DateTime64's fraction", 0, 9)
    zone = _zone(scanner) if scanner.take_mark(",") else ""
    return ColumnType("DateTime64", precision=precision, zone=zone)


def _decimal(scanner: Scanner, word: str) -> ColumnType:
    if word == "Decimal256":
        raise scanner.fail("a Decimal has at most 38 digits here; write Decimal128(S), or String")
    scanner.expect_mark("(", f"after {word}")
    if word == "Decimal":
        precision = _number(scanner, "the digits of a Decimal", 1, _DECIMAL_PRECISION_MAX)
        scanner.expect_mark(",", "after the digits of a Decimal, as in Decimal(18, 2)")
    else:
        precision = _DECIMAL_PRECISION[word]
    return ColumnType("Decimal", precision=precision, scale=_number(scanner, "the scale of a Decimal", 0, precision))


def _number(scanner: Scanner, what: str, low: int, high: int) -> int:
    scanner.skip_blank()
    start = scanner.at
    match = scanner.take(_WHOLE_NUMBER)
    if match is None or not low <= int(match[0]) <= high:
        raise scanner.fail(f"expected {what}, {low} to {high}, found {_named(scanner, start)}", at=start)
    return int(match[0])


def _zone(scanner: Scanner) -> str:
    scanner.skip_blank()
    start = scanner.at
    match = scanner.take(_QUOTED)
    if match is None:
        raise scanner.fail(f"expected a time zone in quotes, such as 'Europe/Madrid', found {scanner.found()}")
    if match[1] not in _zones():
        raise scanner.fail(f"'{match[1][:60]}' is not a time zone; an IANA name such as 'Europe/Madrid' is", at=start)
    return match[1]


@cache
def _zones() -> frozenset[str]:
    from zoneinfo import available_timezones  # noqa: PLC0415 -- slow to load, and few schemas name a zone

    return frozenset(available_timezones())
