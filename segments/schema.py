"""Declared columns: types, where in an event a value is found, and the Arrow schemas of both kinds of row."""

import re
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from segments.errors import SchemaError

TypeName = Literal["Int64", "UInt64", "Float64", "Bool", "String", "Date", "DateTime64", "Array"]
Path = tuple[str, ...]

COLUMNS_MAX = 500
PARTITION_COLUMN = "ingested"
"""Taken by the directory level `ingested=YYYY-MM-DD`: tools that read the segments add a column of that name."""

_TIME_UNITS = {3: "ms", 6: "us", 9: "ns"}
_SIMPLE = {
    "Int64": pa.int64(),
    "UInt64": pa.uint64(),
    "Float64": pa.float64(),
    "Bool": pa.bool_(),
    "String": pa.string(),
    "Date": pa.date32(),
}


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A column type: `precision` is the digits of a DateTime64's fraction, `element` an Array's element type."""

    name: TypeName
    nullable: bool = False
    precision: int = 0
    element: "ColumnType | None" = None

    def __str__(self) -> str:
        inner: str = self.name
        if self.name == "DateTime64":
            inner = f"DateTime64({self.precision})"
        if self.element is not None:
            inner = f"Array({self.element})"
        return f"Nullable({inner})" if self.nullable else inner

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type. Date-times are UTC without a zone, so that every tool shows the digits of UTC."""
        if self.name == "DateTime64":
            return pa.timestamp(_TIME_UNITS[self.precision])
        if self.element is not None:
            return pa.list_(pa.field("element", self.element.arrow, nullable=self.element.nullable))
        return _SIMPLE[self.name]


def parse_type(text: str) -> ColumnType:
    """The type that `text` spells, such as `Nullable(DateTime64(3))`. Raises SchemaError naming what is not known."""
    text = text.strip()
    if match := re.fullmatch(r"Nullable\((.*)\)", text):
        inner = parse_type(match[1])
        if inner.nullable:
            raise SchemaError(f"'{text}': Nullable can't stand inside Nullable")
        return ColumnType(inner.name, nullable=True, precision=inner.precision, element=inner.element)
    if match := re.fullmatch(r"Array\((.*)\)", text):
        return ColumnType("Array", element=parse_type(match[1]))
    if match := re.fullmatch(r"DateTime64\((\d+)\)", text):
        if int(match[1]) not in _TIME_UNITS:
            raise SchemaError(f"'{text}': the precision must be 3, 6 or 9")
        return ColumnType("DateTime64", precision=int(match[1]))
    for name in _SIMPLE:
        if text == name:
            return ColumnType(name)  # type: ignore[arg-type]  # the keys of _SIMPLE are TypeNames
    raise SchemaError(
        f"'{text}' is not a column type; known are {', '.join([*_SIMPLE, 'DateTime64(3|6|9)'])}, Array(T), Nullable(T)"
    )


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, its type, and the keys that lead to its value in an event."""

    name: str
    type: ColumnType
    path: Path


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a source in order, and the names of the columns its segments are sorted by."""

    columns: tuple[Column, ...]
    sorting_key: tuple[str, ...] = ()

    @property
    def arrow(self) -> pa.Schema:
        """The schema of good rows."""
        return pa.schema([pa.field(c.name, c.type.arrow, nullable=c.type.nullable) for c in self.columns])

    @property
    def quarantine(self) -> pa.Schema:
        """The schema of quarantined rows (API §5), and `c__lsn`, by which a row is replayed exactly once."""
        texts = pa.list_(pa.string())
        return pa.schema(
            [
                pa.field("c__error_column", texts),
                pa.field("c__error", texts),
                pa.field("c__import_id", pa.string()),
                *(pa.field(c.name, pa.string()) for c in self.columns),
                pa.field("insertion_date", pa.timestamp("s")),
                pa.field("c__row", pa.string()),
                pa.field("c__lsn", pa.uint64()),
            ]
        )


RESERVED_NAMES = frozenset(
    {PARTITION_COLUMN, "c__error_column", "c__error", "c__import_id", "insertion_date", "c__row", "c__lsn"}
)
"""Column names that inference never gives out: the partition column and the quarantine's own."""
