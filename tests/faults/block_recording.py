"""The recording of a block device, and what a power cut at any moment of it may have left on the medium."""

import enum
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from segments.frame import FRAME_MAGIC, SECTOR
from tests.faults.block_control import HEADER
from tests.faults.file_systems import run

BLOCK = 4096
"""Of both file systems."""


@dataclass(frozen=True)
class BlockWrite:
    """Bytes that came to the device."""

    offset: int
    data: bytes


Entry = BlockWrite | None
"""None is a flush: all that was written before it is on the medium."""


def read_entries(recording: Path) -> Iterator[Entry]:
    """In the order in which the device answered them. What has no end yet, because it is just being written, is left out."""
    with recording.open("rb") as file:
        while len(head := file.read(HEADER.size)) == HEADER.size:
            offset, length = HEADER.unpack(head)
            data = file.read(length)
            if len(data) == length:
                yield BlockWrite(offset, data) if length else None


class Left(enum.StrEnum):
    """What a power cut left of the writes that no flush vouches for: none, each of them or not or in part, or all."""

    NOTHING = "nothing"
    SOME = "some"
    EVERYTHING = "everything"


class Replay:
    """Builds images of the medium at positions of a recording; they must come in order."""

    def __init__(self, base: Path, recording: Path, scratch: Path) -> None:
        self._durable = scratch / "durable"
        _copy(base, self._durable)
        self._entries = read_entries(recording)
        self._position = 0
        self._pending: list[BlockWrite] = []

    def build(self, image: Path, position: int, left: Left, seed: int) -> None:
        """Write to `image` what a power cut after so many entries may have left, as the seed has it."""
        self._go_on_to(position)
        # Another file for each: the kernel may hold on to the one before for a moment.
        image.unlink(missing_ok=True)
        _copy(self._durable, image)
        dice = random.Random(f"{seed} {position}")
        with image.open("r+b") as file:
            for write in self._pending:
                match left:
                    case Left.EVERYTHING:
                        _apply(file, write)
                    case Left.SOME if dice.random() < 0.5:
                        for part in _torn(write, dice) if dice.random() < 0.2 else [write]:
                            _apply(file, part)

    def _go_on_to(self, position: int) -> None:
        assert position >= self._position, "positions must come in order"
        with self._durable.open("r+b") as file:
            for entry in itertools.islice(self._entries, position - self._position):
                if entry is not None:
                    self._pending.append(entry)
                    continue
                for write in self._pending:
                    _apply(file, write)
                self._pending.clear()
        self._position = position


def _apply(file: BinaryIO, write: BlockWrite) -> None:
    file.seek(write.offset)
    file.write(write.data)


def _torn(write: BlockWrite, dice: random.Random) -> Iterator[BlockWrite]:
    """Some of its parts, in any order. Those of the log are sectors; xfs takes for granted that a block of its own is
    written whole or not at all, and does not come up after a cut in its recovery that left half a directory block."""
    size = SECTOR if FRAME_MAGIC in write.data else BLOCK
    for start in range(0, len(write.data), size):
        if dice.random() < 0.5:
            yield BlockWrite(write.offset + start, write.data[start : start + size])


def _copy(old: Path, new: Path) -> None:
    """What is a hole in one is one in the other; Python's own copies would write hundreds of megabytes of zeros."""
    run("cp", "--sparse=always", str(old), str(new))
