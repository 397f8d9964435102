"""`POST /v0/events`: from a request's head to its answer (API §1). The order of the checks is the order of the code.

Everything that can be refused from the head alone is refused before the body is read, and before `100 Continue`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import time

import trio

from daemon.admission import Budget, Reservation
from daemon.body import BrokenCoding, UnfoldsTooFar, codec_of, unfold
from daemon.config import INLINE_BYTES_MAX, Config
from daemon.head_cache import Head
from daemon.http_connection import BodyTooLarge, HttpConnection
from daemon.ingest import ActorStopped, InboxFull, Ingest
from daemon.sources import Sources
from daemon.tokens import Token
from segments.decode import Decoded, decode_body
from segments.filenames import name_problem
from segments.infer import infer
from segments.keys import Key
from segments.lines import Events, parse_body, parse_slices
from segments.schema import Schema
from segments.source_log import Committed, Write

_WAITS = {"true": True, "True": True, "1": True, "false": False, "0": False, "": False}
_KEY_BYTES_MAX = 255
DECODED_AT_ONCE = 2
ROWS_MAX = 1_000_000
"""In one request: as Python objects and as Arrow, rows of a few bytes take a hundred times their size."""


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
class Accepted:
    """The rows are in: durable for status 200, handed to the kernel for 202."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class _Call:
    """What the query string and the headers ask for, checked."""

    name: str
    wait: bool
    codec: str | None
    key: str | None


class EventsApi:
    """The handler of the route; one for the daemon."""

    def __init__(self, sources: Sources, config: Config, budget: Budget) -> None:
        self._sources = sources
        self._config = config
        self._budget = budget
        self._decoding = trio.Semaphore(DECODED_AT_ONCE)

    async def post(self, connection: HttpConnection, head: Head, query: dict[str, str], token: Token) -> Accepted:
        """Take the body in, commit its rows, say how many. Raises Refused and what `daemon.routes` has in its table."""
        call = _check(head, query)
        self._authorise(call.name, token)
        actor = self._sources.peek(call.name)
        if actor is not None and actor.is_full:
            raise InboxFull
        reservation = Reservation(self._budget)
        try:
            body = await self._read(connection, head, call, reservation)
            return await self._store(call, token, body)
        finally:
            reservation.release()

    def _authorise(self, name: str, token: Token) -> None:
        if not token.may_append(name):
            raise Refused(
                403,
                f"this token has no scope to append to '{name}'; it needs DATASOURCES:APPEND:{name} or DATASOURCES:CREATE",
            )
        if not self._sources.exists(name) and not token.may_create:
            raise Refused(
                403, f"data source '{name}' does not exist, and this token lacks DATASOURCES:CREATE to make it"
            )

    async def _read(self, connection: HttpConnection, head: Head, call: _Call, reservation: Reservation) -> bytes:
        limit = self._config.max_body_bytes
        announced = head.content_length
        if announced is not None:
            if announced > limit:
                raise _too_large(announced, limit)
            # Held only as it comes: a slow sender must not keep room that it does not fill.
            self._budget.check_room(announced)
        try:
            body = await connection.read_body(bytes_max=limit, progress=reservation)
        except BodyTooLarge as error:
            raise _too_large(error.seen, limit) from None
        if call.codec is None:
            return body
        reservation.hold(len(body) + limit)
        try:
            return await trio.to_thread.run_sync(partial(unfold, body, call.codec, bytes_max=limit))
        except UnfoldsTooFar:
            raise Refused(
                413, f"the body is more than {limit} bytes after decompression, which is the limit; send it in parts"
            ) from None
        except BrokenCoding as error:
            raise Refused(400, f"{error}; nothing of it was stored") from None

    async def _store(self, call: _Call, token: Token, body: bytes) -> Accepted:
        if len(body) <= INLINE_BYTES_MAX:
            events = parse_body(body)
            if not events:
                return _accepted(call, Committed.none())
            actor = await self._actor(call.name, lambda: infer([events]))
            return await self._commit(call, token, actor, events, body)
        if body.count(b"\n") >= ROWS_MAX:
            raise Refused(
                413, f"the body has {body.count(10)} lines or more; {ROWS_MAX} is the limit, send it in parts"
            )
        async with self._decoding:
            if not await trio.to_thread.run_sync(body.strip):
                return _accepted(call, Committed.none())
            actor = await self._actor(call.name, lambda: infer(parse_slices(body)))
            decoded = await trio.to_thread.run_sync(decode_body, actor.log.schema, body)
        return await self._commit(call, token, actor, decoded, body)

    async def _commit(self, call: _Call, token: Token, actor: Ingest, rows: Events | Decoded, body: bytes) -> Accepted:
        key = None
        if call.key is not None:
            key = Key(token.id, call.key, hashlib.sha256(body).hexdigest(), int(time()))
        outcome = await actor.submit(Write(rows, key), size_bytes=len(body), durably=call.wait)
        if isinstance(outcome, Committed):
            return _accepted(call, outcome)
        if isinstance(outcome, ActorStopped):
            raise Refused(
                500, "the rows may or may not be stored; send the request again with the same Idempotency-Key"
            )
        raise outcome

    async def _actor(self, name: str, make_schema: Callable[[], Schema]) -> Ingest:
        running = self._sources.peek(name)
        if running is not None:
            return running
        if self._sources.exists(name):
            return await self._sources.get(name)
        return await self._sources.create(name, await trio.to_thread.run_sync(make_schema))


def _check(head: Head, query: dict[str, str]) -> _Call:
    name = query.get("name", "")
    problem = name_problem(name)
    if problem is not None:
        shown = f" '{name[:40]}'" if name else ""
        raise Refused(400, f"the data source's name{shown} {problem}; send it as ?name=NAME")
    wait = _WAITS.get(query.get("wait", ""))
    if wait is None:
        raise Refused(400, "wait must be true or false")
    key = head.headers.get(b"idempotency-key")
    if key is not None and not 0 < len(key) <= _KEY_BYTES_MAX:
        raise Refused(400, f"an Idempotency-Key has 1 to {_KEY_BYTES_MAX} characters")
    codec = codec_of(head.headers.get(b"content-encoding"))
    return _Call(name, wait, codec, None if key is None else key.decode("latin-1"))


def _too_large(seen: int, limit: int) -> Refused:
    return Refused(413, f"the body has {seen} bytes or more; {limit} is the limit for one request, send it in parts")


def _accepted(call: _Call, done: Committed) -> Accepted:
    counts = b'"successful_rows": %d, "quarantined_rows": %d' % (done.counts.successful, done.counts.quarantined)
    if call.wait:
        return Accepted(200, b'{%b, "lsn": %d}' % (counts, done.last_lsn))
    return Accepted(202, b"{%b}" % counts)
