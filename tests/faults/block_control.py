"""What a block device in user space and the test that made it share: a mapped file, with its position and its faults, and
what entries of its recording begin with. The server starts in no time because it imports no more than this."""

import ctypes
import enum
import mmap
import struct
from pathlib import Path

HEADER = struct.Struct("<QQ")


def header(offset: int, length: int) -> bytes:
    """Of an entry of the recording, whose bytes follow. A flush has no length."""
    return HEADER.pack(offset, length)


class Operation(enum.IntEnum):
    """What a rule is about; NONE: it is no rule."""

    NONE = 0
    WRITE = 1
    FLUSH = 2


class Rule(ctypes.Structure):
    """A fault. `seen` operations could have met it so far, `hits` of them have."""

    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("low", "high")),
        *((name, ctypes.c_uint32) for name in ("operation", "at", "onwards", "error", "seen", "hits")),
        ("content", ctypes.c_char * 32),
    )
    low: int
    high: int
    operation: int
    at: int
    onwards: int
    error: int
    seen: int
    hits: int
    content: bytes

    def meets(self, operation: Operation, offset: int = 0, data: bytes = b"") -> bool:
        """Whether this operation is to fail. Counts it."""
        if self.operation != operation:
            return False
        if operation == Operation.WRITE and not (offset < self.high and offset + len(data) > self.low):
            return False
        if self.content and self.content not in data:
            return False
        self.seen += 1
        is_hit = self.seen == self.at or (bool(self.onwards) and self.seen > self.at)
        self.hits += is_hit
        return is_hit

    def disarm(self) -> None:
        self.operation = Operation.NONE


class Control(ctypes.Structure):
    """`position`: how many writes and flushes are in the recording."""

    _fields_ = (("position", ctypes.c_uint64), ("rules", Rule * 16))
    position: int
    rules: "ctypes.Array[Rule]"

    @classmethod
    def at(cls, path: Path) -> "Control":
        """The one in this file, which is made when it is not there."""
        if not path.exists():
            path.write_bytes(bytes(ctypes.sizeof(cls)))
        with path.open("r+b") as file:
            return cls.from_buffer(mmap.mmap(file.fileno(), ctypes.sizeof(cls)))
