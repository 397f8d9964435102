"""A connection's requests -> handlers -> answers."""

from contextlib import closing, nullcontext

import structlog
import trio

from daemon.admission import Watch
from daemon.answers import Answer, Refused, Request
from daemon.head_cache import Head, Heads
from daemon.head_policy import BadRequest
from daemon.http_connection import HttpConnection
from daemon.refusals import EXPECTED, refusal, refuse
from daemon.request_log import RequestLog
from daemon.router import Router
from daemon.target import parse_target, presented_token
from daemon.tokens import Token, Tokens
from daemon.transport import GivenAway, Rest

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


class Routes:
    """Serves connections, each in its own task."""

    def __init__(self, router: Router, tokens: Tokens, watch: Watch, log: RequestLog, heads: Heads, rest: Rest) -> None:
        self._router = router
        self._log = log
        self._tokens = tokens
        self._watch = watch
        self._heads = heads
        self._rest = rest

    async def handle_connection(
        self, stream: trio.SocketStream, *, rest: Rest | None = None, arrived: bytes = b""
    ) -> None:
        """Answer a client's requests until it leaves, is cut off, or breaks the protocol. `rest` is where it waits between
        two, where that is not the daemon's own place; `arrived` has been read from it already."""
        with self._watch.watched() as watched:
            connection = HttpConnection(stream, watched, self._heads, rest or self._rest, arrived)
            try:
                with watched.scope:
                    await self._serve(connection)
                if watched.timed_out and not watched.idle and connection.can_answer:
                    with trio.move_on_after(1):
                        await refuse(connection, Refused(408, "the request did not arrive in time; send it again"))
                await connection.close()
            except (trio.BrokenResourceError, trio.ClosedResourceError, GivenAway):
                return
            except Exception:  # noqa: BLE001 -- a bug must cost one connection, not the daemon
                _log.exception("a request failed", request_id=connection.request_id.decode())
                if connection.can_answer:
                    message = f"an error of the server's own, logged under request id {connection.request_id.decode()}"
                    with trio.move_on_after(1):
                        await refuse(connection, Refused(500, message))

    async def _serve(self, connection: HttpConnection) -> None:
        while True:
            connection.closing = self._watch.closing
            try:
                head = await connection.next_head()
            except BadRequest as error:
                connection.closing = True
                await refuse(connection, Refused(error.status, str(error)))
                return
            if head is None:
                return
            request = Request(connection, head)
            try:
                request.path, request.query = parse_target(head.target)
                answer = await self._answer(request)
            except BadRequest as error:
                connection.closing = True
                await refuse(connection, Refused(error.status, str(error)), request.fields)
                return
            except Refused as refused:
                await self._refuse(request, refused)
            except EXPECTED as error:
                if isinstance(error, OSError):
                    _log.error("the disk refused", reason=str(error), request_id=connection.request_id.decode())
                await self._refuse(request, refusal(error))
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
        await refuse(request.connection, refused, request.fields)

    async def _answer(self, request: Request) -> Answer:
        head = request.head
        if head.method == b"OPTIONS":
            return _PREFLIGHT
        if head.method in (b"TRACE", b"CONNECT"):
            raise Refused(405, f"{head.method.decode()} is never taken here", allow=b"GET, POST, PUT, DELETE, OPTIONS")
        route, arguments = self._router.find(head.method.decode(), request.path)
        if not route.is_open:
            request.presented = presented_token(head, request.query)
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
            raise Refused(
                403, "the token is not known to this server; it has expired, was taken away, or is another server's"
            )
        return token
