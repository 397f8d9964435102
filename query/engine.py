"""SQL over a consistent snapshot: DuckDB, with each source as a view under its own name."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from query.listing import source_names
from segments.disk import Disk
from segments.errors import Corruption, StorageError
from segments.filenames import DataDir, RowKind
from segments.snapshot import Rows, Snapshot, open_snapshot

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
    kinds: tuple[tuple[RowKind, str], ...] = (("rows", snapshot.name), ("quarantine", f"{snapshot.name}_quarantine"))
    for kind, view in kinds:
        rows = snapshot.of(kind)
        connection.register(f"_tail_{view}", rows.tail)
        connection.execute(f'CREATE TEMP VIEW "{view}" AS {_select(rows, view)}')


def _select(rows: Rows, view: str) -> str:
    columns = ", ".join(_quoted(name) for name in rows.arrow.names)
    parts = []
    if rows.segments:
        paths = ", ".join("'" + str(path).replace("'", "''") + "'" for path in rows.paths)
        parts.append(f"SELECT {columns} FROM read_parquet([{paths}], hive_partitioning = false)")  # noqa: S608 -- names and paths are quoted
    if rows.tail.num_rows or not parts:
        parts.append(f'SELECT {columns} FROM "_tail_{view}"')  # noqa: S608 -- as above
    return " UNION ALL ".join(parts)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
