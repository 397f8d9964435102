"""SQL for clients: hands queries to the worker process, one at a time, and ends those that take too long.

The worker is started by the first query and kept. A query that must end, because its time is up or its client left,
ends by killing the worker; the next one gets a new one.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import structlog
import trio

from daemon.disk_space import DiskSpace
from daemon.sql_answers import AnswerFile, Answers, SqlAnswer, SqlBusy
from query.sql_request import (
    ANSWER_BYTES_MAX,
    DEFAULT_FORMAT,
    Answered,
    Failed,
    WorkerConfig,
    WorkerRequest,
    decode_reply,
)
from segments.errors import StorageError

TIMEOUT_S = 60.0
WAITING_MAX = 32
_END_PATIENCE_S = 5.0
_log = structlog.get_logger("sql")


class QueryTimedOut(StorageError):
    """The query was ended because it took too long."""


class SqlFailed(StorageError):
    """The worker died or failed at the query; whose fault it is can't be said. The log has more."""


@dataclass(frozen=True, slots=True)
class SqlConfig:
    """`directory` is the worker's alone: answers on their way, and rows that a query moves out of memory."""

    data: Path
    directory: Path
    memory_bytes: int = 1 << 30
    spill_bytes: int = 4 << 30
    threads: int = 2
    timeout_s: float = TIMEOUT_S
    answer_bytes_max: int = ANSWER_BYTES_MAX


@dataclass(frozen=True, slots=True)
class SqlRequest:
    """One query. `readable` has the data sources it may read, None means all; `ops_log` is as `OPS_LOG` says."""

    sql: str
    readable: frozenset[str] | None
    default_format: str = DEFAULT_FORMAT
    quote_64bit: bool = False
    ops_log: pa.Table | None = None


class SqlWorker:
    """The worker process and the queue in front of it. An async context manager: leaving it ends the process."""

    def __init__(self, config: SqlConfig, space: DiskSpace) -> None:
        self._config = config
        self._answers = Answers(config.directory, space, config.answer_bytes_max)
        self._turn = trio.Lock()
        self._process: trio.Process | None = None
        self._unread = b""

    async def __aenter__(self) -> Self:
        await trio.to_thread.run_sync(self._answers.clear)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._end_process()

    async def run(self, request: SqlRequest) -> SqlAnswer:
        """Run a query when its turn comes. Being cancelled ends it.

        Raises ResourceNotFound, QueryFailed (which StatementRefused and ResultTooLarge are), QueryTimedOut, SqlBusy,
        SqlFailed, and StorageError when stored files can't be read.
        """
        if self._turn.statistics().tasks_waiting >= WAITING_MAX:
            raise SqlBusy("as many queries are waiting as may; retry after the pause")
        self._answers.check_room()
        try:
            return await self._run_in_turn(request)
        except OSError as error:
            _log.exception("a query could not be run")
            raise SqlFailed(f"the query could not be run: {error.strerror or error}") from error

    async def _run_in_turn(self, request: SqlRequest) -> SqlAnswer:
        async with self._turn, self._answers.file() as answer:
            reply = await self._ask(answer, request)
            if isinstance(reply, Failed):
                _log.error("a query failed in the worker", traceback=reply.traceback)
                raise SqlFailed("the query failed by an error of the server's own, which is logged")
            if isinstance(reply, StorageError):
                raise reply
            if reply.damage:
                _log.warning("an answer lacks rows", reason=reply.damage[0], reasons=len(reply.damage))
            return self._answers.hand_out(answer, reply)

    async def _ask(self, answer: AnswerFile, request: SqlRequest) -> Answered | Failed | StorageError:
        is_answered = False
        try:
            with trio.fail_after(self._config.timeout_s):
                process = await self._running_process()
                assert process.stdin is not None
                await process.stdin.send_all(self._encode(answer, request))
                line = await self._read_line(process)
                is_answered = bool(line)
        except trio.TooSlowError:
            raise QueryTimedOut(
                f"the query took longer than {self._config.timeout_s:g} s and was ended; ask for less at once"
            ) from None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            line = b""
        finally:
            if not is_answered:
                # Also after a cancellation: half a reply, or a query that goes on, must not meet the next request.
                await self._end_process()
        if not line:
            _log.error("the SQL worker died of a query")
            raise SqlFailed("the query ended the process that ran it, perhaps for want of memory; ask for less at once")
        return decode_reply(line)

    def _encode(self, answer: AnswerFile, request: SqlRequest) -> bytes:
        ops_log = b""
        # It is large, and nearly no query asks for it.
        if request.ops_log is not None and "ops_log" in request.sql.lower():
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, request.ops_log.schema) as writer:
                writer.write_table(request.ops_log)
            ops_log = sink.getvalue().to_pybytes()
        asked = WorkerRequest(
            sql=request.sql,
            output=str(answer.path),
            readable=None if request.readable is None else sorted(request.readable),
            default_format=request.default_format,
            quote_64bit=request.quote_64bit,
            answer_bytes_max=answer.bytes_max,
            ops_log_bytes=len(ops_log),
        )
        return asked.encode() + ops_log

    async def _read_line(self, process: trio.Process) -> bytes:
        """The next line of the worker, or nothing when it has died."""
        assert process.stdout is not None
        while b"\n" not in self._unread:
            data = await process.stdout.receive_some()
            if not data:
                return b""
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    async def _running_process(self) -> trio.Process:
        if self._process is not None and self._process.poll() is None:
            return self._process
        await self._end_process()
        spill_directory = await trio.to_thread.run_sync(self._clear_spilled)
        worker = WorkerConfig(
            data=str(self._config.data),
            spill_directory=spill_directory,
            memory_bytes=self._config.memory_bytes,
            spill_bytes=self._config.spill_bytes,
            threads=self._config.threads,
        )
        # Without the daemon's own settings, among which may be the admin token.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SILTSTONE")}
        self._process = await trio.lowlevel.open_process(
            [sys.executable, "-P", "-m", "query.sql_worker", worker.encode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        return self._process

    async def _end_process(self) -> None:
        process, self._process, self._unread = self._process, None, b""
        if process is None:
            return
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _END_PATIENCE_S):
            process.kill()
            await process.wait()
        assert process.stdin is not None
        assert process.stdout is not None
        await trio.aclose_forcefully(process.stdin)
        await trio.aclose_forcefully(process.stdout)

    @property
    def _spill_directory(self) -> Path:
        return self._config.directory / "spill"

    def _clear_spilled(self) -> str | None:
        """Remove what a killed worker left. None where the disk has no room for a directory, much less for rows."""
        shutil.rmtree(self._spill_directory, ignore_errors=True)
        try:
            self._spill_directory.mkdir(parents=True, mode=0o700)
        except OSError as error:
            _log.warning("queries can't move rows out of memory", reason=str(error))
            return None
        return str(self._spill_directory)
