"""Real files that lose, when the power is cut, what was not synced: bytes, and names in directories.

It enumerates nothing, that is `memory_disk`'s; it leaves one state, as a seed says, and long sequences of calls go on from it.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random

from segments.direct import Data
from segments.disk import Disk
from segments.frame import SECTOR
from tests.faults.faulty_disk import FaultyDisk

NOTHING_KEPT = 0
"""As a seed of `cut`: everything that was not synced is lost. Any other loses some of it."""


@dataclass(frozen=True, slots=True)
class _Change:
    """What was done to the names in a directory: `new` came, from `old` or from nothing; `old` went. `saved` is what had
    stood under the name before, or what went. Or what `new` stands for was swapped with `swapped`."""

    old: str = ""
    new: str = ""
    saved: Path | None = None
    swapped: Path | None = None


class VolatileDisk(Disk):
    """Real syncs are not made: what is durable is what this class says, and the machine's own power is not cut."""

    def __init__(self, attic: Path) -> None:
        self._attic = attic
        self._numbers = count()
        self._synced: dict[int, int] = {}
        self._lost: set[int] = set()
        self._open: set[int] = set()
        self._changes: dict[Path, list[_Change]] = {}

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VolatileDisk)

    def _save(self, path: Path) -> Path | None:
        if not path.is_file():
            return None
        saved = self._attic / str(next(self._numbers))
        saved.hardlink_to(path)
        return saved

    def _note(self, directory: Path, change: _Change) -> None:
        self._changes.setdefault(directory, []).append(change)

    def create(self, path: Path, mode: int) -> int:
        descriptor = super().create(path, mode)
        inode = path.stat().st_ino
        self._synced[inode] = 0
        self._lost.discard(inode)
        self._note(path.parent, _Change(new=path.name))
        self._open.add(descriptor)
        return descriptor

    def open_to_write(self, path: Path) -> int:
        descriptor = super().open_to_write(path)
        self._open.add(descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        super().close(descriptor)

    def die(self) -> None:
        """The process is gone, and the kernel closes its files."""
        for descriptor in list(self._open):
            self.close(descriptor)

    def sync(self, descriptor: int) -> None:
        self._sync_file(Path(f"/proc/self/fd/{descriptor}"))

    def _sync_file(self, path: Path) -> None:
        found = path.stat()
        if found.st_ino not in self._lost:
            self._synced.pop(found.st_ino, None)

    def pwrite(self, descriptor: int, data: Data, offset: int) -> None:
        found = Path(f"/proc/self/fd/{descriptor}").stat()
        self._synced.setdefault(found.st_ino, found.st_size)
        super().pwrite(descriptor, data, offset)

    def lose(self, descriptor: int) -> None:
        """A sync has failed: the kernel calls the pages clean, and no later sync will write them."""
        found = Path(f"/proc/self/fd/{descriptor}").stat()
        if found.st_ino in self._synced:
            self._lost.add(found.st_ino)

    def forget(self, descriptor: int) -> None:
        self._forget(Path(f"/proc/self/fd/{descriptor}"))

    def _forget(self, path: Path) -> None:
        inode = path.stat().st_ino
        if inode in self._lost:
            self._lost.discard(inode)
            synced = self._synced.pop(inode)
            # A failed sync may have written everything all the same.
            if next(self._numbers) % 2:
                _shorten(path, synced)

    def sync_path(self, path: Path) -> None:
        self._sync_file(path)
        self._forget(path)

    def map_synced(self, path: Path) -> memoryview:
        self._sync_file(path)
        return self.map(path)

    def sync_dir(self, path: Path) -> None:
        self._settle(path)

    def _settle(self, path: Path) -> None:
        for change in self._changes.pop(path, []):
            if change.saved:
                change.saved.unlink()

    def mkdir(self, path: Path) -> None:
        super().mkdir(path)
        self._note(path.parent, _Change(new=path.name))

    def rename(self, old: Path, new: Path) -> None:
        assert old.parent == new.parent, "a rename across directories is not one change"
        self._note(old.parent, _Change(old.name, new.name, self._save(new)))
        super().rename(old, new)
        self._move_changes(old, new)

    def _move_changes(self, old: Path, new: Path) -> None:
        for directory in list(self._changes):
            if directory.is_relative_to(old):
                self._changes[new / directory.relative_to(old)] = self._changes.pop(directory)

    def exchange(self, one: Path, other: Path) -> None:
        # Durable with the directory of the second; a legal disk, on which the first's is synced for nothing.
        super().exchange(one, other)
        self._note(other.parent, _Change(new=other.name, swapped=one))
        self._swap_changes(one, other)

    def _swap_changes(self, one: Path, other: Path) -> None:
        aside = one.with_name(".swapping")
        for old, new in ((one, aside), (other, one), (aside, other)):
            self._move_changes(old, new)

    def link(self, old: Path, new: Path) -> None:
        super().link(old, new)
        self._note(new.parent, _Change(new=new.name))

    def unlink(self, path: Path) -> None:
        self._note(path.parent, _Change(old=path.name, saved=self._save(path)))
        super().unlink(path)

    def rmdir(self, path: Path) -> None:
        # As if it were durable at once, with all that was done before it: a legal disk, and an empty one is of no interest.
        super().rmdir(path)
        self._settle(path)
        self._settle(path.parent)

    def cut(self, root: Path, seed: int) -> None:
        """Cut the power of everything under `root`: all that is left is durable."""
        random = Random(seed)
        for directory in sorted(self._changes, key=lambda path: (len(path.parts), path), reverse=True):
            changes = self._changes[directory]
            kept = random.randint(0, len(changes)) if seed != NOTHING_KEPT else 0
            for change in reversed(changes[kept:]):
                self._undo(directory, change)
        for path in sorted(root.rglob("*")):
            found = path.stat()
            if path.is_file() and found.st_ino in self._synced:
                _tear(path, self._synced[found.st_ino], random if seed != NOTHING_KEPT else None)
        for saved in self._attic.iterdir():
            saved.unlink()
        self._synced.clear()
        self._lost.clear()
        self._changes.clear()

    def _undo(self, directory: Path, change: _Change) -> None:
        if change.swapped is not None:
            super().exchange(change.swapped, directory / change.new)
            self._swap_changes(change.swapped, directory / change.new)
        elif change.old and change.new:
            (directory / change.new).rename(directory / change.old)
            self._move_changes(directory / change.new, directory / change.old)
        elif change.new and (directory / change.new).is_dir():
            shutil.rmtree(directory / change.new)
        elif change.new:
            (directory / change.new).unlink()
        if change.saved:
            change.saved.rename(directory / (change.new or change.old))


def _shorten(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def _tear(path: Path, synced: int, random: Random | None) -> None:
    """Of the bytes after `synced` any may have been written, by sectors: the file may be long and the bytes not there."""
    data = bytearray(path.read_bytes())
    if random is not None:
        for start in range(synced - synced % SECTOR, len(data), SECTOR):
            at = max(start, synced)
            fate = random.choice(("kept", "kept", "zeros", "rubbish"))
            if fate != "kept":
                end = min(start + SECTOR, len(data))
                data[at:end] = random.randbytes(end - at) if fate == "rubbish" else bytes(end - at)
    size = synced if random is None else random.choice((len(data), random.randint(synced, len(data))))
    path.write_bytes(data[:size])


class BrittleDisk(FaultyDisk, VolatileDisk):
    """A volatile disk with one thing to happen at the n-th operation from `arm` on: an error, a death, or a look by a
    reader who comes at that moment."""

    def __init__(self, attic: Path) -> None:
        FaultyDisk.__init__(self)
        VolatileDisk.__init__(self, attic)
        self._look: Callable[[], None] | None = None

    __hash__ = object.__hash__

    def arm(self, fault: str, at: int, look: Callable[[], None] | None = None) -> None:
        self.operations.clear()
        self._fault, self._at, self._look = fault, at, look

    def disarm(self) -> None:
        self.arm("", 0)

    def _step(self, operation: str) -> None:
        super()._step(operation)
        if self._look is not None and len(self.operations) == self._at:
            self._look()

    def sync(self, descriptor: int) -> None:
        try:
            super().sync(descriptor)
        except OSError:
            self.lose(descriptor)
            raise
