"""The one seam to the file system: every call whose order or failure matters for durability.

Other modules of the package take a `Disk` and never call `os` for files themselves, so that tests can put a disk
underneath that fails, records or forgets what was not synced.
"""

import ctypes
import errno
import fcntl
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from segments.direct import Data, may_be_direct
from segments.errors import DataDirLocked

PIECE_BYTES = 1 << 18
"""Small enough that a processor's cache still has a piece when it is looked at: a whole file costs more than twice the time."""
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_libc = ctypes.CDLL(None, use_errno=True)
_renameat2 = getattr(_libc, "renameat2", None)


def _once(sync: Callable[[int], int], descriptor: int) -> None:
    """As `os.fsync` and its like, but not again when a signal interrupts the call, as they do: a second sync may say yes to
    what the first has lost. Raises OSError."""
    if sync(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@dataclass(frozen=True)
class Disk:
    """The real file system. All methods raise OSError as the kernel reports it. Any two of them are the same."""

    @property
    def is_bare(self) -> bool:
        """Whether its descriptors may be written to and synced without asking it; not those of a disk that stands in for it."""
        return type(self) is Disk

    def create(self, path: Path, mode: int) -> int:
        """Create a file that must not exist and return a descriptor open for writing."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)

    def open_to_write(self, path: Path) -> int:
        """A descriptor of an existing file, open for writing."""
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC)

    def pwrite(self, descriptor: int, data: Data, offset: int) -> None:
        """Write all of `data` at `offset`, past the page cache where that is faster; a short write is continued."""
        view = memoryview(data)
        if may_be_direct(data, offset):
            written = self._pwrite_directly(descriptor, view, offset)
            view, offset = view[written:], offset + written
        while view:
            written = os.pwrite(descriptor, view, offset)
            if not written:
                raise OSError(errno.EIO, "nothing of it was written")
            view, offset = view[written:], offset + written

    def _pwrite_directly(self, descriptor: int, view: memoryview, offset: int) -> int:
        """How many bytes of it were written; 0 where the file system, or the device, has no such writes."""
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)
        except OSError:
            return 0
        try:
            return os.pwrite(descriptor, view, offset)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return 0
        finally:
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)

    def sync(self, descriptor: int) -> None:
        """Return once the file's data is on stable storage. A failure is final: never sync the same file again."""
        _once(_libc.fdatasync, descriptor)

    def forget(self, descriptor: int) -> None:
        """Drop what the page cache has of the file and the device may not: after a failed sync readers would see it."""
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def sync_dir(self, path: Path) -> None:
        """Return once the directory's entries (creations, renames, removals) are on stable storage."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _once(_libc.fsync, descriptor)
        finally:
            os.close(descriptor)

    def sync_path(self, path: Path) -> None:
        """Sync a file through a descriptor of our own, then forget its cached pages.

        After a failed sync of an earlier process the page cache may hold bytes that the device never took, marked
        clean; only a read from the device tells the truth.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._sync_or_forget(descriptor)
            self.forget(descriptor)
        finally:
            os.close(descriptor)

    def _sync_or_forget(self, descriptor: int) -> None:
        try:
            _once(_libc.fdatasync, descriptor)
        except OSError:
            self.forget(descriptor)
            raise

    def map_synced(self, path: Path) -> memoryview:
        """The file as it is now, synced through our own descriptor and memory-mapped; empty for an empty file.

        The size is taken before the sync, so that the view holds nothing that a power cut could still take back.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            self._sync_or_forget(descriptor)
            if size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(descriptor, size, access=mmap.ACCESS_READ))
        finally:
            os.close(descriptor)

    def map(self, path: Path) -> memoryview:
        """The file as it is now, memory-mapped; empty for an empty file. For files that are never cut or overwritten."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            return memoryview(mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) if size else b"")
        finally:
            os.close(descriptor)

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def pieces(self, path: Path) -> Iterator[bytes]:
        """The same bytes, PIECE_BYTES at a time."""
        with path.open("rb", buffering=0) as file:
            while piece := file.read(PIECE_BYTES):
                yield piece

    def size(self, path: Path) -> int:
        return path.stat().st_size

    def modified_at(self, path: Path) -> datetime:
        """When the file, or the entries of the directory, changed last; UTC."""
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)

    def listdir(self, path: Path) -> list[str]:
        """Names in the directory, sorted."""
        return sorted(os.listdir(path))

    def exists(self, path: Path) -> bool:
        return path.exists()

    def is_dir(self, path: Path) -> bool:
        """Whether the path is itself a directory, and not a link to one."""
        return path.is_dir() and not path.is_symlink()

    def mkdir(self, path: Path) -> None:
        path.mkdir(mode=0o750)

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)

    def exchange(self, one: Path, other: Path) -> None:
        """Swap what two names stand for, as one step: whoever looks sees both as they were or both as they are."""
        if _renameat2 is None:
            raise OSError(errno.ENOSYS, "renameat2 is not there", str(one))
        if _renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(one))

    def link(self, old: Path, new: Path) -> None:
        """Give a file one more name."""
        os.link(old, new)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def rmdir(self, path: Path) -> None:
        path.rmdir()

    def lock(self, path: Path) -> int:
        """Take the lock file for the life of the returned descriptor; raises DataDirLocked when another has it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise DataDirLocked(
                "another siltstoned owns this data directory; stop it first, or give a second daemon its own --data",
                path=path,
            ) from None
        return descriptor


FOR_READERS = 0o640
FOR_OWNER = 0o600
"""Modes of new files; a file has its own from the first byte on."""


def publish(disk: Disk, path: Path, data: bytes, *, mode: int = FOR_READERS) -> None:
    """Put a whole file at `path`, replacing any other, durable when this returns; readers see the old or the new.

    On failure the target is untouched, or already the new one with its directory entry not known durable.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    if disk.exists(temporary):
        disk.unlink(temporary)
    try:
        descriptor = disk.create(temporary, mode)
        try:
            disk.pwrite(descriptor, data, 0)
            disk.sync(descriptor)
        finally:
            disk.close(descriptor)
        disk.rename(temporary, path)
    except OSError:
        # A disk that is full for a while must not be littered meanwhile.
        with suppress(OSError):
            disk.unlink(temporary)
        raise
    disk.sync_dir(path.parent)


def remove_tree(disk: Disk, path: Path) -> None:
    """Delete a directory with all that is in it."""
    for name in disk.listdir(path):
        child = path / name
        if disk.is_dir(child):
            remove_tree(disk, child)
        else:
            disk.unlink(child)
    disk.rmdir(path)
