"""Memory for large bodies as they arrive, kept for the next ones: fresh pages cost as much as what is received into them."""

import mmap
from contextlib import suppress
from weakref import WeakSet

import trio

KEPT_MAX = 2
"""So many rooms that were used before, idle or lent again: they hold memory that no budget counts, a slow sender's too."""
KEPT_S = 10.0
"""So long, to twice as long, after the last large body, and what was kept is given back."""


class BodyRooms:
    """One for the daemon."""

    def __init__(self) -> None:
        self._kept: list[mmap.mmap] = []
        # Those of requests that failed are let go of, and are in it no more.
        self._lent_again = WeakSet[mmap.mmap]()
        self._is_in_use = False

    def take(self, size_bytes: int) -> mmap.mmap:
        """Of exactly this size, with anything in it. Pages that nobody has touched before take no memory until then."""
        self._is_in_use = True
        while self._kept:
            room = self._kept.pop()
            with suppress(BufferError, OSError):
                room.resize(size_bytes)
                self._lent_again.add(room)
                return room
        return mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def give_back(self, room: mmap.mmap) -> None:
        """Nobody looks at it any more."""
        self._is_in_use = True
        self._lent_again.discard(room)
        if len(self._kept) + len(self._lent_again) < KEPT_MAX:
            self._kept.append(room)

    async def run(self) -> None:
        """Let go of what is not used, for ever."""
        while True:
            self._is_in_use = False
            await trio.sleep(KEPT_S)
            if not self._is_in_use:
                self._kept.clear()
