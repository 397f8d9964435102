"""A front process: takes connections, answers the requests whose heads are known, and hands every other one over.

It parses no HTTP, knows no token and writes no file. A request that comes whole under a head that the daemon has told it of
goes to the daemon with all others of its head and round, and comes back as an answer. Whatever else comes on a connection, the daemon gets the
connection, with the bytes, and serves it as it serves its own; it gives it back when it is at rest after a request whose
head is for here. So all that is decided is decided in one place, with one process or many.
"""

import os
import socket
import sys
from contextlib import suppress
from itertools import count

import structlog
import trio

from daemon.admission import Watch, connections_max
from daemon.batch import Batch, Reply
from daemon.fast_path import FastPath
from daemon.head_cache import Head, Heads, KnownHead
from daemon.link import LOST, Kind, Link, Message
from daemon.logs import configure_logs
from daemon.transport import Transport

_log = structlog.get_logger("front")
_NO_HEAD = Head(b"", b"", {})


class ForwardedAppends:
    """Rows on their way to the daemon, by the numbers of their batches."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._numbers = count()
        self._open: dict[int, Batch] = {}

    def append(self, batch: Batch) -> None:
        number = next(self._numbers)
        self._open[number] = batch
        self._link.post(Kind.APPENDS, number, batch.known.plan, batch.request_ids, batch.bodies)

    def commit(self) -> None:
        self._link.flush()

    def tell(self, number: int, replies: list[Reply | None]) -> None:
        """The daemon's word on a batch."""
        self._open.pop(number).tell(replies)


class Front:
    """One front process. `first` and `step` number its requests, so that no other process uses the same numbers."""

    def __init__(self, link: Link, listeners: list[trio.SocketListener], *, first: int, step: int) -> None:
        self._link = link
        self._listeners = listeners
        self._heads = Heads(request_ids=count(first, step))
        # The daemon may have to take over the connections of all fronts.
        self._watch = Watch(connections_max() // step)
        self._appends = ForwardedAppends(link)
        self._fast_path = FastPath(self._heads, self._appends, self._watch)
        self._accepting = trio.CancelScope()

    async def run(self) -> None:
        """Serve until the daemon closes the link, or has said that it is closing and the last connection is gone."""
        async with trio.open_nursery() as background:
            background.start_soon(self._link.run)
            background.start_soon(self._fast_path.run)
            background.start_soon(self._watch.run)
            async with trio.open_nursery() as connections:
                background.start_soon(self._obey, connections)
                with self._accepting:
                    await trio.serve_listeners(self._serve, self._listeners, handler_nursery=connections)
            await self._link.sent()
            background.cancel_scope.cancel()

    async def _obey(self, connections: trio.Nursery) -> None:
        async for messages in self._link.messages():
            for message, descriptor in messages:
                self._take(message, connections, descriptor)
        # Without the daemon nothing here can go on: not even a request under way has an answer.
        os._exit(0)

    def _take(self, message: Message, connections: trio.Nursery, descriptor: int) -> None:
        kind, *rest = message
        if kind == Kind.REPLIES:
            self._appends.tell(*rest)
        elif kind == Kind.HEAD:
            raw, body_length, number = rest
            self._heads.requests.keep(raw, KnownHead(_NO_HEAD, number), body_length)
        elif kind == Kind.GIVE_BACK and descriptor != LOST:
            connection = trio.socket.from_stdlib_socket(socket.socket(fileno=descriptor))
            connections.start_soon(self._serve, trio.SocketStream(connection))
        elif kind == Kind.CLOSING:
            self._accepting.cancel()
            self._watch.close()

    async def _serve(self, stream: trio.SocketStream) -> None:
        transport = Transport(stream)
        async with stream:
            with self._watch.watched() as watched:
                arrived = b""
                with watched.scope:
                    try:
                        arrived = await self._fast_path.next_bytes(transport, watched)
                    except trio.BrokenResourceError:
                        return
                    except Exception:  # noqa: BLE001 -- a bug must cost one connection, not the front with all of them
                        _log.exception("a connection failed")
                        return
                arrived = arrived or transport.unread
                if arrived or not watched.timed_out:
                    # At its end too: the daemon knows how to part from a client. Without a descriptor it is cut off here.
                    with suppress(OSError):
                        self._link.post(Kind.HAND_OVER, arrived, descriptor=os.dup(stream.socket.fileno()))
                        self._link.flush()


def main() -> None:
    """`python -m daemon.front LINK FIRST STEP LISTENER...`, all numbers; the daemon starts it so."""
    configure_logs()
    link, first, step, *listening = map(int, sys.argv[1:])

    async def run() -> None:
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(socket.socket(fileno=n))) for n in listening]
        await Front(Link(socket.socket(fileno=link)), listeners, first=first, step=step).run()

    trio.run(run)


if __name__ == "__main__":
    main()
