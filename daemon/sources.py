"""Source name -> running actor. Opens a source on first use, makes it when it is new, restarts it when it failed."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import structlog
import trio

from daemon.config import SOURCE_IDLE_S, Config
from daemon.inbox import ActorClosing
from daemon.ingest import Ingest
from daemon.writer_threads import WriterThreads
from segments.disk import Disk, remove_tree
from segments.errors import Corruption, SchemaError, UnknownSource
from segments.filenames import SOURCE_ID, DataDir, SourceDir, name_problem
from segments.keys import KeyMemory
from segments.recovery import create_source, recover, rename_source, unname_source
from segments.source_files import load_identity
from segments.source_log import SourceLog

T = TypeVar("T")
_log = structlog.get_logger("sources")


class NameClash(SchemaError):
    """Another source has the same name but for case."""


class Sources:
    """All sources of the data directory; actors run in the nursery that it is given."""

    def __init__(
        self, disk: Disk, data: DataDir, config: Config, threads: WriterThreads, nursery: trio.Nursery
    ) -> None:
        self._disk = disk
        self._data = data
        self._config = config
        self._nursery = nursery
        self._threads = threads
        self.key_memory = KeyMemory(config.keys_memory_bytes)
        self._names = {name.lower(): name for name in disk.listdir(data.sources) if name_problem(name) is None}
        self._ids: dict[str, str] = {}
        self._moves = 0
        self._open: dict[str, Ingest] = {}
        self._opening: dict[str, trio.Lock] = {}
        self._creating = trio.Lock()
        self._closed = False

    @property
    def running(self) -> list[Ingest]:
        return list(self._open.values())

    @property
    def names(self) -> list[str]:
        return sorted(self._names.values())

    def exists(self, name: str) -> bool:
        """Raises NameClash when another source has this name but for case."""
        known = self._names.get(name.lower())
        if known is not None and known != name:
            raise NameClash(f"data source '{name}' differs only by case from '{known}'; use that one or another name")
        return known is not None

    @property
    def is_closing(self) -> bool:
        return self._closed

    @property
    def auto_create(self) -> bool:
        return self._config.auto_create

    async def resolve(self, name: str) -> str:
        """The name of the data source that has `name` for its id; any other name is given back as it is."""
        if not SOURCE_ID.fullmatch(name):
            return name
        while name not in self._ids:
            unread, moves = set(self._names.values()) - set(self._ids.values()), self._moves
            found = await trio.to_thread.run_sync(self._read_ids, unread)
            if self._moves == moves:
                self._ids.update(found)
                break
        return self._ids.get(name, name)

    def _read_ids(self, names: set[str]) -> dict[str, str]:
        ids = {}
        for name in names:
            with suppress(Corruption):
                ids[load_identity(self._disk, self._data.source(name)).text] = name
        return ids

    def directory(self, name: str) -> SourceDir:
        return self._data.source(name)

    async def perform(self, name: str, work: Callable[[SourceLog], T]) -> T:
        """Have `work` done on a source's log while no compaction works on it. Raises StorageError, OSError."""
        while True:
            actor = await self.get(name)
            async with self.hold(name):
                if self._open.get(name) is not actor:
                    continue
                try:
                    return await actor.perform(work)
                except ActorClosing:
                    if self._closed:
                        raise
                    await actor.finished.wait()

    def peek(self, name: str) -> Ingest | None:
        """The actor if it is running."""
        return self._open.get(name)

    def begin(self, actors: Iterable[Ingest]) -> None:
        """Begin the next commits of several sources together."""
        with self._threads.together:
            for actor in actors:
                actor.begin()

    async def get(self, name: str) -> Ingest:
        """The actor of an existing source, recovered if need be. Raises StorageError."""
        running = self._open.get(name)
        if running is not None:
            return running
        async with self.hold(name):
            if not self.exists(name):
                raise UnknownSource(f"there is no data source '{name}'")
            if name not in self._open:
                await self._start(name)
            return self._open[name]

    async def create(self, name: str, datafile: str) -> Ingest:
        """The actor of a new source, declared by a valid datafile; of the existing one when another request was first.

        Raises StorageError, OSError.
        """
        await self.make(name, datafile)
        return await self.get(name)

    async def make(self, name: str, datafile: str) -> bool:
        """Make a source; whether it was this call that did. Raises StorageError, OSError."""
        async with self._creating:
            is_new = not self.exists(name)
            if is_new:
                make = partial(
                    create_source,
                    self._disk,
                    self._data,
                    name,
                    datafile,
                    source_id=uuid.uuid4().bytes,
                    now=datetime.now(UTC),
                )
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(make)
                self._names[name.lower()] = name
                _log.info("data source created", source=name)
        return is_new

    @asynccontextmanager
    async def closed(self, name: str) -> AsyncIterator[SourceDir]:
        """The directory of a source while no actor and no compaction works on it; requests for it wait.

        Raises UnknownSource.
        """
        async with self.hold(name):
            if self._names.get(name.lower()) != name:
                raise UnknownSource(f"there is no data source '{name}'")
            running = self._open.get(name)
            if running is not None:
                running.close()
                await running.finished.wait()
            with trio.CancelScope(shield=True):
                yield self._data.source(name)

    async def drop(self, name: str) -> None:
        """Take a source away with all its rows. Raises UnknownSource, OSError."""
        async with self.closed(name) as source:
            try:
                gone = await trio.to_thread.run_sync(unname_source, self._disk, self._data, source)
            finally:
                self._forget_if_moved(name, source)
            await trio.to_thread.run_sync(remove_tree, self._disk, gone)
        _log.info("data source dropped", source=name)

    async def rename(self, name: str, new: str) -> None:
        """Give a source another name; its id stays. Raises UnknownSource, NameClash, OSError."""
        async with self.closed(name) as source, self._creating:
            if new.lower() in self._names and new.lower() != name.lower():
                raise NameClash(f"there is a data source '{self._names[new.lower()]}'; choose another name")
            try:
                await trio.to_thread.run_sync(rename_source, self._disk, self._data, source, new)
            finally:
                if self._forget_if_moved(name, source):
                    self._names[new.lower()] = new
        _log.info("data source renamed", source=name, to=new)

    def _forget_if_moved(self, name: str, source: SourceDir) -> bool:
        """Go by where the directory is: it may have moved although that could not be made durable."""
        moved = not self._disk.exists(source.path)
        if moved:
            self._moves += 1
            self._names.pop(name.lower(), None)
            self._ids = {source_id: other for source_id, other in self._ids.items() if other != name}
        return moved

    def hold(self, name: str) -> trio.Lock:
        """Held by the compactor while its child works on a source, which must not be recovered meanwhile."""
        return self._opening.setdefault(name, trio.Lock())

    async def open_all(self) -> None:
        """Recover every source, so that rows left in their WAL files find their way into segments."""
        for name in self.names:
            try:
                if self._disk.listdir(self._data.source(name).wal):
                    await self.get(name)
            except Exception as error:  # noqa: BLE001 -- whatever is wrong with one source, the others open
                _log.error("data source can't be opened", source=name, reason=f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Close all inboxes; the actors commit what they have, sync and return."""
        self._closed = True
        for actor in self.running:
            actor.close()

    async def _start(self, name: str) -> None:
        source = self._data.source(name)
        read_back = partial(recover, self._disk, source, now=datetime.now(UTC), memory=self.key_memory)
        recovered = await trio.to_thread.run_sync(read_back)
        for path, bad in recovered.torn:
            _log.warning("stepped over a torn tail", source=name, file=path.name, offset=bad.offset, reason=bad.reason)
        for corruption in recovered.log.damage:
            _log.error("data source is damaged and takes no writes", source=name, reason=str(corruption))
        actor = Ingest(
            recovered.log, self._threads, sync_interval_s=self._config.sync_interval_s, idle_after_s=SOURCE_IDLE_S
        )
        if self._closed:
            actor.close()
        self._open[name] = actor
        self._nursery.start_soon(self._supervise, name, actor)

    async def _supervise(self, name: str, actor: Ingest) -> None:
        """Run the actor; when it fails, say so and let the next request recover the source anew."""
        try:
            await actor.run()
        except Exception:  # noqa: BLE001 -- the others must not notice; the requests were failed by the actor itself
            _log.exception("an ingest actor failed", source=name)
        finally:
            actor.log.keys.clear()
            del self._open[name]
