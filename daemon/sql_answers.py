"""The answers of queries on their way to clients: files without a name, so many of them, and so many bytes, at a time."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import structlog
import trio

from daemon.disk_space import DiskSpace
from query.sql_request import ANSWER_BYTES_MAX, Answered
from segments.errors import StorageError

CHUNK_BYTES = 256 * 1024
ANSWER_IN_MEMORY_MAX = 16 * 1024 * 1024
ANSWERS_MAX = 64
"""So many answers at a time may be on their way to their clients, and so many bytes before the last of them."""
ANSWERS_BYTES_MAX = 10 * ANSWER_BYTES_MAX
IN_MEMORY_BYTES_MAX = 4 * ANSWER_IN_MEMORY_MAX
_log = structlog.get_logger("sql")


class SqlBusy(StorageError):
    """As many queries, or answers, wait as may; try again later."""


@dataclass(frozen=True, slots=True)
class SqlAnswer:
    """A whole answer, in a file without a name; to be closed by whoever got it.

    So a client that reads slowly keeps neither the worker nor memory, and a query that fails half-way is an error
    and never half an answer.
    """

    content_type: str
    rows: int
    size: int
    damage: tuple[str, ...]
    file: BinaryIO
    closed: Callable[[], None] = field(repr=False)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of the answer, once. The file is not asked for its end, when the client has everything already."""
        left = self.size
        while left and (chunk := await trio.to_thread.run_sync(self.file.read, min(left, CHUNK_BYTES))):
            left -= len(chunk)
            yield chunk

    def close(self) -> None:
        self.file.close()
        self.closed()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AnswerFile(NamedTuple):
    number: int
    path: Path
    file: BinaryIO
    bytes_max: int


class Answers:
    """Makes the files, and counts those that are still open."""

    def __init__(self, directory: Path, space: DiskSpace, answer_bytes_max: int) -> None:
        self._directory = directory
        self._space = space
        self._answer_bytes_max = answer_bytes_max
        self._number = 0
        self._open: dict[int, int] = {}

    def check_room(self, bytes_max: int | None = None) -> None:
        """Raises SqlBusy when clients have taken too little of the answers that are there."""
        bytes_max = ANSWERS_BYTES_MAX if bytes_max is None else bytes_max
        if len(self._open) >= ANSWERS_MAX or sum(self._open.values()) >= bytes_max:
            raise SqlBusy("as many answers wait for their clients to read them as may; retry after the pause")

    @asynccontextmanager
    async def file(self) -> AsyncIterator[AnswerFile]:
        """A new file for the worker to write to; its name is gone afterwards, what has it open keeps it.

        In memory, and smaller, where the disk has no room or takes no new file: it is when a disk is full that people
        look at what is on it. Raises SqlBusy.
        """
        self.check_room()
        self._number += 1
        number = self._number
        path = self._directory / f"answer-{number}"
        file = None
        # A file system that turned read-only by an error of its own need not say so when it is asked.
        with suppress(OSError):
            file = None if self._space.is_tight else path.open("x+b")
        if file is None:
            self.check_room(IN_MEMORY_BYTES_MAX)
            descriptor = os.memfd_create("siltstone-answer")
            with os.fdopen(descriptor, "r+b") as file:
                limit = min(self._answer_bytes_max, ANSWER_IN_MEMORY_MAX)
                yield AnswerFile(number, Path(f"/proc/{os.getpid()}/fd/{descriptor}"), file, limit)
            return
        with file:
            try:
                yield AnswerFile(number, path, file, self._answer_bytes_max)
            finally:
                # What can't be removed now, on a file system that has turned read-only, the next start removes.
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def hand_out(self, answer: AnswerFile, reply: Answered) -> SqlAnswer:
        """The answer that the worker has written to the file; it counts until it is closed."""
        # A second descriptor, because the first is closed with its block.
        body = os.fdopen(os.dup(answer.file.fileno()), "rb")
        body.seek(0)
        self._open[answer.number] = reply.bytes

        def closed() -> None:
            self._open.pop(answer.number, None)

        return SqlAnswer(reply.content_type, reply.rows, reply.bytes, tuple(reply.damage), body, closed)

    def clear(self) -> None:
        """Remove what a killed daemon left."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            for left in self._directory.glob("answer-*"):
                left.unlink()
        except OSError as error:
            # Each query says so that needs the directory.
            _log.warning("the directory of SQL answers can't be cleared", reason=str(error))
