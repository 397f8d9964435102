"""Has a daemon, and each child of it, write down what it does through its one seam to the file system.

Python imports a module of this name at its start when its folder is on PYTHONPATH; so the programs are the real ones, and
the class that they find in `segments.disk` is this one. SILTSTONE_SEAM_LOG names the file to write to.

Three more make mistakes that a test is to notice: what SILTSTONE_SEAM_UNSYNCED, a regular expression, matches the path of is
said to be synced and is not; a sync that fails of what SILTSTONE_SEAM_RETRIED matches is tried again; what SILTSTONE_SEAM_SECRET
matches is done and not written down.
"""

import os
import re
import threading
import zlib
from pathlib import Path

import segments.direct
import segments.disk

LOG = os.open(os.environ["SILTSTONE_SEAM_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
UNSYNCED, RETRIED, SECRET = (
    re.compile(os.environ.get(f"SILTSTONE_SEAM_{name}", "(?!)")) for name in ("UNSYNCED", "RETRIED", "SECRET")
)
_paths: dict[int, Path] = {}
"""By descriptor, as they were when it was opened."""


def _record(what: str, path: Path, detail: object = "") -> None:
    if not SECRET.match(what):
        # One write for a line: the children write to the same file.
        os.write(LOG, f"{threading.get_native_id()} {what} {path} {detail}\n".encode())


class RecordingDisk(segments.disk.Disk):
    """Writes down each change that was made, and each sync that returned."""

    def create(self, path: Path, mode: int) -> int:
        descriptor = super().create(path, mode)
        _paths[descriptor] = path
        _record("create", path)
        return descriptor

    def open_to_write(self, path: Path) -> int:
        descriptor = super().open_to_write(path)
        _paths[descriptor] = path
        return descriptor

    def pwrite(self, descriptor: int, data: segments.direct.Data, offset: int) -> None:
        super().pwrite(descriptor, data, offset)
        _record("write", _paths[descriptor], f"{offset}+{len(data)} {zlib.crc32(data):08x}")

    def sync(self, descriptor: int) -> None:
        path = str(_paths[descriptor])
        if not UNSYNCED.search(path):
            try:
                super().sync(descriptor)
            except OSError:
                if not RETRIED.search(path):
                    raise
                super().sync(descriptor)
        _record("sync", _paths[descriptor])

    def sync_dir(self, path: Path) -> None:
        if not UNSYNCED.search(str(path)):
            super().sync_dir(path)
        _record("sync", path)

    def sync_path(self, path: Path) -> None:
        super().sync_path(path)
        _record("sync", path)

    def map_synced(self, path: Path) -> memoryview:
        view = super().map_synced(path)
        _record("sync", path)
        return view

    def mkdir(self, path: Path) -> None:
        super().mkdir(path)
        _record("mkdir", path)

    def rename(self, old: Path, new: Path) -> None:
        super().rename(old, new)
        _record("rename", old, new)

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        _record("unlink", path)

    def rmdir(self, path: Path) -> None:
        super().rmdir(path)
        _record("rmdir", path)


segments.disk.Disk = RecordingDisk  # type: ignore[misc]
