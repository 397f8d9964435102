"""Rows that do not fit -> the batch that keeps them as they were sent, with the reasons.

Each column has the text of what was sent for it, as a column of texts would: so machine code reads most of them.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any

import orjson
import pyarrow as pa

from segments.column_type import ColumnType
from segments.decode import BadRow, value_at
from segments.filenames import Lsn
from segments.line_reader import LineReader
from segments.lines import SLICE_BYTES, exact, has_float, json_text
from segments.schema import Column, Path, Schema

_TEXT = ColumnType("String", nullable=True)
_FEW = 8
"""Rows that are read one by one sooner than together."""


class Quarantine:
    """For one schema."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._reader = LineReader(Schema(tuple(Column(column.name, _TEXT, column.path) for column in schema.columns)))

    def batch(self, bad: Sequence[BadRow], first: Lsn, now: datetime) -> pa.RecordBatch:
        """The quarantined rows of one group, in order, `first` the LSN of its first row. `now` is naive UTC."""
        parts = [self._part(part, first, now) for part in _parts(bad)]
        return parts[0] if len(parts) == 1 else pa.concat_batches(parts)

    def _part(self, rows: Sequence[BadRow], first: Lsn, now: datetime) -> pa.RecordBatch:
        ends = pa.array([0, *accumulate([len(row.errors) for row in rows])], pa.int32())
        columns: list[pa.Array] = [
            pa.ListArray.from_arrays(ends, pa.array([column for row in rows for column, _ in row.errors], pa.string())),
            pa.ListArray.from_arrays(ends, pa.array([reason for row in rows for _, reason in row.errors], pa.string())),
            pa.nulls(len(rows), pa.string()),
            *(self._by_machine(rows) or _by_row(self._schema, rows)),
            pa.repeat(pa.scalar(now, pa.timestamp("s")), len(rows)),
            pa.array([row.raw.decode(errors="backslashreplace") for row in rows], pa.string()),
            pa.array([first + row.number for row in rows], pa.uint64()),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self._schema.quarantine)

    def _by_machine(self, rows: Sequence[BadRow]) -> list[pa.Array] | None:
        """The text of each column; None when none of the rows, or too few, can be read as lines for columns of texts."""
        places = [index for index, row in enumerate(rows) if row.is_object and b"\n" not in row.raw]
        if len(places) < _FEW:
            return None
        lines = self._reader.read(b"\n".join(rows[index].raw for index in places))
        if lines is None or not lines.batch.num_rows:
            return None
        refused = {line.number for line in lines.refused}
        read = [index for number, index in enumerate(places) if number not in refused]
        assert len(read) == lines.batch.num_rows
        if len(read) == len(rows):
            return list(lines.batch.columns)
        others = sorted(set(range(len(rows))) - set(read))
        late = _by_row(self._schema, [rows[index] for index in others])
        order = [0] * len(rows)
        for place, index in enumerate((*read, *others)):
            order[index] = place
        both = zip(lines.batch.columns, late, strict=True)
        return [pa.concat_arrays(pair).take(pa.array(order, pa.int64())) for pair in both]


def _parts(bad: Sequence[BadRow]) -> Iterator[Sequence[BadRow]]:
    """Of about SLICE_BYTES each."""
    first = size = 0
    for index, row in enumerate(bad):
        size += len(row.raw)
        if size >= SLICE_BYTES or index == len(bad) - 1:
            yield bad[first : index + 1]
            first, size = index + 1, 0


def _by_row(schema: Schema, rows: Sequence[BadRow]) -> list[pa.Array]:
    """As `Quarantine._by_machine`, whatever the rows are."""
    return [_sparse(found, len(rows)) for found in _texts(schema, rows)]


def _texts(schema: Schema, rows: Sequence[BadRow]) -> list[dict[int, str]]:
    """For each column, row -> text, by way of the keys that are there: the columns may be many more than a row's keys."""
    texts: list[dict[int, str]] = [{} for _ in schema.columns]
    flat: dict[str, list[dict[int, str]]] = defaultdict(list)
    nested: dict[str, list[tuple[dict[int, str], Path]]] = defaultdict(list)
    whole: list[dict[int, str]] = []
    for column, found in zip(schema.columns, texts, strict=True):
        if not column.path:
            whole.append(found)
        elif len(column.path) == 1:
            flat[column.path[0]].append(found)
        else:
            nested[column.path[0]].append((found, column.path))
    for index, row in enumerate(rows):
        for found in whole:
            found[index] = row.raw.decode(errors="backslashreplace")
        if not row.is_object:
            continue
        event = _as_sent(row.raw)
        for key, value in event.items():
            if value is not None and key in flat:
                text = str(value) if type(value) is int else json_text(value)
                for found in flat[key]:
                    found[index] = text
            if key in nested:
                for found, path in nested[key]:
                    inner = value_at(path, event)
                    if inner is not None:
                        found[index] = json_text(inner)
    return texts


def _as_sent(raw: bytes) -> dict[str, Any]:
    """The object in which no number has lost a digit; orjson, which drops some of floats, is ten times as fast."""
    event: dict[str, Any] = orjson.loads(raw)
    kinds = set(map(type, event.values()))
    return exact(raw) if float in kinds or (kinds & {dict, list} and has_float(event)) else event


def _sparse(texts: dict[int, str], count: int) -> pa.Array:
    if not texts:
        return pa.nulls(count, pa.string())
    column: list[str | None] = [None] * count
    for index, text in texts.items():
        column[index] = text
    return pa.array(column, pa.string())
