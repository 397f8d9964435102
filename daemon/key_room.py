"""Makes room for idempotency keys when they take nearly all the memory that they may."""

from time import time

import trio

from daemon.inbox import ActorClosing, ActorFailed
from daemon.sources import Sources
from segments.errors import StorageError
from segments.source_log import SourceLog

TICK_S = 1.0
EXPIRE_EVERY_S = 60.0
TIGHT = 7 / 8


class KeyRoom:
    """Closes sources that have nothing to do, whose keys are in their files, and has the others forget what is too old."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._expire_at = trio.current_time()

    async def run(self) -> None:
        """For ever."""
        while True:
            await trio.sleep(TICK_S)
            excess = self._sources.key_memory.excess(TIGHT)
            if not excess:
                continue
            self._close_idle(excess)
            if trio.current_time() >= self._expire_at:
                await self._expire()
                self._expire_at = trio.current_time() + EXPIRE_EVERY_S

    def _close_idle(self, excess: int) -> None:
        for actor in sorted(self._sources.running, key=lambda one: len(one.log.keys), reverse=True):
            if excess > 0 and len(actor.log.keys) and actor.is_idle:
                actor.close()
                excess -= len(actor.log.keys)

    async def _expire(self) -> None:
        """A source forgets by itself only when it is sent a key."""

        def expire(log: SourceLog) -> None:
            log.keys.expire(int(time()))

        for actor in self._sources.running:
            try:
                await actor.perform(expire)
            except (ActorClosing, ActorFailed, StorageError, OSError):
                # It holds no keys any more.
                continue
