"""When to compact, and the child process that does it.

In a thread, building segments made the event loop 16-29 ms late at p99; in a process 0.3-3.8 ms. The child
holds the lock of the data directory through an inherited descriptor and dies when its standard input closes, so a
killed daemon's child can't meet the next daemon.
"""

import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import orjson
import structlog
import trio

from daemon.compaction_worker import Result
from daemon.ingest import ActorClosing, ActorFailed, Ingest
from daemon.sources import Sources
from segments.errors import StorageError
from segments.filenames import Lsn

TICK_S = 0.25
RETRY_AFTER_S = 30.0
_log = structlog.get_logger("compactor")


class Compactor:
    """Runs beside the actors; one child at a time."""

    def __init__(self, sources: Sources, *, interval_s: float, lock_descriptor: int) -> None:
        self._sources = sources
        self._interval_s = interval_s
        self._lock_descriptor = lock_descriptor
        self._not_before: dict[Path, float] = {}
        self._alone: set[Path] = set()

    async def run(self) -> None:
        """Compact what is due, for ever. Being cancelled kills the child, which is safe at any moment."""
        while True:
            await trio.sleep(TICK_S)
            due = [actor for actor in self._sources.running if self._is_due(actor)]
            for actor in [one for one in due if one.log.source.path in self._alone]:
                due.remove(actor)
                async with self._sources.hold(actor.log.source.name):
                    await self._compact([actor])
            if due:
                async with AsyncExitStack() as held:
                    for actor in due:
                        await held.enter_async_context(self._sources.hold(actor.log.source.name))
                    await self._compact(due)

    def _is_due(self, actor: Ingest) -> bool:
        waits = trio.current_time() < self._not_before.get(actor.log.source.path, 0.0)
        return not waits and not actor.log.damage and actor.is_due(self._interval_s)

    async def _compact(self, actors: list[Ingest]) -> None:
        by_path = {}
        for actor in actors:
            try:
                await actor.seal()
            except (ActorClosing, ActorFailed, StorageError) as error:
                self._postpone(actor, f"the log could not be sealed: {error}")
            else:
                by_path[str(actor.log.source.path)] = actor
        try:
            output = await self._run_child({path: actor.log.sealed_lsn for path, actor in by_path.items()})
            results = [Result(**orjson.loads(line)) for line in output.splitlines()]
        except (OSError, trio.BrokenResourceError, ValueError, TypeError) as error:
            # The rows are safe in the WAL; nothing about a child is worth the daemon.
            _log.error("the compaction child could not be run", reason=str(error) or type(error).__name__)
            results = []
        for result in results:
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

    async def _run_child(self, jobs: dict[str, Lsn]) -> bytes:
        """The lines that the child prints. Raises OSError or trio.BrokenResourceError when it can't be run."""
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "daemon.compaction_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[self._lock_descriptor],
        )
        assert process.stdin is not None
        assert process.stdout is not None
        output = b""
        try:
            await process.stdin.send_all(orjson.dumps(jobs) + b"\n")
            while data := await process.stdout.receive_some():
                output += data
            await process.wait()
        finally:
            with trio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.wait()
                await process.stdin.aclose()
                await process.stdout.aclose()
        return output
