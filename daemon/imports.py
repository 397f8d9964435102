"""Files of rows over HTTP, as SDKs and command lines send them: append, replace, create; and what a job says of them."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Any

import trio

from daemon.administration import AdministrationApi, datafile_text
from daemon.admission import Reservation
from daemon.answers import Answer, Refused, Request, json_answer
from daemon.append_call import Call, check_key, idempotency_key
from daemon.datasources import DatasourcesApi
from daemon.events import EventsApi
from daemon.intake import Intake
from daemon.jobs import Jobs
from daemon.payload import Payload, read_payload
from daemon.sources import Sources
from daemon.tabular import csv_to_events, parquet_to_events
from segments.disk import Disk
from segments.errors import SchemaChanged
from segments.filenames import name_problem
from segments.group import Committed, Write
from segments.schema import Schema
from segments.source_files import load_schema
from segments.truncation import replace_rows

_MODES = ("append", "replace", "create")


@dataclass(frozen=True, slots=True)
class _Import:
    """Rows on their way into a data source."""

    name: str
    mode: str
    format: str
    rows: bytes
    delimiter: str


class ImportsApi:
    """Handlers that take files; one for the daemon."""

    def __init__(
        self,
        disk: Disk,
        sources: Sources,
        events: EventsApi,
        intake: Intake,
        shown: DatasourcesApi,
        administration: AdministrationApi,
        jobs: Jobs,
    ) -> None:
        self._disk = disk
        self._sources = sources
        self._events = events
        self._intake = intake
        self._shown = shown
        self._administration = administration
        self._jobs = jobs

    async def post(self, request: Request) -> Answer:
        """`POST /v0/datasources?mode=create|append|replace&name=`: rows in the body or a part of it, or a datafile."""
        with self._intake.budget.reserved() as reservation:
            payload = await read_payload(request, await self._intake.read_rows(request, reservation))
            mode = payload.fields.get("mode", "create")
            if mode not in _MODES:
                raise Refused(400, f"mode '{mode[:40]}' is not taken; send {', '.join(_MODES)}")
            if "url" in payload.fields:
                raise Refused(400, "this server fetches nothing; send the rows in the body")
            name = await self._sources.resolve(payload.fields.get("name", ""))
            created: dict[str, Any] = {}
            if mode == "create" and _is_declared(payload):
                created = await self._administration.create(request.token, name, datafile_text(payload))
                if "schema" not in payload.fields or not payload.rows:
                    return json_answer(_imported(created, Committed.none()))
            done = await self._take(request, name, mode, payload, reservation)
        shown = await self._shown.described_to(request.token, name)
        return json_answer(_imported({**created, "datasource": shown}, done))

    async def append_as_job(self, request: Request, name: str) -> Answer:
        """`POST /v1/datasources/NAME/append?format=`: done when it is answered; `GET /v0/jobs/ID` says so again."""
        return await self._as_job(request, name, "append")

    async def replace_as_job(self, request: Request, name: str) -> Answer:
        """`POST /v1/datasources/NAME/replace?format=`."""
        return await self._as_job(request, name, "replace")

    async def _as_job(self, request: Request, name: str, mode: str) -> Answer:
        name = await self._sources.resolve(name)
        started = monotonic()
        with self._intake.budget.reserved() as reservation:
            payload = await read_payload(request, await self._intake.read_rows(request, reservation))
            size = len(payload.rows or b"")
            done = await self._take(request, name, mode, payload, reservation)
        job = self._jobs.add(request.token.id, _job(name, done, size, monotonic() - started))
        # Clients take any answer with a key `error` for a failure of the call.
        return json_answer({"id": job["id"], "job_id": job["id"], "job_url": job["job_url"], "status": "waiting"})

    async def _take(
        self, request: Request, name: str, mode: str, payload: Payload, reservation: Reservation
    ) -> Committed:
        problem = name_problem(name)
        if problem is not None:
            raise Refused(400, f"the data source's name '{name[:40]}' {problem}")
        request.source = name
        self._events.authorise(name, request.token)
        if mode == "replace" and not request.token.may_drop(name):
            raise Refused(403, f"this token may not take rows away from '{name}'; it needs DATASOURCES:DROP:{name}")
        exists = self._sources.exists(name)
        if mode != "create" and not exists:
            raise Refused(404, f"there is no data source '{name}' to {mode} to; send mode=create, or events")
        if mode != "append" and not (payload.rows or b"").strip():
            raise Refused(
                400,
                f"there are no rows in the body to {mode} with; send NDJSON, CSV or Parquet, or to create, a .datasource "
                "file or ?schema=",
            )
        delimiter = payload.fields.get("dialect_delimiter", ",")
        if len(delimiter) != 1:
            raise Refused(400, "dialect_delimiter is one character")
        work = _Import(name, mode, payload.format(), payload.rows or b"", delimiter)
        schema = await self._schema(name) if exists else None
        async with self._intake.unpacking:
            rows = await _as_events(work, schema)
        reservation.hold(len(work.rows) + len(rows))
        request.size = len(work.rows)
        check_key(request)
        self._events.charge(request, name, len(work.rows))
        if mode == "replace":
            return await self._replace(name, rows)
        call = Call(name, wait=True, is_document=False, may_make=mode == "create" and request.token.may_create)
        return await self._events.store(call, rows, await idempotency_key(request, work.rows), reservation)

    async def _replace(self, name: str, rows: bytes) -> Committed:
        while True:
            now = datetime.now(UTC)
            reader = (await self._sources.get(name)).log.reader
            decoded = await self._events.decode(reader, rows)
            work = partial(replace_rows, self._disk, group=[Write(decoded)], now=now)
            (outcome,) = await self._sources.perform(name, work)
            if isinstance(outcome, Committed):
                return outcome
            if not isinstance(outcome, SchemaChanged):
                raise outcome

    async def _schema(self, name: str) -> Schema:
        return await trio.to_thread.run_sync(load_schema, self._disk, self._sources.directory(name))


def _is_declared(payload: Payload) -> bool:
    """Whether the request declares a data source, rather than sending rows to infer one from."""
    if "schema" in payload.fields:
        return True
    text = (payload.rows or b"").lstrip()
    return (
        "format" not in payload.fields
        and not payload.file_name
        and text[:1] not in (b"{", b"[")
        and b"SCHEMA" in text.upper()
    )


async def _as_events(work: _Import, schema: Schema | None) -> bytes:
    if work.format == "csv":
        return await trio.to_thread.run_sync(partial(csv_to_events, work.rows, schema, delimiter=work.delimiter))
    return await parquet_to_events(work.rows, schema) if work.format == "parquet" else work.rows


def _imported(known: dict[str, Any], done: Committed) -> dict[str, Any]:
    counts = done.counts
    return {
        "import_id": str(uuid.uuid4()),
        "quarantine_rows": counts.quarantined,
        "invalid_lines": 0,
        "error": _complaint(counts.quarantined) or False,
        "blocks": [_block(counts.successful + counts.quarantined, counts.quarantined, 0, 0.0)],
        **known,
    }


def _complaint(quarantined: int) -> str:
    if not quarantined:
        return ""
    return f"There was an error with file contents: {quarantined} row{'s'[: quarantined > 1]} in quarantine."


def _block(lines: int, quarantined: int, size: int, elapsed_s: float) -> dict[str, Any]:
    result = {"lines": lines, "parser": "siltstone", "quarantine": quarantined, "bytes": size, "time": elapsed_s}
    return {"block_id": str(uuid.uuid4()), "process_return": [result], "processing_time": elapsed_s}


def _job(name: str, done: Committed, size: int, elapsed_s: float) -> dict[str, Any]:
    """A job that quarantined rows ends as an error: only then do command lines exit with one."""
    counts = done.counts
    complaint = _complaint(counts.quarantined)
    errors: Sequence[str] = [complaint] if complaint else []
    document = {
        "status": "error" if complaint else "done",
        "datasource": {"name": name},
        "quarantine_rows": counts.quarantined,
        "invalid_lines": 0,
        "statistics": {"bytes": size, "row_count": counts.successful},
        "blocks": [_block(counts.successful + counts.quarantined, counts.quarantined, size, elapsed_s)],
    }
    return {**document, "error": complaint, "errors": errors} if complaint else document
