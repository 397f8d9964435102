"""SQL over a consistent snapshot: DuckDB, with each source as a view under its own name."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from query.listing import source_names
from segments.alteration import added_value
from segments.disk import Disk
from segments.errors import Corruption, StorageError
from segments.filenames import DataDir, RowKind
from segments.schema import Schema
from segments.snapshot import Snapshot, open_snapshot

# DuckDB would otherwise fetch an extension from the network in the middle of a query.
_NO_DOWNLOADS: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": False}
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class QueryFailed(StorageError):
    """DuckDB refused the statement, or failed at it; the text is its own."""


_NOTHING = pa.RecordBatchReader.from_batches(pa.schema([]), [])


@dataclass(frozen=True, slots=True)
class Result:
    """Rows to be read once, and the damage found in the sources that were asked."""

    reader: pa.RecordBatchReader
    damage: tuple[Corruption, ...]


def run_query(disk: Disk, data: DataDir, sql: str) -> Result:
    """Run one statement over a snapshot of every source that it mentions. Raises QueryFailed."""
    connection = duckdb.connect(":memory:", config=_NO_DOWNLOADS)
    damage: list[Corruption] = []
    for name in _mentioned(sql, source_names(disk, data)):
        try:
            snapshot = open_snapshot(disk, data.source(name))
        except Corruption as error:
            damage.append(error)
            continue
        damage += snapshot.damage
        _offer(connection, snapshot)
    try:
        found = connection.sql(sql)
        reader = _NOTHING if found is None else found.to_arrow_reader()
    except duckdb.Error as error:
        raise QueryFailed(str(error)) from error
    return Result(reader, tuple(damage))


def _mentioned(sql: str, names: Iterable[str]) -> list[str]:
    """The sources whose names stand in the statement; all of them when none does, as in SHOW TABLES."""
    names = list(names)
    words = {word.lower() for word in _WORD.findall(sql)}
    found = [name for name in names if name.lower() in words or f"{name}_quarantine".lower() in words]
    return found or names


def _offer(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> None:
    connection.register(f"_replayed_{snapshot.name}", pa.table({"lsn": snapshot.replayed}))
    if snapshot.rows.older:
        added = {column.name: pa.repeat(added_value(column), 1) for column in snapshot.schema.columns}
        connection.register(f"_added_{snapshot.name}", pa.table(added))
    kinds: tuple[tuple[RowKind, str], ...] = (("rows", snapshot.name), ("quarantine", f"{snapshot.name}_quarantine"))
    for kind, view in kinds:
        connection.register(f"_tail_{view}", snapshot.of(kind).tail)
        connection.execute(f'CREATE TEMP VIEW "{view}" AS {_select(snapshot, kind, view)}')


def _select(snapshot: Snapshot, kind: RowKind, view: str) -> str:
    rows = snapshot.of(kind)
    names = [_quoted(name) for name in rows.arrow.names]
    parts = []
    by_schema: dict[Schema | None, list[Path]] = {}
    for ref in rows.segments:
        by_schema.setdefault(rows.older.get(ref.path), []).append(ref.path)
    for schema, paths in by_schema.items():
        there = set(rows.arrow.names) if schema is None else set(_arrow(schema, kind).names)
        columns = [
            name if plain in there else _instead(snapshot, kind, name)
            for plain, name in zip(rows.arrow.names, names, strict=True)
        ]
        listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
        parts.append(f"SELECT {', '.join(columns)} FROM read_parquet([{listed}], hive_partitioning = false)")  # noqa: S608 -- names and paths are quoted
        if kind == "quarantine" and len(snapshot.replayed):
            parts[-1] += f' WHERE c__lsn NOT IN (SELECT lsn FROM "_replayed_{snapshot.name}")'  # noqa: S608 -- as above
    # The tail stands first: it has the present types, which older segments are widened to.
    if rows.tail.num_rows or not parts or rows.older:
        parts.insert(0, f'SELECT {", ".join(names)} FROM "_tail_{view}"')  # noqa: S608 -- as above
    return " UNION ALL ".join(parts)


def _arrow(schema: Schema, kind: RowKind) -> pa.Schema:
    return schema.arrow if kind == "rows" else schema.quarantine


def _instead(snapshot: Snapshot, kind: RowKind, name: str) -> str:
    """What a column has in segments that are older than it."""
    if kind == "quarantine":
        return f"NULL AS {name}"
    return f'(SELECT {name} FROM "_added_{snapshot.name}") AS {name}'  # noqa: S608 -- names are quoted


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
