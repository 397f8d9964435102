"""A disk in memory that writes down what is done to it, and reads as a kernel would: from a cache that may be ahead of the device.

What a power cut may leave of the operations it has written down is for `crash_states` to say.
"""

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePath

from segments.direct import Data
from segments.disk import Disk
from tests.faults.faulty_disk import Died

ROOT = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """A directory gets a name for an inode (`inode` set), loses one (`gone` set), or both at once: a rename."""

    directory: int
    name: str = ""
    inode: int = -1
    gone: str = ""
    is_directory: bool = False


@dataclass(frozen=True, slots=True)
class Exchange:
    """Two names swap what they stand for, both or neither: a rename is one transaction of a file system's journal.

    It is durable once both directories were synced; `synced` are those that were.
    """

    one: Entry
    other: Entry
    synced: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Write:
    inode: int
    offset: int
    data: bytes

    def __repr__(self) -> str:
        return f"Write(inode={self.inode}, {self.offset}-{self.offset + len(self.data)})"


@dataclass(frozen=True, slots=True)
class Sync:
    """Of a file or a directory. One that failed takes what was waiting with it: a later sync will not bring it back.

    `missed` are changes that came before it returned, and too late for it.
    """

    inode: int
    failed: bool = False
    missed: "tuple[Entry | Write, ...]" = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """What the program's clients knew at this point; means nothing to the disk."""

    what: object


Change = Entry | Exchange | Write
Operation = Change | Sync | Mark


@dataclass
class Tree:
    """Directories and files by inode; both are replaced and never changed, so that copies may share them."""

    directories: dict[int, dict[str, int]] = field(default_factory=lambda: {ROOT: {}})
    files: dict[int, bytes] = field(default_factory=dict)

    def copy(self) -> "Tree":
        return Tree(dict(self.directories), dict(self.files))

    def apply(self, operation: Change) -> None:
        if isinstance(operation, Exchange):
            self.apply(operation.one)
            self.apply(operation.other)
            return
        if isinstance(operation, Write):
            self.files[operation.inode] = overwritten(self.files.get(operation.inode, b""), operation)
            return
        entries = dict(self.directories.get(operation.directory, {}))
        entries.pop(operation.gone, None)
        if operation.inode >= 0:
            entries[operation.name] = operation.inode
            if operation.is_directory:
                self.directories.setdefault(operation.inode, {})
        self.directories[operation.directory] = entries

    def walk(self, inode: int = ROOT, path: str = "") -> Iterator[tuple[str, bytes | None]]:
        """Every path that has a name, with a file's bytes, or None for a directory."""
        for name, child in sorted(self.directories.get(inode, {}).items()):
            if child in self.directories:
                yield f"{path}/{name}", None
                yield from self.walk(child, f"{path}/{name}")
            else:
                yield f"{path}/{name}", self.files.get(child, b"")


def overwritten(content: bytes, write: Write) -> bytes:
    """The file after the write; what it skips reads as zeros."""
    return content[: write.offset].ljust(write.offset, b"\0") + write.data + content[write.offset + len(write.data) :]


@dataclass(frozen=True)
class Fault:
    """Operation number `at`, counted from 1, fails with `code`, and so do those after it until there were `times`.

    With `KILL` for its code it is the process's last.
    """

    at: int
    times: int = 1
    code: int = errno.EIO

    def __str__(self) -> str:
        what = errno.errorcode[self.code] if self.code else "kill"
        return f"fault {self.at} x {self.times} {what}" if self.times else "no fault"


KILL = 0
NO_FAULT = Fault(0, 0)
ON = 1 << 62


class MemoryDisk(Disk):
    """A write that fails has written half of its data."""

    def __init__(self, tree: Tree | None = None, fault: Fault = NO_FAULT) -> None:
        self.base = tree or Tree()
        self.cache = self.base.copy()
        self.log: list[Operation] = []
        self.steps = 0
        self.failed_at = 0
        self._lost: dict[int, bytes] = {}
        self._fault = fault
        self._to_be_told: set[int] = set()
        self._descriptors: dict[int, int] = {}
        self._inodes = max(*self.base.directories, *self.base.files, ROOT, ROOT)

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    def mark(self, what: object) -> None:
        self.log.append(Mark(what))

    def _fails(self) -> bool:
        self.steps += 1
        fails = self._fault.at <= self.steps < self._fault.at + self._fault.times
        if fails and not self.failed_at:
            self.failed_at = len(self.log)
        if fails and self._fault.code == KILL:
            raise Died
        return fails

    def _step(self) -> None:
        if self._fails():
            raise OSError(self._fault.code, "injected")

    def _do(self, operation: Change) -> None:
        self.log.append(operation)
        self.cache.apply(operation)

    def _new_inode(self) -> int:
        self._inodes += 1
        return self._inodes

    def inode(self, path: PurePath) -> int:
        inode = ROOT
        for name in path.parts[1:]:
            try:
                inode = self.cache.directories[inode][name]
            except KeyError:
                raise FileNotFoundError(errno.ENOENT, "no such file", str(path)) from None
        return inode

    def create(self, path: Path, mode: int) -> int:
        self._step()
        parent = self.inode(path.parent)
        if path.name in self.cache.directories[parent]:
            raise FileExistsError(errno.EEXIST, "there is one", str(path))
        inode = self._new_inode()
        self.cache.files[inode] = b""
        self._do(Entry(parent, path.name, inode))
        return self._open(inode)

    def _open(self, inode: int) -> int:
        descriptor = max(self._descriptors, default=0) + 1
        self._descriptors[descriptor] = inode
        return descriptor

    def open_to_write(self, path: Path) -> int:
        self._step()
        return self._open(self.inode(path))

    def pwrite(self, descriptor: int, data: Data, offset: int) -> None:
        inode = self._descriptors[descriptor]
        if self._fails():
            self._do(Write(inode, offset, bytes(data[: len(data) // 2])))
            raise OSError(self._fault.code, "injected")
        self._do(Write(inode, offset, bytes(data)))

    def sync(self, descriptor: int) -> None:
        self._sync(self._descriptors[descriptor], descriptor)

    def _sync(self, inode: int, descriptor: int = 0) -> None:
        fails = self._fails()
        if fails:
            # Each descriptor that is open when pages are lost hears of it, once (Linux, errseq).
            self._to_be_told |= {other for other, its in self._descriptors.items() if its == inode}
        if fails or descriptor in self._to_be_told:
            self._to_be_told.discard(descriptor)
            # The kernel marks the pages clean: what readers see is in memory alone from now on.
            self._lost[inode] = self._device(inode)
            self.log.append(Sync(inode, failed=True))
            raise OSError(self._fault.code, "injected")
        self.log.append(Sync(inode))

    def _device(self, inode: int) -> bytes:
        """The file as it is without the writes that a failed sync has lost, and with all others."""
        content, waiting = self.base.files.get(inode, b""), list[Write]()
        for operation in self.log:
            if isinstance(operation, Write) and operation.inode == inode:
                waiting.append(operation)
            elif isinstance(operation, Sync) and operation.inode == inode:
                for write in [] if operation.failed else waiting:
                    content = overwritten(content, write)
                waiting.clear()
        return content

    def forget(self, descriptor: int) -> None:
        self._forget(self._descriptors[descriptor])

    def _forget(self, inode: int) -> None:
        if inode in self._lost:
            self.cache.files[inode] = self._lost.pop(inode)

    def close(self, descriptor: int) -> None:
        del self._descriptors[descriptor]
        self._to_be_told.discard(descriptor)

    def sync_dir(self, path: Path) -> None:
        self._sync(self.inode(path))

    def sync_path(self, path: Path) -> None:
        inode = self.inode(path)
        self._sync_or_forget(inode)
        self._forget(inode)

    def _sync_or_forget(self, inode: int) -> None:
        try:
            self._sync(inode)
        except OSError:
            self._forget(inode)
            raise

    def map_synced(self, path: Path) -> memoryview:
        inode = self.inode(path)
        self._sync_or_forget(inode)
        return memoryview(self.cache.files[inode])

    def map(self, path: Path) -> memoryview:
        return memoryview(self.read(path))

    def read(self, path: Path) -> bytes:
        inode = self.inode(path)
        if inode in self.cache.directories:
            raise IsADirectoryError(errno.EISDIR, "a directory", str(path))
        return self.cache.files[inode]

    def pieces(self, path: Path) -> Iterator[bytes]:
        yield self.read(path)

    def size(self, path: Path) -> int:
        return len(self.read(path))

    def modified_at(self, path: Path) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)

    def listdir(self, path: Path) -> list[str]:
        inode = self.inode(path)
        if inode not in self.cache.directories:
            raise NotADirectoryError(errno.ENOTDIR, "no directory", str(path))
        return sorted(self.cache.directories[inode])

    def exists(self, path: Path) -> bool:
        try:
            self.inode(path)
        except FileNotFoundError:
            return False
        return True

    def is_dir(self, path: Path) -> bool:
        return self.exists(path) and self.inode(path) in self.cache.directories

    def mkdir(self, path: Path) -> None:
        self._step()
        if self.exists(path):
            raise FileExistsError(errno.EEXIST, "there is one", str(path))
        inode = self._new_inode()
        self._do(Entry(self.inode(path.parent), path.name, inode, is_directory=True))

    def rename(self, old: Path, new: Path) -> None:
        self._step()
        assert old.parent == new.parent, (
            "a rename across directories is not one step that a directory's sync makes last"
        )
        inode = self.inode(old)
        is_directory = inode in self.cache.directories
        self._do(Entry(self.inode(old.parent), new.name, inode, old.name, is_directory))

    def exchange(self, one: Path, other: Path) -> None:
        self._step()
        self._do(Exchange(self._taking(one, other), self._taking(other, one)))

    def _taking(self, name: Path, its: Path) -> Entry:
        """The one name comes to stand for what the other stands for."""
        inode = self.inode(its)
        return Entry(self.inode(name.parent), name.name, inode, name.name, inode in self.cache.directories)

    def link(self, old: Path, new: Path) -> None:
        self._step()
        assert not self.exists(new)
        self._do(Entry(self.inode(new.parent), new.name, self.inode(old)))

    def unlink(self, path: Path) -> None:
        self._step()
        self.inode(path)
        self._do(Entry(self.inode(path.parent), gone=path.name))

    def rmdir(self, path: Path) -> None:
        self._step()
        if self.listdir(path):
            raise OSError(errno.ENOTEMPTY, "not empty", str(path))
        self._do(Entry(self.inode(path.parent), gone=path.name))
