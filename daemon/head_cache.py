"""Heads that h11 has parsed or serialised before, by their exact bytes, or all of these but how long the body is.

h11 is the only parser of HTTP here, and most of what a small request costs. The same head bytes always mean the same
head, so what h11 made of them the first time is kept; and the digits of the one Content-Length mean that length, and nothing else.
Only a head whose body is framed by Content-Length, on a connection that stays open, with nothing unusual about it, is ever
kept: everything else goes through h11 each time.
"""

import re
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from itertools import count
from time import time

import h11

REQUESTS_MAX = 16_384
REQUESTS_BYTES_MAX = 8 * 1024 * 1024
"""So many heads are known that differ in more than a length, or of so many bytes together, and then they are forgotten at once."""
HEADER_BYTES = 128
"""What a header takes beside its text."""
SEEN_MAX = 4096
"""So many heads are known without a search for their length."""
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
# A number that has only one way to be written; more of it is in no need of a fast way.
_LENGTH = re.compile(rb"\r\ncontent-length: ?(0|[1-9][0-9]{0,14})\r\n", re.IGNORECASE)
_LENGTHS = re.compile(rb"\r\ncontent-length", re.IGNORECASE)
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
    """A head seen before, and a place for what its reader has made of it: a plan, or in a front the number that the daemon knows it
    by. The same one for all heads that differ from it in how long the body is."""

    __slots__ = ("head", "plan")

    def __init__(self, head: Head, plan: object = None) -> None:
        self.head = head
        self.plan = plan

    def with_length(self, body_length: int) -> Head:
        """The head of a request with such a body."""
        if self.head.content_length == body_length:
            return self.head
        return replace(self.head, headers=self.head.headers | {b"content-length": b"%d" % body_length})


class RequestHeads:
    """Raw head bytes -> what h11 made of them and the length of the body."""

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[KnownHead, int]] = {}
        self._known: dict[bytes, KnownHead] = {}
        self._known_bytes = 0

    def find(self, buffer: bytes, at: int) -> tuple[KnownHead, int, int] | None:
        """The head that starts at `at`, if it is known, the length of its body, and where that starts, of which not all need be
        there yet."""
        end = buffer.find(_END, at)
        if end < 0:
            return None
        start = end + len(_END)
        raw = buffer[at:start]
        seen = self._seen.get(raw) or self._of_another_length(raw)
        return None if seen is None else (*seen, start)

    def _of_another_length(self, raw: bytes) -> tuple[KnownHead, int] | None:
        place = _LENGTH.search(raw)
        known = None if place is None else self._known.get(_without(raw, place))
        if known is None or place is None:
            return None
        seen = known, int(place[1])
        self._note_seen(raw, seen)
        return seen

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
            self.keep(raw, KnownHead(head), length)

    def keep(self, raw: bytes, known: KnownHead, body_length: int) -> None:
        """Know this head from now on, and those like it; one that is known already gets the plan of this one."""
        place = _LENGTH.search(raw)
        if place is not None and len(_LENGTHS.findall(raw)) == 1:
            if len(self._known) >= REQUESTS_MAX or self._known_bytes >= REQUESTS_BYTES_MAX:
                self._known.clear()
                self._seen.clear()
                self._known_bytes = 0
            without = _without(raw, place)
            before = self._known.get(without)
            if before is None:
                self._known[without] = known
                self._known_bytes += len(raw) + HEADER_BYTES * len(known.head.headers)
            else:
                before.plan = known.plan or before.plan
                known = before
        self._note_seen(raw, (known, body_length))

    def _note_seen(self, raw: bytes, seen: tuple[KnownHead, int]) -> None:
        if len(self._seen) >= SEEN_MAX:
            self._seen.clear()
        self._seen[raw] = seen


def _without(raw: bytes, place: "re.Match[bytes]") -> bytes:
    """The head without the digits at `place`, which has them from a head in which nothing else says a length."""
    return raw[: place.start(1)] + raw[place.end(1) :]


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
