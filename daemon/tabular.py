"""CSV and Parquet -> the events that a program would have sent, so that every row takes the one path of events."""

import csv
import io
import re
from collections.abc import Iterator, Sequence

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from segments.errors import BodyRejected
from segments.schema import Column, Schema

_LITERAL = re.compile(r"-?(0|[1-9][0-9]{0,39})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?|true|false")
_TEXT_TYPES = frozenset({"String", "FixedString", "LowCardinality", "Date", "Date32", "DateTime", "DateTime64", "UUID"})
PARQUET_ROWS_AT_ONCE = 256
GROWTH_MAX = 16
"""How many times its size a Parquet file may be as events: its pages may unfold without end."""


def csv_to_events(body: bytes, schema: Schema | None, *, delimiter: str) -> bytes:
    """One JSON object a row. Without a schema the first row names the columns; with one it does if it has their names.

    An empty field is null. In a column of no text type, and without a schema in one where every field is such, a field
    that is a JSON number or boolean is one. Raises BodyRejected.
    """
    try:
        text = body.decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BodyRejected(f"the body is not CSV in UTF-8: {error}") from None
    if not rows:
        return b""
    columns = () if schema is None else schema.columns
    is_named = schema is None or {name.strip().lower() for name in rows[0]} <= {c.name.lower() for c in columns}
    names = [name.strip() for name in rows[0]] if is_named else [column.name for column in columns]
    rows = rows[1:] if is_named else rows
    too_long = next((number for number, row in enumerate(rows, start=1 + is_named) if len(row) > len(names)), None)
    if too_long is not None:
        raise BodyRejected(f"row {too_long} of the CSV has more fields than there are columns ({len(names)})")
    by_name = {column.name.lower(): column for column in columns}
    keys = [_path(by_name.get(name.lower()), name) for name in names]
    literal = [_takes_literals(by_name.get(name.lower()), rows, number) for number, name in enumerate(names)]
    return b"\n".join(_events(rows, keys, literal))


def _path(column: Column | None, name: str) -> tuple[str, ...]:
    return (name,) if column is None or not column.path else column.path


def _takes_literals(column: Column | None, rows: Sequence[Sequence[str]], number: int) -> bool:
    if column is not None:
        return column.type.name not in _TEXT_TYPES
    return all(_LITERAL.fullmatch(row[number]) for row in rows if number < len(row) and row[number])


def _events(rows: list[list[str]], keys: list[tuple[str, ...]], literal: list[bool]) -> Iterator[bytes]:
    for row in rows:
        event: dict[str, object] = {}
        for key, is_literal, field in zip(keys, literal, row, strict=False):
            value: object = None
            if field:
                value = orjson.Fragment(field) if is_literal and _LITERAL.fullmatch(field) else field
            place = event
            for step in key[:-1]:
                inner = place.setdefault(step, {})
                assert isinstance(inner, dict)
                place = inner
            place[key[-1]] = value
        yield orjson.dumps(event)


def parquet_to_events(body: bytes) -> bytes:
    """One JSON object a row. Raises BodyRejected."""
    events: list[bytes] = []
    size = 0
    try:
        file = pq.ParquetFile(pa.BufferReader(body))
        for batch in file.iter_batches(batch_size=PARQUET_ROWS_AT_ONCE):
            for row in batch.to_pylist():
                events.append(orjson.dumps(row, default=str, option=orjson.OPT_NON_STR_KEYS))
                size += len(events[-1])
            if size > GROWTH_MAX * len(body) + (1 << 20):
                raise BodyRejected(
                    f"the Parquet file unfolds to more than {GROWTH_MAX} times its size; send it in parts"
                )
    except (pa.ArrowException, OSError, orjson.JSONEncodeError, ValueError) as error:
        raise BodyRejected(f"the body is not a Parquet file that can be read: {error}") from None
    return b"\n".join(events)
