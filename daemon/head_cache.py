"""Heads that h11 has parsed or serialised before, by their exact bytes.

h11 is the only parser of HTTP here, and most of what a small request costs. The same head bytes always mean the same
head, so what h11 made of them the first time is kept. Only a head whose body is framed by Content-Length, on a
connection that stays open, with nothing unusual about it, is ever kept: everything else goes through h11 each time.
"""

from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from itertools import count
from time import time

import h11

REQUESTS_MAX = 4096
RESPONSES_MAX = 1024
CACHED_HEAD_BYTES_MAX = 2048
_END = b"\r\n\r\n"
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
NO_CONTENT = 204
_FOR_BROWSERS = (
    (b"access-control-allow-origin", b"*"),
    (
        b"access-control-expose-headers",
        b"x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, retry-after, x-request-id",
    ),
)
_STAYS = b"keep-alive"
_UNUSUAL = (b"expect", b"transfer-encoding", b"upgrade")

Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body. Header names are lower case; repeated ones are joined with commas."""

    method: bytes
    target: bytes
    headers: dict[bytes, bytes]

    @property
    def content_length(self) -> int | None:
        value = self.headers.get(b"content-length")
        return None if value is None else int(value)


class KnownHead:
    """A head seen before, the length of the body that follows it, and a place for what its reader has made of it: a plan, or
    in a front the number that the daemon knows it by."""

    __slots__ = ("body_length", "head", "plan")

    def __init__(self, head: Head, body_length: int, plan: object = None) -> None:
        self.head = head
        self.body_length = body_length
        self.plan = plan


class RequestHeads:
    """Raw head bytes -> what h11 made of them and the length of the body."""

    def __init__(self) -> None:
        self._known: dict[bytes, KnownHead] = {}

    def find(self, buffer: bytes, at: int) -> tuple[KnownHead, int] | None:
        """The head that starts at `at`, if it is known, and where its body starts, of which not all need be there yet."""
        end = buffer.find(_END, at)
        if end < 0:
            return None
        start = end + len(_END)
        known = self._known.get(buffer[at:start])
        return None if known is None else (known, start)

    def remember(self, raw: bytes, head: Head) -> None:
        """Keep what h11 has made of the head `raw`, if it is of the plain kind."""
        length = head.content_length
        is_plain = (
            length is not None
            and raw.startswith(b"POST ")
            and raw.endswith(_END)
            and len(raw) <= CACHED_HEAD_BYTES_MAX
            and raw.partition(b"\r\n")[0].endswith(b" HTTP/1.1")
            and head.headers.get(b"connection", _STAYS).lower() == _STAYS
            and not any(name in head.headers for name in _UNUSUAL)
        )
        if length is not None and is_plain:
            self.keep(raw, KnownHead(head, length))

    def keep(self, raw: bytes, known: KnownHead) -> None:
        """Know this head from now on."""
        if len(self._known) >= REQUESTS_MAX:
            self._known.clear()
        self._known[raw] = known


def response(status: int, fields: Fields, body_length: int) -> h11.Response:
    """A response's head with the fields that every answer has. A 204 has no length, by the protocol."""
    length = () if status == NO_CONTENT else ((b"content-length", b"%d" % body_length),)
    headers = [(b"date", _date()), *length, *_FOR_BROWSERS, *fields]
    return h11.Response(status_code=status, headers=headers, reason=_REASONS.get(status, b""))


class ResponseHeads:
    """Status, fields and body length -> the head as h11 serialised it within the same second."""

    def __init__(self) -> None:
        self._second = 0
        self._known: dict[tuple[int, Fields, int], bytes] = {}

    def serialise(self, status: int, fields: Fields, body_length: int, request_id: bytes) -> bytes:
        """The head of an answer to a plain HTTP/1.1 request."""
        second = int(time())
        if second != self._second or len(self._known) >= RESPONSES_MAX:
            self._second = second
            self._known.clear()
        key = (status, fields, body_length)
        head = self._known.get(key)
        if head is None:
            head = self._known[key] = _by_h11(response(status, fields, body_length))
        return b"%bx-request-id: %b\r\n\r\n" % (head, request_id)


@dataclass(frozen=True, slots=True)
class Heads:
    """What all connections of a server share: heads seen before, and the numbers of requests."""

    requests: RequestHeads = field(default_factory=RequestHeads)
    responses: ResponseHeads = field(default_factory=ResponseHeads)
    request_ids: "count[int]" = field(default_factory=lambda: count(1))


def _by_h11(head: h11.Response) -> bytes:
    """The serialised head, open for one more field."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
    while not isinstance(connection.next_event(), h11.EndOfMessage):
        pass
    return (connection.send(head) or b"").removesuffix(b"\r\n")


class _Clock:
    """The text of the Date header, made once a second."""

    second = 0
    text = b""


_CLOCK = _Clock()


def _date() -> bytes:
    now = int(time())
    if now != _CLOCK.second:
        _CLOCK.second, _CLOCK.text = now, formatdate(now, usegmt=True).encode()
    return _CLOCK.text
