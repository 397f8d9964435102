"""The sending half of `siltstone append`: files of NDJSON -> batches cut at newlines -> POST /v0/events.

A batch's Idempotency-Key is made of the data source's name, the batch's place in the run and its bytes. So a batch
whose answer was lost can be sent again, and a run that was cut off can be started again as it was: the daemon takes
each batch once. To add the same rows a second time on purpose, give the second run a `run_id` of its own.
"""

import hashlib
import io
import os
import random
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlencode

import orjson
import urllib3

from query.batches import Batch, UnreadableInput, cut_batches, opened, shown_path
from query.texts import printable

SEND_BLOCK_BYTES = 1 << 17
CONNECT_TIMEOUT_S = 10.0
BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 10.0
SAID_CHARACTERS_MAX = 500
STORED = (200, 202)
TRY_AGAIN = (408, 429, 503)
"""The statuses that promise that no row of the request was stored and that ask for it again."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What was sent and answered for; `rows_sent` counts lines that are not blank.

    `repeated_rows` of them, good and quarantined, were stored by an earlier run.
    """

    rows_sent: int = 0
    repeated_rows: int = 0
    successful_rows: int = 0
    quarantined_rows: int = 0
    batches: int = 0
    retries: int = 0


class AppendFailed(Exception):
    """A sentence for a person; `stored` is what the daemon has taken before the failure."""

    def __init__(self, message: str, *, stored: Appended) -> None:
        super().__init__(message)
        self.stored = stored


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one batch is tried and one answer waited for, and by which clock, sleep and dice (0 to 1)."""

    batch_s: float = 60.0
    answer_s: float = 30.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    dice: Callable[[], float] = random.random
    on_retry: Callable[[str], None] = lambda _: None


PATIENCE = Patience()


class _Stopped(Exception):
    """Why the run can't go on, said without what was stored before."""


@dataclass(frozen=True, slots=True)
class _Target:
    pool: urllib3.HTTPConnectionPool
    path: str
    token: str

    @property
    def origin(self) -> str:
        return f"{self.pool.scheme}://{self.pool.host}:{self.pool.port}"


@dataclass(frozen=True, slots=True)
class _Answer:
    successful_rows: int
    quarantined_rows: int
    retries: int
    is_repeat: bool


def append(
    paths: Sequence[str],
    *,
    url: str,
    token: str,
    name: str,
    on_progress: Callable[[int], None],
    run_id: str = "",
    patience: Patience = PATIENCE,
) -> Appended:
    """Send the rows of the files (`-` is standard input) and return when all of them are durable.

    `on_progress` gets the bytes read so far, as they are on disk, after each stored batch and each file; at the end it
    is the sum of the files' sizes. Raises AppendFailed; whatever the daemon has answered for by then stays.
    """
    stored = Appended()
    done = 0
    try:
        prefix = _checked(url).path or ""
        _check(paths, token)
        # not a PoolManager: leaving its `with` block leaves closing the connection to the garbage collector
        with urllib3.connection_from_url(url, maxsize=1, blocksize=SEND_BLOCK_BYTES) as pool:
            query = urlencode({"name": name, "wait": "true"})
            target = _Target(pool, f"{prefix.rstrip('/')}/v0/events?{query}", token)
            for path in paths:
                with opened(path) as file:
                    for batch in cut_batches(file):
                        if batch.rows:
                            key = _key(name, run_id, stored.batches, batch.body)
                            stored = _counted_in(stored, batch, _send(target, key, batch, patience))
                        on_progress(done + file.taken)
                    done += file.taken
                    on_progress(done)
    except (_Stopped, UnreadableInput) as stop:
        before = f"; rows stored before: {stored.rows_sent:,}" if stored.rows_sent else ""
        raise AppendFailed(f"{stop}{before}", stored=stored) from stop.__cause__
    return stored


def _checked(url: str) -> urllib3.util.Url:
    try:
        parsed = urllib3.util.parse_url(url)
    except urllib3.exceptions.LocationParseError:
        parsed = urllib3.util.Url()
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise _Stopped("the URL of the daemon must be like http://127.0.0.1:7181")
    return parsed


def _check(paths: Sequence[str], token: str) -> None:
    """What can be known to be wrong before the first of many files is sent."""
    if not (token and token.isascii() and token.isprintable()):
        # http.client would refuse it too, with the token in its message
        raise _Stopped("the token must be printable ASCII on one line")
    for path in paths:
        if path != "-" and not os.access(path, os.R_OK):
            raise _Stopped(f"{shown_path(path)}: there is no such file, or it may not be read")
        if path != "-" and Path(path).is_dir():
            raise _Stopped(f"{shown_path(path)}: is a directory; name the files in it")


def _key(name: str, run_id: str, number: int, body: bytes) -> str:
    digest = hashlib.sha256(orjson.dumps([name, run_id, number]))
    digest.update(body)
    return f"{digest.hexdigest()}-{number}"


def _counted_in(stored: Appended, batch: Batch, answer: _Answer) -> Appended:
    return replace(
        stored,
        rows_sent=stored.rows_sent + batch.rows,
        successful_rows=stored.successful_rows + answer.successful_rows,
        quarantined_rows=stored.quarantined_rows + answer.quarantined_rows,
        batches=stored.batches + 1,
        repeated_rows=stored.repeated_rows + (batch.rows if answer.is_repeat else 0),
        retries=stored.retries + answer.retries,
    )


def _send(target: _Target, key: str, batch: Batch, patience: Patience) -> _Answer:
    """One batch, tried until it is stored, refused, or patience ends."""
    deadline = patience.clock() + patience.batch_s
    retries = 0
    while True:
        asked_s = 0.0
        # a sleep may end late, and no time at all isn't a timeout
        left_s = max(1.0, deadline - patience.clock())
        try:
            response = _post(target, key, batch, answer_s=min(patience.answer_s, left_s))
        except (urllib3.exceptions.ProtocolError, urllib3.exceptions.TimeoutError) as error:
            problem = f"no answer from the daemon at {target.origin} ({_reason(error)})"
        except urllib3.exceptions.HTTPError as error:
            raise _Stopped(f"{batch.where}: can't speak to the daemon: {printable(str(error))}") from error
        else:
            if response.status in STORED:
                return _counts(response, batch, retries)
            problem = f"the daemon answered {response.status}: {_said(response)}"
            if response.status not in TRY_AGAIN:
                raise _Stopped(f"{batch.where}: {problem}")
            asked_s = _retry_after_s(response)
        backoff_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(retries, 10))
        pause_s = max(asked_s, backoff_s * (0.5 + patience.dice() / 2))
        if patience.clock() + pause_s >= deadline:
            raise _Stopped(f"{batch.where}: given up at try {retries + 1}: {problem}")
        patience.on_retry(f"{batch.where}: {problem}")
        patience.sleep(pause_s)
        retries += 1


def _post(target: _Target, key: str, batch: Batch, *, answer_s: float) -> urllib3.BaseHTTPResponse:
    headers = {
        "Authorization": f"Bearer {target.token}",
        "Content-Type": "application/x-ndjson",
        "Content-Length": str(len(batch.body)),
        "Idempotency-Key": key,
    }
    try:
        return target.pool.request(
            "POST",
            target.path,
            # as a file: bytes would go out in one sendall, and CONNECT_TIMEOUT_S would bound the whole of a slow upload
            body=io.BytesIO(batch.body),
            headers=headers,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=answer_s),
            retries=False,
        )
    except urllib3.exceptions.SSLError as error:
        if error.args and isinstance(error.args[0], ssl.SSLEOFError | ssl.SSLZeroReturnError):
            raise urllib3.exceptions.ProtocolError("the connection was closed", error) from error
        raise


def _reason(error: Exception) -> str:
    """Only what happened: the whole text has addresses of objects in it."""
    match error:
        case urllib3.exceptions.NameResolutionError():
            return "its host name is not known"
        case urllib3.exceptions.NewConnectionError() if isinstance(error.__cause__, OSError):
            return printable(error.__cause__.strerror or "no connection")
        case urllib3.exceptions.ConnectTimeoutError():
            return f"no connection within {CONNECT_TIMEOUT_S:g} s"
        case urllib3.exceptions.TimeoutError():
            return "it took too long"
        case _:
            return "the connection was lost"


def _counts(response: urllib3.BaseHTTPResponse, batch: Batch, retries: int) -> _Answer:
    match _json(response):
        case {"successful_rows": int(successful), "quarantined_rows": int(quarantined)}:
            is_repeat = response.headers.get("Idempotency-Replayed") == "true"
            return _Answer(successful, quarantined, retries, is_repeat)
        case _:
            raise _Stopped(
                f"{batch.where}: the answer {response.status} has no row counts, so it isn't a Siltstone daemon's"
            )


def _said(response: urllib3.BaseHTTPResponse) -> str:
    match _json(response):
        case {"error": str(text)}:
            return printable(text[:SAID_CHARACTERS_MAX])
        case _:
            return printable(response.reason or "without a reason")


def _json(response: urllib3.BaseHTTPResponse) -> object:
    try:
        document: object = orjson.loads(response.data)
    except orjson.JSONDecodeError:
        return None
    return document


def _retry_after_s(response: urllib3.BaseHTTPResponse) -> float:
    try:
        return urllib3.Retry().get_retry_after(response) or 0.0
    except urllib3.exceptions.InvalidHeader:
        return 0.0
