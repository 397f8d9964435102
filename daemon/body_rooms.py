"""Memory for large bodies as they arrive, kept for the next ones: fresh pages cost as much as what is received into them."""

import mmap
from contextlib import suppress

import trio

KEPT_MAX = 2
"""Beside those that are in use; no budget counts them."""
KEPT_S = 10.0
"""So long, to twice as long, without a large body, and what was kept is given back."""


class BodyRooms:
    """One for the daemon."""

    def __init__(self) -> None:
        self._kept: list[mmap.mmap] = []
        self._is_in_use = False

    def take(self, size_bytes: int) -> mmap.mmap:
        """Of exactly this size, with anything in it. Pages that nobody has touched before take no memory until then."""
        self._is_in_use = True
        while self._kept:
            room = self._kept.pop()
            with suppress(BufferError, OSError):
                room.resize(size_bytes)
                return room
        return mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def give_back(self, room: mmap.mmap) -> None:
        """Nobody looks at it any more."""
        if len(self._kept) < KEPT_MAX:
            self._kept.append(room)

    async def run(self) -> None:
        """Let go of what is not used, for ever."""
        while True:
            self._is_in_use = False
            await trio.sleep(KEPT_S)
            if not self._is_in_use:
                self._kept.clear()
