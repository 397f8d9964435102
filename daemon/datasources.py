"""Data sources as the API shows them: list, one, its datafile, how far its rows are."""

import re
from dataclasses import dataclass
from typing import Any

import trio

from daemon.answers import Answer, Refused, Request, json_answer
from daemon.sources import Sources
from daemon.tokens import Token
from segments.datafile import Datafile
from segments.datafile_print import print_datafile
from segments.disk import Disk
from segments.errors import Corruption, StorageError
from segments.filenames import SourceDir
from segments.identity import Identity
from segments.inventory import Stock, take_stock
from segments.paths import print_path
from segments.schema import Column
from segments.source_files import load_datafile, load_identity
from segments.unknown_keys import UnknownKeys

_ENDING = ".datasource"
_QUARANTINE = "_quarantine"
_QUARANTINE_TYPES = {"list<item: string>": "Array(String)", "timestamp[s]": "DateTime", "uint64": "UInt64"}
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True, slots=True)
class _Facts:
    identity: Identity
    datafile: Datafile
    stock: Stock
    updated_at: str


class DatasourcesApi:
    """Handlers that show data sources; one for the daemon."""

    def __init__(self, disk: Disk, sources: Sources) -> None:
        self._disk = disk
        self._sources = sources

    async def list(self, request: Request) -> Answer:
        """`GET /v0/datasources`: those that the token may read. One that is damaged is shown with its error."""
        names = request.token.readable(self._sources.names)
        return json_answer({"datasources": [await self._described(name) for name in names]})

    async def show(self, request: Request, name: str) -> Answer:
        """`GET /v0/datasources/NAME`, by name or id; with `.datasource` behind it, the datafile; NAME_quarantine too."""
        if name.endswith(_QUARANTINE):
            known = await self.readable(request.token, name.removesuffix(_QUARANTINE))
            facts = await trio.to_thread.run_sync(self._read, self._sources.directory(known))
            return json_answer(_shown_quarantine(known, facts))
        plain = name.removesuffix(_ENDING)
        known = await self.readable(request.token, plain)
        if plain != name:
            datafile = await trio.to_thread.run_sync(load_datafile, self._disk, self._sources.directory(known))
            # Without a charset: clients compare the whole value.
            return Answer(200, print_datafile(datafile).encode(), ((b"content-type", b"text/plain"),))
        return json_answer(await self.described(known))

    async def watermark(self, request: Request, name: str) -> Answer:
        """`GET /v0/datasources/NAME/watermark`: LSNs up to which rows are appended, durable, and in segments."""
        known = await self._sources.resolve(name)
        if not request.token.may_append(known):
            known = await self.readable(request.token, name)
        if not self._sources.exists(known):
            raise Refused(404, f"there is no data source '{known[:80]}'")
        log = (await self._sources.get(known)).log
        return json_answer({"appended": log.appended_lsn, "durable": log.durable_lsn, "in_segments": log.published})

    async def readable(self, token: Token, name: str) -> str:
        """The name of a data source, given by name or id, that the token may read. Raises Refused."""
        known = await self._sources.resolve(name)
        if not token.may_read(known):
            raise Refused(403, f"Resource '{name[:80]}' not found")
        if not self._sources.exists(known):
            raise Refused(404, f"there is no data source '{name[:80]}'")
        return known

    async def described(self, name: str) -> dict[str, Any]:
        """A data source as the API shows it. Raises StorageError."""
        facts = await trio.to_thread.run_sync(self._read, self._sources.directory(name))
        actor = self._sources.peek(name)
        unknown = {} if actor is None else dict(actor.log.unknown)
        return _shown(name, facts, unknown)

    async def described_to(self, token: Token, name: str) -> dict[str, Any]:
        """The same; its name alone for who may not read it."""
        return await self.described(name) if token.may_read(name) else {"name": name}

    async def _described(self, name: str) -> dict[str, Any]:
        try:
            return await self.described(name)
        except StorageError as error:
            return {
                "id": "",
                "name": name,
                "columns": [],
                "statistics": {"bytes": 0, "row_count": 0},
                "error": str(error),
            }

    def _read(self, source: SourceDir) -> _Facts:
        try:
            identity = load_identity(self._disk, source)
            updated = self._disk.modified_at(source.wal).strftime("%Y-%m-%d %H:%M:%S.%f")
            return _Facts(identity, load_datafile(self._disk, source), take_stock(self._disk, source), updated)
        except OSError as error:
            raise Corruption(f"the source can't be read: {error.strerror}", path=source.path) from error


def _shown(name: str, facts: _Facts, unknown: UnknownKeys) -> dict[str, Any]:
    schema = facts.datafile.schema
    sorting_key = ", ".join(schema.sorting_key)
    return {
        "id": facts.identity.text,
        "name": name,
        "description": facts.datafile.description,
        "type": "ndjson",
        "columns": [_column(column) for column in schema.columns],
        "engine": {"engine": "MergeTree", "engine_sorting_key": sorting_key, "sorting_key": sorting_key},
        "statistics": {"bytes": facts.stock.bytes, "row_count": facts.stock.rows},
        "quarantine_rows": facts.stock.quarantined_rows,
        "new_columns_detected": [
            {"jsonpath": print_path(path, array=seen.type.name == "Array"), "type": str(seen.type), "count": seen.count}
            for path, seen in unknown.items()
        ],
        "created_at": facts.identity.created_at,
        "updated_at": max(facts.updated_at, facts.identity.created_at),
        "tags": {},
        "used_by": [],
        "headers": {},
        "shared_with": [],
        "replicated": False,
        "version": 0,
        "project": None,
    }


def _shown_quarantine(name: str, facts: _Facts) -> dict[str, Any]:
    columns = [
        {"name": field.name, "type": _QUARANTINE_TYPES.get(str(field.type), "String"), "nullable": field.nullable}
        for field in facts.datafile.schema.quarantine
    ]
    shown = _shown(name, facts, {})
    statistics = {"bytes": 0, "row_count": facts.stock.quarantined_rows}
    return shown | {
        "id": f"{shown['id']}{_QUARANTINE}",
        "name": f"{name}{_QUARANTINE}",
        "columns": columns,
        "statistics": statistics,
        "quarantine_rows": 0,
    }


def _column(column: Column) -> dict[str, Any]:
    kind = str(column.type)
    return {
        "name": column.name,
        "type": kind.removeprefix("Nullable(").removesuffix(")") if kind.startswith("Nullable(") else kind,
        "nullable": column.type.nullable,
        "jsonpath": print_path(column.path, array=column.type.name == "Array"),
        "default_value": None if column.default is None else f"DEFAULT {column.default.text}",
        "codec": f"CODEC({column.codec})" if column.codec else None,
        "normalized_name": _NOT_A_NAME.sub("_", column.name),
    }
