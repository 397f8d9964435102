"""What a handler gives back: an answer, or a refusal with one sentence that says what to do."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from time import time
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

import orjson

from daemon.head_cache import Fields, Head
from daemon.http_connection import HttpConnection
from daemon.tokens import NOBODY, Token

FORM_FIELDS_MAX = 200
JSON: Fields = ((b"content-type", b"application/json; charset=utf-8"),)


class Refused(Exception):
    """An answer other than success: a status and one sentence; what is to be done is part of the sentence."""

    def __init__(
        self, status: int, message: str, *, retry_after_s: int | None = None, allow: bytes | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.allow = allow
        self.retry_after_s = retry_after_s


class LongBody(Protocol):
    """A body that is not held in memory; to be closed by whoever sends it."""

    @property
    def size(self) -> int:
        """In bytes."""

    def chunks(self) -> AsyncIterator[bytes]:
        """All of it, once."""

    def close(self) -> None:
        """It is not needed any more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A success, with the fields of its head beyond those that every answer has; `long_body` stands for `body`."""

    status: int
    body: bytes
    fields: Fields = JSON
    long_body: "LongBody | None" = None


def json_answer(value: Any, status: int = 200) -> Answer:
    """`value` as JSON."""
    return Answer(status, orjson.dumps(value))


@dataclass(slots=True)
class Request:
    """One request as a handler gets it: who sends it, what for, and the connection its body is still on.

    `query` has the first of repeated parameters. `fields` go into the answer, whatever becomes of the request. From
    `event` on stands what the request log says of it.
    """

    connection: HttpConnection
    head: Head
    path: str = ""
    query: dict[str, str] = field(default_factory=dict)
    token: Token = NOBODY
    presented: str = ""
    fields: Fields = field(default=())
    event: str = ""
    source: str = ""
    rows: int = 0
    quarantined: int = 0
    size: int = 0
    started: float = field(default_factory=time)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """All parameters of the query, repeated ones too."""
        return parse_qsl(urlsplit(self.head.target.decode("ascii")).query, keep_blank_values=True)

    def form(self, body: bytes) -> list[tuple[str, str]]:
        """The fields of a body that is an urlencoded form; none for any other body."""
        kind = self.head.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind != b"application/x-www-form-urlencoded":
            return []
        try:
            return parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX)
        except ValueError:
            return []
