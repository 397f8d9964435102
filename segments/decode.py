"""Events and a schema -> one Arrow batch of good rows, and each row that does not fit with its reasons."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from segments.columns import fit_column
from segments.lines import Events, exact, has_huge_float, may_hold_huge_integers
from segments.schema import Path, Schema

_MISSING = "Strict type checking failed. Object does not have column '{}', you should send a value or recreate the table with a Nullable column type."
_NOT_AN_OBJECT: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row on its way to quarantine: its place among the decoded events, and (column, reason) pairs."""

    index: int
    raw: bytes
    is_object: bool
    errors: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Decoded:
    """`count` events: the good ones as a batch, in order, and the bad ones."""

    good: pa.RecordBatch
    bad: tuple[BadRow, ...]
    count: int


def decode(schema: Schema, events: Events) -> Decoded:
    """Fit every event into the schema. Total: each event is in `good` or in `bad`, never both, never neither."""
    rows = [_NOT_AN_OBJECT if value is None else value for value in events.objects]
    reasons: dict[int, list[tuple[str, str]]] = {
        index: [("", message)] for index, message in sorted(events.errors.items())
    }
    arrays = []
    for column in schema.columns:
        values = _values(column.path, rows)
        if column.type.name in _NUMBERS_AT_RISK:
            _restore_numbers(column.path, values, events, literally=column.type.name in _NEED_LITERALS)
        fitted = fit_column(column.type, values)
        arrays.append(fitted.array)
        for index, reason in fitted.errors.items():
            if index not in events.errors:
                message = _MISSING.format(column.name) if values[index] is None else reason
                reasons.setdefault(index, []).append((column.name, message))
    if not reasons:
        return Decoded(pa.RecordBatch.from_arrays(arrays, schema=schema.arrow), (), len(rows))
    bad = tuple(
        BadRow(index, events.raws[index], events.objects[index] is not None, tuple(reasons[index]))
        for index in sorted(reasons)
    )
    keep = pa.array([index for index in range(len(rows)) if index not in reasons], pa.int64())
    good = pa.RecordBatch.from_arrays([array.take(keep) for array in arrays], schema=schema.arrow)
    return Decoded(good, bad, len(rows))


# Columns in which a float may stand for digits that were lost; in the others a float never fits.
_NUMBERS_AT_RISK = frozenset({"Float64", "String", "Array", "Int64", "UInt64", "DateTime64"})
# Columns that take a fraction by its digits, as they were sent.
_NEED_LITERALS = frozenset({"String", "DateTime64"})


def _values(path: Path, rows: Sequence[dict[str, Any]]) -> list[Any]:
    if len(path) == 1:
        key = path[0]
        return [row.get(key) for row in rows]
    if not path:
        return list(rows)
    return [value_at(path, row) for row in rows]


def value_at(path: Path, row: dict[str, Any]) -> Any:
    """What the path leads to; None where it leads nowhere."""
    value: Any = row
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _restore_numbers(path: Path, values: list[Any], events: Events, *, literally: bool) -> None:
    """Replace, in place, each value in which orjson may have dropped digits by one read without loss."""
    kinds = set(map(type, values))
    if not (float in kinds or list in kinds or (literally and dict in kinds)):
        return
    for index, value in enumerate(values):
        if type(value) is float:
            lossy = literally or has_huge_float(value)
        else:
            lossy = isinstance(value, list | dict) and may_hold_huge_integers(events.raws[index])
        if lossy:
            values[index] = value_at(path, exact(events.raws[index]))


def decode_body(schema: Schema, parts: Iterable[Events]) -> Decoded:
    """Fit a body into the schema, a part at a time. Raises what `parts` raises, such as BodyRejected."""
    group = decode_group(schema, [decode(schema, events) for events in parts])
    return Decoded(group.good, tuple(replace(row, index=position) for position, row in group.bad), group.count)


@dataclass(frozen=True, slots=True)
class Counts:
    """What one request is told: rows in, rows in quarantine."""

    successful: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of several requests as one: `bad` pairs each bad row with its position in the whole group."""

    good: pa.RecordBatch
    bad: tuple[tuple[int, BadRow], ...]
    count: int
    counts: tuple[Counts, ...]


def decode_group(schema: Schema, bodies: Sequence[Events | Decoded]) -> Group:
    """Join requests for one commit, in order. Neighbours that are not decoded yet share one pass over the columns."""
    parts: list[Decoded] = []
    counts: list[Counts] = []
    waiting: list[Events] = []

    def decode_waiting() -> None:
        if not waiting:
            return
        joined = Events()
        for events in waiting:
            joined.extend(events)
        decoded = decode(schema, joined)
        parts.append(decoded)
        bad = [row.index for row in decoded.bad]
        end = 0
        for events in waiting:
            start, end = end, end + len(events)
            quarantined = bisect_left(bad, end) - bisect_left(bad, start)
            counts.append(Counts(len(events) - quarantined, quarantined))
        waiting.clear()

    for body in bodies:
        if isinstance(body, Events):
            waiting.append(body)
        else:
            decode_waiting()
            parts.append(body)
            counts.append(Counts(body.good.num_rows, len(body.bad)))
    decode_waiting()
    bad_rows: list[tuple[int, BadRow]] = []
    total = 0
    for part in parts:
        bad_rows += [(total + row.index, row) for row in part.bad]
        total += part.count
    batches = [part.good for part in parts] or [pa.RecordBatch.from_pylist([], schema=schema.arrow)]
    good = batches[0] if len(batches) == 1 else pa.concat_batches(batches)
    return Group(good, tuple(bad_rows), total, tuple(counts))
