"""Files of NDJSON, plain or compressed -> batches of whole lines that a request can hold.

The same bytes are always cut alike, whatever sizes they are read in: the key that keeps a batch from being added twice
is made of its bytes.
"""

import io
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from query.texts import printable

BATCH_BYTES_MAX = 8_000_000
"""Below the 10 MiB that a daemon takes in one request unless told otherwise."""
BLOCK_BYTES = 1 << 20
_CODECS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


class UnreadableInput(Exception):
    """A file that can't be read or sent; the message says which one, where, and why."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Whole lines, without the last one's newline; `where` says of which file, and `rows` counts those not blank."""

    where: str
    rows: int
    body: bytes


class Input(io.RawIOBase):
    """An opened file that shows its first bytes without losing them, and knows how many were taken from it."""

    def __init__(self, file: BinaryIO, *, shown: str) -> None:
        self._file = file
        self._head = b""
        self.shown = shown
        self.taken = 0

    def readable(self) -> bool:
        return True

    def peek_magic(self) -> bytes:
        self._head = self._file.read(max(len(magic) for magic in _CODECS))
        return self._head

    def read(self, size: int = -1) -> bytes:
        data, self._head = self._head or self._file.read(size), b""
        self.taken += len(data)
        return data


def shown_path(path: str) -> str:
    return "standard input" if path == "-" else printable(path)


@contextmanager
def opened(path: str) -> Generator[Input, None, None]:
    """The file, or standard input for `-`."""
    if path == "-":
        yield Input(sys.stdin.buffer, shown=shown_path(path))
        return
    with Path(path).open("rb") as file:
        yield Input(file, shown=shown_path(path))


def cut_batches(file: Input) -> Iterator[Batch]:
    """The file's lines in batches as large as they may be. Raises UnreadableInput at the line that can't be sent."""
    blocks = _blocks(file)
    pending = bytearray()
    line, ended = 1, False
    while True:
        while not ended and len(pending) <= BATCH_BYTES_MAX:
            try:
                block = next(blocks, b"")
            except OSError as error:
                raise UnreadableInput(f"{file.shown}, line {line:,} or later: can't be read: {error}") from error
            pending += block
            ended = not block
        if not pending:
            return
        end = _end_of_batch(pending)
        if end < 0:
            raise UnreadableInput(
                f"{file.shown}, line {line:,}: is longer than {BATCH_BYTES_MAX:,} bytes, the most that one request holds"
            )
        body = bytes(memoryview(pending)[:end])
        del pending[: end + 1]
        lines = body.split(b"\n")
        rows = sum(1 for text in lines if text.strip())
        yield Batch(f"{file.shown}, lines {line:,}-{line + len(lines) - 1:,}", rows, body)
        line += len(lines)


def _blocks(file: Input) -> Iterator[bytes]:
    magic = file.peek_magic()
    codec = next((codec for prefix, codec in _CODECS.items() if magic.startswith(prefix)), None)
    stream = file if codec is None else pa.CompressedInputStream(pa.PythonFile(file, mode="r"), codec)
    while block := stream.read(BLOCK_BYTES):
        yield block


def _end_of_batch(pending: bytearray) -> int:
    """Where the newline of the batch's last line stands (or would, at the end of the file); -1 when it is too far."""
    if len(pending) <= BATCH_BYTES_MAX:
        return len(pending) - pending.endswith(b"\n")
    return pending.rfind(b"\n", 0, BATCH_BYTES_MAX + 1)
