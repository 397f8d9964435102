"""Messages, and sockets, between the daemon and its front processes, over one Unix socket each.

A message is a tuple of what `marshal` writes: both ends are this program under one interpreter. What is posted in one round
goes as one frame: its length, then the messages. Sockets travel in the order of the messages that speak of them.
"""

import array
import errno
import marshal
import os
import socket
import struct
from collections import deque
from collections.abc import AsyncGenerator
from enum import IntEnum
from itertools import chain
from typing import Any

import trio

RECEIVE_BYTES = 256 * 1024
DESCRIPTORS_AT_ONCE = 64
_LENGTH = struct.Struct("<I")
Message = tuple[Any, ...]


class Kind(IntEnum):
    """What a message says, and what follows: see the two ends, `front` and `fronts`."""

    APPENDS = 0
    """From a front: number of the batch, number of its head, numbers of its requests, their bodies."""
    REPLIES = 1
    """To a front: number of the batch, replies. Where there is none nothing is stored, and the connection is to be handed over."""
    HAND_OVER = 2
    """From a front: what has come on a connection that is somebody else's now; with its socket."""
    GIVE_BACK = 3
    """To a front: a connection that is between two requests; with its socket."""
    HEAD = 4
    """To a front: a head, the length of its body, and its number."""
    CLOSING = 5
    """To a front: take no more connections."""


_WITH_SOCKET = {Kind.HAND_OVER, Kind.GIVE_BACK}
LOST = -1
"""Stands for a descriptor that this process had no room for; whoever is on the other side of its socket is cut off."""
_LATER = {errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM}
RETRY_AFTER_S = 0.05


class Link:
    """One end. `flush` may be called by anyone; `run` in one task, `messages` in one other."""

    def __init__(self, end: socket.socket) -> None:
        self._kernel = end
        self._end = trio.socket.from_stdlib_socket(end)
        self._posted: list[Message] = []
        self._posted_descriptors: list[int] = []
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        self._more = trio.Event()
        self._emptied = trio.Event()

    def post(self, kind: Kind, *rest: Any, descriptor: int | None = None) -> None:
        """Send the message at the next `flush`. The descriptor is closed here when it has been sent."""
        self._posted.append((int(kind), *rest))
        if descriptor is not None:
            self._posted_descriptors.append(descriptor)
            if len(self._posted_descriptors) >= DESCRIPTORS_AT_ONCE:
                self.flush()

    def flush(self) -> None:
        """Send what was posted, as far as the kernel takes it at once; the rest goes later."""
        if not self._posted:
            return
        text = marshal.dumps(self._posted)
        self._unsent.append((_LENGTH.pack(len(text)) + text, self._posted_descriptors))
        self._posted, self._posted_descriptors = [], []
        try:
            self._send_at_once()
        except OSError:
            # The other end is gone, which the receiving task finds out as well, and closes this one.
            return
        if self._unsent:
            self._more.set()

    def _send_at_once(self) -> bool:
        """Whether the kernel, and not only the other end, is ready for more. Raises OSError when the other end is gone."""
        while self._unsent:
            data, descriptors = self._unsent[0]
            beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
            try:
                sent = self._kernel.sendmsg([data], beside)
            except BlockingIOError:
                return True
            except OSError as error:
                if error.errno not in _LATER:
                    raise
                return False
            self._unsent.popleft()
            for descriptor in descriptors:
                os.close(descriptor)
            if sent < len(data):
                self._unsent.appendleft((data[sent:], []))
        self._emptied.set()
        return True

    async def run(self) -> None:
        """Send what the kernel did not take at once, for ever. Raises OSError when the other end is gone."""
        while True:
            await self._more.wait()
            while self._unsent:
                await trio.lowlevel.wait_writable(self._end)
                if not self._send_at_once():
                    await trio.sleep(RETRY_AFTER_S)
            self._more = trio.Event()

    async def messages(self) -> AsyncGenerator[list[tuple[Message, int]], None]:
        """The messages of each frame until the other end is gone, with the descriptor of each that speaks of a socket, which
        is the receiver's to close, or LOST."""
        buffer = bytearray()
        arrived: deque[list[int]] = deque()
        space = socket.CMSG_SPACE(DESCRIPTORS_AT_ONCE * array.array("i").itemsize)
        try:
            while True:
                try:
                    data, beside, flags, _ = await self._end.recvmsg(RECEIVE_BYTES, space)
                except OSError:
                    return
                if not data:
                    return
                # The kernel gives the descriptors of one frame at a time, with its first bytes, or as many as there is room for.
                if beside or flags & socket.MSG_CTRUNC:
                    arrived.append([number for _, _, numbers in beside for number in array.array("i", numbers)])
                buffer += data
                while len(buffer) >= _LENGTH.size:
                    end = _LENGTH.size + _LENGTH.unpack_from(buffer)[0]
                    if len(buffer) < end:
                        break
                    found = marshal.loads(bytes(buffer[_LENGTH.size : end]))  # noqa: S302 -- the other end is this program
                    del buffer[:end]
                    yield _with_descriptors(found, arrived)
        finally:
            # Those of a frame that never came whole: their clients must see that nobody serves them.
            for descriptor in chain.from_iterable(arrived):
                os.close(descriptor)

    async def sent(self) -> None:
        """Return once `run` has sent all that was posted."""
        self.flush()
        if self._unsent:
            self._emptied = trio.Event()
            await self._emptied.wait()

    def close(self) -> None:
        """Nothing more is sent; descriptors that were still to go are closed."""
        for descriptor in (*self._posted_descriptors, *(one for _, unsent in self._unsent for one in unsent)):
            os.close(descriptor)
        self._posted_descriptors.clear()
        self._unsent.clear()
        self._end.close()


def _with_descriptors(messages: list[Message], arrived: deque[list[int]]) -> list[tuple[Message, int]]:
    wanted = sum(message[0] in _WITH_SOCKET for message in messages)
    descriptors = arrived.popleft() if wanted else []
    if len(descriptors) < wanted:
        # Which of them are missing nobody can tell.
        for descriptor in descriptors:
            os.close(descriptor)
        descriptors = [LOST] * wanted
    following = iter(descriptors)
    return [(message, next(following) if message[0] in _WITH_SOCKET else LOST) for message in messages]
