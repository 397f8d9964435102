"""Changing a source's schema while it is written and read: columns are added, types widened, and nothing else.

Rows are never rewritten. Each WAL file and segment says under which schema it was written, and readers make older rows
fit the present one: a widened value is the same value, an added column has its DEFAULT or null.
"""

from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa

from segments.column_type import ColumnType
from segments.columns import fit_column
from segments.datafile import Datafile
from segments.datafile_print import print_datafile
from segments.disk import Disk, publish
from segments.errors import SchemaError
from segments.schema import Column, Schema
from segments.source_files import load_schema, write_altered
from segments.source_log import SourceLog

_SIGNED = ("Int8", "Int16", "Int32", "Int64")
_UNSIGNED = ("UInt8", "UInt16", "UInt32", "UInt64")
_EXACT_IN_FLOAT64 = frozenset({*_SIGNED[:3], *_UNSIGNED[:3], "Float32"})
_LONG_AGO = datetime(1970, 1, 1)  # noqa: DTZ001 -- defaults take naive UTC, and no clock's reading gets here


@dataclass(frozen=True, slots=True)
class Alteration:
    """What differs between two schemas: columns that are new, and (old, new) of those with a wider type."""

    added: tuple[Column, ...]
    widened: tuple[tuple[Column, Column], ...]


def plan_alteration(old: Schema, new: Schema) -> Alteration:
    """How to get from one schema to the other. Raises SchemaError, naming what can't be done."""
    before = {column.name: column for column in old.columns}
    after = {column.name for column in new.columns}
    gone = [name for name in before if name not in after]
    if gone:
        raise SchemaError(f"column {', '.join(gone)} can't be removed: name every column that is there, and new ones")
    widened = []
    for column in new.columns:
        known = before.get(column.name)
        if known is None:
            _check_added(column)
        elif known.path != column.path:
            raise SchemaError(f"column {column.name} can't get another path; add a column with that path instead")
        elif known.default != column.default:
            raise SchemaError(
                f"column {column.name} can't get another DEFAULT, or lose it: rows that are older than the column have it"
            )
        elif known.type != column.type:
            if not is_wider(known.type, column.type):
                raise SchemaError(
                    f"column {column.name} can't go from {known.type} to {column.type}: only to a type that holds every "
                    "value of the old one, such as Int32 to Int64 or T to Nullable(T); any other takes a new data source"
                )
            widened.append((known, column))
    return Alteration(tuple(column for column in new.columns if column.name not in before), tuple(widened))


def _check_added(column: Column) -> None:
    if column.type.nullable or (column.default is not None and column.default.literal):
        return
    raise SchemaError(
        f"column {column.name} would have no value in the rows that are there: make it Nullable({column.type}), or give "
        "it a DEFAULT that is no reading of the clock"
    )


def is_wider(old: ColumnType, new: ColumnType) -> bool:
    """Whether `new` holds every value of `old`, as the same value."""
    if old.nullable and not new.nullable:
        return False
    if replace(old, nullable=False, low_cardinality=False) == replace(new, nullable=False, low_cardinality=False):
        return True
    if old.zone != new.zone:
        return False
    match old.name, new.name:
        case ("Array", "Array") | ("Map", "Map"):
            assert old.element is not None
            assert new.element is not None
            return old.key == new.key and is_wider(old.element, new.element)
        case ("Date", "Date32") | ("FixedString" | "UUID", "String"):
            return True
        case ("FixedString", "FixedString"):
            return new.length >= old.length
        case ("DateTime" | "DateTime64", "DateTime64"):
            # Nanoseconds reach from 1678 to 2262 only.
            return new.precision >= old.precision and new.ticks_per_s < 1_000_000_000
        case ("Decimal", "Decimal"):
            return new.scale >= old.scale and new.precision - new.scale >= old.precision - old.scale
    return _is_wider_number(old.name, new.name)


def _is_wider_number(old: str, new: str) -> bool:
    for family in (_SIGNED, _UNSIGNED):
        if old in family and new in family:
            return family.index(new) >= family.index(old)
    if old in _UNSIGNED and new in _SIGNED:
        return _SIGNED.index(new) > _UNSIGNED.index(old)
    return new == "Float64" and old in _EXACT_IN_FLOAT64


def alter(disk: Disk, log: SourceLog, datafile: Datafile, now: datetime) -> None:
    """Have the source written under the datafile's schema from the next row on. Called where `log` may be written to. `now` is
    UTC.

    Raises SchemaError, WriteFailed or OSError.
    """
    plan_alteration(log.schema, datafile.schema)
    log.seal()
    # What a failed commit has left on the device is of the old schema; a start that finds it would take it for rows of the new.
    log.void_failed(now)
    log.seal()
    # First, so that no reader takes a row of the old schema for one of the new; it only makes them look.
    text = print_datafile(datafile)
    write_altered(disk, log.source, log.durable_lsn, (disk.read(log.source.schema).decode(), text))
    try:
        publish(disk, log.source.schema, text.encode())
    except OSError:
        # It may have its new place all the same; readers go by what stands there, and so must the next row.
        log.use_schema(load_schema(disk, log.source))
        raise
    log.use_schema(datafile.schema)


def conform_rows(batch: pa.RecordBatch, schema: Schema) -> pa.RecordBatch:
    """Rows of an older schema as the present one has them."""
    if batch.schema.names == schema.arrow.names and batch.schema.types == schema.arrow.types:
        return pa.RecordBatch.from_arrays(batch.columns, schema=schema.arrow)
    columns = []
    for column in schema.columns:
        if column.name in batch.schema.names:
            columns.append(batch[column.name].cast(column.type.arrow))
        else:
            columns.append(pa.repeat(added_value(column), batch.num_rows))
    return pa.RecordBatch.from_arrays(columns, schema=schema.arrow)


def added_value(column: Column) -> pa.Scalar:
    """What a column has in rows that are older than it."""
    value = None if column.default is None else column.default.value(_LONG_AGO)
    return fit_column(replace(column.type, nullable=True), [value]).array[0]


def conform_quarantine(batch: pa.RecordBatch, schema: Schema) -> pa.RecordBatch:
    """Quarantined rows of an older schema as the present one has them: columns are texts, and added ones null."""
    wanted = schema.quarantine
    names = set(batch.schema.names)
    columns = [batch[field.name] if field.name in names else pa.nulls(batch.num_rows, field.type) for field in wanted]
    return pa.RecordBatch.from_arrays(columns, schema=wanted)
