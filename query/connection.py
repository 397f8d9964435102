"""Databases of DuckDB that are in memory and empty.

`_duckdb` is DuckDB itself, and enough for a statement whose answer is a few plain values. The package around it, which adds
relations and Arrow, takes longer to load than most queries run; `relational` loads it.
"""

from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import _duckdb


@dataclass(frozen=True, slots=True)
class Limits:
    """What one statement may use; None leaves it to DuckDB. Without a directory nothing is moved out of memory."""

    memory_bytes: int | None = None
    threads: int | None = None
    spill_directory: Path | None = None
    spill_bytes: int | None = None


def open_connection(limits: Limits) -> _duckdb.DuckDBPyConnection:
    """An empty database. Nothing is ever fetched from the network, and no Python variable is taken for a table."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "allow_persistent_secrets": False,
        "python_enable_replacements": False,
        "temp_directory": "" if limits.spill_directory is None else str(limits.spill_directory),
    }
    if limits.memory_bytes is not None:
        config["memory_limit"] = f"{limits.memory_bytes}B"
    if limits.threads is not None:
        config["threads"] = limits.threads
    if limits.spill_bytes is not None:
        config["max_temp_directory_size"] = f"{limits.spill_bytes}B"
    connection = _duckdb.connect(":memory:", config=config)
    execute(connection, "SET TimeZone = 'UTC'")
    return connection


def execute(connection: _duckdb.DuckDBPyConnection, *statements: str) -> None:
    for statement in statements:
        if statement:
            # A result that is not fetched blocks the connection.
            connection.execute(statement).fetchall()


def relational(connection: _duckdb.DuckDBPyConnection) -> _duckdb.DuckDBPyConnection:
    """The same connection, which from now on can make relations, and take and give Arrow."""
    import duckdb  # noqa: F401, PLC0415 -- loading it is what does it

    return connection


class Opening:
    """A connection that is being opened, in a thread, while the caller does something else."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._opened: list[_duckdb.DuckDBPyConnection] = []
        self._thread = Thread(target=self._open)
        self._thread.start()

    def _open(self) -> None:
        self._opened.append(open_connection(self._limits))

    def take(self) -> _duckdb.DuckDBPyConnection:
        """The connection; another one when it was taken before."""
        self._thread.join()
        return self._opened.pop() if self._opened else open_connection(self._limits)
