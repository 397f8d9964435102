"""The daemon's end of its front processes: starts them, stores the rows that they forward, serves what they hand over."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, aclosing
from functools import partial

import structlog
import trio

from daemon.admission import Watched
from daemon.batch import Batch, Reply
from daemon.config import IDLE_TIMEOUT_S
from daemon.head_cache import Heads, KnownHead
from daemon.http_connection import HEAD_READ_BYTES
from daemon.known_appends import KnownAppends
from daemon.link import LOST, Kind, Link, Message
from daemon.routes import Routes
from daemon.transport import GivenAway, Transport

RESTART_PAUSE_S = 1.0
HEADS_KEPT = 10_000
_log = structlog.get_logger("fronts")


class NumberedHeads:
    """Heads that fronts have been told of, by number; the oldest are forgotten, and refused when they come."""

    def __init__(self) -> None:
        self._heads: dict[int, KnownHead] = {}
        self._numbers: dict[KnownHead, int] = {}
        self._last = 0

    def number(self, known: KnownHead) -> int:
        """The head's number, which no other has ever had."""
        if known not in self._numbers:
            self._last += 1
            self._heads[self._last] = known
            self._numbers[known] = self._last
        if len(self._heads) > HEADS_KEPT:
            del self._numbers[self._heads.pop(next(iter(self._heads)))]
        return self._numbers[known]

    def find(self, number: int) -> KnownHead | None:
        return self._heads.get(number)


class FrontEnd:
    """One front process, for as long as it lives: where its connections rest, and who stores its rows."""

    def __init__(self, link: Link, numbered: NumberedHeads, appends: KnownAppends, heads: Heads) -> None:
        self._link = link
        self._numbered = numbered
        self._appends = appends
        self._heads = heads
        self._told: list[tuple[int, list[Reply | None]]] = []
        self._has_told = trio.Event()
        self.is_gone = False

    async def next_bytes(self, transport: Transport, watched: Watched, kept: bytes) -> bytes:
        """Give the connection back if its last request was one for the front; else it rests here. Raises GivenAway."""
        found = self._heads.requests.find(kept, 0)
        if found is not None and not self.is_gone:
            known, body_length, _ = found
            if 0 < body_length <= HEAD_READ_BYTES and self._appends.plan(known).call is not None:
                self._give_back(transport, kept, known, body_length)
        # Not in the daemon's own fast path, which would keep it for good.
        watched.wait_until(trio.current_time() + IDLE_TIMEOUT_S)
        return await transport.receive_next(HEAD_READ_BYTES)

    def _give_back(self, transport: Transport, kept: bytes, known: KnownHead, body_length: int) -> None:
        """Raises GivenAway, if there is a descriptor to be had for it."""
        try:
            descriptor = os.dup(transport.kernel.fileno())
        except OSError:
            return
        self._link.post(Kind.HEAD, kept, body_length, self._numbered.number(known))
        self._link.post(Kind.GIVE_BACK, descriptor=descriptor)
        self._link.flush()
        raise GivenAway

    def append(self, number: int, head: int, request_ids: list[int], bodies: list[bytes]) -> None:
        """Store the rows of a batch that the front has sent; it gets the replies, or none if they are not for it."""
        known, tell = self._numbered.find(head), partial(self._tell, number)
        if known is None:
            tell([None] * len(bodies))
        else:
            self._appends.append(Batch(known, request_ids, bodies, tell))

    def _tell(self, number: int, replies: Sequence[Reply | None]) -> None:
        if not self.is_gone:
            self._told.append((number, list(replies)))
            self._has_told.set()

    async def answer(self) -> None:
        """Send replies, those to all batches of a group at once; for ever."""
        while True:
            await self._has_told.wait()
            self._has_told = trio.Event()
            for number, replies in self._told:
                self._link.post(Kind.REPLIES, number, replies)
            self._told.clear()
            self._link.flush()


class Fronts:
    """All of them. `listening` has the sockets of each; they stay open here, so that clients wait while one starts again."""

    def __init__(
        self,
        listening: list[list[socket.socket]],
        routes: Routes,
        appends: KnownAppends,
        heads: Heads,
    ) -> None:
        self._listening = listening
        self._routes = routes
        self._appends = appends
        self._heads = heads
        self._numbered = NumberedHeads()
        self._links: set[Link] = set()
        self._closing = False

    async def run(self, connections: trio.Nursery) -> None:
        """Keep the fronts going until `close`, and to the end of their last connections."""
        processors = len(os.sched_getaffinity(0))
        if len(self._listening) >= processors:
            _log.warning(
                "with the one that stores there are more processes than processors: fewer are likely to be faster",
                fronts=len(self._listening),
                processors=processors,
            )
        async with trio.open_nursery() as nursery:
            for number in range(len(self._listening)):
                nursery.start_soon(self._keep_going, number, connections)

    def close(self) -> None:
        """No more connections; what is under way is finished."""
        self._closing = True
        for link in self._links:
            link.post(Kind.CLOSING)
            link.flush()
        for sockets in self._listening:
            for one in sockets:
                one.close()

    async def _keep_going(self, number: int, connections: trio.Nursery) -> None:
        while not self._closing:
            try:
                await self._run_one(number, connections)
            except OSError as error:
                # No descriptor or no process is to be had now, or the sockets were closed meanwhile.
                _log.error("a front process can't be started", front=number + 1, reason=str(error))
            except Exception:  # noqa: BLE001 -- whatever is wrong with one front, the daemon and the others go on
                _log.exception("a front process failed", front=number + 1)
            if not self._closing:
                _log.error("a front process ended and is started again", front=number + 1)
                await trio.sleep(RESTART_PAUSE_S)

    async def _start(self, number: int, ours: socket.socket, passed: list[int]) -> tuple[Link, trio.Process]:
        # The daemon numbers its own requests too.
        numbers = [passed[0], number + 1, len(self._listening) + 1, *passed[1:]]
        command = [sys.executable, "-P", "-m", "daemon.front", *map(str, numbers)]
        link = Link(ours)
        try:
            # A group of its own: what a terminal sends is for the daemon, which tells the front in its own time.
            process = await trio.lowlevel.open_process(
                command, pass_fds=passed, stdin=subprocess.DEVNULL, process_group=0
            )
        except BaseException:
            link.close()
            raise
        return link, process

    async def _run_one(self, number: int, connections: trio.Nursery) -> None:
        with ExitStack() as handed:
            # Copies: `close` may close the sockets while the process is being started, and others get their numbers.
            listening = [handed.enter_context(one.dup()) for one in self._listening[number]]
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            handed.enter_context(theirs)
            link, process = await self._start(number, ours, [one.fileno() for one in (theirs, *listening)])
        front = FrontEnd(link, self._numbered, self._appends, self._heads)
        self._links.add(link)
        if self._closing:
            # While it was being started: `close` did not know of it.
            link.post(Kind.CLOSING)
            link.flush()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_send, link)
                nursery.start_soon(front.answer)
                async with aclosing(link.messages()) as received:
                    async for messages in received:
                        for message, descriptor in messages:
                            self._take(front, message, descriptor, connections)
                        self._appends.commit()
                        link.flush()
                nursery.cancel_scope.cancel()
        finally:
            front.is_gone = True
            self._links.discard(link)
            link.close()
            with trio.CancelScope(shield=True):
                process.kill()
                await process.wait()

    def _take(self, front: FrontEnd, message: Message, descriptor: int, connections: trio.Nursery) -> None:
        kind, *rest = message
        if kind == Kind.APPENDS:
            front.append(*rest)
        elif kind == Kind.HAND_OVER and descriptor != LOST:
            (arrived,) = rest
            connections.start_soon(self._serve, descriptor, arrived, front)

    async def _serve(self, descriptor: int, arrived: bytes, front: FrontEnd) -> None:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(socket.socket(fileno=descriptor)))
        async with stream:
            await self._routes.handle_connection(stream, rest=front, arrived=arrived)


async def _send(link: Link) -> None:
    try:
        await link.run()
    except OSError:
        # The front is gone, which the receiving task finds out as well.
        pass
