"""When to compact, and the child process that does it.

In a thread, building segments made the event loop 16-29 ms late at p99; in a process 0.3-3.8 ms (DESIGN §4). The child
holds the lock of the data directory through an inherited descriptor and dies when its standard input closes, so a
killed daemon's child can't meet the next daemon.
"""

import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson
import structlog
import trio

from daemon.ingest import Ingest
from daemon.sources import Sources
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

    async def run(self) -> None:
        """Compact what is due, for ever. Being cancelled kills the child, which is safe at any moment."""
        while True:
            await trio.sleep(TICK_S)
            due = [actor for actor in self._sources.running if self._is_due(actor)]
            if due:
                async with AsyncExitStack() as held:
                    for actor in due:
                        await held.enter_async_context(self._sources.hold(actor.log.source.name))
                    await self._compact(due)

    def _is_due(self, actor: Ingest) -> bool:
        waits = trio.current_time() < self._not_before.get(actor.log.source.path, 0.0)
        return not waits and not actor.log.damage and actor.is_due(self._interval_s)

    async def _compact(self, actors: list[Ingest]) -> None:
        for actor in actors:
            await actor.seal()
        jobs = {str(actor.log.source.path): actor.log.sealed_lsn for actor in actors}
        for result in await self._run_child(jobs):
            path = Path(result["source"])
            actor = next(actor for actor in actors if actor.log.source.path == path)
            if "error" in result:
                self._not_before[path] = trio.current_time() + RETRY_AFTER_S
                _log.error("compaction failed", source=path.name, reason=result["error"])
            else:
                actor.log.published = Lsn(max(actor.log.published, result["published"]))
                _log.info("compacted", source=path.name, rows=result["rows"], segments=result["segments"])
            jobs.pop(str(path))
        for source in jobs:
            self._not_before[Path(source)] = trio.current_time() + RETRY_AFTER_S
            _log.error("compaction failed", source=Path(source).name, reason="the child process ended early")

    async def _run_child(self, jobs: dict[str, Lsn]) -> list[dict[str, Any]]:
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
        return [orjson.loads(line) for line in output.splitlines()]
