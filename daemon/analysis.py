"""`POST /v0/analyze`: what a file would become as a data source, without storing it."""

from typing import Any

import trio

from daemon.answers import Answer, Refused, Request, json_answer
from daemon.intake import Intake
from daemon.payload import read_payload
from daemon.tabular import csv_to_events, parquet_to_events
from segments.datafile_print import print_column
from segments.decode import value_at
from segments.infer import infer
from segments.lines import Events, parse_body
from segments.paths import print_path
from segments.schema import Column, Schema

_PREVIEW_ROWS = 10


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
    events = parse_body(rows)
    schema = infer([events])
    columns = [
        {
            "name": column.name,
            "path": _path(column),
            "recommended_type": _plain_type(column),
            "present_pct": _present(events, column),
        }
        for column in schema.columns
    ]
    lines = ", ".join(map(print_column, schema.columns))
    return {"analysis": {"columns": columns, "schema": lines}, "preview": _preview(events, schema)}


def _path(column: Column) -> str:
    return print_path(column.path, array=column.type.name == "Array")


def _plain_type(column: Column) -> str:
    text = str(column.type)
    return text.removeprefix("Nullable(").removesuffix(")") if column.type.nullable else text


def _present(events: Events, column: Column) -> float:
    there = sum(value_at(column.path, value or {}) is not None for value in events.objects)
    return round(there / max(1, len(events)), 4)


def _preview(events: Events, schema: Schema) -> dict[str, Any]:
    first = [value for value in events.objects if value is not None][:_PREVIEW_ROWS]
    return {
        "meta": [{"name": column.name, "type": _plain_type(column)} for column in schema.columns],
        "data": [{column.name: value_at(column.path, value) for column in schema.columns} for value in first],
        "rows": len(first),
        "statistics": {"elapsed": 0.0, "rows_read": len(events), "bytes_read": sum(map(len, events.raws))},
    }
