"""What to do about a statement that the engine can't parse, where its own message does not say it."""

import re

import _duckdb

from query.catalog import Stored
from query.errors import QueryFailed
from segments.errors import StorageError
from segments.source_files import load_schema

_WORD = re.compile(r'(?<!")\b[A-Za-z_][A-Za-z0-9_]*\b(?!")')


def with_hint(error: QueryFailed, connection: _duckdb.DuckDBPyConnection, sql: str, stored: Stored) -> QueryFailed:
    """The error, with the names in the statement that are words of the dialect and so need quotes."""
    if "syntax error" not in str(error):
        return error
    words = {word.lower() for word in _WORD.findall(sql)}
    reserved = {
        row[0]
        for row in connection.execute(
            "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category IN ('reserved', 'type_function')"
        ).fetchall()
    }
    names = {name.lower() for name in stored.names}
    for source in stored.names:
        if source.lower() in words:
            try:
                schema = load_schema(stored.disk, stored.data.source(source))
            except StorageError:
                continue
            names |= {column.name.lower() for column in schema.columns}
    quoted = ", ".join(f'"{word}"' for word in sorted(words & reserved & names))
    if not quoted:
        return error
    return type(error)(f"{error}\n\n{quoted} means something in the dialect; as a name it is written in double quotes")
