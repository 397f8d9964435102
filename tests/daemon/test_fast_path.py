"""Which requests under a known head are taken together with others, and which are left to their connection's task."""

import pytest
import trio
import trio.testing

from daemon.admission import Watch
from daemon.fast_path import FastPath
from daemon.head_cache import Head, Heads, KnownHead
from daemon.transport import Transport
from tests.daemon.test_read_ahead import HEAD, Waiting, connected


@pytest.mark.parametrize(("body", "is_taken"), [(b"{}", True), (b"", False), (b"{ }", False)])
async def test_a_body_of_nothing_or_too_much_holds_up_no_others_of_its_head(body, is_taken):
    heads, appends, watch = Heads(), Waiting(), Watch(16)
    known = KnownHead(Head(b"POST", b"/", {b"content-length": b"2"}))
    heads.requests.keep(HEAD, known, 2)
    path = FastPath(heads, appends, watch, body_bytes_max=2)
    came: list[bytes] = []
    client, server = await connected()

    async def wait_for_more() -> None:
        with watch.watched() as watched:
            came.append(await path.next_bytes(Transport(server), watched))

    sent = HEAD.replace(b"2\r\n\r\n", b"%d\r\n\r\n" % len(body)) + body
    async with client, server, trio.open_nursery() as nursery:
        nursery.start_soon(path.run)
        nursery.start_soon(wait_for_more)
        await client.send_all(sent)
        await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.cancel_scope.cancel()

    assert ([batch.bodies for batch in appends.batches], came) == (([[body]], []) if is_taken else ([], [sent]))
    assert all(batch.known is known for batch in appends.batches)
