"""What a handler gives back: an answer, or a refusal with one sentence that says what to do."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from daemon.head_cache import Fields, Head
from daemon.http_connection import HttpConnection
from daemon.tokens import Token

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


@dataclass(frozen=True, slots=True)
class Answer:
    """A success, with the fields of its head beyond those that every answer has."""

    status: int
    body: bytes
    fields: Fields = JSON


def json_answer(value: Any, status: int = 200) -> Answer:
    """`value` as JSON."""
    return Answer(status, orjson.dumps(value))


@dataclass(slots=True)
class Request:
    """One request as a handler gets it: who sends it, what for, and the connection its body is still on.

    `query` has the first of repeated parameters. `fields` go into the answer, whatever becomes of the request.
    """

    connection: HttpConnection
    head: Head
    path: str
    query: dict[str, str]
    token: Token
    fields: Fields = field(default=())
