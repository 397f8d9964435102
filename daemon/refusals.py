"""The one table from errors to statuses, and how a refusal is written."""

import orjson

from daemon.admission import OverBudget
from daemon.answers import JSON, Answer, Refused
from daemon.body import UnknownCoding
from daemon.config import DOCUMENTATION_URL
from daemon.disk_space import NoRoom
from daemon.head_cache import Fields
from daemon.http_connection import HttpConnection
from daemon.inbox import ActorClosing, ActorFailed, InboxFull
from daemon.sql import QueryTimedOut, SqlFailed
from daemon.sql_answers import SqlBusy
from daemon.tokens import TokenRefused
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
EXPECTED = tuple(_STATUS)
"""Errors that are answers; any other is a bug."""


def refusal(error: Exception) -> Refused:
    """What a client is told of one of the errors in EXPECTED."""
    status, advice, retry_after_s = next(entry for kind, entry in _STATUS.items() if isinstance(error, kind))
    message = error.strerror or "" if isinstance(error, OSError) else str(error)
    return Refused(status, message + advice, retry_after_s=retry_after_s)


def written(refused: Refused) -> Answer:
    """The answer that says it."""
    fields: Fields = JSON
    if refused.retry_after_s is not None:
        fields = (*fields, (b"retry-after", b"%d" % refused.retry_after_s))
    if refused.allow is not None:
        fields = (*fields, (b"allow", refused.allow))
    body = orjson.dumps({"error": str(refused), "documentation": DOCUMENTATION_URL})
    return Answer(refused.status, body, fields)


async def refuse(connection: HttpConnection, refused: Refused, more: Fields = ()) -> None:
    """Send it."""
    answer = written(refused)
    await connection.respond(answer.status, (*answer.fields, *more), answer.body)
