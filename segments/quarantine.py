"""Rows that do not fit -> the batch that keeps them as they were sent, with the reasons."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from segments.decode import BadRow, value_at
from segments.filenames import Lsn
from segments.lines import exact, json_text
from segments.schema import Path, Schema


def quarantine_batch(schema: Schema, bad: Sequence[tuple[Lsn, BadRow]], now: datetime) -> pa.RecordBatch:
    """The quarantined rows of one group, in LSN order. `now` is naive UTC."""
    texts = _texts(schema, [row for _, row in bad])
    columns: list[pa.Array] = [
        pa.array([[column for column, _ in row.errors] for _, row in bad], pa.list_(pa.string())),
        pa.array([[reason for _, reason in row.errors] for _, row in bad], pa.list_(pa.string())),
        pa.nulls(len(bad), pa.string()),
        *(_sparse(texts[number], len(bad)) for number in range(len(schema.columns))),
        pa.array([now] * len(bad), pa.timestamp("s")),
        pa.array([row.raw.decode(errors="backslashreplace") for _, row in bad], pa.string()),
        pa.array([lsn for lsn, _ in bad], pa.uint64()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema.quarantine)


def _texts(schema: Schema, rows: Sequence[BadRow]) -> dict[int, dict[int, str]]:
    """Column -> row -> text, by way of the keys that are there: a source's columns may be many more than a row's keys."""
    by_first_key: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for number, column in enumerate(schema.columns):
        if column.path:
            by_first_key[column.path[0]].append((number, column.path))
    whole = [number for number, column in enumerate(schema.columns) if not column.path]
    texts: dict[int, dict[int, str]] = defaultdict(dict)
    for index, row in enumerate(rows):
        for number in whole:
            texts[number][index] = row.raw.decode(errors="backslashreplace")
        if not row.is_object:
            continue
        event: dict[str, Any] = exact(row.raw)
        for key in event:
            for number, path in by_first_key.get(key, ()):
                value = value_at(path, event)
                if value is not None:
                    texts[number][index] = json_text(value)
    return texts


def _sparse(texts: dict[int, str], count: int) -> pa.Array:
    if not texts:
        return pa.nulls(count, pa.string())
    column: list[str | None] = [None] * count
    for index, text in texts.items():
        column[index] = text
    return pa.array(column, pa.string())
