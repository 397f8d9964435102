"""Real ext4 and xfs for a test: made in a file, mounted, cut off in the middle of whatever they do, mounted again."""

import enum
import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024
SHUTDOWN = 0x8004587D
"""FS_IOC_SHUTDOWN, the same for ext4 and xfs; with flag 2 nothing more is written, not even the journal."""
NO_LOG_FLUSH = 2
PATIENCE_S = 10.0


class CannotMount(Exception):
    """The machine lets us make no file system, or mount none; the reason says why."""


class FsKind(enum.StrEnum):
    """A kind of file system; `size_bytes` is the least that is comfortable, and sparse in its file."""

    EXT4 = "ext4"
    XFS = "xfs"

    @property
    def size_bytes(self) -> int:
        return (128 if self is FsKind.EXT4 else 320) * MIB

    def make(self, image: Path) -> None:
        """Make an empty file system in a file or on a device."""
        command = {
            FsKind.EXT4: ["mkfs.ext4", "-q", "-F", "-J", "size=4", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
            FsKind.XFS: ["mkfs.xfs", "-q", "-f"],
        }[self]
        run(*command, str(image))

    def make_in_file(self, image: Path) -> None:
        """Make an empty file system in a new sparse file. Raises CannotMount."""
        require(f"mkfs.{self}")
        with image.open("wb") as file:
            file.truncate(self.size_bytes)
        self.make(image)


def run(*command: str) -> str:
    """What a command prints. Raises OSError with what it complains of."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def require(*programs: str) -> None:
    """Raises CannotMount where these are not installed."""
    for program in programs:
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            raise CannotMount(f"{program} is not installed")


@dataclass
class FileSystem:
    """One of a kind, in an image file or on a device, mounted at a directory or not."""

    kind: FsKind
    image: Path
    mount_point: Path
    options: tuple[str, ...] = ()

    @contextmanager
    def made(self) -> Iterator["FileSystem"]:
        """Make it in a new sparse file and mount it; it is unmounted at the end. Raises CannotMount."""
        self.kind.make_in_file(self.image)
        with self.mounted():
            yield self

    @contextmanager
    def mounted(self) -> Iterator["FileSystem"]:
        """Mount what is in the image; it is unmounted at the end. Raises CannotMount."""
        require("mount", "losetup")
        self.mount_point.mkdir(exist_ok=True)
        try:
            try:
                self.mount()
            except OSError as error:
                raise CannotMount(f"this machine does not let us mount {self.kind}: {error}") from error
            yield self
        finally:
            self.unmount(lazily=True)

    def mount(self) -> None:
        """The kernel replays the journal. Raises OSError."""
        how = ",".join((*self.options, *(() if self.image.is_block_device() else ("loop",))))
        run("mount", "-t", str(self.kind), *(("-o", how) if how else ()), str(self.image), str(self.mount_point))

    @property
    def is_mounted(self) -> bool:
        """As the kernel has it: a test may be interrupted at any moment, and a file system may answer nothing any more."""
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        where = str(self.mount_point.resolve()).replace(" ", r"\040")
        return any(line.split()[4] == where for line in mounts)

    def unmount(self, *, lazily: bool = False) -> None:
        """Raises OSError when it is in use, unless `lazily`."""
        give_up_at = time.monotonic() + PATIENCE_S
        while self.is_mounted:
            try:
                run("umount", *(("-l",) if lazily else ()), str(self.mount_point))
            except OSError:
                # The kernel calls it busy also for a moment after its last file was closed.
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(0.01)

    def remount(self, how: str) -> None:
        """Change options of the mounted file system. Raises OSError."""
        run("mount", "-o", f"remount,{how}", str(self.mount_point))

    @property
    def device(self) -> str:
        """The block device that it is mounted from."""
        return run("findmnt", "-n", "-o", "SOURCE", str(self.mount_point)).strip()

    def cut_off(self) -> None:
        """From now on nothing reaches the disk, and every call fails: a power cut, but for the processes."""
        directory = os.open(self.mount_point, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(directory, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(directory)
