"""Known heads: what h11 would make of the bytes, and nothing else, ever."""

from functools import partial

import h11
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from daemon import head_cache
from daemon.admission import Watched
from daemon.body_flow import NO_PROGRESS, BodyTooLarge
from daemon.config import BODY_STALL_S
from daemon.head_cache import Head, Heads, KnownHead, RequestHeads, ResponseHeads, response
from daemon.head_policy import BadRequest
from daemon.http_connection import HttpConnection

JSON = ((b"content-type", b"application/json"),)
tokens = st.sampled_from([b"a", b"b"])
lengths = st.sampled_from([b"0", b"2", b"3", b"5", b"03", b" 3", b"3 ", b"", b"-1", b"x", b"3, 3", b"1" * 30])
fields = st.one_of(
    st.builds(lambda t: b"Authorization: Bearer " + t, tokens),
    st.builds(lambda n: b"Content-Length: " + n, lengths),
    st.builds(lambda n: b"content-length:" + n, lengths),
    st.sampled_from(
        [b"Host: x", b"host: y", b"Expect: 100-continue", b"Transfer-Encoding: chunked", b"Connection: close",
         b"Connection: keep-alive", b"X: 1", b"X:2", b"X : 3", b" folded", b"Upgrade: h2c", b"X: a\x01b", b""]
    ),
)  # fmt: skip
ends = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"])
lines = st.sampled_from(
    [b"POST /v0/events?name=a HTTP/1.1", b"POST /v0/events?name=b HTTP/1.1", b"GET / HTTP/1.1", b"POST / HTTP/1.0",
     b"POST  / HTTP/1.1", b"post / HTTP/1.1", b"\r\nPOST / HTTP/1.1"]
)  # fmt: skip


@st.composite
def requests(draw) -> bytes:
    end = draw(ends)
    head = [draw(lines), b"Host: x", *draw(st.lists(fields, max_size=4))]
    body: bytes = draw(st.sampled_from([b"", b"{}\n", b"{} {}", b"3\r\n{}\n\r\n0\r\n\r\n"]))
    request: bytes = end.join(head) + end + end + body
    return request


good = st.sampled_from(
    [b"POST /v0/events?name=a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n{}\n",
     b"POST /v0/events?name=a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
     b"POST /v0/events?name=b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{} {}"]
)  # fmt: skip


async def understand(heads: Heads, pieces: list[bytes], *, refuses: bool = False) -> list[object]:
    """What a connection makes of these bytes: requests with their bodies, or without where each is refused, and how it ended."""
    client, server = trio.testing.memory_stream_pair()
    connection = HttpConnection(server, Watched(), heads)
    found: list[object] = []

    async def send() -> None:
        for piece in pieces:
            await client.send_all(piece)
            await trio.testing.wait_all_tasks_blocked()
        await client.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        try:
            while (head := await connection.next_head()) is not None:
                connection.keep_head()
                body = b""
                if refuses:
                    await connection.drain(head)
                else:
                    body = await connection.read_body(bytes_max=1000, progress=NO_PROGRESS)
                found.append((head.method, head.target, head.headers, body))
                await connection.respond(200, JSON, b"{}")
        except BadRequest as error:
            found.append(("refused", error.status))
        except (trio.BrokenResourceError, BodyTooLarge) as error:
            found.append(type(error))
    return found


class NothingKnown(RequestHeads):
    """Sends every request through h11."""

    def remember(self, buffer: bytes, head: Head) -> None:
        pass


@given(st.lists(st.one_of(good, good, requests()), min_size=1, max_size=5), st.integers(0, 200), st.booleans())
def test_a_connection_understands_the_same_with_and_without_known_heads(stream, cut, refuses):
    """Whatever the cuts between packets, and however often the heads were seen before."""
    data = b"".join(stream)
    warm = Heads()
    expected = trio.run(partial(understand, refuses=refuses), Heads(requests=NothingKnown()), [data])
    for pieces in ([data], stream, [data], [data[:cut], data[cut:]], [data]):
        found = trio.run(partial(understand, refuses=refuses), warm, [piece for piece in pieces if piece])
        assert found == expected


def head(*lines: bytes) -> bytes:
    return b"\r\n".join((b"POST / HTTP/1.1", b"Host: x", *lines, b"", b""))


async def remembered(raw: bytes) -> Heads:
    """Heads of which this one has come, with whatever body."""
    heads = Heads()
    await understand(heads, [raw], refuses=True)
    return heads


@pytest.mark.parametrize("line", [b"Content-Length: %d", b"content-length:%d", b"CONTENT-length: %d"])
@pytest.mark.parametrize("length", [0, 7, 10_000_000])
async def test_a_head_that_differs_in_its_length_alone_is_the_same(line, length):
    heads = await remembered(head(line % 3, b"X: 1") + b"{}\n")
    raw = head(line % length, b"X: 1")
    found = heads.requests.find(raw, 0)

    assert found is not None
    known, body_length, start = found
    assert (body_length, start) == (length, len(raw))
    assert known.with_length(length).headers == {b"host": b"x", b"content-length": b"%d" % length, b"x": b"1"}


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 03"],
        [b"Content-Length: +7"],
        [b"Content-Length: 7 "],
        [b"Content-Length: 7, 7"],
        [b"Content-Length: "],
        [b"Content-Length: 7", b"Content-Length: 3"],
        [b"Content-Length: 3", b"Content-Length: 7"],
        [b"Content-Length: 7", b"Transfer-Encoding: chunked"],
        [b"X: Content-Length: 7"],
        [b"Content-Lengthy: 7"],
        [b"Content-Length: " + b"7" * 16],
    ],
)
async def test_a_head_that_says_more_or_less_than_another_length_is_not(lines):
    heads = await remembered(head(b"Content-Length: 3") + b"{}\n")

    assert heads.requests.find(head(*lines), 0) is None


async def test_a_head_with_its_length_in_two_places_stands_for_itself_alone():
    raw = head(b"Content-Length: 3", b"Content-Length: 3")
    heads = await remembered(raw + b"{}\n")

    for others in ([b"Content-Length: 7", b"Content-Length: 3"], [b"Content-Length: 7", b"Content-Length: 7"]):
        assert heads.requests.find(head(*others), 0) is None


@pytest.mark.parametrize(("limit", "value"), [("REQUESTS_MAX", 2), ("REQUESTS_BYTES_MAX", 200)])
def test_heads_that_are_too_many_or_too_large_together_are_forgotten_at_once(monkeypatch, limit, value):
    monkeypatch.setattr(head_cache, limit, value)
    requests = RequestHeads()
    raws = [head(b"Content-Length: 3", b"X: %d" % number) for number in range(3)]
    for raw in raws:
        requests.keep(raw, KnownHead(Head(b"POST", b"/", {b"content-length": b"3"})), 3)

    assert [requests.find(raw, 0) is not None for raw in raws] == [False, False, True]


@given(st.sampled_from([200, 202, 400, 403, 503]), st.integers(0, 10_000), st.booleans())
def test_an_answer_from_known_heads_is_what_h11_would_send(status, length, close):
    fields = (*JSON, (b"connection", b"close")) if close else JSON
    known = ResponseHeads()

    def by_h11() -> bytes:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        connection.next_event()
        connection.next_event()
        sent = connection.send(response(status, (*fields, (b"x-request-id", b"7f")), length))
        assert sent is not None
        return sent

    for _ in range(2):
        # The Date may go on by a second in between.
        before, found, after = by_h11(), known.serialise(status, fields, length, b"7f"), by_h11()
        assert found in {before, after}


async def test_a_body_that_came_fast_and_stands_still_is_not_waited_for_longer_than_another():
    ours, theirs = trio.testing.memory_stream_pair()
    watched = Watched()
    connection = HttpConnection(ours, watched, Heads())
    await theirs.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n" + bytes(9_000_000))
    await connection.next_head()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: connection.read_body(bytes_max=10_000_000, progress=NO_PROGRESS))
        await trio.testing.wait_all_tasks_blocked()
        await theirs.send_all(bytes(10))
        await trio.testing.wait_all_tasks_blocked()
        assert watched.deadline <= trio.current_time() + BODY_STALL_S
        nursery.cancel_scope.cancel()
