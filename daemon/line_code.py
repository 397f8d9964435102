"""When the machine code that reads lines is loaded: once enough rows have come for it to be worth a second and its memory."""

import structlog
import trio

from segments.line_reader import load

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
        """Load it, in a thread, when it is wanted. Without it everything goes on, more slowly."""
        await self._is_wanted.wait()
        began = trio.current_time()
        try:
            await trio.to_thread.run_sync(load, abandon_on_cancel=True)
        except Exception as error:  # noqa: BLE001 -- numba unpickles what it kept, which may be torn: a power cut raises anything
            _log.warning(
                "the machine code that reads lines can't be loaded; they are read more slowly", reason=repr(error)
            )
        else:
            _log.info("the machine code that reads lines is loaded", took_s=round(trio.current_time() - began, 1))
