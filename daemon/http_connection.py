"""h11 on a Trio stream: bytes to requests, responses to bytes, deadlines on reading. Knows no routes.

h11 is a parser, not a policy: `head_policy` judges what it lets through.
"""

from collections.abc import AsyncIterator

import h11
import trio

from daemon.admission import NEVER, Watched
from daemon.body_flow import NO_PROGRESS, AnswerPace, BodyTooLarge, Pace, Progress, Sink
from daemon.config import HEAD_BYTES_MAX, HEAD_TIMEOUT_S, IDLE_TIMEOUT_S, SEND_TIMEOUT_S
from daemon.head_cache import NO_CONTENT, Fields, Head, Heads, response
from daemon.head_policy import BadRequest, judge
from daemon.transport import Rest, Transport

HEAD_READ_BYTES = 32 * 1024
"""What anyone may make us hold without a token, so it is small."""
BODY_READ_BYTES = 256 * 1024
FRAMING_BYTES_MAX = 64 * 1024
"""Beyond the bytes of a body its chunk headers may take this much: a chunk for each byte costs us far more than it."""
EVENTS_AT_ONCE = 64
"""Chunks of one connection that are taken before the others get their turn."""
DRAIN_BYTES_MAX = 64 * 1024
LINGER_BYTES_MAX = 32 * 1024 * 1024
LINGER_S = 2.0
CLOSE = (b"connection", b"close")


def _put(sink: Sink, data: bytes | bytearray) -> None:
    sink.room()[: len(data)] = data
    sink.came(len(data))


class HttpConnection:
    """One client. Methods raise BadRequest, BodyTooLarge, and trio.BrokenResourceError when the client is gone.

    A request whose head is known from before is taken from our own buffer, and the length of its body from the head; h11
    sees the bytes of every other one, and then of all that has arrived behind it.
    """

    def __init__(
        self,
        stream: trio.abc.HalfCloseableStream,
        watched: Watched,
        heads: Heads,
        rest: Rest | None = None,
        arrived: bytes = b"",
    ) -> None:
        self._transport = Transport(stream)
        self._rest = rest
        self._watched = watched
        self._heads = heads
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._buffer = arrived
        self._at = 0
        self._kept = b""
        self._body = b""
        self._body_left = 0
        self._head: tuple[bytes, Head] | None = None
        self._head_method = False
        self._plain = False
        self._answered = False
        self._said_close = False
        self.request_id = b""
        self.closing = False

    async def next_head(self) -> Head | None:
        """The next request's head; None when the client has closed or the connection can't be used again."""
        if self._said_close:
            return None
        if self._plain:
            self._plain = False
        elif self._h11.our_state is h11.MUST_CLOSE or self._h11.their_state in (h11.MUST_CLOSE, h11.CLOSED):
            return None
        elif self._h11.our_state is h11.DONE:
            self._h11.start_next_cycle()
        self.request_id = b"%x" % next(self._heads.request_ids)
        self._watched.idle = True
        self._answered = False
        self._head = None
        if self._h11.trailing_data[0]:
            return await self._next_head_by_h11(self._h11.trailing_data[0])
        if self._at == len(self._buffer):
            if self.closing:
                return None
            self._buffer, self._at = await self._next_bytes(), 0
            self._watched.deadline = NEVER
        found = self._heads.requests.find(self._buffer, self._at)
        if found is not None:
            known, body_length, start = found
            self._kept = self._buffer[self._at : start]
            self._at = min(start + body_length, len(self._buffer))
            self._body = self._buffer[start : self._at]
            self._body_left = body_length - len(self._body)
            self._plain = True
            self._head_method = False
            return known.with_length(body_length)
        unread, self._buffer, self._at = self._buffer[self._at :], b"", 0
        self._h11.receive_data(unread)
        return await self._next_head_by_h11(unread)

    async def _next_bytes(self) -> bytes:
        if self._rest is not None and self._transport.is_plain:
            kept, self._kept = self._kept, b""
            return await self._rest.next_bytes(self._transport, self._watched, kept)
        self._watched.wait_until(trio.current_time() + IDLE_TIMEOUT_S)
        return await self._transport.receive_next(HEAD_READ_BYTES)

    async def _next_head_by_h11(self, arrived: bytes) -> Head | None:
        """`arrived` is what h11 has got so far of this request."""
        watched = self._watched
        pieces = [arrived]
        while True:
            event = self._next_event()
            if event is h11.NEED_DATA:
                if watched.idle:
                    watched.idle = False
                    watched.wait_until(trio.current_time() + HEAD_TIMEOUT_S)
                pieces.append(await self._transport.receive_next(HEAD_READ_BYTES))
                self._h11.receive_data(pieces[-1])
                continue
            watched.deadline = NEVER
            watched.idle = True
            if not isinstance(event, h11.Request):
                return None
            raw = b"".join(pieces)
            raw = raw[: len(raw) - len(self._h11.trailing_data[0])]
            self._head_method = event.method == b"HEAD"
            head = judge(event, raw)
            self._head = (raw, head)
            return head

    def keep_head(self) -> None:
        """Let later requests with the present one's head be taken without h11. For heads that proved their right only,
        so that strangers can't push them out."""
        if self._head is not None:
            self._heads.requests.remember(*self._head)
            self._kept, self._head = self._head[0], None

    async def read_body(self, *, bytes_max: int, progress: Progress, sink: Sink | None = None) -> bytes:
        """The whole body, at most `bytes_max`; nothing where there is a `sink`, which has it then. Says `100 Continue` first
        if the client waits for it."""
        if self._plain:
            return await self._read_plain_body(bytes_max, progress, sink)
        if self._h11.they_are_waiting_for_100_continue:
            go_on = self._h11.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
            await self._send(go_on or b"")
        taken: bytes | bytearray = b""
        events = arrived = size = 0
        pace = Pace(self._watched)
        while True:
            event = self._next_event()
            if event is h11.NEED_DATA:
                pace.wait_for_more()
                data = await self._transport.receive_more(BODY_READ_BYTES)
                arrived += len(data)
                pace.came(len(data))
                self._h11.receive_data(data)
            elif isinstance(event, h11.Data):
                size += len(event.data)
                if size > bytes_max or arrived > bytes_max + FRAMING_BYTES_MAX:
                    raise BodyTooLarge(max(size, arrived))
                progress.hold(size)
                events += 1
                if sink is not None:
                    _put(sink, event.data)
                elif events == 1:
                    taken = bytes(event.data)
                else:
                    taken = taken if isinstance(taken, bytearray) else bytearray(taken)
                    taken += event.data
                if events % EVENTS_AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()
            elif isinstance(event, h11.EndOfMessage):
                pace.end()
                return bytes(taken)
            else:
                raise trio.BrokenResourceError("the client left in the middle of a body")

    async def _read_plain_body(self, bytes_max: int, progress: Progress, sink: Sink | None) -> bytes:
        """Never reads beyond the body: what follows belongs to the next request."""
        size = len(self._body) + self._body_left
        if size > bytes_max:
            raise BodyTooLarge(size)
        pieces = [self._body]
        if sink is not None:
            _put(sink, self._body)
            pieces = []
        pace = Pace(self._watched)
        while self._body_left:
            pace.wait_for_more()
            if sink is not None:
                came = await self._transport.receive_into(sink.room()[: min(self._body_left, BODY_READ_BYTES)])
            else:
                pieces.append(await self._transport.receive_more(min(self._body_left, BODY_READ_BYTES)))
                came = len(pieces[-1])
            if not came:
                raise BadRequest(400, "the connection was closed in the middle of the body")
            self._body_left -= came
            pace.came(came)
            progress.hold(size - self._body_left)
            if sink is not None:
                sink.came(came)
        pace.end()
        return b"".join(pieces)

    async def drain(self, head: Head) -> None:
        """Read and forget the body of a refused request if it is short, so that the connection can be used again."""
        length = self._unread(head)
        if length is not None and length <= DRAIN_BYTES_MAX:
            try:
                await self.read_body(bytes_max=HEAD_READ_BYTES + DRAIN_BYTES_MAX, progress=NO_PROGRESS)
            except BadRequest:
                self.closing = True

    def _unread(self, head: Head) -> int | None:
        """How much is to be read before the next request; None when nothing is, or nobody knows how much, or the client has
        not begun to send it."""
        if self._plain:
            return self._body_left or None
        if self._h11.their_state is not h11.SEND_BODY or self._h11.they_are_waiting_for_100_continue:
            return None
        # h11 wants to be asked for the end of a body without bytes, too.
        return head.content_length or (0 if b"transfer-encoding" not in head.headers else None)

    async def respond(self, status: int, fields: Fields, body: bytes) -> None:
        """Send a whole answer. If the request's body has not been read, the connection closes after it."""
        fields = self._begin_answer(fields)
        if self._plain:
            await self._send(self._heads.responses.serialise(status, fields, len(body), self.request_id) + body)
            return
        fields = (*fields, (b"x-request-id", self.request_id))
        data = self._h11.send(response(status, fields, len(body))) or b""
        if not self._head_method and status != NO_CONTENT:
            data += self._h11.send(h11.Data(data=body)) or b""
        data += self._h11.send(h11.EndOfMessage()) or b""
        await self._send(data)

    async def respond_at_length(self, status: int, fields: Fields, size: int, chunks: AsyncIterator[bytes]) -> None:
        """Send an answer of `size` bytes piece by piece, to a client that keeps up the pace."""
        fields = self._begin_answer(fields)
        pace = AnswerPace()
        if self._plain:
            await self._send(self._heads.responses.serialise(status, fields, size, self.request_id))
            async for chunk in chunks:
                await self._send(chunk, pace.deadline(len(chunk)))
            return
        await self._send(self._h11.send(response(status, (*fields, (b"x-request-id", self.request_id)), size)) or b"")
        if not self._head_method:
            async for chunk in chunks:
                await self._send(self._h11.send(h11.Data(data=chunk)) or b"", pace.deadline(len(chunk)))
        await self._send(self._h11.send(h11.EndOfMessage()) or b"")

    def _begin_answer(self, fields: Fields) -> Fields:
        if self._plain:
            is_read = not self._body_left
        else:
            is_read = self._h11.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)
        self._answered = True
        if self.closing or not is_read:
            self._said_close = True
            return (*fields, CLOSE)
        return fields

    async def close(self) -> None:
        """Close so that the last answer arrives: half-close, then read what was still on its way, within bounds."""
        with trio.move_on_after(LINGER_S):
            try:
                await self._transport.send_eof()
                seen = 0
                while seen < LINGER_BYTES_MAX and (data := await self._transport.receive_more(HEAD_READ_BYTES)):
                    seen += len(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

    @property
    def is_local(self) -> bool:
        """Whether the client is on this machine."""
        return self._transport.is_local

    @property
    def can_answer(self) -> bool:
        """Whether an answer to the present request may still be started."""
        if self._plain:
            return not self._answered
        return self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE)

    async def _send(self, data: bytes, deadline: float | None = None) -> None:
        self._watched.wait_until(deadline or trio.current_time() + SEND_TIMEOUT_S)
        await self._transport.send_all(data)
        self._watched.deadline = NEVER

    def _next_event(self) -> object:
        try:
            return self._h11.next_event()
        except h11.RemoteProtocolError as error:
            status = error.error_status_hint if error.error_status_hint in (431, 501) else 400
            raise BadRequest(status, f"not a valid HTTP request: {error}") from None
