"""What a request that appends rows asks for, what it is known by, and what it is answered."""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from time import time

import trio

from daemon.answers import JSON, Answer, Refused, Request
from daemon.arriving import Body
from daemon.body import codec_of
from daemon.config import INLINE_BYTES_MAX
from daemon.inbox import ActorFailed
from segments.errors import StorageError
from segments.filenames import name_problem
from segments.group import BodiesCommitted, Committed
from segments.keys import Key

_WAITS = {"true": True, "True": True, "TRUE": True, "1": True, "false": False, "False": False, "0": False, "": False}
_KEY_BYTES_MAX = 255
_STORED = b'{"successful_rows": %d, "quarantined_rows": %d, "lsn": %d}'
_TAKEN = b'{"successful_rows": %d, "quarantined_rows": %d}'
CALLS_CACHED = 4096
_PROOF = re.compile(r"[A-Za-z0-9_-]{1,256}")


@dataclass(frozen=True, slots=True)
class Call:
    """What a request with rows asks for, checked. `is_document`: the body is one JSON document. `may_make`: the data
    source is made where there is none, or none any more by the time that the body is there."""

    name: str
    wait: bool
    is_document: bool
    may_make: bool


def check(request: Request, name: str, *, auto_create: bool) -> Call:
    """What a request asks for. Raises Refused, UnknownCoding."""
    query, headers = request.query, request.head.headers
    may_make = auto_create and request.token.may_create
    call = checked(name, query.get("wait", ""), query.get("format", ""), may_make=may_make)
    codec_of(headers.get(b"content-encoding"))
    check_key(request)
    proof = query.get("x-vercel-verify")
    if proof is not None:
        if not _PROOF.fullmatch(proof):
            raise Refused(400, "x-vercel-verify has 1 to 256 characters: letters, digits, '-' and '_'")
        request.fields += ((b"x-vercel-verify", proof.encode()),)
    return call


@lru_cache(maxsize=CALLS_CACHED)
def checked(name: str, wait_text: str, text_format: str, *, may_make: bool) -> Call:
    """What parameters ask for that come again and again."""
    problem = name_problem(name)
    if problem is not None:
        shown = f" '{name[:40]}'" if name else ""
        raise Refused(400, f"the data source's name{shown} {problem}" + ("" if name else "; send it as ?name=NAME"))
    wait = _WAITS.get(wait_text)
    if wait is None:
        raise Refused(400, f"wait must be true or false, and is '{wait_text[:40]}'")
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


async def idempotency_key(request: Request, body: Body) -> Key | None:
    """What the request is known by if it is sent again; None when it has no Idempotency-Key."""
    key = request.head.headers.get(b"idempotency-key")
    if key is None:
        return None

    def fingerprint() -> str:
        return hashlib.sha256(body).hexdigest()

    large = len(body) > INLINE_BYTES_MAX
    digest = await trio.to_thread.run_sync(fingerprint) if large else fingerprint()
    return Key(request.token.id, key.decode("latin-1"), digest, int(time()))


def failure(outcome: StorageError | ActorFailed) -> Exception:
    """What is raised for a request that has come to nothing."""
    if isinstance(outcome, ActorFailed):
        return Refused(500, "the rows may or may not be stored; send the request again with the same Idempotency-Key")
    return outcome


def accepted(call: Call, done: Committed) -> Answer:
    """The answer to a request whose rows are stored."""
    fields = (*JSON, (b"idempotency-replayed", b"true")) if done.is_repeat else JSON
    counts = done.counts.successful, done.counts.quarantined
    if call.wait:
        return Answer(200, _STORED % (*counts, done.last_lsn), fields)
    return Answer(202, _TAKEN % counts, fields)


def accepted_bodies(call: Call, done: BodiesCommitted) -> list[bytes]:
    """What those answers say, for bodies whose rows all fit."""
    if not call.wait:
        return [_TAKEN % (rows, 0) for rows in done.rows]
    last, told = done.first - 1, []
    for rows in done.rows:
        last += rows
        told.append(_STORED % (rows, 0, last))
    return told
