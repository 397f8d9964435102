"""A block device in user space: one file, `disk`, of a FUSE file system, which a loop device can sit on.

python -m tests.faults.block_server BASE MOUNT_POINT CONTROL RECORDING

It starts with the bytes of BASE, which it never changes, holds what is written in memory, and appends every write and flush to RECORDING
in the order in which it answers them. Linux has this as dm-log-writes and dm-flakey, which many kernels come without.
"""

import ctypes
import errno
import mmap
import os
import signal
import stat
import sys
import time
from pathlib import Path

import mfusepy

from tests.faults.block_control import Control, Operation, header

PR_SET_PDEATHSIG = 1
PR_SET_IO_FLUSHER = 57


class BlockServer(mfusepy.Operations):  # type: ignore[misc]
    """Its methods are what the kernel asks; one thread asks them, so each is whole."""

    use_ns = True

    def __init__(self, base: Path, control: Path, recording: Path) -> None:
        with base.open("rb") as file:
            self._image = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
        self._control = Control.at(control)
        self._recording = recording.open("ab", buffering=0)

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        now = time.time_ns()
        times = {"st_ctime": now, "st_mtime": now, "st_atime": now}
        if path == "/":
            return times | {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2}
        if path == "/disk":
            return times | {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": len(self._image)}
        raise mfusepy.FuseOSError(errno.ENOENT)

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", "disk"]

    def open(self, path: str, flags: int) -> int:
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return self._image[offset : offset + size]

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._meet(Operation.WRITE, offset, data)
        self._image[offset : offset + len(data)] = data
        self._record(header(offset, len(data)) + data)
        return len(data)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self._meet(Operation.FLUSH)
        self._record(header(0, 0))
        return 0

    def _meet(self, operation: Operation, offset: int = 0, data: bytes = b"") -> None:
        for rule in self._control.rules:
            if rule.meets(operation, offset, data):
                raise mfusepy.FuseOSError(rule.error)

    def _record(self, entry: bytes) -> None:
        self._recording.write(entry)
        # After the entry: whoever reads a position finds so many entries.
        self._control.position += 1


def main(base: str, mount_point: str, control: str, recording: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # When memory is short the kernel would have us wait for dirty pages to be written, which may be those that wait for
    # us. That is why the server is a process of its own and not a thread of the test. The call needs a right
    # that not every root has; without it only a machine that is all but out of memory can hang.
    libc.prctl(PR_SET_IO_FLUSHER, 1)
    server = BlockServer(Path(base), Path(control), Path(recording))
    # direct_io: without it FUSE would keep the bytes of failed writes in a page cache of its own, and of others a copy.
    mfusepy.FUSE(server, mount_point, foreground=True, nothreads=True, direct_io=True, fsname="siltstone-blocks")


if __name__ == "__main__":
    os.umask(0o077)
    main(*sys.argv[1:])
