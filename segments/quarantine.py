"""Rows that do not fit -> the batch that keeps them as they were sent, with the reasons."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
import pyarrow as pa

from segments.decode import BadRow, value_at
from segments.filenames import Lsn
from segments.lines import exact, has_float, json_text
from segments.schema import Path, Schema


def quarantine_batch(schema: Schema, bad: Sequence[tuple[Lsn, BadRow]], now: datetime) -> pa.RecordBatch:
    """The quarantined rows of one group, in LSN order. `now` is naive UTC."""
    texts = _texts(schema, [row for _, row in bad])
    columns: list[pa.Array] = [
        pa.array([[column for column, _ in row.errors] for _, row in bad], pa.list_(pa.string())),
        pa.array([[reason for _, reason in row.errors] for _, row in bad], pa.list_(pa.string())),
        pa.nulls(len(bad), pa.string()),
        *(_sparse(found, len(bad)) for found in texts),
        pa.array([now] * len(bad), pa.timestamp("s")),
        pa.array([row.raw.decode(errors="backslashreplace") for _, row in bad], pa.string()),
        pa.array([lsn for lsn, _ in bad], pa.uint64()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema.quarantine)


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
