"""When the machine code that reads lines is loaded: once enough rows have come for it to be worth its memory."""

import subprocess

import structlog
import trio

from segments.compiled.load import MAKE, keep, kept
from segments.line_reader import use

BODY_BYTES_MIN = 1024
"""Smaller bodies are read faster without it."""
LOADED_AFTER_BYTES = 256 * 1024
_log = structlog.get_logger("lines")


class LineCode:
    """One for the daemon. `run` in one task."""

    def __init__(self) -> None:
        self._seen_bytes = 0
        self._is_wanted = trio.Event()

    def saw(self, body_bytes: int) -> None:
        """The rows of a body of so many bytes are about to be stored; what is refused counts for nothing."""
        if body_bytes >= BODY_BYTES_MIN and self._seen_bytes < LOADED_AFTER_BYTES:
            self._seen_bytes += body_bytes
            if self._seen_bytes >= LOADED_AFTER_BYTES:
                self._is_wanted.set()

    async def run(self) -> None:
        """Load it when it is wanted, and have another process make it before, if it never was. Without it everything goes on, more slowly."""
        await self._is_wanted.wait()
        began = trio.current_time()
        try:
            code = await trio.to_thread.run_sync(kept)
            if code is None:
                code = (await trio.run_process(MAKE, capture_stdout=True)).stdout
                await trio.to_thread.run_sync(use, code)
                await trio.to_thread.run_sync(keep, code)
            else:
                await trio.to_thread.run_sync(use, code)
        except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as error:
            _log.warning(
                "the machine code that reads lines can't be loaded; they are read more slowly", reason=repr(error)
            )
        else:
            _log.info("the machine code that reads lines is loaded", took_s=round(trio.current_time() - began, 1))
