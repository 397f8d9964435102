"""Small answers of simple types, from DuckDB to the formats for people and JSON readers without Arrow, and without DuckDB's
relations: each takes longer to load than most queries run.

A value here is what `values.plain_values` makes of the same column, so that nobody can tell which way an answer took.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

import _duckdb

from query.plain_kinds import AS_IT_IS, Kind, kind_of
from query.texts import unique_names

SMALL_ROWS = 4_096
"""An answer with more is run anew and read through Arrow, which is several times faster by the row."""
PATIENCE_S = 0.5
"""What took longer than this until its first rows were there is not run twice."""
# What follows a statement's semicolon, and moments that are too far away for microseconds.
_MAY_BE_OF_THE_WRAPPING = (_duckdb.ParserException, _duckdb.BinderException, _duckdb.ConversionException)

Row = Sequence[object]


@dataclass(frozen=True, slots=True)
class PlainRows:
    """Rows of plain values, in pieces to be read once; `numbers` says of each column whether it holds numbers."""

    names: list[str]
    numbers: list[bool]
    pieces: Iterator[Sequence[Row]]


def plain_rows(connection: _duckdb.DuckDBPyConnection, sql: str, *, patience_s: float = PATIENCE_S) -> PlainRows | None:
    """Run the statement; None, with nothing read, when its rows are many or of types that take Arrow, or when it soon failed and
    may fail in better words by way of Arrow.

    Raises _duckdb.Error or MemoryError, as reading the pieces does.
    """
    try:
        described = connection.execute(f"DESCRIBE {sql}").fetchall()
    except _duckdb.Error:
        return None
    kinds = [kind_of(kind) for _, kind, *_ in described]
    known = [kind for kind in kinds if kind is not None]
    if len(known) < len(kinds):
        return None
    asked, began = _asked(sql, known), monotonic()
    try:
        first = connection.execute(asked).fetchmany(SMALL_ROWS + 1)
    except _duckdb.Error as error:
        if monotonic() - began < patience_s or (asked != sql and isinstance(error, _MAY_BE_OF_THE_WRAPPING)):
            return None
        raise
    if len(first) > SMALL_ROWS and monotonic() - began < patience_s:
        connection.abort()
        return None
    spell = {place: kind.spell for place, kind in enumerate(known) if kind.spell is not None}
    pieces = _pieces(connection, first)
    return PlainRows(
        unique_names(name for name, *_ in described),
        [kind.is_number for kind in known],
        (_spelled(piece, spell) for piece in pieces) if spell else pieces,
    )


def _asked(sql: str, kinds: Sequence[Kind]) -> str:
    """The statement, or where columns have to be asked for otherwise, one that does and keeps the order of the rows."""
    if all(kind.asked == AS_IT_IS for kind in kinds):
        return sql
    names = [f"c{place}" for place in range(len(kinds))]
    columns = ", ".join(kind.asked.format(name) for kind, name in zip(kinds, names, strict=True))
    # The statement may end in a comment.
    return f"SELECT {columns} FROM ({sql.rstrip().rstrip(';')}\n) AS given({', '.join(names)})"  # noqa: S608 -- the statement is run as it is anyway


def _pieces(connection: _duckdb.DuckDBPyConnection, first: Sequence[Row]) -> Iterator[Sequence[Row]]:
    piece = first
    while piece:
        yield piece
        piece = connection.fetchmany(SMALL_ROWS)


def _spelled(rows: Sequence[Row], spell: Mapping[int, Callable[..., object]]) -> Sequence[Row]:
    spelled = []
    for row in rows:
        values = list(row)
        for place, in_words in spell.items():
            if values[place] is not None:
                values[place] = in_words(values[place])
        spelled.append(values)
    return spelled
