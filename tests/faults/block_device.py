"""The half of a block device in user space that a test holds: it starts it, has it fail, and makes sure that it is gone."""

import errno
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.block_control import Control, Operation, Rule
from tests.faults.file_systems import CannotMount, run

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0
EVERYWHERE = (0, 1 << 62)


@dataclass
class BlockDevice:
    """Made from the bytes of `base`, which stay as they are. Files of its own go to `directory`."""

    base: Path
    directory: Path
    _control: Control = field(init=False, repr=False)

    @property
    def disk(self) -> Path:
        """What a loop device takes for its file, and mkfs for a disk."""
        return self.directory / "fuse" / "disk"

    @property
    def recording(self) -> Path:
        return self.directory / "recording"

    @property
    def position(self) -> int:
        """How many writes and flushes are in the recording."""
        return self._control.position

    @contextmanager
    def attached(self) -> Iterator["BlockDevice"]:
        """Whatever is mounted from it must be unmounted when this ends. Raises CannotMount."""
        if not Path("/dev/fuse").exists():
            raise CannotMount("this machine has no /dev/fuse")
        self.disk.parent.mkdir(parents=True)
        self._control = Control.at(self.directory / "control")
        with ExitStack() as undo, (self.directory / "log").open("wb") as log:
            names = (self.base, self.disk.parent, self.directory / "control", self.recording)
            command = [sys.executable, "-m", "tests.faults.block_server", *map(str, names)]
            # In a session of its own: who interrupts a test must not take the disk from under what is still mounted.
            server = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
            # Once the server is gone, which could mount at any moment before.
            undo.callback(subprocess.run, ["umount", "-l", str(self.disk.parent)], check=False, capture_output=True)
            undo.callback(server.wait)
            # With it all that waits for the device gets an error, so nothing that is left of a test can hang.
            undo.callback(server.kill)
            self._wait_for(server)
            undo.callback(self._wait_for_loop_devices)
            yield self

    def _wait_for(self, server: "subprocess.Popen[bytes]") -> None:
        give_up_at = time.monotonic() + PATIENCE_S
        while not self.disk.exists():
            if server.poll() is not None or time.monotonic() > give_up_at:
                lines = (self.directory / "log").read_text().splitlines()
                complaints = [line for line in lines if line.startswith("fuse")] or lines[-1:]
                raise CannotMount(f"no file system in user space can be mounted here: {' '.join(complaints)}")
            time.sleep(0.01)

    def _wait_for_loop_devices(self) -> None:
        """The kernel lets go of the last one a moment after its file system is unmounted."""
        give_up_at = time.monotonic() + PATIENCE_S
        while run("losetup", "-j", str(self.disk)).strip() and time.monotonic() < give_up_at:
            time.sleep(0.01)

    def arm(
        self,
        operation: Operation,
        at: int = 1,
        *,
        onwards: bool = False,
        error: int = errno.EIO,
        within: tuple[int, int] = EVERYWHERE,
        content: bytes = b"",
    ) -> Rule:
        """Have the `at`-th write or flush from now on fail, or with `onwards` it and all after it; of writes only those are
        counted that touch a byte of `within` and have `content` in them. A failed write leaves the old bytes."""
        rule = next(one for one in self._control.rules if one.operation == Operation.NONE)
        rule.low, rule.high = within
        rule.at, rule.onwards, rule.error, rule.content = at, onwards, error, content
        rule.seen = rule.hits = 0
        # Last: the server may meet it from here on.
        rule.operation = operation
        return rule

    def disarm(self) -> None:
        for rule in self._control.rules:
            rule.disarm()
