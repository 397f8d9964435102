"""When machine code is loaded: once enough requests or bytes have come for it to be worth its memory, or at the start, or never."""

import subprocess
from collections.abc import Callable
from enum import StrEnum

import structlog
import trio

from segments.compiled.load import MAKE, MachineCode, keep, kept, link

LOADED_AFTER_BYTES = 256 * 1024
REQUEST_BYTES_MIN = 256
"""A request counts for at least so much: its commit costs less with machine code too."""
_log = structlog.get_logger("machine code")


class When(StrEnum):
    """`--machine-code`."""

    AUTO = "auto"
    NOW = "now"
    NEVER = "never"


class WarmUp:
    """One for the daemon. `run` in one task."""

    def __init__(self, when: When, use: Callable[[MachineCode], None]) -> None:
        """`use` is called with the code, once, and may raise RuntimeError or OSError."""
        self._when = when
        self._use = use
        self._seen_bytes = 0
        self._is_wanted = trio.Event()

    def saw(self, body_bytes: int, requests: int = 1) -> None:
        """Rows are about to be stored, from bodies of so many bytes; what is refused counts for nothing."""
        if self._seen_bytes < LOADED_AFTER_BYTES:
            self._seen_bytes += max(body_bytes, REQUEST_BYTES_MIN * requests)
            if self._seen_bytes >= LOADED_AFTER_BYTES:
                self._is_wanted.set()

    async def run(self, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Load it when it is wanted, which is before this has started if it is wanted at once. Another process makes it, if it
        never was. Without it everything goes on, more slowly."""
        if self._when is When.NOW:
            await self._load()
        task_status.started()
        if self._when is When.AUTO:
            await self._is_wanted.wait()
            await self._load()

    async def _load(self) -> None:
        began = trio.current_time()
        try:
            made = b""
            code = await trio.to_thread.run_sync(kept)
            if code is None:
                code = made = (await trio.run_process(MAKE, capture_stdout=True)).stdout
            functions = await trio.to_thread.run_sync(link, code)
            if made:
                await trio.to_thread.run_sync(keep, made)
            self._use(functions)
        except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as error:
            _log.warning("can't be had, or not all of it; rows are stored more slowly", reason=repr(error))
        else:
            _log.info("loaded", took_s=round(trio.current_time() - began, 1))
