"""Making, altering, emptying, renaming and dropping data sources."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

import trio

from daemon.answers import Answer, Refused, Request, json_answer
from daemon.datasources import DatasourcesApi
from daemon.intake import Intake
from daemon.payload import Payload, read_payload
from daemon.sources import Sources
from daemon.sql_routes import SqlApi
from daemon.tokens import Token, Tokens, check_name
from segments.alteration import alter, plan_alteration
from segments.datafile import Datafile, parse_datafile
from segments.datafile_print import print_column, print_datafile, with_schema
from segments.disk import Disk
from segments.filenames import RowKind, name_problem
from segments.recovery import check_size
from segments.replaying import replay
from segments.schema import Schema
from segments.source_files import load_datafile
from segments.truncation import truncate

_TRUE = ("true", "True", "1")


class AdministrationApi:
    """Handlers that change data sources as wholes; one for the daemon."""

    def __init__(
        self, disk: Disk, sources: Sources, tokens: Tokens, intake: Intake, shown: DatasourcesApi, sql: SqlApi
    ) -> None:
        self._disk = disk
        self._sources = sources
        self._tokens = tokens
        self._intake = intake
        self._shown = shown
        self._sql = sql

    async def create(self, token: Token, name: str, text: str) -> dict[str, Any]:
        """A new data source from a datafile's text. Raises Refused, SchemaError, OSError."""
        if not token.may_create:
            raise Refused(403, "this token may not make data sources; it needs DATASOURCES:CREATE")
        problem = name_problem(name)
        if problem is not None:
            raise Refused(400, f"the data source's name '{name[:40]}' {problem}")
        datafile = await _parsed(text)
        if datafile.tokens and not token.may_manage_tokens:
            raise Refused(403, "the file makes tokens, which takes a token with the scope TOKENS or ADMIN")
        for wanted in datafile.tokens:
            check_name(wanted.name)
        if not await self._sources.make(name, print_datafile(datafile)):
            raise Refused(
                409,
                f"data source '{name}' exists; change it with POST /v0/datasources/{name}/alter, or siltstone alter",
            )
        for wanted in datafile.tokens:
            await self._tokens.ensure(wanted.name, f"DATASOURCES:{wanted.scope}:{name}")
        return {"datasource": await self._shown.described(name), "warnings": list(datafile.warnings)}

    async def alter(self, request: Request, name: str) -> Answer:
        """`POST /v0/datasources/NAME/alter`: `schema=` or a datafile as body; `dry=true` shows the plan only."""
        name = await self._known(request, name)
        with self._intake.budget.reserved() as reservation:
            payload = await read_payload(request, await self._intake.read(request, reservation))
        source = self._sources.directory(name)
        current = await trio.to_thread.run_sync(load_datafile, self._disk, source)
        changed = await _changed(current, payload)
        plan = plan_alteration(current.schema, changed.schema)
        operations = [f"ADD COLUMN {print_column(column)}" for column in plan.added]
        operations += [f"MODIFY COLUMN `{old.name}` {old.type} -> {new.type}" for old, new in plan.widened]
        has_changed = print_datafile(changed) != print_datafile(current)
        is_dry = payload.fields.get("dry", payload.fields.get("dry_run", "")) in _TRUE
        if has_changed and not is_dry:
            await self._sources.perform(name, partial(alter, self._disk, datafile=changed, now=datetime.now(UTC)))
        shown = await self._shown.described_to(request.token, name)
        return json_answer({"operations": operations, "dry": is_dry, "datasource": shown})

    async def truncate(self, request: Request, name: str) -> Answer:
        """`POST /v0/datasources/NAME/truncate`: takes away all rows, or those of NAME_quarantine alone."""
        plain = name.removesuffix("_quarantine")
        kind: RowKind = "rows" if plain == name else "quarantine"
        known = await self._droppable(request, plain)
        await self._sources.perform(known, partial(truncate, self._disk, kind=kind, now=datetime.now(UTC)))
        return json_answer({"ok": True})

    async def delete_rows(self, request: Request, name: str) -> Answer:
        """`POST /v0/datasources/NAME/delete`: SDKs have it; rows here are never rewritten one by one."""
        await self._droppable(request, name)
        raise Refused(
            400,
            "rows can't be deleted by a condition here; truncate takes all of a data source away, and "
            "POST /v0/datasources?mode=replace puts other rows in their place",
        )

    async def rename(self, request: Request, name: str) -> Answer:
        """`PUT /v0/datasources/NAME?name=NEW`. The id stays; scopes of tokens follow no name."""
        known = await self._known(request, name)
        if not request.token.may_drop(known):
            # Scopes go by name: who renames a data source takes it from some tokens and gives it to others.
            raise Refused(403, f"this token may not rename '{known}'; it needs DATASOURCES:DROP:{known} too")
        if (
            not request.token.is_admin
            and not request.token.may_read(known)
            and request.token.may_read(request.query.get("name", ""))
        ):
            raise Refused(403, f"this token may not read '{known}', and would by that name")
        new = request.query.get("name", "")
        problem = name_problem(new)
        if problem is not None:
            raise Refused(400, f"the new name '{new[:40]}' {problem}")
        if new != known:
            await self._sources.rename(known, new)
        return json_answer(await self._shown.described_to(request.token, new))

    async def delete(self, request: Request, name: str) -> Answer:
        """`DELETE /v0/datasources/NAME`. With `dry_run=true` nothing is deleted."""
        known = await self._droppable(request, name)
        if request.query.get("dry_run", "") in _TRUE:
            return json_answer({"dependent_pipes": [], "dependencies": []})
        await self._sources.drop(known)
        return Answer(204, b"", ())

    async def replay(self, request: Request, name: str) -> Answer:
        """`POST /v0/datasources/NAME/replay?where=SQL`: quarantined rows that fit by now become good rows."""
        known = await self._sources.resolve(name.removesuffix("_quarantine"))
        if not request.token.may_append(known):
            raise Refused(403, f"this token may not append to '{name[:80]}'; it needs DATASOURCES:APPEND:NAME")
        self._existing(request, known)
        where = request.query.get("where", "")
        if where and not request.token.may_read(known):
            raise Refused(403, f"a where tells what is in the rows; it needs DATASOURCES:READ:{known}")
        lsns = await self._sql.lsns(known, where) if where else None
        done = await self._sources.perform(known, partial(replay, self._disk, lsns=lsns, now=datetime.now(UTC)))
        return json_answer({"successful_rows": done.successful, "remaining_rows": done.remaining})

    async def _known(self, request: Request, name: str) -> str:
        if not request.token.may_create:
            raise Refused(403, "this token may not change data sources; it needs DATASOURCES:CREATE")
        return self._existing(request, await self._sources.resolve(name))

    async def _droppable(self, request: Request, name: str) -> str:
        known = await self._sources.resolve(name)
        if not request.token.may_drop(known):
            raise Refused(403, f"this token may not take rows away from '{name[:80]}'; it needs DATASOURCES:DROP:NAME")
        return self._existing(request, known)

    def _existing(self, request: Request, name: str) -> str:
        if not self._sources.exists(name):
            raise Refused(404, f"there is no data source '{name[:80]}'")
        request.source = name
        return name


def datafile_text(payload: Payload) -> str:
    """The datafile that a request describes: `schema` and `engine_*` fields, or the body. Raises Refused."""
    columns = payload.fields.get("schema")
    if columns is None:
        try:
            return (payload.rows or b"").decode()
        except UnicodeDecodeError:
            raise Refused(400, "the body is no datafile: it is not text in UTF-8") from None
    lines = [f"SCHEMA >\n    {columns.strip()}\n", 'ENGINE "MergeTree"']
    for field, value in payload.fields.items():
        if field.startswith("engine_") and value and '"' not in value and "\n" not in value:
            lines.append(f'{field.upper()} "{value}"')
    if description := payload.fields.get("description"):
        lines.insert(0, "DESCRIPTION >\n    " + description.replace("\n", "\n    ") + "\n")
    return "\n".join(lines) + "\n"


async def _parsed(text: str) -> Datafile:
    """In a thread: what a stranger sends as a datafile may take its time. Raises SchemaError."""
    check_size(text)
    return await trio.to_thread.run_sync(parse_datafile, text)


async def _changed(current: Datafile, payload: Payload) -> Datafile:
    changed = await _parsed(datafile_text(payload))
    if "schema" not in payload.fields:
        return changed
    wanted = changed.schema
    return with_schema(current, Schema(wanted.columns, current.schema.sorting_key))
