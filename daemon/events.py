"""`POST /v0/events`: from a request's head to its answer. The order of the checks is the order of the code.

Everything that can be refused from the head alone is refused before the body is read, and before `100 Continue`.
"""

import mmap
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial

import trio

from daemon.admission import Reservation
from daemon.answers import Answer, Refused, Request
from daemon.append_call import Call, accepted, check, failure, idempotency_key
from daemon.arriving import Body, decode_arriving
from daemon.body import MAGIC_BYTES_MAX
from daemon.config import INLINE_BYTES_MAX
from daemon.inbox import ActorClosing, InboxFull
from daemon.ingest import Ingest
from daemon.intake import Intake
from daemon.rate_limit import RateLimited, RateLimits
from daemon.row_limit import Counted, check_rows
from daemon.sources import Sources
from daemon.tokens import Token
from segments.bulk import BulkDecoder
from segments.datafile_print import print_schema
from segments.decode import Decoded, decode
from segments.errors import SchemaChanged, UnknownSource
from segments.filenames import SOURCE_ID
from segments.group import Committed, Write
from segments.infer import infer
from segments.keys import Key
from segments.line_reader import LineReader
from segments.lines import Events, document_slices, parse_body, parse_document, parse_slices
from segments.schema import Schema
from segments.unread import BODY_BYTES_MIN

DECODED_AT_ONCE = os.cpu_count() or 2
"""Parts of bodies, in threads. Bodies that can't be cut into parts take a thread each."""
_CELL_BYTES = 8
EVENTS_PATH = "/v0/events"
EVENT = "append-hfi"
"""What the request log calls it."""


class EventsApi:
    """The handler of the route; one for the daemon."""

    def __init__(self, sources: Sources, intake: Intake, limits: RateLimits) -> None:
        self._sources = sources
        self.intake = intake
        self._limits = limits
        self._decoding = trio.CapacityLimiter(DECODED_AT_ONCE)

    async def post(self, request: Request) -> Answer:
        """Take the body in, commit its rows, say how many. Raises Refused and what `daemon.refusals` has in its table."""
        name = request.query.get("name", "")
        if SOURCE_ID.fullmatch(name):
            known = await self._sources.resolve(name)
            # For whom the source is nothing, the id is one that there is not.
            name = known if request.token.may_append(known) or request.token.may_read(known) else name
        call = check(request, name, auto_create=self._sources.auto_create)
        request.source = call.name
        self.authorise(call.name, request.token)
        self.charge(request, call.name, request.head.content_length or 0)
        actor = self._sources.peek(call.name)
        if actor is not None and actor.is_full:
            raise InboxFull
        with self.intake.budget.reserved() as reservation:
            body, decoded = await self._take_in(request, call, reservation)
            try:
                key = await idempotency_key(request, body)
                request.size = len(body)
                if request.head.content_length is None:
                    self._limits.charge(call.name, len(body))
                done = await self.store(call, body, key, reservation, decoded)
            finally:
                if isinstance(body, mmap.mmap):
                    self.intake.rooms.give_back(body)
        request.rows, request.quarantined = done.counts.successful, done.counts.quarantined
        return accepted(call, done)

    async def _take_in(self, request: Request, call: Call, reservation: Reservation) -> tuple[Body, Decoded | None]:
        """The body, and its rows where they could be decoded while it came. Raises as `Intake.read_rows`, and Refused."""
        actor = self._sources.peek(call.name)
        size = request.head.content_length or 0
        if actor is None or size <= INLINE_BYTES_MAX or call.is_document or b"content-encoding" in request.head.headers:
            return await self.intake.read_rows(request, reservation), None
        read = partial(self.intake.read_rows, request, reservation)
        body, decoded = await decode_arriving(
            read, size, self.intake.rooms, self._decoder(actor.log.reader), self._decoding
        )
        try:
            # A coding that compresses nothing leaves lines that can be read.
            self.intake.check_coding(body[:MAGIC_BYTES_MAX])
        except Refused:
            if isinstance(body, mmap.mmap):
                self.intake.rooms.give_back(body)
            raise
        return body, decoded

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
        self, call: Call, body: Body, key: Key | None, reservation: Reservation, decoded: Decoded | None = None
    ) -> Committed:
        """Commit the body's rows, if it has any. A large body is decoded in a thread, if it is not yet.

        Raises Refused and what `daemon.refusals` has in its table.
        """
        events: Events | None = None
        if len(body) <= INLINE_BYTES_MAX and decoded is None:
            running = self._sources.peek(call.name)
            if running is not None and not call.is_document and len(body) >= BODY_BYTES_MIN:
                decoded = running.log.reader.decode(body[:])
            if decoded is None:
                events = (parse_document if call.is_document else parse_body)(body[:])
        is_blank = isinstance(body, bytes) and body.isspace()
        if is_blank or (events is not None and not events) or (decoded is not None and not decoded.count):
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
                size = size_in_memory(len(body), len(events), schema)
            else:
                if decoded is None or decoded.schema != schema:
                    decoded = await self.decode(actor.log.reader, body[:], is_document=call.is_document)
                check_rows(decoded.count, schema)
                write = Write(decoded, key)
                size = len(body) + int(decoded.good.nbytes)
            reservation.hold(size)
            self.intake.warm_up.saw(len(body))
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
            if not isinstance(outcome, SchemaChanged):
                raise failure(outcome)

    async def decode(self, reader: LineReader, body: bytes, *, is_document: bool = False) -> Decoded:
        """A large body's rows, as long as they are not too many. Raises Refused, BodyRejected."""
        schema = reader.schema

        def decoded() -> Decoded:
            if not is_document:
                return self._decoder(reader).decode_whole(body)
            events = Events()
            for part in Counted(document_slices(body)):
                events.extend(part)
            check_rows(len(events), schema)
            return decode(schema, events, datetime.now(UTC).replace(tzinfo=None))

        # Documents are slow, and lines must not wait for them.
        limiter = self.intake.unpacking if is_document else self._decoding
        return await trio.to_thread.run_sync(decoded, limiter=limiter)

    def _decoder(self, reader: LineReader) -> BulkDecoder:
        now = datetime.now(UTC).replace(tzinfo=None)
        return BulkDecoder(reader, now, partial(check_rows, schema=reader.schema))

    async def _actor(self, call: Call, events: Events | None, body: Body) -> Ingest:
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
            return document_slices(body[:]) if call.is_document else parse_slices(body[:])

        def infer_schema() -> Schema:
            counted = Counted(parts())
            schema = infer(counted)
            # Before the source is made: a request that is refused must leave nothing behind.
            check_rows(counted.rows, schema)
            return schema

        async with self.intake.unpacking:
            schema = await trio.to_thread.run_sync(infer_schema)
        return await self._sources.create(call.name, print_schema(schema))


def size_in_memory(body_bytes: int, rows: int, schema: Schema) -> int:
    """What a body's rows take that are not decoded yet, until they are stored."""
    return body_bytes + _CELL_BYTES * rows * len(schema.columns)
