"""`POST /v0/analyze`: what a file would become as a data source, without storing it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import trio

from daemon.answers import Answer, Refused, Request, json_answer
from daemon.intake import Intake
from daemon.payload import read_payload
from daemon.row_limit import Counted, check_rows
from daemon.tabular import csv_to_events, parquet_to_events
from segments.datafile_print import print_column
from segments.decode import value_at
from segments.infer import infer
from segments.lines import Events, parse_slices
from segments.paths import print_path
from segments.schema import Column, Schema

_PREVIEW_ROWS = 10


@dataclass(slots=True)
class _Seen:
    """What was seen in all rows: how many have each column, and the first of them."""

    present: list[int]
    rows: int = 0
    size_bytes: int = 0
    first: list[dict[str, Any]] = field(default_factory=list)


class AnalysisApi:
    """The handler; one for the daemon."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def analyze(self, request: Request) -> Answer:
        """The inferred columns, how many of the rows have each, and the first rows. Anyone with a right to append may."""
        if not request.token.may_append_something:
            raise Refused(403, "this token may not analyze files; it needs DATASOURCES:CREATE or DATASOURCES:APPEND")
        with self._intake.budget.reserved() as reservation:
            payload = await read_payload(request, await self._intake.read(request, reservation))
            if not payload.rows:
                raise Refused(400, "there is nothing to analyze; send NDJSON, CSV or Parquet as the body")
            rows = payload.rows
            async with self._intake.unpacking:
                if payload.format() == "parquet":
                    rows = await parquet_to_events(rows, None)
                return json_answer(await trio.to_thread.run_sync(_analyze, rows, payload.format() == "csv"))


def _analyze(rows: bytes, is_csv: bool) -> dict[str, Any]:  # noqa: FBT001 -- threads take no names
    if is_csv:
        rows = csv_to_events(rows, None, delimiter=",")
    parts = Counted(parse_slices(rows))
    schema = infer(parts)
    check_rows(parts.rows, schema)
    seen = _look_through(parse_slices(rows), schema)
    columns = [
        {
            "name": column.name,
            "path": _path(column),
            "recommended_type": _plain_type(column),
            "present_pct": round(present / max(1, seen.rows), 4),
        }
        for column, present in zip(schema.columns, seen.present, strict=True)
    ]
    lines = ", ".join(map(print_column, schema.columns))
    return {"analysis": {"columns": columns, "schema": lines}, "preview": _preview(seen, schema)}


def _path(column: Column) -> str:
    return print_path(column.path, array=column.type.name == "Array")


def _plain_type(column: Column) -> str:
    text = str(column.type)
    return text.removeprefix("Nullable(").removesuffix(")") if column.type.nullable else text


def _look_through(parts: Iterable[Events], schema: Schema) -> _Seen:
    """A part at a time: as objects, rows of a few bytes take fifty times their size."""
    seen = _Seen([0] * len(schema.columns))
    for events in parts:
        objects = [value for value in events.objects if value is not None]
        for place, column in enumerate(schema.columns):
            seen.present[place] += sum(value_at(column.path, value) is not None for value in objects)
        seen.rows += len(events)
        seen.size_bytes += sum(map(len, events.raws))
        seen.first += objects[: _PREVIEW_ROWS - len(seen.first)]
    return seen


def _preview(seen: _Seen, schema: Schema) -> dict[str, Any]:
    return {
        "meta": [{"name": column.name, "type": _plain_type(column)} for column in schema.columns],
        "data": [{column.name: value_at(column.path, value) for column in schema.columns} for value in seen.first],
        "rows": len(seen.first),
        "statistics": {"elapsed": 0.0, "rows_read": seen.rows, "bytes_read": seen.size_bytes},
    }
