"""What a client sends before it has read its last answer: none of it may be lost, however full its connection is."""

import socket

import trio
import trio.testing

from daemon.admission import Watch
from daemon.batch import Batch, Reply
from daemon.fast_path import FastPath
from daemon.head_cache import Head, Heads, KnownHead
from daemon.transport import Transport

HEAD = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n"
NEXT = HEAD + b"4"
"""A request whose body is cut: were it lost, the rest of the body would be taken for a request."""


LARGE: Reply = (200, (), bytes(32 << 20))
"""An answer that no kernel takes at once."""


class Waiting:
    """Takes every request, and tells of none by itself."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def append(self, batch: Batch) -> None:
        self.batches.append(batch)

    def commit(self) -> None:
        pass


async def connected() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Both ends of a connection, the client's first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = await trio.open_tcp_stream(*listener.getsockname())
        return client, trio.SocketStream(trio.socket.from_stdlib_socket(listener.accept()[0]))


def test_a_request_behind_an_answer_that_waits_for_the_client_is_kept() -> None:
    async def run() -> None:
        heads, appends, watch = Heads(), Waiting(), Watch(16)
        heads.requests.keep(HEAD, KnownHead(Head(b"POST", b"/", {})), 2)
        path = FastPath(heads, appends, watch)
        came: list[bytes] = []
        client, server = await connected()

        async def wait_for_more() -> None:
            with watch.watched() as watched:
                came.append(await path.next_bytes(Transport(server), watched))

        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(path.run)
            async with trio.open_nursery() as connections:
                connections.start_soon(wait_for_more)
                await client.send_all(HEAD + b"{}")
                await trio.testing.wait_all_tasks_blocked(0.05)
                await client.send_all(NEXT)
                await trio.testing.wait_all_tasks_blocked(0.05)
                appends.batches[0].tell([LARGE])
                seen = 0
                while seen < len(LARGE[2]):
                    seen += len(await client.receive_some(1 << 20))
                await trio.testing.wait_all_tasks_blocked(0.05)
                connections.cancel_scope.cancel()
            nursery.cancel_scope.cancel()
        assert came == [NEXT]

    trio.run(run)
