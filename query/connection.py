"""Databases of DuckDB that are in memory and empty."""

from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import duckdb


@dataclass(frozen=True, slots=True)
class Limits:
    """What one statement may use; None leaves it to DuckDB. Without a directory nothing is moved out of memory."""

    memory_bytes: int | None = None
    threads: int | None = None
    spill_directory: Path | None = None
    spill_bytes: int | None = None


def open_connection(limits: Limits) -> duckdb.DuckDBPyConnection:
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
    connection = duckdb.connect(":memory:", config=config)
    execute(connection, "SET TimeZone = 'UTC'")
    return connection


def execute(connection: duckdb.DuckDBPyConnection, *statements: str) -> None:
    for statement in statements:
        if statement:
            # A result that is not fetched blocks the connection.
            connection.execute(statement).fetchall()


class Opening:
    """A connection that is being opened, in a thread, while the caller does something else."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._opened: list[duckdb.DuckDBPyConnection] = []
        self._thread = Thread(target=self._open)
        self._thread.start()

    def _open(self) -> None:
        self._opened.append(open_connection(self._limits))

    def take(self) -> duckdb.DuckDBPyConnection:
        """The connection; another one when it was taken before."""
        self._thread.join()
        return self._opened.pop() if self._opened else open_connection(self._limits)
