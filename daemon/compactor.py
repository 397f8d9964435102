"""When to compact: rows that are old enough, or in files that are full. Beside it days are merged."""

from contextlib import AsyncExitStack
from pathlib import Path

import structlog
import trio

from daemon.compaction_child import run_child
from daemon.compaction_worker import Orders
from daemon.inbox import ActorClosing, ActorFailed
from daemon.ingest import Ingest
from daemon.merger import Merger
from daemon.sources import Sources
from segments.errors import StorageError
from segments.filenames import Lsn

TICK_S = 0.25
RETRY_AFTER_S = 30.0
LOOKED_AT_ONCE = 500
"""Of ten thousand sources so many, and then requests get their turn."""
_log = structlog.get_logger("compactor")


class Compactor:
    """Runs beside the actors; one child at a time compacts, and one merges."""

    def __init__(self, sources: Sources, merger: Merger, *, interval_s: float, lock_descriptor: int) -> None:
        self._sources = sources
        self._merger = merger
        self._interval_s = interval_s
        self._lock_descriptor = lock_descriptor
        self._not_before: dict[Path, float] = {}
        self._alone: set[Path] = set()

    async def run(self) -> None:
        """Compact what is due and merge, for ever. Being cancelled kills the children, which is safe at any moment."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._merge)
            await self._compact_what_is_due()

    async def _merge(self) -> None:
        """In a child of its own: a group of large days takes a while, in which other sources must be compacted."""
        while True:
            await trio.sleep(TICK_S)
            await self._merger.step()

    async def _compact_what_is_due(self) -> None:
        while True:
            await trio.sleep(TICK_S)
            due = await self._due()
            for actor in [one for one in due if one.log.source.path in self._alone]:
                due.remove(actor)
                async with self._sources.hold(actor.log.source.name):
                    await self._compact([actor])
            if due:
                async with AsyncExitStack() as held:
                    for actor in list(due):
                        if actor.log.source.name == self._merger.merging:
                            # It was not when we began to wait for the others.
                            due.remove(actor)
                        else:
                            await held.enter_async_context(self._sources.hold(actor.log.source.name))
                    if due:
                        await self._compact(due)

    async def _due(self) -> list[Ingest]:
        due = []
        running = self._sources.running
        for start in range(0, len(running), LOOKED_AT_ONCE):
            now = trio.current_time()
            some = running[start : start + LOOKED_AT_ONCE]
            due += [actor for actor in some if actor.is_due(now, self._interval_s) and self._may_be_compacted(actor)]
            await trio.lowlevel.checkpoint()
        return due

    def _may_be_compacted(self, actor: Ingest) -> bool:
        source = actor.log.source
        waits = trio.current_time() < self._not_before.get(source.path, 0.0) or source.name == self._merger.merging
        return not waits and not actor.log.damage

    async def _compact(self, actors: list[Ingest]) -> None:
        by_path = {}
        for actor in actors:
            try:
                await actor.seal()
            except (ActorClosing, ActorFailed, StorageError) as error:
                self._postpone(actor, f"the log could not be sealed: {error}")
            else:
                by_path[str(actor.log.source.path)] = actor
        orders = Orders(compact={path: actor.log.sealed_lsn for path, actor in by_path.items()})
        for result in await run_child(orders, lock_descriptor=self._lock_descriptor):
            actor = by_path.pop(result.source)
            if result.error:
                self._postpone(actor, result.error)
            else:
                actor.note_published(Lsn(result.published))
                self._alone.discard(actor.log.source.path)
                _log.info("compacted", source=actor.log.source.name, lsns=result.lsns, segments=result.segments)
        for actor in by_path.values():
            self._postpone(actor, "the child process ended early")

    def _postpone(self, actor: Ingest, reason: str) -> None:
        """Try again later, and alone: it may be what ends the child, which others must not suffer from."""
        path = actor.log.source.path
        self._not_before[path] = trio.current_time() + RETRY_AFTER_S
        self._alone.add(path)
        _log.error("compaction failed", source=path.name, reason=reason)
