"""The daemon's life: take the data directory, start the actors, listen, and shut down without losing a row."""

import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import structlog
import trio

from daemon.admission import Budget, Watch, connections_max
from daemon.compactor import Compactor
from daemon.config import Config
from daemon.disk_space import DiskSpace
from daemon.events import EventsApi
from daemon.fast_path import FastPath
from daemon.fronts import Fronts
from daemon.head_cache import Heads
from daemon.intake import Intake
from daemon.key_room import KeyRoom
from daemon.known_appends import KnownAppends
from daemon.listening import listen
from daemon.merger import Merger
from daemon.rate_limit import RateLimits
from daemon.request_log import RequestLog
from daemon.route_table import build_router
from daemon.routes import Routes
from daemon.sources import Sources
from daemon.sql import SqlConfig, SqlWorker
from daemon.tokens import Tokens, open_tokens
from daemon.warm_up import WarmUp
from daemon.writer_threads import WriterThreads, writer_threads
from segments.compiled.load import MachineCode
from segments.disk import Disk
from segments.errors import DataDirLocked, StorageError, UnknownDirectory
from segments.filenames import DataDir
from segments.format_version import check_format, write_format
from segments.line_reader import use
from segments.recovery import remove_unborn

LOCK_PATIENCE_S = 1.0
"""The compaction child of a killed daemon holds the lock for the moment that it takes to notice."""
MAY_BE_THERE = {"LOCK", "lost+found"}
"""In a new data directory: a start that was cut short left the one, a fresh file system has the other."""
_log = structlog.get_logger("server")


@dataclass(frozen=True, slots=True)
class _Owned:
    """The data directory, locked and opened."""

    data: DataDir
    disk: Disk
    tokens: Tokens
    lock: int
    """A descriptor."""


async def serve(config: Config, announce: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT. `announce` is called with the base URL once requests are taken.

    Raises StorageError before anything is served, UnknownDirectory, DataDirLocked, UnsupportedFormat or Corruption when it is
    one of these, and OSError when the address can't be had or the disk refuses.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        # First, so that a port that is taken leaves no data directory behind.
        listening = await listen(config)
        owned = await _own(config)
        watch = Watch(connections_max())
        space = DiskSpace(owned.data.path, config.min_free_bytes)
        queries = _sql_worker(owned.data, space)
        async with queries as worker, writer_threads() as threads, trio.open_nursery() as actors:
            sources = Sources(owned.disk, owned.data, config, threads, actors)
            async with trio.open_nursery() as background:
                log = RequestLog()
                warm_up = WarmUp(config.machine_code, partial(_use, threads))
                intake = Intake(Budget(config.memory_bytes), space, warm_up, bytes_max=config.max_body_bytes)
                limits = RateLimits(requests=config.limit_requests, bytes_=config.limit_bytes)
                events = EventsApi(sources, intake, limits)
                router = build_router(config, owned.disk, sources, owned.tokens, worker, log, events)
                # Each front has numbers of its own for requests, see there.
                step = config.fronts + 1
                heads = Heads(request_ids=count(step, step))
                appends = KnownAppends(sources, owned.tokens, intake, limits, log)
                fast_path = FastPath(heads, appends, watch, body_bytes_max=config.max_body_bytes)
                routes = Routes(router, owned.tokens, watch, log, heads, fast_path)
                merger = Merger(sources, owned.disk, space, lock_descriptor=owned.lock)
                compactor = Compactor(sources, merger, interval_s=config.compact_interval_s, lock_descriptor=owned.lock)
                background.start_soon(watch.run)
                background.start_soon(fast_path.run)
                background.start_soon(space.run)
                await background.start(warm_up.run)
                background.start_soon(intake.rooms.run)
                background.start_soon(KeyRoom(sources).run)
                background.start_soon(compactor.run)
                background.start_soon(sources.open_all)
                fronts = Fronts(listening, routes, appends, heads)
                async with trio.open_nursery() as connections:
                    accepting = trio.CancelScope()
                    host, port = listening[0][0].getsockname()[:2]
                    if config.fronts:
                        connections.start_soon(fronts.run, connections)
                    else:
                        connections.start_soon(_accept, accepting, routes, listening[0], connections)
                    announce(f"http://{f'[{host}]' if ':' in host else host}:{port}")
                    _log.info("ready", data=str(config.data), sources=len(sources.names), fronts=config.fronts)
                    async for number in signals:
                        _log.info("stopping", signal=signal.Signals(number).name)
                        break
                    accepting.cancel()
                    watch.close()
                    fronts.close()
                    _second_signal_kills()
                sources.close()
                background.cancel_scope.cancel()
        _log.info("stopped")


def _use(threads: WriterThreads, code: MachineCode) -> None:
    use(code)
    threads.use(code)


def _sql_worker(data: DataDir, space: DiskSpace) -> SqlWorker:
    return SqlWorker(SqlConfig(data.path, data.sql), space)


async def _accept(
    scope: trio.CancelScope, routes: Routes, listening: list[socket.socket], connections: trio.Nursery
) -> None:
    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(one)) for one in listening]
    with scope:
        await trio.serve_listeners(routes.handle_connection, listeners, handler_nursery=connections)


async def _own(config: Config) -> _Owned:
    disk, data = Disk(), DataDir(config.data)
    try:
        lock_descriptor = await _take_directory(config, disk, data)
    except OSError as error:
        raise StorageError(
            f"the data directory can't be used: {error.strerror or error}; give another as --data, or run as its owner",
            path=Path(error.filename or config.data),
        ) from error
    try:
        check_format(disk, data)
    except UnknownDirectory:
        write_format(disk, data)
    if not disk.exists(data.sources):
        disk.mkdir(data.sources)
        disk.sync_dir(data.path)
    remove_unborn(disk, data)
    first_start = not disk.exists(data.tokens)
    tokens = open_tokens(disk, data, config.admin_token)
    if first_start and config.admin_token is None:
        _log.info("made an admin token", file=str(data.admin_token))
    return _Owned(data, disk, tokens, lock_descriptor)


async def _take_directory(config: Config, disk: Disk, data: DataDir) -> int:
    """Make the data directory if it is not there, and lock it. Raises StorageError or OSError."""
    if config.data.is_dir() and not disk.exists(data.format) and set(disk.listdir(config.data)) - MAY_BE_THERE:
        raise UnknownDirectory(
            "the directory is not empty, and no data directory of siltstoned; give an empty or a new one",
            path=config.data,
        )
    missing = [path for path in (config.data, *config.data.parents) if not path.exists()]
    config.data.mkdir(parents=True, exist_ok=True, mode=0o750)
    for path in reversed(missing):
        # Rows are not safe in a directory whose own name is not.
        disk.sync_dir(path.parent)
    give_up_at = trio.current_time() + LOCK_PATIENCE_S
    while True:
        try:
            return disk.lock(data.lock)
        except DataDirLocked:
            if trio.current_time() > give_up_at:
                raise
            await trio.sleep(0.02)


def _second_signal_kills() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
