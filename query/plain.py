"""Small answers of simple types, from DuckDB to the formats for people and JSON readers without Arrow, and without DuckDB's
relations: each takes longer to load than most queries run.

A value here is what `values.plain_values` makes of the same column, so that nobody can tell which way an answer took.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic

import _duckdb
import orjson

from query.texts import unique_names

SMALL_ROWS = 4_096
"""An answer with more is run anew and read through Arrow, which is several times faster by the row."""
PATIENCE_S = 0.5
"""What took longer than this until its first rows were there is not run twice."""
_NUMBERS = frozenset(
    {"tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger", "ubigint", "double"}
)
_KINDS = _NUMBERS | {"boolean", "varchar"}

Row = Sequence[object]


@dataclass(frozen=True, slots=True)
class PlainRows:
    """Rows of plain values, in pieces to be read once; `numbers` says of each column whether it holds numbers."""

    names: list[str]
    numbers: list[bool]
    pieces: Iterator[Sequence[Row]]


def plain_rows(connection: _duckdb.DuckDBPyConnection, sql: str, *, patience_s: float = PATIENCE_S) -> PlainRows | None:
    """Run the statement; None, with nothing read, when its rows are many or of types that take Arrow, or when
    it can't be run.

    Raises _duckdb.Error or MemoryError, as reading the pieces does.
    """
    kinds = _kinds(connection, sql)
    if kinds is None or not _KINDS.issuperset(kinds):
        return None
    began = monotonic()
    connection.execute(sql)
    first = connection.fetchmany(SMALL_ROWS + 1)
    if len(first) > SMALL_ROWS and monotonic() - began < patience_s:
        connection.abort()
        return None
    wide = [number for number, kind in enumerate(kinds) if kind == "hugeint"]
    pieces = _pieces(connection, first)
    return PlainRows(
        unique_names([name for name, *_ in connection.description]),
        [kind in _NUMBERS for kind in kinds],
        (_spelled(piece, wide) for piece in pieces) if wide else pieces,
    )


def _kinds(connection: _duckdb.DuckDBPyConnection, sql: str) -> list[str] | None:
    """The types of the columns, without running the statement; None for one that fails, which says so itself when it is run."""
    try:
        described = connection.execute(f"DESCRIBE {sql}").fetchall()
    except _duckdb.Error:
        return None
    return [kind.lower() for _, kind, *_ in described]


def _pieces(connection: _duckdb.DuckDBPyConnection, first: Sequence[Row]) -> Iterator[Sequence[Row]]:
    piece = first
    while piece:
        yield piece
        piece = connection.fetchmany(SMALL_ROWS)


def _spelled(rows: Sequence[Row], wide: Sequence[int]) -> Sequence[Row]:
    """The rows with their integers of 128 bits, which orjson does not write, as digits."""
    spelled = []
    for row in rows:
        values = list(row)
        for number in wide:
            if values[number] is not None:
                values[number] = orjson.Fragment(str(values[number]))
        spelled.append(values)
    return spelled
