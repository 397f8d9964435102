"""Events and a schema -> one Arrow batch of good rows, and each row that does not fit with its reasons."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from segments.column_type import ColumnType
from segments.columns import fit_column
from segments.conversions import DoesNotFit, convert
from segments.lines import Events, exact, has_float, has_huge_float, may_hold_huge_integers
from segments.schema import Column, Path, Schema
from segments.unknown_keys import UnknownKeys, note, unknown_keys

_MISSING = "Strict type checking failed. Object does not have column '{}', you should send a value or recreate the table with a Nullable column type."
_NOT_AN_OBJECT: dict[str, Any] = {}
_NOTHING = object()
_NO_CLOCK = datetime.min  # noqa: DTZ901 -- naive as all of them here; what is decoded already has its defaults


class BadRow(NamedTuple):
    """A row on its way to quarantine: its number among the decoded events, and (column, reason) pairs."""

    number: int
    raw: bytes
    is_object: bool
    errors: tuple[tuple[str, str], ...]

    def at(self, number: int) -> "BadRow":
        """The same row in another place."""
        return BadRow(number, self.raw, self.is_object, self.errors)


@dataclass(frozen=True, slots=True)
class Decoded:
    """`count` events under a schema: the good ones as a batch, in order, the bad ones, and the keys that no column took."""

    schema: Schema
    good: pa.RecordBatch
    bad: tuple[BadRow, ...]
    count: int
    unknown: UnknownKeys

    def __len__(self) -> int:
        return self.count


def decode(schema: Schema, events: Events, now: datetime) -> Decoded:
    """Fit every event into the schema. Total: each event is in `good` or in `bad`, never both, never neither.

    `now`, naive UTC, is what defaults such as now() give.
    """
    rows = _Rows(events)
    reasons: dict[int, list[tuple[str, str]]] = {
        index: [("", message)] for index, message in sorted(events.errors.items())
    }
    arrays = []
    for column in schema.columns:
        if not column.path:
            arrays.append(pa.array(rows.texts(), pa.string()))
            continue
        values = rows.values(column, now)
        fitted = fit_column(column.type, values)
        arrays.append(fitted.array)
        for index, reason in fitted.errors.items():
            if index not in events.errors:
                message = _MISSING.format(column.name) if values[index] is None else reason
                reasons.setdefault(index, []).append((column.name, message))
    count = len(events)
    unknown = unknown_keys(schema, events.objects)
    if not reasons:
        return Decoded(schema, pa.RecordBatch.from_arrays(arrays, schema=schema.arrow), (), count, unknown)
    bad = tuple(
        BadRow(index, events.raws[index], events.objects[index] is not None, tuple(reasons[index]))
        for index in sorted(reasons)
    )
    if len(bad) == count:
        return Decoded(schema, _no_rows(schema), bad, count, unknown)
    keep = pa.array([index for index in range(count) if index not in reasons], pa.int64())
    good = pa.RecordBatch.from_arrays([array.take(keep) for array in arrays], schema=schema.arrow)
    return Decoded(schema, good, bad, count, unknown)


def _no_rows(schema: Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=schema.arrow)


def misfit(column: Column, value: bytes) -> str | None:
    """Why the column does not take this value; None when it does, or when it takes the whole line to tell.

    Raises JSONDecodeError.
    """
    read = orjson.loads(value)
    if _is_lossy(column.type, read):
        if _is_doubtful(column.type, read):
            return None
        read = exact(value)
    try:
        convert(column.type, read)
    except DoesNotFit as reason:
        return _MISSING.format(column.name) if read is None else str(reason)
    return None


def _is_lossy(kind: ColumnType, value: Any) -> bool:
    """Whether orjson may have dropped digits of a value that such a column needs."""
    if type(value) is float:
        return kind.takes_literals or has_huge_float(value)
    if not isinstance(value, list | dict):
        return False
    return has_float(value) if kind.takes_literals else has_huge_float(value)


def _is_doubtful(kind: ColumnType, value: Any) -> bool:
    """Whether a lossy value is read again only if its line may hold integers beyond 64 bits."""
    return isinstance(value, list | dict) and not kind.takes_literals


class _Rows:
    """The events of one call to `decode`, column by column; each is read again without loss at most once."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._objects = [_NOT_AN_OBJECT if value is None else value for value in events.objects]
        self._exact: dict[int, Any] = {}
        self._huge: dict[int, bool] = {}

    def texts(self) -> list[str | None]:
        """The events as they were sent; None for one that is no object, which may not even be text."""
        found = zip(self._events.raws, self._events.objects, strict=True)
        return [None if value is None else raw.decode() for raw, value in found]

    def values(self, column: Column, now: datetime) -> list[Any]:
        """What each event has for the column, with its default where it has nothing, and None where neither has."""
        missing = None if column.default is None else _NOTHING
        if len(column.path) == 1:
            key = column.path[0]
            values = [row.get(key, missing) for row in self._objects]
        else:
            values = [value_at(column.path, row, missing) for row in self._objects]
        self._restore_numbers(column, values)
        if column.default is None:
            return values
        default = column.default.value(now)
        stands_for_null = not column.type.nullable
        return [default if value is _NOTHING or (value is None and stands_for_null) else value for value in values]

    def _restore_numbers(self, column: Column, values: list[Any]) -> None:
        """Replace, in place, each value in which orjson may have dropped digits by one read without loss."""
        if not {float, list, dict} & set(map(type, values)):
            return
        for index, value in enumerate(values):
            if _is_lossy(column.type, value) and (
                not _is_doubtful(column.type, value) or self._may_hold_huge_integers(index)
            ):
                values[index] = value_at(column.path, self._read_exactly(index))

    def _may_hold_huge_integers(self, index: int) -> bool:
        # Of a line of a megabyte it takes 50 ms to tell, and there may be hundreds of columns that ask.
        if index not in self._huge:
            self._huge[index] = may_hold_huge_integers(self._events.raws[index])
        return self._huge[index]

    def _read_exactly(self, index: int) -> Any:
        if index not in self._exact:
            self._exact[index] = exact(self._events.raws[index])
        return self._exact[index]


def value_at(path: Path, row: dict[str, Any], missing: object = None) -> Any:
    """What the path leads to; `missing` where it leads nowhere."""
    value: Any = row
    for key in path:
        if not isinstance(value, dict):
            return missing
        value = value.get(key, missing)
    return value


def join_decoded(schema: Schema, parts: Sequence[Decoded]) -> Decoded:
    """The parts of one body as one."""
    group = decode_group(schema, parts, _NO_CLOCK)
    return Decoded(schema, group.good, group.bad, group.count, group.unknown)


@dataclass(frozen=True, slots=True)
class Counts:
    """What one request is told: rows in, rows in quarantine."""

    successful: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of several requests as one; the number of a bad row is that in the whole group."""

    good: pa.RecordBatch
    bad: tuple[BadRow, ...]
    count: int
    counts: tuple[Counts, ...]
    unknown: UnknownKeys


def decode_group(schema: Schema, bodies: Sequence[Events | Decoded], now: datetime) -> Group:
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
        decoded = decode(schema, joined, now)
        parts.append(decoded)
        bad = [row.number for row in decoded.bad]
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
    bad_rows: list[BadRow] = []
    total = 0
    unknown: UnknownKeys = {}
    for part in parts:
        for path, seen in part.unknown.items():
            note(unknown, path, seen)
        bad_rows += [row.at(total + row.number) for row in part.bad] if total else part.bad
        total += part.count
    batches = [part.good for part in parts] or [_no_rows(schema)]
    good = batches[0] if len(batches) == 1 else pa.concat_batches(batches)
    return Group(good, tuple(bad_rows), total, tuple(counts), unknown)
