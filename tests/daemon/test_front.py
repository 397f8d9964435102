"""A front process's own part, with the daemon's end of the link in the test's hands."""

import os
import socket
from contextlib import aclosing

import trio

from daemon.front import Front
from daemon.head_cache import RequestHeads
from daemon.link import LOST, Kind, Link


async def test_a_mistake_costs_one_connection(monkeypatch):
    find = RequestHeads.find

    def mistaken(self, buffer, at):
        if buffer == b"POST":
            raise ValueError("a mistake")
        return find(self, buffer, at)

    monkeypatch.setattr(RequestHeads, "find", mistaken)
    ours, theirs = socket.socketpair()
    daemon, link = Link(ours), Link(theirs)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Front(link, listeners, first=1, step=2).run)
            innocent, other = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(2)]
            await other.send_all(b"POST")
            assert await other.receive_some() == b""
            await innocent.send_all(b"GET / HTTP/1.1\r\n\r\n")
            async with aclosing(daemon.messages()) as received:
                [((kind, arrived), descriptor)] = await anext(received)
            nursery.cancel_scope.cancel()

    assert (kind, arrived) == (Kind.HAND_OVER, b"GET / HTTP/1.1\r\n\r\n")
    assert descriptor != LOST
    os.close(descriptor)
    for stream in (innocent, other):
        await stream.aclose()
    daemon.close()
    link.close()
