"""Batches that can't be taken: their requests begin anew elsewhere, and nothing else comes of them."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from daemon import known_appends
from daemon.append_call import Call
from daemon.batch import Batch, Reply
from daemon.head_cache import Head, KnownHead
from daemon.inbox import ActorClosing, InboxFull
from daemon.known_appends import KnownAppends, Plan
from segments.filenames import Lsn
from segments.group import BodiesCommitted
from tests.stored import SCHEMA

NOT_ASKED: Any = None
TOKENS: Any = SimpleNamespace(all=())
INTAKE: Any = SimpleNamespace(
    budget=SimpleNamespace(take=lambda _: None, give_back=lambda _: None),
    space=SimpleNamespace(check=lambda: None),
    warm_up=SimpleNamespace(saw=lambda *_: None),
    bytes_max=1024,
)


class Actor:
    """`enqueue` is called for its inbox."""

    log = SimpleNamespace(schema=SCHEMA)

    def __init__(self, enqueue: Callable[..., object]) -> None:
        self.enqueue = enqueue


def batch(told: list[Reply | None], *bodies: bytes) -> Batch:
    plan = Plan(Call("t", wait=True, is_document=False, may_make=False), ())
    known = KnownHead(Head(b"POST", b"/", {}), plan)
    return Batch(known, [1, 2], bodies or [b'{"id":1}', b'{"id":2}'], told.extend)


def of(actor: object, begun: list[object]) -> KnownAppends:
    sources: Any = SimpleNamespace(peek=lambda _: actor, begin=begun.extend)
    return KnownAppends(sources, TOKENS, INTAKE, NOT_ASKED, NOT_ASKED)


@pytest.mark.parametrize("refusal", [ActorClosing, InboxFull])
def test_an_actor_that_takes_nothing_is_not_begun(refusal):
    """One that closes has its file sealed meanwhile; a sync or a mark beside that could meet another file's descriptor."""

    def refuse(*_: object, **__: object) -> None:
        raise refusal

    begun: list[object] = []
    told: list[Reply | None] = []
    appends = of(Actor(refuse), begun)
    appends.append(batch(told))
    appends.commit()

    assert told == [None, None]
    assert begun == []


@pytest.mark.parametrize("other", [b"", b'{"id":%01030d}' % 1])
def test_a_batch_with_a_body_that_would_be_answered_otherwise_goes_its_ways(other):
    """Under a head like the others', which says only another length."""
    taken: list[object] = []
    told: list[Reply | None] = []
    of(Actor(lambda write, **_: taken.append(write)), []).append(batch(told, b'{"id":1}', other))

    assert (taken, told) == ([], [None, None])


@pytest.mark.parametrize(("limit", "is_taken"), [(47, False), (48, True)])
def test_a_batch_that_would_fill_an_inbox_goes_its_ways_one_by_one(monkeypatch, limit, is_taken):
    taken: list[object] = []
    told: list[Reply | None] = []
    actor = Actor(lambda write, **_: taken.append(write))
    # 16 bytes of bodies, and 8 for each of two columns of two rows.
    monkeypatch.setattr(known_appends, "BATCH_BYTES_MAX", limit)
    of(actor, []).append(batch(told))

    assert (len(taken), told) == ((1, []) if is_taken else (0, [None, None]))


def test_a_mistake_costs_its_batch_an_answer_that_says_where_to_look():
    tells: list[Any] = []
    told: list[Reply | None] = []
    actor = Actor(lambda *_, tell, **__: tells.append(tell))
    of(actor, []).append(batch(told))
    # No log to write the lines into: a mistake of ours.
    (tell,) = tells
    tell(BodiesCommitted(Lsn(1), [1, 1]))

    assert [reply[0] for reply in told if reply] == [500, 500]
    assert [f"request id {number}".encode() in reply[2] for number, reply in enumerate(told, 1) if reply] == [True] * 2
