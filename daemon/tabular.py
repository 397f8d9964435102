"""CSV and Parquet -> the events that a program would have sent, so that every row takes the one path of events."""

import csv
import io
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import trio

from daemon.config import ROWS_MAX
from segments.errors import BodyRejected
from segments.schema import Column, Schema

_LITERAL = re.compile(r"-?(0|[1-9][0-9]{0,39})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?|true|false")
_TEXT_TYPES = frozenset({"String", "FixedString", "LowCardinality", "Date", "Date32", "DateTime", "DateTime64", "UUID"})
EVENTS_BYTES_MAX = 64 << 20
"""What a file may become as events: CSV names its columns once for all rows."""


def _joined(events: Iterable[bytes]) -> bytes:
    """A line each. Raises BodyRejected when they become too many bytes."""
    # Not a list of them: what orjson returns keeps kilobytes for a row of seven bytes.
    joined = bytearray()
    for event in events:
        joined += event
        joined += b"\n"
        if len(joined) > EVENTS_BYTES_MAX:
            raise BodyRejected(f"the file's rows are more than {EVENTS_BYTES_MAX} bytes as JSON; send it in parts")
    return bytes(joined)


def csv_to_events(body: bytes, schema: Schema | None, *, delimiter: str) -> bytes:
    """One JSON object a row. Without a schema the first row names the columns; with one it does if it has their names.

    An empty field is left out, but in a String column that can hold nothing else it is the empty string. In a column of no text type, and without a schema in one where every field is such, a field
    that is a JSON number or boolean is one. Raises BodyRejected.
    """
    if body.count(b"\n") > ROWS_MAX:
        raise BodyRejected(f"the CSV has more than {ROWS_MAX} lines; send it in parts")
    try:
        text = body.decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
    except (ValueError, csv.Error) as error:
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
    fields = [_field(by_name.get(name.lower()), name, rows, number) for number, name in enumerate(names)]
    return _joined(_events(rows, fields))


@dataclass(frozen=True, slots=True)
class _Field:
    """Where in an event a field of a row goes, whether its text may be a JSON literal, and what it is when empty."""

    path: tuple[str, ...]
    takes_literals: bool
    empty: str | None


def _field(column: Column | None, name: str, rows: Sequence[Sequence[str]], number: int) -> _Field:
    path = (name,) if column is None or not column.path else column.path
    must_be_text = (
        column is not None and column.type.name == "String" and not column.type.nullable and column.default is None
    )
    return _Field(path, _takes_literals(column, rows, number), "" if must_be_text else None)


def _takes_literals(column: Column | None, rows: Sequence[Sequence[str]], number: int) -> bool:
    if column is not None:
        return column.type.name not in _TEXT_TYPES
    return all(_LITERAL.fullmatch(row[number]) for row in rows if number < len(row) and row[number])


def _events(rows: list[list[str]], fields: list[_Field]) -> Iterator[bytes]:
    for row in rows:
        event: dict[str, Any] = {}
        for field, text in zip(fields, row, strict=False):
            if not text and field.empty is None:
                continue
            place = event
            for step in field.path[:-1]:
                place = place.setdefault(step, {})
                if not isinstance(place, dict):
                    raise BodyRejected(f"the columns at {field.path} and above it can't both come from one row of CSV")
            is_literal = field.takes_literals and _LITERAL.fullmatch(text)
            place[field.path[-1]] = orjson.Fragment(text) if is_literal else text
        yield orjson.dumps(event)


async def parquet_to_events(body: bytes, schema: Schema | None) -> bytes:
    """One JSON object a row, its columns at the paths of the schema's. In a process of its own. Raises BodyRejected."""
    columns = () if schema is None else schema.columns
    paths = orjson.dumps({column.name.lower(): column.path for column in columns if column.path})
    done = await trio.run_process(
        [sys.executable, "-P", "-m", "daemon.parquet_worker"],
        stdin=paths + b"\n" + body,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise BodyRejected(said or "the Parquet file ended the process that read it; send it in parts")
    return bytes(done.stdout)
