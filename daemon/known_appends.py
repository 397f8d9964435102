"""Rows under heads that come again and again: what such a head asks for is decided once, and then only its rows are looked at.

Wherever `daemon.events` would do anything but put the rows into the inbox of a running actor, nothing is stored and the
request begins anew there, which decides for itself; for a body that holds no rows, only once the actor has looked at it.
"""

from dataclasses import dataclass
from functools import partial
from time import time

import structlog

from daemon.admission import OverBudget
from daemon.answers import JSON, Answer, Refused
from daemon.append_call import Call, accepted, accepted_bodies, checked, failure
from daemon.batch import Batch, Reply
from daemon.config import INLINE_BYTES_MAX, TICKET_BYTES
from daemon.disk_space import NoRoom
from daemon.events import EVENT, EVENTS_PATH, size_in_memory
from daemon.head_cache import Head, KnownHead
from daemon.inbox import ActorClosing, InboxFull, Outcome
from daemon.ingest import Ingest
from daemon.intake import Intake
from daemon.rate_limit import RateLimits
from daemon.refusals import refusal, written
from daemon.request_log import Line, RequestLog
from daemon.row_limit import check_rows
from daemon.sources import Sources
from daemon.target import parse_target, presented_token
from daemon.tokens import Token, Tokens
from segments.errors import BodyRejected, Corruption, SchemaChanged
from segments.group import BodiesCommitted, Committed, Outcomes, Unread
from segments.unread import rows_max

BATCH_BYTES_MAX = 16 * 1024 * 1024
"""In memory. Requests that come to more than this together go each their own way: they must not fill an inbox at once."""
_OUT_OF_THE_ORDINARY = (b"idempotency-key", b"content-encoding")
_ANSWERED_WITH_MORE = "x-vercel-verify"
_OWN_ERROR = "an error of the server's own, logged under request id %x"
_log = structlog.get_logger("appends")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a head asks for; no call when it is not for here. Void as soon as the daemon's tokens are others than
    `tokens`."""

    call: Call | None
    tokens: tuple[Token, ...]


@dataclass(slots=True)
class _Pending:
    """A batch whose rows are on their way; `held_bytes` of the budget are given back at its end."""

    call: Call
    batch: Batch
    held_bytes: int
    started: float


class KnownAppends:
    """One for the daemon."""

    def __init__(self, sources: Sources, tokens: Tokens, intake: Intake, limits: RateLimits, log: RequestLog) -> None:
        self._sources = sources
        self._tokens = tokens
        self._intake = intake
        self._limits = limits
        self._log = log
        self._begun: set[Ingest] = set()
        self._bytes_max = min(INLINE_BYTES_MAX, intake.bytes_max)

    def plan(self, known: KnownHead) -> Plan:
        """What the head asks for, decided anew where that is void."""
        plan = known.plan
        if not isinstance(plan, Plan) or plan.tokens is not self._tokens.all:
            plan = known.plan = Plan(self._call(known.head), self._tokens.all)
        return plan

    def _call(self, head: Head) -> Call | None:
        if self._limits.is_on:
            return None
        if any(name in head.headers for name in _OUT_OF_THE_ORDINARY):
            return None
        try:
            path, query = parse_target(head.target)
            if path != EVENTS_PATH or _ANSWERED_WITH_MORE in query:
                return None
            token = self._tokens.find(presented_token(head, query))
            if token is None or token.expires_at:
                return None
            name = query.get("name", "")
            call = checked(name, query.get("wait", ""), query.get("format", ""), may_make=False)
        except (Refused, Corruption):
            return None
        return call if token.may_append(name) and not call.is_document else None

    def append(self, batch: Batch) -> None:
        """Put the rows into the inbox, for `commit`; the batch is told of at once if they are not for here."""
        try:
            is_taken = self._take(batch)
        except Exception:  # noqa: BLE001 -- a bug must cost one batch; its requests meet it again elsewhere, or do not
            _log.exception("requests failed", request_ids=[f"{number:x}" for number in batch.request_ids])
            is_taken = False
        if not is_taken:
            batch.tell([None] * len(batch.bodies))

    def _take(self, batch: Batch) -> bool:
        call = self.plan(batch.known).call
        actor = None if call is None else self._sources.peek(call.name)
        if call is None or actor is None:
            return False
        bodies, schema = batch.bodies, actor.log.schema
        if not all(bodies) or max(map(len, bodies)) > self._bytes_max:
            return False
        rows, size = rows_max(bodies), sum(map(len, bodies))
        held = size_in_memory(size, rows, schema)
        if len(bodies) > 1 and held > BATCH_BYTES_MAX:
            return False
        try:
            if len(bodies) == 1:
                # Those of a larger batch can't have as many.
                check_rows(rows, schema)
            self._intake.space.check()
            self._intake.budget.take(held)
        except (NoRoom, Refused, OverBudget):
            return False
        tell = partial(self._told, _Pending(call, batch, held, time()))
        beside = TICKET_BYTES * (len(bodies) - 1)
        try:
            actor.enqueue(Unread(bodies), size_bytes=held + beside, durably=call.wait, tell=tell)
        except (ActorClosing, InboxFull):
            self._intake.budget.give_back(held)
            return False
        # Not one that closes: its file is about to be sealed, and nothing may be written beside that.
        self._begun.add(actor)
        self._intake.warm_up.saw(size, len(bodies))
        return True

    def commit(self) -> None:
        """Have what was put into inboxes since the last time written."""
        if self._begun:
            self._sources.begin(self._begun)
            self._begun.clear()

    def _told(self, pending: _Pending, outcome: Outcome | Outcomes) -> None:
        self._intake.budget.give_back(pending.held_bytes)
        try:
            replies = self._replies(pending, outcome)
            assert len(replies) == len(pending.batch.bodies)
        except Exception:  # noqa: BLE001 -- a bug must cost one batch, not its whole group
            _log.exception("requests failed", request_ids=[f"{number:x}" for number in pending.batch.request_ids])
            replies = [_reply(written(Refused(500, _OWN_ERROR % number))) for number in pending.batch.request_ids]
        pending.batch.tell(replies)

    def _replies(self, pending: _Pending, outcome: Outcome | Outcomes) -> list[Reply | None]:
        """What the requests are answered, now that their rows have an outcome; and their lines in the log."""
        call, batch = pending.call, pending.batch
        now = time()
        took = now - pending.started
        if isinstance(outcome, BodiesCommitted):
            status = 200 if call.wait else 202
            log = (
                Line(now, EVENT, call.name, "ok", status, rows, 0, len(body), took, f"{number:x}", "")
                for rows, body, number in zip(outcome.rows, batch.bodies, batch.request_ids, strict=True)
            )
            self._log.add_all(log)
            return [(status, JSON, text) for text in accepted_bodies(call, outcome)]
        each = outcome if isinstance(outcome, tuple) else [outcome] * len(batch.bodies)
        replies: list[Reply | None] = []
        for one, body, number in zip(each, batch.bodies, batch.request_ids, strict=True):
            if isinstance(one, SchemaChanged | BodyRejected):
                replies.append(None)
                continue
            error, good, bad = "", 0, 0
            if isinstance(one, Committed):
                good, bad = one.counts.successful, one.counts.quarantined
                answer = accepted(call, one)
            else:
                failed = failure(one)
                refused = failed if isinstance(failed, Refused) else refusal(failed)
                error = str(refused)
                answer = written(refused)
            kind = "error" if error else "ok"
            self._log.add(
                Line(now, EVENT, call.name, kind, answer.status, good, bad, len(body), took, f"{number:x}", error)
            )
            replies.append(_reply(answer))
        return replies


def _reply(answer: Answer) -> Reply:
    return answer.status, answer.fields, answer.body
