"""A client that reads a long answer: it may be slow, but not so slow that its answer stays for ever."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import trio
import trio.testing

from daemon.admission import Watch
from daemon.config import ANSWER_BYTES_PER_S, SEND_TIMEOUT_S
from daemon.head_cache import Heads
from daemon.http_connection import HttpConnection

SIZE = 64 * 1024 * 1024
CHUNK = 256 * 1024


async def chunks() -> AsyncGenerator[bytes, None]:
    for _ in range(SIZE // CHUNK):
        yield bytes(CHUNK)


async def taken(bytes_per_s: float) -> tuple[int, float, bool]:
    """How much of a long answer a client gets that reads so fast, after how long, and whether it was cut off."""
    client, server = trio.testing.lockstep_stream_pair()
    watch = Watch(10)
    seen = 0

    async def read() -> None:
        nonlocal seen
        await client.send_all(b"GET /v0/sql?q=SELECT+1 HTTP/1.1\r\nHost: x\r\n\r\n")
        while data := await client.receive_some(CHUNK):
            seen += len(data)
            await trio.sleep_until(trio.current_time() + len(data) / bytes_per_s)

    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        with watch.watched() as watched:
            connection = HttpConnection(server, watched, Heads())
            nursery.start_soon(read)
            async with aclosing(chunks()) as body:
                with watched.scope:
                    await connection.next_head()
                    await connection.respond_at_length(200, (), SIZE, body)
        nursery.cancel_scope.cancel()
    return seen, trio.current_time() - started, watched.timed_out


async def test_a_client_that_keeps_up_the_pace_gets_all(autojump_clock):
    seen, took, cut_off = await taken(2 * ANSWER_BYTES_PER_S)

    assert not cut_off
    assert seen >= SIZE
    assert took > 2 * SEND_TIMEOUT_S


async def test_a_client_that_never_pauses_for_long_but_is_too_slow_for_the_whole_is_cut_off(autojump_clock):
    """Each chunk of it would be in time."""
    bytes_per_s = ANSWER_BYTES_PER_S / 2
    assert bytes_per_s * SEND_TIMEOUT_S > CHUNK

    seen, _, cut_off = await taken(bytes_per_s)

    assert cut_off
    assert seen < SIZE / 4
