"""A limit on the memory of a process and of its children, by the kernel's control groups."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class ControlGroup:
    """A group of processes that together may have so much memory, and are killed when they take more."""

    path: Path
    is_unified: bool

    @classmethod
    def made(cls, *, limit_bytes: int) -> Self:
        """Skips the test where the machine lets us make none."""
        is_unified = (ROOT / "cgroup.controllers").exists()
        path = (ROOT if is_unified else ROOT / "memory") / f"siltstone-{os.getpid()}"
        group = cls(path, is_unified)
        try:
            path.mkdir()
            (path / ("memory.max" if is_unified else "memory.limit_in_bytes")).write_text(str(limit_bytes))
        except OSError as error:
            if path.exists():
                path.rmdir()
            pytest.skip(f"this machine lets us make no control group with a memory limit: {error}")
        return group

    @property
    def prefix(self) -> tuple[str, ...]:
        """What is put before a command to have it run in the group."""
        return ("sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self.path / "cgroup.procs"))

    @property
    def kills(self) -> int:
        """How many processes the kernel has killed for want of memory."""
        events = self.path / ("memory.events" if self.is_unified else "memory.oom_control")
        return next(int(line.split()[1]) for line in events.read_text().splitlines() if line.startswith("oom_kill "))

    def remove(self) -> None:
        """After the end of its processes."""
        self.path.rmdir()
