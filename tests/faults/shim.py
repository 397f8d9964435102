"""Faults and power cuts on the real process, from outside: the half of shim.c that a test holds.

shim = Shim(tmp_path / "shim", tmp_path / "data", volatile=True)
daemon = start(env=shim.env)
shim.arm(Kind.SYNC, Fault.FAIL, at=3)
...
shim.cut_power(daemon)
daemon.start()
"""

import ctypes
import enum
import errno
import fcntl
import mmap
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

from tests.daemons import Daemon

SOURCE = Path(__file__).with_name("shim.c")


class Kind(enum.IntFlag):
    """Calls, of files under the data directory only. OPEN is of what exists, directories too; UNLINK is rmdir too."""

    WRITE = enum.auto()
    SYNC = enum.auto()
    SYNC_DIR = enum.auto()
    RENAME = enum.auto()
    OPEN = enum.auto()
    CREATE = enum.auto()
    UNLINK = enum.auto()
    MKDIR = enum.auto()


class Role(enum.IntFlag):
    """Whose calls: the daemon's, its compaction child's, or another process's, which is the SQL worker."""

    DAEMON = enum.auto()
    COMPACTOR = enum.auto()
    OTHER = enum.auto()


class Fault(enum.IntEnum):
    """What becomes of the call. SHORT writes half; LIE says success and does nothing; the others speak for themselves."""

    NONE = 0
    FAIL = 1
    SHORT = 2
    LIE = 3
    DELAY = 4
    KILL = 5
    KILL_AFTER = 6


class Rule(ctypes.Structure):
    """One fault, shared with the processes; `seen` calls could have met it so far, `hits` of them have."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("fault", "kinds", "roles", "at", "onwards", "error", "delay_ms")),
        *((name, ctypes.c_uint32) for name in ("whole_group", "seen", "hits")),
        ("scope", ctypes.c_char * 64),
    )
    fault: int
    seen: int
    hits: int

    def disarm(self) -> None:
        self.fault = Fault.NONE


class _Control(ctypes.Structure):
    _fields_ = (
        ("is_volatile", ctypes.c_uint32),
        ("is_dead", ctypes.c_uint32),
        ("clock_ahead_s", ctypes.c_int32),
        ("calls", (ctypes.c_uint32 * len(Kind)) * len(Role)),
        ("rules", Rule * 64),
    )


class Shim:
    """One for a data directory and the lives of its daemon. Files of its own go to `directory`, beside `data`.

    With `volatile`, what was not synced is lost by `cut_power`, and by a kill that is armed with `power=True`.
    """

    def __init__(self, directory: Path, data: Path, *, volatile: bool = False) -> None:
        directory.mkdir()
        data.mkdir(exist_ok=True)
        self.data = data
        self._arming = threading.Lock()
        self._image = directory / "image"
        library = directory / "shim.so"
        flags = ("-shared", "-fPIC", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror")
        subprocess.run(["gcc", *flags, "-o", library, SOURCE], check=True)
        path = directory / "control"
        path.write_bytes(bytes(ctypes.sizeof(_Control)))
        with path.open("r+b") as file:
            self._control = _Control.from_buffer(mmap.mmap(file.fileno(), 0))
        self._control.is_volatile = volatile
        self.adopt()
        self.env = {
            "LD_PRELOAD": str(library),
            "SHIM_CONTROL": str(path),
            "SHIM_DATA": str(data),
            "SHIM_IMAGE": str(self._image),
        }

    def arm(
        self,
        kinds: Kind,
        fault: Fault,
        at: int = 1,
        *,
        onwards: bool = False,
        error: int = errno.EIO,
        roles: Role = Role.DAEMON | Role.COMPACTOR,
        scope: str = "",
        delay_ms: int = 0,
        power: bool = False,
    ) -> Rule:
        """Have the `at`-th call from now on, counted over all these kinds and roles, meet the fault; `onwards`: and all
        after it. 0 counts and does nothing.

        `scope`: only calls on paths with this in them are counted, where a path ends with a $. A KILL ends the calling
        process, or with `power` all of them at once, with what was not synced. What is returned is good until disarmed.
        """
        with self._arming:
            rule: Rule = next(one for one in self._control.rules if one.fault == Fault.NONE)
            ctypes.memset(ctypes.byref(rule), 0, ctypes.sizeof(rule))
            rule.kinds, rule.roles, rule.at, rule.onwards = kinds, roles, at, onwards
            rule.error, rule.delay_ms, rule.whole_group, rule.scope = error, delay_ms, power, scope.encode()
            # Last: a process may meet it from here on.
            rule.fault = fault
        return rule

    def disarm(self) -> None:
        for rule in self._control.rules:
            rule.disarm()

    def set_clock(self, *, ahead_s: int) -> None:
        """Have the wall clock of all processes jump to so many seconds ahead of the true time, or behind it."""
        self._control.clock_ahead_s = ahead_s

    @property
    def is_dead(self) -> bool:
        """Whether a fault has cut the power."""
        return bool(self._control.is_dead)

    def calls(self, kinds: Kind, roles: Role = Role.DAEMON | Role.COMPACTOR) -> int:
        """How many calls there have been since the beginning."""
        rows = [row for role, row in zip(Role, self._control.calls, strict=True) if role in roles]
        return sum(count for row in rows for kind, count in zip(Kind, row, strict=True) if kind in kinds)

    def cut_power(self, daemon: Daemon) -> None:
        """Kill all processes at one moment, or find them killed, and leave in `data` what was synced by then."""
        self._control.is_dead = 1
        end_all(daemon)
        self.disarm()
        if self._control.is_volatile:
            left = self.data.with_name(self.data.name + ".left")
            self.show_power_cut(left)
            shutil.rmtree(self.data)
            left.rename(self.data)
            self.adopt()
        self._control.is_dead = 0

    def show_power_cut(self, target: Path, *parts: str) -> None:
        """Make at `target` what a power cut at this moment would leave of the directory DATA/parts; all goes on."""
        with (self._image / "lock").open("a") as lock:
            # So that it is one moment for all files.
            fcntl.flock(lock, fcntl.LOCK_EX)
            inode: int | None = self.data.stat().st_ino
            for part in parts:
                inode = None if inode is None else {name: one for _, one, name in self._entries(inode)}.get(part)
            if inode is not None:
                self._restore(inode, target)

    def _entries(self, inode: int) -> list[tuple[str, int, str]]:
        """Type, inode and name of what a directory durably holds."""
        listing = self._image / f"d{inode}"
        lines = [line.split(" ", 2) for line in listing.read_text().splitlines()] if listing.exists() else []
        return [(kind, int(child), name) for kind, child, name in lines]

    def _restore(self, inode: int, directory: Path) -> None:
        directory.mkdir(mode=0o750)
        for kind, child, name in self._entries(inode):
            content = self._image / f"f{child}"
            if kind == "d":
                self._restore(child, directory / name)
            elif content.exists():
                shutil.copy(content, directory / name)
            else:
                (directory / name).touch()

    def adopt(self) -> None:
        """Take all that is in `data` for durable."""
        shutil.rmtree(self._image, ignore_errors=True)
        self._image.mkdir()
        for path in (self.data, *self.data.rglob("*")):
            inode = path.stat().st_ino
            if path.is_dir():
                entries = [(child, child.stat().st_ino) for child in path.iterdir()]
                lines = [f"{'d' if child.is_dir() else 'f'} {number} {child.name}\n" for child, number in entries]
                (self._image / f"d{inode}").write_text("".join(lines))
            else:
                shutil.copy(path, self._image / f"f{inode}")


def end_all(daemon: Daemon) -> None:
    """Until no process of the daemon's group runs; the dead that nobody has buried yet do no harm."""
    group = daemon.process.pid
    daemon.end()
    deadline = time.monotonic() + 60
    while _runs(group):
        assert time.monotonic() < deadline, f"processes of group {group} outlive SIGKILL"
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            return
        time.sleep(0.002)


def _runs(group: int) -> bool:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(") ")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_group) == group and state not in "ZX":
            return True
    return False
