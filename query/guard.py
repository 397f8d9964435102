"""What a statement from the network may use. This stands in front of DuckDB's own lock on files and settings.

The lock alone is not enough: some table functions take pointers as plain numbers, and settings tell where files lie.
"""

from collections.abc import Mapping

from query.errors import ResourceNotFound, StatementRefused
from query.statement import Statement, TablePath

TABLE_FUNCTIONS = frozenset(
    {"range", "generate_series", "unnest", "numbers", "repeat", "repeat_row", "json_each", "json_tree"}
)
"""Those that only make rows out of their arguments."""

REFUSED_FUNCTIONS = frozenset(
    {
        # what the server is set to
        "current_setting",
        "getvariable",
        "getenv",
        # take internal bytes or plans as they come, without checking them
        "combine",
        "finalize",
        "to_aggregate_state",
        "json_serialize_plan",
        "variant_bytes_to_variant",
        # change something, or only wait
        "nextval",
        "currval",
        "setval",
        "write_log",
        "sleep_ms",
        "pg_sleep",
    }
)
_CATALOG_PREFIXES = ("duckdb_", "pg_", "sqlite_", "pragma_")
_LISTS = frozenset(
    {("information_schema", "tables"), ("information_schema", "columns"), ("information_schema", "schemata")}
)


def check_functions(statement: Statement) -> None:
    """Raises StatementRefused naming the function that can't be used."""
    refused = sorted((statement.table_functions - TABLE_FUNCTIONS) | (statement.functions & REFUSED_FUNCTIONS))
    if refused:
        raise StatementRefused(f"the function {refused[0]}() can't be used here")


def check_tables(statement: Statement, known: Mapping[TablePath, object]) -> None:
    """Raises ResourceNotFound for what is neither in `known`, by `table_key`, nor defined by the statement itself."""
    for name in sorted(statement.local_names):
        if name.startswith(_CATALOG_PREFIXES):
            # A name in WITH counts everywhere here, and inside it only there.
            raise StatementRefused(f"WITH can't give the name {name}, which is of the engine's own tables")
    for path in sorted(statement.tables):
        key = table_key(path)
        is_local = len(path) == 1 and key[0] in statement.local_names
        if key not in known and key not in _LISTS and not is_local:
            raise ResourceNotFound(".".join(path))


def lists_tables(statement: Statement) -> bool:
    """Whether the statement asks which tables there are."""
    return statement.lists_tables or any(table_key(path)[0] == "information_schema" for path in statement.tables)


def table_key(path: TablePath) -> TablePath:
    """A name as it is looked up: without regard to case, and without the database and schema that are the default."""
    key = tuple(part.lower() for part in path)
    if len(key) == 3 and key[0] == "memory":
        key = key[1:]
    if len(key) == 2 and key[0] == "main":
        key = key[1:]
    return key
