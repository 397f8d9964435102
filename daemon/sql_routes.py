"""`/v0/sql`: a statement from the query string, a form, JSON or plain text; its answer in the format that it names."""

import orjson
import pyarrow as pa
import trio

from daemon.answers import Answer, Refused, Request
from daemon.head_cache import Fields
from daemon.intake import Intake
from daemon.request_log import RequestLog
from daemon.sources import Sources
from daemon.sql import SqlRequest, SqlWorker
from daemon.sql_answers import SqlAnswer
from daemon.tokens import Token
from query.errors import QueryFailed, ResultTooLarge
from segments.errors import StorageError

_TRUE = ("1", "true", "True")
STATEMENT_BYTES_MAX = 256 * 1024
"""Also as a form or JSON. Statements wait for their turn outside of the memory budget, and to take one apart takes time."""
_NO_READ = "this token may not read anything; it needs DATASOURCES:READ:NAME"


class SqlApi:
    """The handler; one for the daemon."""

    def __init__(self, worker: SqlWorker, sources: Sources, intake: Intake, log: RequestLog) -> None:
        self._worker = worker
        self._sources = sources
        self._intake = intake
        self._log = log

    async def get(self, request: Request) -> Answer:
        """`GET /v0/sql?q=`."""
        return await self._run(request, request.query)

    async def post(self, request: Request) -> Answer:
        """`POST /v0/sql` with `q` in the query, a form or JSON, or the statement as the body."""
        _check_reads(request.token)
        _check_size(request.head.content_length or 0)
        with self._intake.budget.reserved() as reservation:
            body = await self._intake.read(request, reservation)
            _check_size(len(body))
            fields, is_plain = await trio.to_thread.run_sync(_fields, request, body)
        # SDKs send a statement as plain text and read the answer as JSON.
        return await self._run(request, fields, default_format="JSON" if is_plain else "TSV")

    async def lsns(self, name: str, where: str) -> pa.Array:
        """The LSNs of a data source's quarantined rows for which the condition holds. Raises what `SqlWorker.run` does."""
        statement = f"SELECT c__lsn FROM {name}_quarantine WHERE ({where}\n)"  # noqa: S608 -- runs confined, and yields numbers
        asked = SqlRequest(f"{statement} FORMAT Arrow", frozenset({name}))
        try:
            answer = await self._worker.run(asked)
        except ResultTooLarge:
            raise
        except QueryFailed as error:
            # Without what is around the condition, which is none of its sender's.
            (reason, *_) = str(error).splitlines()
            raise Refused(400, f"where can't be used over the columns of {name}_quarantine: {reason}") from error
        with answer:
            if answer.damage:
                raise StorageError(f"not all of the quarantine can be read: {answer.damage[0]}")
            table = await trio.to_thread.run_sync(_read_arrow, answer)
        if table.schema.types != [pa.uint64()]:
            raise Refused(400, "where is a condition over the columns of the quarantine")
        return table.column(0).combine_chunks()

    async def _run(self, request: Request, fields: dict[str, str], *, default_format: str = "TSV") -> Answer:
        statement = fields.get("q", "").strip()
        if not statement:
            raise Refused(400, "there is no statement; send ?q=SELECT ..., or the statement as the body")
        token = request.token
        readable = None if token.is_admin else frozenset(token.readable(self._sources.names))
        _check_reads(token)
        quote = fields.get("output_format_json_quote_64bit_integers", "0") in _TRUE
        # It is long, and nearly no statement asks for it.
        log = await trio.to_thread.run_sync(self._log.table) if "ops_log" in statement.lower() else None
        answer = await self._worker.run(SqlRequest(statement, readable, default_format, quote_64bit=quote, ops_log=log))
        head: Fields = ((b"content-type", answer.content_type.encode()),)
        if answer.damage:
            # The rows that check are all there; what is missing is said where no client trips over it.
            head += ((b"x-siltstone-damage", f"{len(answer.damage)} damaged; run: siltstone verify".encode()),)
        return Answer(200, b"", head, answer)


def _check_reads(token: Token) -> None:
    if not token.is_admin and not any(scope.startswith("DATASOURCES:READ:") for scope in token.scopes):
        raise Refused(403, _NO_READ)


def _check_size(size: int) -> None:
    if size > STATEMENT_BYTES_MAX:
        raise Refused(413, f"the statement has {size} bytes or more; {STATEMENT_BYTES_MAX} is the limit")


def _read_arrow(answer: SqlAnswer) -> pa.Table:
    return pa.ipc.open_stream(answer.file).read_all()


def _fields(request: Request, body: bytes) -> tuple[dict[str, str], bool]:
    """The parameters, and whether the statement came as a plain text."""
    fields = dict(request.query)
    kind = request.head.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    text = body.decode(errors="replace")
    if kind == b"application/json":
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Refused(400, f"the body is not JSON: {error}") from None
        if not isinstance(document, dict):
            raise Refused(400, 'the body is JSON but no object; send {"q": "SELECT ..."}')
        return fields | {
            key: str(value) for key, value in document.items() if isinstance(value, str | int | float)
        }, False
    form = {name: value for name, value in reversed(request.form(body)) if name in ("q", "format", "query")}
    if "q" in form:
        return fields | form, False
    if "q" in fields or not text.strip():
        return fields, False
    return fields | {"q": text}, kind == b"text/plain"
