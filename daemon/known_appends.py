"""Rows under heads that come again and again: what such a head asks for is decided once, and then only its rows are looked at.

Says no, and touches nothing, wherever `daemon.events` would do anything but put the rows into the inbox of a running
actor: it is asked then, and decides anew.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import time

from daemon.admission import OverBudget
from daemon.answers import Answer, Refused
from daemon.append_call import Call, accepted, checked, failure
from daemon.config import INLINE_BYTES_MAX
from daemon.disk_space import NoRoom
from daemon.events import EVENT, EVENTS_PATH, size_in_memory
from daemon.head_cache import Head, KnownHead
from daemon.inbox import ActorClosing, InboxFull, Ticket
from daemon.ingest import Ingest
from daemon.intake import Intake
from daemon.rate_limit import RateLimits
from daemon.refusals import refusal, written
from daemon.request_log import Line, RequestLog
from daemon.row_limit import check_rows
from daemon.sources import Sources
from daemon.target import parse_target, presented_token
from daemon.tokens import Token, Tokens
from daemon.warm_up import BODY_BYTES_MIN
from segments.errors import BodyRejected, Corruption, SchemaChanged
from segments.group import Committed, Write
from segments.lines import parse_body

_OUT_OF_THE_ORDINARY = (b"idempotency-key", b"content-encoding")
_ANSWERED_WITH_MORE = "x-vercel-verify"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a head asks for; no call when it is not for here. Void as soon as the daemon's tokens are others than
    `tokens`."""

    call: Call | None
    tokens: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Append:
    """A request whose rows are on their way; `held_bytes` of the budget are given back at its end."""

    call: Call
    ticket: Ticket
    request_id: int
    body_bytes: int
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

    def plan(self, known: KnownHead) -> Plan:
        """What the head asks for, decided anew where that is void."""
        plan = known.plan
        if not isinstance(plan, Plan) or plan.tokens is not self._tokens.all:
            plan = known.plan = Plan(self._call(known.head), self._tokens.all)
        return plan

    def _call(self, head: Head) -> Call | None:
        length = head.content_length or 0
        if self._limits.is_on or not 0 < length <= min(INLINE_BYTES_MAX, self._intake.bytes_max):
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

    def begin(self, known: KnownHead, body: bytes, request_id: int, tell: Callable[[], None]) -> Append | None:
        """Put the body's rows into the inbox, for `commit`; `tell` is called once they have an outcome."""
        call = self.plan(known).call
        actor = None if call is None else self._sources.peek(call.name)
        if call is None or actor is None:
            return None
        schema, reader = actor.log.schema, actor.log.reader
        try:
            self._intake.space.check()
            rows = (reader.decode(body) if len(body) >= BODY_BYTES_MIN else None) or parse_body(body)
            if not rows:
                return None
            check_rows(len(rows), schema)
            held = size_in_memory(len(body), rows, schema)
            self._intake.budget.take(held)
        except (NoRoom, BodyRejected, Refused, OverBudget):
            return None
        try:
            ticket = actor.enqueue(Write(rows), size_bytes=held, durably=call.wait, tell=tell)
        except (ActorClosing, InboxFull):
            self._intake.budget.give_back(held)
            return None
        self._intake.warm_up.saw(len(body))
        self._begun.add(actor)
        return Append(call, ticket, request_id, len(body), held, time())

    def commit(self) -> None:
        """Have what was put into inboxes since the last time written."""
        if self._begun:
            self._sources.begin(self._begun)
        self._begun.clear()

    def finish(self, append: Append) -> Answer | None:
        """What the request is answered, now that its rows have an outcome; None when it must begin anew, elsewhere."""
        self._intake.budget.give_back(append.held_bytes)
        outcome, call = append.ticket.outcome, append.call
        if isinstance(outcome, SchemaChanged):
            return None
        assert outcome is not None
        error, good, bad = "", 0, 0
        if isinstance(outcome, Committed):
            good, bad = outcome.counts.successful, outcome.counts.quarantined
            answer = accepted(call, outcome)
        else:
            failed = failure(outcome)
            refused = failed if isinstance(failed, Refused) else refusal(failed)
            error = str(refused)
            answer = written(refused)
        now, size = time(), append.body_bytes
        took, request = now - append.started, f"{append.request_id:x}"
        kind = "error" if error else "ok"
        self._log.add(Line(now, EVENT, call.name, kind, answer.status, good, bad, size, took, request, error))
        return answer
