"""`POST /v0/events`: from a request's head to its answer. The order of the checks is the order of the code.

Everything that can be refused from the head alone is refused before the body is read, and before `100 Continue`.
"""

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from time import time

import trio

from daemon.admission import Reservation
from daemon.answers import JSON, Answer, Refused, Request
from daemon.arriving import decode_arriving
from daemon.body import codec_of
from daemon.config import INLINE_BYTES_MAX
from daemon.ingest import ActorClosing, ActorFailed, InboxFull, Ingest
from daemon.intake import Intake
from daemon.rate_limit import RateLimited, RateLimits
from daemon.row_limit import Counted, check_rows
from daemon.sources import Sources
from daemon.tokens import Token
from segments.bulk import BulkDecoder
from segments.datafile_print import print_schema
from segments.decode import Decoded, decode
from segments.errors import SchemaChanged, UnknownSource
from segments.filenames import SOURCE_ID, name_problem
from segments.group import Committed, Write
from segments.infer import infer
from segments.keys import Key
from segments.lines import Events, document_slices, parse_body, parse_document, parse_slices
from segments.schema import Schema

_WAITS = {"true": True, "True": True, "TRUE": True, "1": True, "false": False, "False": False, "0": False, "": False}
_KEY_BYTES_MAX = 255
CALLS_CACHED = 4096
_PROOF = re.compile(r"[A-Za-z0-9_-]{1,256}")
DECODED_AT_ONCE = os.cpu_count() or 2
"""Parts of bodies, in threads. Bodies that can't be cut into parts take a thread each."""
_CELL_BYTES = 8


@dataclass(frozen=True, slots=True)
class Call:
    """What a request with rows asks for, checked. `is_document`: the body is one JSON document. `may_make`: the data
    source is made where there is none, or none any more by the time that the body is there."""

    name: str
    wait: bool
    is_document: bool
    may_make: bool


class EventsApi:
    """The handler of the route; one for the daemon."""

    def __init__(self, sources: Sources, intake: Intake, limits: RateLimits) -> None:
        self._sources = sources
        self._intake = intake
        self._limits = limits
        self._decoding = trio.CapacityLimiter(DECODED_AT_ONCE)

    async def post(self, request: Request) -> Answer:
        """Take the body in, commit its rows, say how many. Raises Refused and what `daemon.routes` has in its table."""
        name = request.query.get("name", "")
        if SOURCE_ID.fullmatch(name):
            name = await self._sources.resolve(name)
        call = _check(request, name, auto_create=self._sources.auto_create)
        request.source = call.name
        self.authorise(call.name, request.token)
        self.charge(request, call.name, request.head.content_length or 0)
        actor = self._sources.peek(call.name)
        if actor is not None and actor.is_full:
            raise InboxFull
        with self._intake.budget.reserved() as reservation:
            body, decoded = await self._take_in(request, call, reservation)
            key = await idempotency_key(request, body)
            request.size = len(body)
            if request.head.content_length is None:
                self._limits.charge(call.name, len(body))
            done = await self.store(call, body, key, reservation, decoded)
        request.rows, request.quarantined = done.counts.successful, done.counts.quarantined
        return _accepted(call, done)

    async def _take_in(self, request: Request, call: Call, reservation: Reservation) -> tuple[bytes, Decoded | None]:
        """The body, and its rows where they could be decoded while it came. Raises as `Intake.read_rows`, and Refused."""
        actor = self._sources.peek(call.name)
        is_large = (request.head.content_length or 0) > INLINE_BYTES_MAX
        if actor is None or not is_large or call.is_document or b"content-encoding" in request.head.headers:
            return await self._intake.read_rows(request, reservation), None
        read = partial(self._intake.read_rows, request, reservation)
        return await decode_arriving(read, self._decoder(actor.log.schema), self._decoding)

    def authorise(self, name: str, token: Token) -> None:
        """Raises Refused when the token may not append to the data source, or make it where it must be made."""
        if not token.may_append(name):
            raise Refused(
                403,
                f"this token has no scope to append to '{name}'; it needs DATASOURCES:APPEND:{name} or DATASOURCES:CREATE",
            )
        if self._sources.peek(name) is not None or self._sources.exists(name):
            return
        if not self._sources.auto_create:
            raise Refused(
                403,
                f"data source '{name}' does not exist, and this server makes none by itself; "
                "create it with: siltstone create FILE.datasource",
            )
        if not token.may_create:
            raise Refused(
                403, f"data source '{name}' does not exist, and this token lacks DATASOURCES:CREATE to make it"
            )

    def charge(self, request: Request, name: str, size_bytes: int) -> None:
        """Count the request and its bytes against the data source's second. Raises RateLimited."""
        if not self._limits.is_on:
            return
        try:
            request.fields += self._limits.take(name, size_bytes)
        except RateLimited as refusal:
            request.fields += refusal.fields
            raise

    async def store(
        self, call: Call, body: bytes, key: Key | None, reservation: Reservation, decoded: Decoded | None = None
    ) -> Committed:
        """Commit the body's rows, if it has any. A large body is decoded in a thread, if it is not yet.

        Raises Refused and what `daemon.routes` has in its table.
        """
        parse = parse_document if call.is_document else parse_body
        events: Events | None = None
        if len(body) <= INLINE_BYTES_MAX:
            events = parse(body)
        if (events is not None and not events) or body.isspace():
            return Committed.none()
        while True:
            try:
                actor = await self._actor(call, events, body)
            except UnknownSource:
                if self._sources.exists(call.name):
                    raise
                continue
            schema = actor.log.schema
            if events is not None:
                check_rows(len(events), schema)
                write = Write(events, key)
                size = len(body) + _CELL_BYTES * len(events) * len(schema.columns)
            else:
                if decoded is None or decoded.good.schema != schema.arrow:
                    decoded = await self.decode(schema, body, is_document=call.is_document)
                write = Write(decoded, key)
                size = len(body) + decoded.good.nbytes
            reservation.hold(size)
            try:
                outcome = await actor.submit(write, size_bytes=size, durably=call.wait)
            except ActorClosing:
                if self._sources.is_closing:
                    raise
                # Its source is renamed or dropped, or it was idle; the next turn finds what is there then.
                await actor.finished.wait()
                continue
            if isinstance(outcome, Committed):
                return outcome
            if isinstance(outcome, ActorFailed):
                raise Refused(
                    500, "the rows may or may not be stored; send the request again with the same Idempotency-Key"
                )
            if not isinstance(outcome, SchemaChanged):
                raise outcome

    async def decode(self, schema: Schema, body: bytes, *, is_document: bool = False) -> Decoded:
        """A large body's rows, as long as they are not too many. Raises Refused, BodyRejected."""

        def decoded() -> Decoded:
            if not is_document:
                return self._decoder(schema).decode_whole(body)
            events = Events()
            for part in Counted(document_slices(body)):
                events.extend(part)
            check_rows(len(events), schema)
            return decode(schema, events, datetime.now(UTC).replace(tzinfo=None))

        # Documents are slow, and lines must not wait for them.
        limiter = self._intake.unpacking if is_document else self._decoding
        return await trio.to_thread.run_sync(decoded, limiter=limiter)

    def _decoder(self, schema: Schema) -> BulkDecoder:
        return BulkDecoder(schema, datetime.now(UTC).replace(tzinfo=None), partial(check_rows, schema=schema))

    async def _actor(self, call: Call, events: Events | None, body: bytes) -> Ingest:
        running = self._sources.peek(call.name)
        if running is not None:
            return running
        if self._sources.exists(call.name):
            return await self._sources.get(call.name)
        if not call.may_make:
            raise Refused(404, f"data source '{call.name}' was taken away meanwhile; nothing was stored")

        def parts() -> Iterable[Events]:
            if events is not None:
                return [events]
            return document_slices(body) if call.is_document else parse_slices(body)

        def infer_schema() -> Schema:
            counted = Counted(parts())
            schema = infer(counted)
            # Before the source is made: a request that is refused must leave nothing behind.
            check_rows(counted.rows, schema)
            return schema

        async with self._intake.unpacking:
            schema = await trio.to_thread.run_sync(infer_schema)
        return await self._sources.create(call.name, print_schema(schema))


def _check(request: Request, name: str, *, auto_create: bool) -> Call:
    query, headers = request.query, request.head.headers
    may_make = auto_create and request.token.may_create
    call = _checked(name, query.get("wait", ""), query.get("format", ""), may_make=may_make)
    codec_of(headers.get(b"content-encoding"))
    check_key(request)
    proof = query.get("x-vercel-verify")
    if proof is not None:
        if not _PROOF.fullmatch(proof):
            raise Refused(400, "x-vercel-verify has 1 to 256 characters: letters, digits, '-' and '_'")
        request.fields += ((b"x-vercel-verify", proof.encode()),)
    return call


@lru_cache(maxsize=CALLS_CACHED)
def _checked(name: str, wait_text: str, text_format: str, *, may_make: bool) -> Call:
    """What parameters ask for that come again and again."""
    problem = name_problem(name)
    if problem is not None:
        shown = f" '{name[:40]}'" if name else ""
        raise Refused(400, f"the data source's name{shown} {problem}; send it as ?name=NAME")
    wait = _WAITS.get(wait_text)
    if wait is None:
        raise Refused(400, "wait must be true or false")
    if text_format not in ("", "ndjson", "json"):
        raise Refused(
            400,
            f"format '{text_format[:40]}' is not taken; send ndjson (the default) or json, or files of csv and parquet to "
            "POST /v0/datasources?mode=append&format=FORMAT&name=NAME",
        )
    return Call(name, wait, text_format == "json", may_make)


def check_key(request: Request) -> None:
    """Raises Refused for an Idempotency-Key that can't be kept."""
    key = request.head.headers.get(b"idempotency-key")
    if key is not None and not 0 < len(key) <= _KEY_BYTES_MAX:
        raise Refused(400, f"an Idempotency-Key has 1 to {_KEY_BYTES_MAX} characters")


async def idempotency_key(request: Request, body: bytes) -> Key | None:
    """What the request is known by if it is sent again; None when it has no Idempotency-Key."""
    key = request.head.headers.get(b"idempotency-key")
    if key is None:
        return None

    def fingerprint() -> str:
        return hashlib.sha256(body).hexdigest()

    large = len(body) > INLINE_BYTES_MAX
    digest = await trio.to_thread.run_sync(fingerprint) if large else fingerprint()
    return Key(request.token.id, key.decode("latin-1"), digest, int(time()))


def _accepted(call: Call, done: Committed) -> Answer:
    fields = (*JSON, (b"idempotency-replayed", b"true")) if done.is_repeat else JSON
    counts = b'"successful_rows": %d, "quarantined_rows": %d' % (done.counts.successful, done.counts.quarantined)
    if call.wait:
        return Answer(200, b'{%b, "lsn": %d}' % (counts, done.last_lsn), fields)
    return Answer(202, b"{%b}" % counts, fields)
