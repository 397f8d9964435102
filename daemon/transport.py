"""A client's bytes in as few steps as they can have: one wait for a request, none for an answer that the kernel takes at once.

Trio's own stream lets other tasks run after every send; for a small request that costs as much as all else that Trio does.
"""

import socket
from ipaddress import ip_address
from typing import Protocol

import trio

from daemon.admission import Watched

SENDS_IN_A_ROW = 16
"""So many answers to requests that came in one piece, and then the others get their turn."""


class Transport:
    """One connection. Methods raise trio.BrokenResourceError when the client is gone."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self._stream = stream
        self._socket = stream.socket if isinstance(stream, trio.SocketStream) else None
        # The socket under Trio's, which has no public name; a call on it that would block says so.
        self.kernel: socket.socket = getattr(self._socket, "_sock", None)  # type: ignore[assignment]
        self._sends = 0
        self.unread = b""
        """What had come when waiting for more was cut off."""

    async def receive_next(self, count: int) -> bytes:
        """Wait for the next bytes, at most `count`; none at the end. For when none are likely to be there yet."""
        self._sends = 0
        if self._socket is None:
            return bytes(await self._stream.receive_some(count))
        await trio.lowlevel.wait_readable(self._socket)
        try:
            return self.kernel.recv(count)
        except BlockingIOError:
            return bytes(await self._stream.receive_some(count))
        except OSError as error:
            raise trio.BrokenResourceError from error

    async def receive_more(self, count: int) -> bytes:
        """The same, for when they may be there already."""
        return bytes(await self._stream.receive_some(count))

    async def receive_into(self, room: memoryview) -> int:
        """Put what is there, or the next that comes, into `room`; how much it was, which is nothing at the end."""
        if self._socket is None:
            data = await self._stream.receive_some(len(room))
            room[: len(data)] = data
            return len(data)
        while True:
            try:
                count = self.kernel.recv_into(room)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._socket)
            except OSError as error:
                raise trio.BrokenResourceError from error
            else:
                # A sender that is faster than we are must not keep the others from their turn.
                await trio.lowlevel.checkpoint()
                return count

    async def send_all(self, data: bytes) -> None:
        """Hand all of it to the kernel."""
        sent = 0
        self._sends += 1
        if self._socket is not None and self._sends < SENDS_IN_A_ROW:
            try:
                sent = self.kernel.send(data)
            except BlockingIOError:
                pass
            except OSError as error:
                raise trio.BrokenResourceError from error
            if sent == len(data):
                return
        self._sends = 0
        await self._stream.send_all(memoryview(data)[sent:])

    async def send_eof(self) -> None:
        """There is no more to send."""
        await self._stream.send_eof()

    @property
    def is_plain(self) -> bool:
        """Whether `kernel` is there to be read and written directly."""
        return self._socket is not None

    @property
    def is_local(self) -> bool:
        """Whether the client is on this machine."""
        return self._socket is not None and ip_address(self._socket.getpeername()[0]).is_loopback


class GivenAway(Exception):
    """Another process has the connection now."""


class Rest(Protocol):
    """Where a connection waits between two requests."""

    async def next_bytes(self, transport: Transport, watched: Watched, kept: bytes) -> bytes:
        """The next bytes that the connection has to look at itself; none at its end. `kept` is the last request's head, if
        it is known. Raises GivenAway."""
