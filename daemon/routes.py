"""A connection's requests -> handlers -> answers, and the one table that turns errors into HTTP."""

from contextlib import closing, nullcontext
from functools import lru_cache
from urllib.parse import parse_qsl, urlsplit

import orjson
import structlog
import trio

from daemon.admission import OverBudget, Watch
from daemon.answers import JSON, Answer, Refused, Request
from daemon.body import UnknownCoding
from daemon.config import DOCUMENTATION_URL
from daemon.disk_space import NoRoom
from daemon.head_cache import Fields, Head
from daemon.head_policy import BadRequest
from daemon.http_connection import Heads, HttpConnection
from daemon.ingest import ActorClosing, ActorFailed, InboxFull
from daemon.request_log import RequestLog
from daemon.router import Router
from daemon.sql import QueryTimedOut, SqlFailed
from daemon.sql_answers import SqlBusy
from daemon.tokens import Token, TokenRefused, Tokens
from query.errors import QueryFailed, ResourceNotFound
from segments.errors import (
    BodyRejected,
    GroupTooLarge,
    KeyReused,
    KeysFull,
    SchemaError,
    SourceDamaged,
    StorageError,
    UnknownSource,
    WriteFailed,
)

TARGETS_CACHED = 4096
CACHED_TARGET_BYTES_MAX = 512
_PREFLIGHT = Answer(
    204,
    b"",
    (
        (b"access-control-allow-methods", b"GET, POST, PUT, DELETE, OPTIONS"),
        (b"access-control-allow-headers", b"authorization, content-type, content-encoding, idempotency-key"),
        (b"access-control-max-age", b"86400"),
    ),
)
_log = structlog.get_logger("routes")

# What went wrong -> (status, what to do about it, seconds after which to try again).
_STATUS: dict[type[Exception], tuple[int, str, int | None]] = {
    BodyRejected: (400, "", None),
    UnknownCoding: (415, "", None),
    TokenRefused: (400, "", None),
    KeyReused: (422, "", None),
    KeysFull: (503, ", of which --keys-memory gives more; nothing was stored, retry after the pause", 5),
    SchemaError: (400, "", None),
    GroupTooLarge: (413, "", None),
    WriteFailed: (503, "; the rows are not known to be stored, retry with the same Idempotency-Key", 1),
    SourceDamaged: (503, "", 60),
    ResourceNotFound: (403, "", None),
    QueryFailed: (400, "", None),
    QueryTimedOut: (408, "", None),
    SqlBusy: (503, "", 1),
    SqlFailed: (500, "", None),
    UnknownSource: (404, "", None),
    StorageError: (503, "", 60),
    NoRoom: (503, "", 30),
    InboxFull: (503, "the data source has as many rows waiting for the disk as it may; retry after the pause", 1),
    OverBudget: (503, "the server holds as many request bodies as it may; retry after the pause", 1),
    ActorClosing: (503, "the data source is being closed; nothing was stored, retry after the pause", 1),
    ActorFailed: (500, "the data source failed at it, which is logged; look at it before doing it again", None),
    OSError: (503, ": the disk refused; nothing was stored, retry after the pause", 5),
}


class Routes:
    """Serves connections, each in its own task."""

    def __init__(self, router: Router, tokens: Tokens, watch: Watch, log: RequestLog) -> None:
        self._router = router
        self._log = log
        self._tokens = tokens
        self._watch = watch
        self._heads = Heads()

    async def handle_connection(self, stream: trio.SocketStream) -> None:
        """Answer a client's requests until it leaves, is cut off, or breaks the protocol."""
        with self._watch.watched() as watched:
            connection = HttpConnection(stream, watched, self._heads)
            try:
                with watched.scope:
                    await self._serve(connection)
                if watched.timed_out and not watched.idle and connection.can_answer:
                    with trio.move_on_after(1):
                        await _refuse(connection, Refused(408, "the request did not arrive in time; send it again"))
                await connection.close()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            except Exception:  # noqa: BLE001 -- a bug must cost one connection, not the daemon
                _log.exception("a request failed", request_id=connection.request_id.decode())
                if connection.can_answer:
                    message = f"an error of the server's own, logged under request id {connection.request_id.decode()}"
                    with trio.move_on_after(1):
                        await _refuse(connection, Refused(500, message))

    async def _serve(self, connection: HttpConnection) -> None:
        while True:
            connection.closing = self._watch.closing
            try:
                head = await connection.next_head()
            except BadRequest as error:
                connection.closing = True
                await _refuse(connection, Refused(error.status, str(error)))
                return
            if head is None:
                return
            request = Request(connection, head)
            try:
                parse = _parse_known_target if len(head.target) <= CACHED_TARGET_BYTES_MAX else _parse_target
                request.path, request.query = parse(head.target)
                answer = await self._answer(request)
            except BadRequest as error:
                connection.closing = True
                await _refuse(connection, Refused(error.status, str(error)), request.fields)
                return
            except Refused as refused:
                await self._refuse(request, refused)
            except tuple(_STATUS) as error:
                await self._refuse(request, _refusal(error))
            else:
                if request.event:
                    self._log.note(request, answer.status)
                with nullcontext() if answer.long_body is None else closing(answer.long_body):
                    await connection.drain(head)
                    connection.closing = self._watch.closing
                    fields = (*answer.fields, *request.fields)
                    if answer.long_body is None:
                        await connection.respond(answer.status, fields, answer.body)
                    else:
                        body = answer.long_body
                        await connection.respond_at_length(answer.status, fields, body.size, body.chunks())

    async def _refuse(self, request: Request, refused: Refused) -> None:
        if request.event:
            self._log.note(request, refused.status, str(refused))
        await request.connection.drain(request.head)
        await _refuse(request.connection, refused, request.fields)

    async def _answer(self, request: Request) -> Answer:
        head = request.head
        if head.method == b"OPTIONS":
            return _PREFLIGHT
        if head.method in (b"TRACE", b"CONNECT"):
            raise Refused(405, f"{head.method.decode()} is never taken here", allow=b"GET, POST, PUT, DELETE, OPTIONS")
        route, arguments = self._router.find(head.method.decode(), request.path)
        if not route.is_open:
            request.presented = _presented(head, request.query)
            request.token = self._authenticate(request.presented, head)
            request.connection.keep_head()
        request.event = route.event
        return await route.handler(request, *arguments)

    def _authenticate(self, presented: str, head: Head) -> Token:
        if not presented and b"authorization" in head.headers:
            raise Refused(403, "the Authorization header has no 'Bearer TOKEN'")
        if not presented:
            raise Refused(403, "there is no token; send 'Authorization: Bearer TOKEN' or ?token=TOKEN")
        token = self._tokens.find(presented)
        if token is None:
            raise Refused(403, "the token is not known to this server")
        return token


def _presented(head: Head, query: dict[str, str]) -> str:
    """The text of the token that a request comes with; the header counts first."""
    header = head.headers.get(b"authorization")
    if header is None:
        return query.get("token", "")
    scheme, _, credentials = header.decode("latin-1").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


def _parse_target(target: bytes) -> tuple[str, dict[str, str]]:
    """The path and the parameters of a request target; the first of repeated parameters counts."""
    try:
        parts = urlsplit(target.decode("ascii"))
    except ValueError:
        raise Refused(400, "the request target is not a valid URL") from None
    query: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        query.setdefault(name, value)
    return parts.path, query


_parse_known_target = lru_cache(maxsize=TARGETS_CACHED)(_parse_target)


def _refusal(error: Exception) -> Refused:
    status, advice, retry_after_s = next(entry for kind, entry in _STATUS.items() if isinstance(error, kind))
    message = error.strerror or "" if isinstance(error, OSError) else str(error)
    return Refused(status, message + advice, retry_after_s=retry_after_s)


async def _refuse(connection: HttpConnection, refused: Refused, more: Fields = ()) -> None:
    fields = (*JSON, *more)
    if refused.retry_after_s is not None:
        fields = (*fields, (b"retry-after", b"%d" % refused.retry_after_s))
    if refused.allow is not None:
        fields = (*fields, (b"allow", refused.allow))
    body = orjson.dumps({"error": str(refused), "documentation": DOCUMENTATION_URL})
    await connection.respond(refused.status, fields, body)
