"""What a statement is: exactly one, it only reads, it may end in FORMAT, and it mentions tables and functions.

DuckDB's own parser answers all of it: a second grammar of ours would sooner or later read a text differently, and the
difference would be a way around what a token may read.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import _duckdb
import orjson

from query.errors import QueryFailed, StatementRefused

TablePath = tuple[str, ...]
"""A table's name as it stands in the statement: `t`, `siltstone.sources`."""

FORMAT_NAMES = {
    name.lower(): canonical
    for canonical, names in {
        "JSON": ("JSON",),
        "JSONEachRow": ("JSONEachRow",),
        "CSV": ("CSV",),
        "CSVWithNames": ("CSVWithNames",),
        "TSV": ("TSV", "TabSeparated"),
        "TSVWithNames": ("TSVWithNames", "TabSeparatedWithNames"),
        "PrettyCompact": ("PrettyCompact",),
        "Parquet": ("Parquet",),
        "Arrow": ("Arrow",),
    }.items()
    for name in names
}
"""What may follow FORMAT, in lower case, and the name it goes by."""

# Every other node (INSERT_QUERY_NODE and the like) changes something; those can hide inside WITH.
_READING_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_ONLY = "only one SELECT, DESCRIBE or SHOW can be run"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement that only reads. Names are as they were written, functions in lower case.

    `tables` has everything that stands where a table can; `local_names`, in lower case, what WITH defines.
    `lists_tables` is set by SHOW TABLES and its like.
    """

    sql: str
    format_name: str | None
    tables: frozenset[TablePath]
    local_names: frozenset[str]
    functions: frozenset[str]
    table_functions: frozenset[str]
    lists_tables: bool


@dataclass(slots=True)
class _Mentions:
    tables: set[TablePath] = field(default_factory=set)
    local_names: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    table_functions: set[str] = field(default_factory=set)
    lists_tables: bool = False


def parse_statement(connection: _duckdb.DuckDBPyConnection, sql: str) -> Statement:
    """Raises StatementRefused for anything but one reading statement, QueryFailed when the text is not SQL."""
    if "\x00" in sql or not _is_utf8(sql):
        raise StatementRefused("the statement is not plain UTF-8 text")
    format_name = None
    try:
        found = _extract(connection, sql)
    except QueryFailed:
        # FORMAT never stands at the end of valid SQL except as a name (`ORDER BY format DESC`), so it is only looked
        # for in a text that can't be parsed whole.
        split = _split_format(sql)
        if split is None:
            raise
        sql, given = split
        format_name = format_named(given)
        found = _extract(connection, sql)
    if len(found) != 1:
        count = f"there are {len(found)}; send them one by one" if found else "there is no statement"
        raise StatementRefused(f"{_ONLY}, and {count}")
    kind = found[0].type.name
    if kind == "MULTI":
        raise StatementRefused("a PIVOT must name its values, as in PIVOT t ON c IN ('a', 'b') USING sum(x)")
    if kind != "SELECT":
        raise StatementRefused(f"{_ONLY}, and this is {kind.replace('_', ' ')}")
    mentions = _mentions(_tree(connection, sql))
    return Statement(
        sql,
        format_name,
        frozenset(mentions.tables),
        frozenset(mentions.local_names),
        frozenset(mentions.functions),
        frozenset(mentions.table_functions),
        mentions.lists_tables,
    )


def format_named(given: str) -> str:
    """The format of that name, in any case. Raises StatementRefused naming those that there are."""
    name = FORMAT_NAMES.get(given.lower())
    if name is None:
        known = ", ".join(dict.fromkeys(FORMAT_NAMES.values()))
        raise StatementRefused(f"there is no format '{given}'; there are {known}")
    return name


def _is_utf8(sql: str) -> bool:
    try:
        sql.encode()
    except UnicodeEncodeError:
        return False
    return True


def _extract(connection: _duckdb.DuckDBPyConnection, sql: str) -> list[_duckdb.Statement]:
    try:
        return list(connection.extract_statements(sql))
    except _duckdb.Error as error:
        raise QueryFailed(str(error)) from error


def _split_format(sql: str) -> tuple[str, str] | None:
    """The text before a FORMAT clause at its end, and the format's name; strings and comments are not looked into."""
    data = sql.encode()
    try:
        starts = [start for start, kind in _duckdb.tokenize(sql) if kind != _duckdb.token_type.comment]
    except _duckdb.Error as error:
        raise QueryFailed(str(error)) from error
    while starts and _token_text(data, starts[-1]) == ";":
        starts.pop()
    if len(starts) < 2 or _token_text(data, starts[-2]).lower() != "format":
        return None
    return data[: starts[-2]].decode(), _token_text(data, starts[-1])


def _token_text(data: bytes, start: int) -> str:
    """The word at byte `start`, or the one character that stands there; the tokenizer says only where tokens begin."""
    end = start
    while end < len(data) and (data[end : end + 1].isalnum() or data[end] in b"_"):
        end += 1
    return data[start : max(end, start + 1)].decode(errors="replace")


def _tree(connection: _duckdb.DuckDBPyConnection, sql: str) -> Any:
    try:
        rows = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
        tree = orjson.loads(rows[0][0])
    except orjson.JSONDecodeError:
        raise StatementRefused("the statement is nested too deeply") from None
    except _duckdb.Error as error:
        raise QueryFailed(str(error)) from error
    if tree["error"]:
        raise QueryFailed(str(tree.get("error_message", "the statement can't be understood")))
    return tree["statements"]


def _mentions(tree: Any) -> _Mentions:
    found = _Mentions()
    for node in _nodes(tree):
        kind = node.get("type")
        if not isinstance(kind, str):
            continue
        if kind.endswith("_NODE") and kind not in _READING_NODES:
            raise StatementRefused(f"{_ONLY}, and WITH holds {kind.removesuffix('_NODE').replace('_', ' ')}")
        if "cte_map" in node:
            found.local_names |= {entry["key"].lower() for entry in node["cte_map"]["map"]}
        if kind == "BASE_TABLE":
            found.tables.add(tuple(node["qualified_name"]["path"]))
        elif kind == "SHOW_REF":
            _note_show(node, found)
        elif kind == "TABLE_FUNCTION":
            found.table_functions.add(node["function"]["function_name"].lower())
        if "function_name" in node:
            found.functions.add(node["function_name"].lower())
    return found


def _note_show(node: dict[str, Any], found: _Mentions) -> None:
    """DESCRIBE and SUMMARIZE hold a query of their own; SHOW names a table, or something else to list."""
    if node["show_type"] == "SHOW":
        found.tables.add(tuple(node["qualified_name"]["path"]))
    elif node["show_type"] in {"SHOW_SPECIAL", "SHOW_FROM"}:
        found.lists_tables = True


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """All objects in the tree; by a list of our own, because recursion would end at Python's limit."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
