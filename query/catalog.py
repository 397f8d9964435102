"""What is in the database of one statement: views over the snapshots of the sources it mentions, service tables."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import _duckdb

from query import guard
from query.connection import relational
from query.errors import SegmentGone
from query.intact import SegmentChecks
from query.names import source_names
from query.quoting import quoted_name, quoted_text
from query.service_views import TABLES, VIEWS, needed_tables
from query.statement import Statement, TablePath
from segments.disk import Disk
from segments.errors import Corruption, UnknownSource
from segments.filenames import DataDir, RowKind
from segments.schema import RESERVED_NAMES, Schema
from segments.snapshot import Snapshot, open_snapshot, while_files_last
from segments.source_files import load_schema

if TYPE_CHECKING:
    import pyarrow as pa

# Arrow takes longer to load than most queries run, so it is loaded where a view needs more than segments.
# ruff: noqa: PLC0415

_KINDS: tuple[tuple[RowKind, str], ...] = (("rows", ""), ("quarantine", "_quarantine"))
# These look up tables by names that are data, so a statement with one may mean any table.
_OPAQUE = {"query", "query_table", "histogram", "histogram_values"}


@dataclass(frozen=True)
class Stored:
    """Everything that a statement's sender may read: sources (None is all), and the log of requests."""

    disk: Disk
    data: DataDir
    readable: frozenset[str] | None = None
    ops_log: "pa.Table | None" = None
    checks: SegmentChecks = field(default_factory=SegmentChecks)

    @cached_property
    def names(self) -> list[str]:
        """The readable sources."""
        return [n for n in source_names(self.disk, self.data) if self.readable is None or n in self.readable]

    @cached_property
    def tables(self) -> dict[TablePath, str]:
        """Every table that can be had, by its key; with the source's name, or nothing for a service table."""
        tables: dict[TablePath, str] = {(n.lower() + suffix,): n for n in self.names for _, suffix in _KINDS}
        return tables | dict.fromkeys((*TABLES, *VIEWS), "")

    def service_table(self, key: TablePath) -> "pa.Table":
        """One of `siltstone.*`, with the rows that are about readable sources."""
        import pyarrow as pa
        import pyarrow.compute as pc

        from query import service_tables

        if key != ("siltstone", "ops_log"):
            return service_tables.make_table(key, self.disk, self.data, self.names)
        log = service_tables.OPS_LOG.empty_table() if self.ops_log is None else self.ops_log
        if self.readable is None:
            return log
        return log.filter(pc.is_in(log["datasource"], pa.array(sorted(self.readable), pa.string())))


@dataclass(frozen=True, slots=True)
class Catalog:
    """What the views read beside memory, what is missing from them, and how many rows came from memory."""

    paths: tuple[Path, ...]
    damage: tuple[Corruption, ...]
    wal_rows: int
    wal_bytes: int


def fill(connection: _duckdb.DuckDBPyConnection, statement: Statement, stored: Stored) -> Catalog:
    """Make what the statement mentions; when it asks which tables there are, the others too, without their rows."""
    mentioned = {guard.table_key(path) for path in statement.tables}
    if statement.table_functions & _OPAQUE:
        mentioned = set(stored.tables)
    names = sorted({stored.tables[key] for key in mentioned & stored.tables.keys()} - {""})
    lists = guard.lists_tables(statement)
    _make_service_tables(connection, set(stored.tables) if lists else mentioned, stored)
    paths: list[Path] = []
    damage: list[Corruption] = []
    wal_rows = wal_bytes = 0
    for name in names:
        kinds = [(kind, suffix) for kind, suffix in _KINDS if (name.lower() + suffix,) in mentioned]
        try:
            snapshot = while_files_last(stored.disk, partial(_take, stored, name, [kind for kind, _ in kinds]))
        except UnknownSource as error:
            raise SegmentGone(f"data source {name} was dropped while it was read") from error
        damage += snapshot.damage
        for kind, suffix in kinds:
            rows = snapshot.of(kind)
            _make_view(connection, name + suffix, snapshot, kind)
            paths += rows.paths
            wal_rows += rows.wal_rows
            wal_bytes += sum(batch.nbytes for batch in rows.batches)
    if lists:
        damage += _make_stubs(connection, stored, set(stored.names) - set(names))
    return Catalog(tuple(paths), tuple(damage), wal_rows, wal_bytes)


def _take(stored: Stored, name: str, kinds: Iterable[RowKind]) -> Snapshot:
    """A snapshot whose segments of these kinds are intact; it says which are not."""
    snapshot = open_snapshot(stored.disk, stored.data.source(name), to_show=True)
    for kind in kinds:
        snapshot = stored.checks.without_damaged(stored.disk, snapshot, kind)
    return snapshot


def _make_view(connection: _duckdb.DuckDBPyConnection, view: str, snapshot: Snapshot, kind: RowKind) -> None:
    """One table of all rows of a kind: the log's, and the segments', those of older schemas made to fit."""
    rows = snapshot.of(kind)
    tail = f"the write-ahead log of {view}"
    by_schema: dict[Schema | None, list[Path]] = {}
    for ref in rows.segments:
        by_schema.setdefault(rows.older.get(ref.path), []).append(ref.path)
    parts = []
    # First, because it has the present types, which those of older segments are widened to.
    if rows.wal_rows or rows.older or not rows.segments:
        relational(connection).register(tail, rows.tail)
        parts.append(f"SELECT * FROM {quoted_name(tail)}")  # noqa: S608 -- names are quoted
    for schema, paths in by_schema.items():
        columns = ", ".join(_columns(connection, view, snapshot, kind, schema))
        listed = ", ".join(quoted_text(str(path)) for path in paths)
        parts.append(f"SELECT {columns} FROM read_parquet([{listed}], hive_partitioning = false)")  # noqa: S608 -- as above
        if kind == "quarantine" and snapshot.replays:
            import pyarrow as pa

            gone = f"the replayed rows of {view}"
            relational(connection).register(gone, pa.table({"lsn": snapshot.replayed}))
            parts[-1] += f" WHERE c__lsn NOT IN (SELECT lsn FROM {quoted_name(gone)})"  # noqa: S608 -- as above
    connection.execute(f"CREATE VIEW {quoted_name(view)} AS {' UNION ALL '.join(parts)}").fetchall()


def _columns(
    connection: _duckdb.DuckDBPyConnection, view: str, snapshot: Snapshot, kind: RowKind, older: Schema | None
) -> Iterator[str]:
    """What to select from segments of a schema so that they have the columns of the present one."""
    if older is None:
        yield from map(quoted_name, snapshot.of(kind).names)
        return
    there = {column.name for column in older.columns} | RESERVED_NAMES
    added = f"the added columns of {view}"
    if kind == "rows":
        import pyarrow as pa

        from segments.alteration import added_value

        columns = {column.name: pa.repeat(added_value(column), 1) for column in snapshot.schema.columns}
        relational(connection).register(added, pa.table(columns))
    for name in snapshot.of(kind).names:
        if name in there:
            yield quoted_name(name)
        elif kind == "rows":
            yield f"(SELECT {quoted_name(name)} FROM {quoted_name(added)}) AS {quoted_name(name)}"  # noqa: S608 -- names are quoted
        else:
            yield f"NULL AS {quoted_name(name)}"


def _make_stubs(connection: _duckdb.DuckDBPyConnection, stored: Stored, names: Iterable[str]) -> list[Corruption]:
    """Empty tables: enough to be listed, and cheap for thousands of sources."""
    damage = []
    for name in sorted(names):
        try:
            schema = load_schema(stored.disk, stored.data.source(name))
        except Corruption as error:
            damage.append(error)
            continue
        for arrow, table in ((schema.arrow, name), (schema.quarantine, f"{name}_quarantine")):
            relational(connection).from_arrow(arrow.empty_table()).create(quoted_name(table))
    return damage


def _make_service_tables(connection: _duckdb.DuckDBPyConnection, asked: set[TablePath], stored: Stored) -> None:
    connection.execute("CREATE SCHEMA siltstone; CREATE SCHEMA tinybird").fetchall()
    for schema, name in sorted(needed_tables(asked)):
        relational(connection).from_arrow(stored.service_table((schema, name))).create(f"{schema}.{name}")
    for view in sorted(asked & VIEWS.keys()):
        connection.execute(f"CREATE VIEW {'.'.join(view)} AS {VIEWS[view]}").fetchall()
