"""Connections that come together with the signal to stop: nothing may wait for them as if nothing had happened."""

import socket

import trio

from daemon.admission import NEVER, Watch
from daemon.config import SHUTDOWN_GRACE_S
from daemon.fast_path import FastPath
from daemon.head_cache import Heads
from daemon.transport import Transport
from tests.daemon.test_read_ahead import Waiting


def test_a_connection_that_comes_late_does_not_rest() -> None:
    async def run() -> None:
        watch = Watch(16)
        path = FastPath(Heads(), Waiting(), watch)
        watch.close()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = await trio.open_tcp_stream(*listener.getsockname())
            server = trio.SocketStream(trio.socket.from_stdlib_socket(listener.accept()[0]))
        async with client, server:
            with watch.watched() as watched, trio.fail_after(10):
                assert await path.next_bytes(Transport(server), watched) == b""

    trio.run(run)


def test_a_connection_that_comes_late_has_the_grace_and_no_more() -> None:
    async def run() -> None:
        watch = Watch(16)
        watch.close()
        with watch.watched() as watched:
            watched.wait_until(NEVER)
            assert watched.deadline <= trio.current_time() + SHUTDOWN_GRACE_S

    trio.run(run)
