"""SQL over a consistent snapshot: DuckDB, with each source as a view under its own name.

A database lives for one statement, in memory. It holds only what the statement mentions and its sender may read, so
there is nothing else to be found in it, by whatever name.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import _duckdb
import orjson

from query import guard
from query.catalog import Catalog, Stored, fill
from query.connection import Limits, Opening, execute, relational
from query.dialect import macros_sql
from query.errors import QueryFailed, ResourceNotFound, SegmentGone, StatementRefused
from query.hints import with_hint
from query.plain import PlainRows, Row, plain_rows
from query.quoting import quoted_name, quoted_text
from query.statement import Statement, parse_statement
from segments.disk import Disk
from segments.errors import Corruption, StorageError, UnknownSource
from segments.filenames import DataDir, SegmentName

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

# Arrow takes longer to load than most queries run; the way of `run_plainly` does without where it can.
# ruff: noqa: PLC0415

R = TypeVar("R")
Run = Callable[[_duckdb.DuckDBPyConnection, Statement, Catalog], R]
ATTEMPTS_MAX = 5
_MISSING_TABLE = re.compile(r"Table with name (.+?) does not exist!")
_NO_SUCH_FILE = re.compile(
    r'^(?:IO Error: No files found that match the pattern|Permission Error: Cannot access file) "(.+)"'
    r'|^IO Error: Cannot open file "(.+)": No such file or directory'
)
_FORBIDDEN_FILE = re.compile(r'^Permission Error: Cannot access file "(.+)" - ', re.DOTALL)
# Arrow has no type for these, so their bytes would come out as DuckDB keeps them.
_AS_TEXT = {"bit", "bignum", "geometry", "time with time zone", "uhugeint", "variant"}


@dataclass(frozen=True, slots=True)
class Scanned:
    """What the engine read to find its answer."""

    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Result:
    """Rows to be read once, and the damage found in the sources that were asked. Reading raises QueryFailed."""

    reader: "pa.RecordBatchReader"
    damage: tuple[Corruption, ...]
    connection: _duckdb.DuckDBPyConnection
    wal_rows: int
    wal_bytes: int

    def scanned(self) -> Scanned:
        """To be asked once all rows are read. What DuckDB answers from the files' footers counts as nothing."""
        try:
            profile = orjson.loads(self.connection.get_profiling_information(format="json"))
        except _duckdb.Error:
            profile = {}
        rows = profile.get("query", {}).get("total_rows_scanned", 0)
        size = profile.get("io", {}).get("total_bytes_read", 0)
        return Scanned(int(rows) + self.wal_rows, int(size) + self.wal_bytes)


@dataclass(frozen=True, slots=True)
class PlainResult:
    """Like a Result, of which the rows are plain values."""

    rows: PlainRows
    damage: tuple[Corruption, ...]


def run_query(disk: Disk, data: DataDir, sql: str, opening: Opening | None = None) -> Result:
    """Run one reading statement of a person who may read everything here anyway, files beside the data too.

    On the connection that is being opened, if there is one. Anew, from a new snapshot, when files went away before there
    was an answer to show. Raises QueryFailed, SegmentGone, and UnknownSource with the names that there are.
    """
    return _answered(disk, data, sql, _run_begun, opening or Opening(Limits()))


def run_plainly(disk: Disk, data: DataDir, sql: str, opening: Opening | None = None) -> Result | PlainResult:
    """The same; small answers of simple types as plain values."""
    return _answered(disk, data, sql, _run_plainly, opening or Opening(Limits()))


def _answered(disk: Disk, data: DataDir, sql: str, run: Run[R], opening: Opening) -> R:
    for _ in range(ATTEMPTS_MAX - 1):
        try:
            return _run_once(disk, data, sql, run, opening.take())
        except SegmentGone:
            continue
    return _run_once(disk, data, sql, run, opening.take())


def _begun(result: Result) -> Result:
    """The same with its first rows read, up to a million of them."""
    import pyarrow as pa

    batches = iter(result.reader)
    first = [batch for batch in (next(batches, None),) if batch is not None]
    return replace(result, reader=pa.RecordBatchReader.from_batches(result.reader.schema, chain(first, batches)))


def _run_begun(connection: _duckdb.DuckDBPyConnection, statement: Statement, catalog: Catalog) -> Result:
    return _begun(_run(connection, statement, catalog))


def _run_plainly(
    connection: _duckdb.DuckDBPyConnection, statement: Statement, catalog: Catalog
) -> Result | PlainResult:
    try:
        rows = plain_rows(connection, statement.sql)
    except (_duckdb.Error, MemoryError) as error:
        raise _failure(error) from error
    if rows is None:
        return _run_begun(connection, statement, catalog)
    return PlainResult(replace(rows, pieces=_pieces(rows)), catalog.damage)


def _pieces(rows: PlainRows) -> Iterator[Sequence[Row]]:
    try:
        yield from rows.pieces
    except (_duckdb.Error, MemoryError) as error:
        raise _failure(error) from error


def _run_once(disk: Disk, data: DataDir, sql: str, run: Run[R], connection: _duckdb.DuckDBPyConnection) -> R:
    stored = Stored(disk, data)
    try:
        statement = parse_statement(connection, sql)
    except QueryFailed as error:
        raise with_hint(error, connection, sql, stored) from error
    if statement.format_name is not None:
        raise StatementRefused("FORMAT belongs to SQL over HTTP; here it is the option --format")
    catalog = _filled(connection, statement, stored)
    execute(connection, macros_sql(statement.functions | statement.table_functions))
    try:
        return run(connection, statement, catalog)
    except ResourceNotFound as error:
        known = ", ".join(stored.names) or "none"
        raise UnknownSource(f"there is no data source or table '{error.name}'; data sources here: {known}") from error


def run_confined(connection: _duckdb.DuckDBPyConnection, statement: Statement, stored: Stored) -> Result:
    """Run a statement from the network on a connection that is new; it is locked for good.

    It reads the segments of what it mentions and no other file. Raises ResourceNotFound, and QueryFailed.
    """
    guard.check_functions(statement)
    guard.check_tables(statement, stored.tables)
    catalog = _filled(connection, statement, stored)
    paths = ", ".join(quoted_text(str(path)) for path in catalog.paths)
    execute(
        connection,
        macros_sql(statement.functions | statement.table_functions),
        "SET enable_profiling = 'no_output'",
        "SET tracked_metrics = ['query.total_rows_scanned', 'io.total_bytes_read']",
        f"SET allowed_paths = [{paths}]",
        "SET enable_external_access = false",
        "SET lock_configuration = true",
    )
    return _run(connection, statement, catalog)


def _filled(connection: _duckdb.DuckDBPyConnection, statement: Statement, stored: Stored) -> Catalog:
    try:
        return fill(connection, statement, stored)
    except _duckdb.Error as error:
        raise _failure(error) from error


def _run(connection: _duckdb.DuckDBPyConnection, statement: Statement, catalog: Catalog) -> Result:
    try:
        found = _representable(relational(connection).sql(statement.sql))
        reader = found.to_arrow_reader()
    except (_duckdb.Error, MemoryError) as error:
        raise _misplaced(error, statement) or _failure(error) from error
    import pyarrow as pa

    guarded = pa.RecordBatchReader.from_batches(reader.schema, _batches(reader))
    return Result(guarded, catalog.damage, connection, catalog.wal_rows, catalog.wal_bytes)


def _representable(found: "duckdb.DuckDBPyRelation") -> "duckdb.DuckDBPyRelation":
    kinds = [str(kind).lower() for kind in found.types]
    if _AS_TEXT.isdisjoint(kinds):
        return found
    columns = [
        f"CAST(#{number} AS VARCHAR) AS {quoted_name(name)}" if kind in _AS_TEXT else f"#{number}"
        for number, (name, kind) in enumerate(zip(found.columns, kinds, strict=True), start=1)
    ]
    return found.project(", ".join(columns))


def _batches(reader: "pa.RecordBatchReader") -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa

    try:
        yield from reader
    except (_duckdb.Error, pa.ArrowException, OSError, MemoryError) as error:
        # Arrow hands over the engine's errors as one of these, with the engine's text.
        raise _failure(error) from error


def _misplaced(error: Exception, statement: Statement) -> StatementRefused | None:
    """A name that WITH gives, where it means nothing: the engine takes it for a file's then, and may open none."""
    asked = _FORBIDDEN_FILE.search(str(error))
    if asked is None or asked[1].lower() not in statement.local_names:
        return None
    return StatementRefused(f"the name {quoted_name(asked[1])}, which WITH gives, means nothing outside of its query")


def _failure(error: Exception) -> StorageError:
    """The engine's error as one of ours; a file that can't be read is not the statement's fault."""
    text = str(error)
    if isinstance(error, MemoryError | _duckdb.OutOfMemoryException) or text.startswith("Out of Memory"):
        return QueryFailed("the query needs more memory than it may use; ask for fewer columns, groups or rows at once")
    missing = _MISSING_TABLE.search(text)
    if missing is not None:
        return ResourceNotFound(missing[1])
    missing_file = _NO_SUCH_FILE.match(text)
    if missing_file is None and text.startswith("IO Error"):
        return StorageError(text)
    # What is gone may have been taken for a directory, and files asked for in it.
    if missing_file is not None and any(map(SegmentName.parse, Path(missing_file[1] or missing_file[2]).parts)):
        return SegmentGone("stored files went away while they were read; ask again")
    return QueryFailed(text)
