"""When to merge the small segments of days that are over: one group of one source at a time.

All sources are looked at in turn, running or not, and again some time later; a look lists names and reads a few footers.
"""

from collections import deque
from datetime import UTC, datetime

import structlog
import trio

from daemon.compaction_child import run_child
from daemon.compaction_worker import Orders
from daemon.disk_space import DiskSpace, NoRoom
from daemon.sources import Sources
from segments.disk import Disk
from segments.errors import StorageError
from segments.merge import is_merge_due

LOOK_EVERY_S = 1800.0
_log = structlog.get_logger("merger")


class Merger:
    """Part of the compactor, which leaves the source alone that is `merging`."""

    def __init__(self, sources: Sources, disk: Disk, space: DiskSpace, *, lock_descriptor: int) -> None:
        self._sources = sources
        self._disk = disk
        self._space = space
        self._lock_descriptor = lock_descriptor
        self._waiting: deque[str] = deque()
        self._look_at = trio.current_time()
        self._can_merge = True
        self.merging = ""

    async def step(self) -> None:
        """Look at one source, and merge one group of it if there is one."""
        if not self._waiting and trio.current_time() >= self._look_at:
            self._waiting.extend(self._sources.names)
            self._look_at = trio.current_time() + LOOK_EVERY_S
        if self._waiting and self._can_merge:
            name = self._waiting.popleft()
            if await trio.to_thread.run_sync(self._is_due, name, abandon_on_cancel=True) and await self._merge(name):
                # There may be more of it.
                self._waiting.appendleft(name)

    def _is_due(self, name: str) -> bool:
        try:
            self._space.check()
            return is_merge_due(self._disk, self._sources.directory(name), now=datetime.now(UTC))
        except (NoRoom, StorageError, OSError):
            # Damage is told by who must write or read the rows. A source may also have been dropped meanwhile.
            return False

    async def _merge(self, name: str) -> bool:
        """Whether a group was merged."""
        try:
            # So that requests for it need not wait: only who recovers a source has to.
            actor = await self._sources.get(name)
        except (StorageError, OSError):
            return False
        self.merging = name
        try:
            async with self._sources.hold(name):
                if self._sources.peek(name) is not actor or actor.log.damage:
                    return False
                path = str(actor.log.source.path)
                results = await run_child(Orders(merge=(path,)), lock_descriptor=self._lock_descriptor)
        finally:
            self.merging = ""
        for result in results:
            if result.error:
                # All sources are on one file system: what it refuses for one it refuses for all.
                self._can_merge = result.can_merge
                _log.error("small files could not be merged", source=name, reason=result.error)
            elif result.segments:
                _log.info("merged", source=name, lsns=result.lsns)
        return any(result.segments for result in results)
