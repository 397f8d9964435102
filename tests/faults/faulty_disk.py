"""A disk that fails or dies at a chosen operation, and knows which operations there were."""

import errno
from pathlib import Path

from segments.direct import Data
from segments.disk import Disk


class Died(BaseException):
    """The process was killed at this point; not an Exception, so that no code can go on after it."""


class FaultyDisk(Disk):
    """Real files, but the n-th operation that changes them fails (once or for ever) or is the process's last.

    `at` counts from 1; 0 never fails, which counts the operations of a run.
    """

    def __init__(self, at: int = 0, *, fault: str = "fail once", code: int = errno.EIO) -> None:
        self._at = at
        self._fault = fault
        self._code = code
        self.operations: list[str] = []

    def _step(self, operation: str) -> None:
        self.operations.append(operation)
        reached = len(self.operations)
        if reached == self._at and self._fault == "die":
            raise Died
        hit = reached == self._at or (self._fault == "fail on" and self._at and reached > self._at)
        if hit and self._fault in ("fail once", "fail on"):
            raise OSError(self._code, "injected")

    def create(self, path: Path, mode: int) -> int:
        self._step(f"create {path.name}")
        return super().create(path, mode)

    def open_to_write(self, path: Path) -> int:
        self._step(f"open {path.name}")
        return super().open_to_write(path)

    def pwrite(self, descriptor: int, data: Data, offset: int) -> None:
        try:
            self._step("pwrite")
        except Died:
            # A write cut by the death of the process leaves any part of itself behind.
            super().pwrite(descriptor, data[: len(data) // 2], offset)
            raise
        super().pwrite(descriptor, data, offset)

    def close(self, descriptor: int) -> None:
        # It is closed whatever else is said.
        super().close(descriptor)
        self._step("close")

    def sync(self, descriptor: int) -> None:
        self._step("sync")
        super().sync(descriptor)

    def sync_dir(self, path: Path) -> None:
        self._step(f"sync_dir {path.name}")
        super().sync_dir(path)

    def mkdir(self, path: Path) -> None:
        self._step(f"mkdir {path.name}")
        super().mkdir(path)

    def rename(self, old: Path, new: Path) -> None:
        self._step(f"rename {new.name}")
        super().rename(old, new)

    def exchange(self, one: Path, other: Path) -> None:
        self._step(f"exchange {other.name}")
        super().exchange(one, other)

    def link(self, old: Path, new: Path) -> None:
        self._step(f"link {new.name}")
        super().link(old, new)

    def unlink(self, path: Path) -> None:
        self._step(f"unlink {path.name}")
        super().unlink(path)
