"""The child process that answers SQL for the daemon: a line of request in, a line of reply out, one at a time.

DuckDB shares no process with the daemon: what a query does to memory or processor, or a crash in it, ends this process
only, and a query is ended by killing it. Imports take a third of a second, so one process serves many queries; each has
a database of its own, and the next one is opened before it is asked for.
"""

import io
import os
import queue
import resource
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
from pyarrow import ipc

from query.catalog import Stored
from query.connection import Limits, open_connection
from query.engine import ATTEMPTS_MAX, run_confined
from query.errors import QueryFailed, SegmentGone
from query.hints import with_hint
from query.intact import SegmentChecks
from query.sql_request import Answered, Failed, WorkerConfig, WorkerRequest, encode_reply, spill_directory
from query.statement import format_named, parse_statement
from query.wire import write_answer
from segments.disk import Disk
from segments.errors import StorageError
from segments.filenames import DataDir

NICENESS = 10
OOM_SCORE = 900
"""When memory runs out, this process goes first, and not the one that owns the write-ahead log."""
MEMORY_BESIDE_ENGINE = 1 << 30
"""For Python, Arrow, and what the engine does not count, as strings on their way through a function."""


@dataclass(frozen=True, slots=True)
class _Query:
    request: WorkerRequest
    ops_log: pa.Table | None


def main() -> None:
    """Serve until standard input ends, which is also how the worker notices that its parent is gone."""
    config = WorkerConfig.decode(sys.argv[1])
    _be_modest(config)
    # A pipe of our own for replies: whatever a library prints goes to standard error.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    queries: queue.SimpleQueue[_Query] = queue.SimpleQueue()
    threading.Thread(target=_read_queries, args=(queries,), daemon=True).start()
    limits = Limits(config.memory_bytes, config.threads, spill_directory(config), config.spill_bytes)
    data, checks = DataDir(Path(config.data)), SegmentChecks(config.threads)
    while True:
        connection = open_connection(limits)
        query = queries.get()
        try:
            reply = encode_reply(_answer_again(connection, limits, data, query, checks))
        except RecursionError:
            reply = encode_reply(QueryFailed("the statement, or a value in its answer, is nested too deeply"))
        except StorageError as error:
            reply = encode_reply(error)
        except OSError as error:
            reply = encode_reply(StorageError(f"the answer can't be made: {error.strerror or error}"))
        except Exception:  # noqa: BLE001 -- the daemon logs it, and the next query may well be fine
            reply = encode_reply(Failed(traceback.format_exc()))
        replies.write(reply)
        replies.flush()
        connection.close()


def _answer_again(
    connection: duckdb.DuckDBPyConnection, limits: Limits, data: DataDir, query: _Query, checks: SegmentChecks
) -> Answered:
    """The answer; anew, from a new snapshot, when files went away under the first. Raises StorageError."""
    for _ in range(ATTEMPTS_MAX - 1):
        try:
            return _answer(connection, data, query, checks)
        except SegmentGone:
            connection = open_connection(limits)
            Path(query.request.output).write_bytes(b"")
    return _answer(connection, data, query, checks)


def _answer(connection: duckdb.DuckDBPyConnection, data: DataDir, query: _Query, checks: SegmentChecks) -> Answered:
    """Write the answer into the file that the request names. Raises StorageError."""
    request, started = query.request, time.monotonic()
    readable = None if request.readable is None else frozenset(request.readable)
    stored = Stored(Disk(), data, readable, query.ops_log, checks)
    try:
        statement = parse_statement(connection, request.sql)
    except QueryFailed as error:
        raise with_hint(error, connection, request.sql, stored) from error
    result = run_confined(connection, statement, stored)
    with Path(request.output).open("r+b") as out:
        written = write_answer(
            result,
            statement.format_name or format_named(request.default_format),
            out,
            started=started,
            quote_64bit=request.quote_64bit,
            limit_bytes=request.answer_bytes_max,
        )
        size = out.tell()
    return Answered(written.content_type, written.rows, size, [str(corruption) for corruption in result.damage])


def _read_queries(queries: "queue.SimpleQueue[_Query]") -> None:
    """Also while a query runs, so that the end of the parent ends it at once."""
    stdin = sys.stdin.buffer
    try:
        while line := stdin.readline():
            request = WorkerRequest.decode(line)
            ops_log = None
            if request.ops_log_bytes:
                ops_log = ipc.open_stream(io.BytesIO(stdin.read(request.ops_log_bytes))).read_all()
            queries.put(_Query(request, ops_log))
    finally:
        # Not an orderly end: that would wait for the query.
        os._exit(0)


def _be_modest(config: WorkerConfig) -> None:
    os.nice(NICENESS)
    most = 2 * config.memory_bytes + MEMORY_BESIDE_ENGINE
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    except OSError:
        # A container may not let us; then the kernel chooses by size.
        pass


if __name__ == "__main__":
    main()
