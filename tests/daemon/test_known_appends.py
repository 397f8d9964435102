"""Batches that can't be taken: their requests begin anew elsewhere, and nothing else comes of them."""

from types import SimpleNamespace
from typing import Any

import pytest

from daemon.append_call import Call
from daemon.batch import Batch, Reply
from daemon.head_cache import Head, KnownHead
from daemon.inbox import ActorClosing, InboxFull
from daemon.known_appends import KnownAppends, Plan
from tests.stored import SCHEMA

NOT_ASKED: Any = None
TOKENS: Any = SimpleNamespace(all=())
INTAKE: Any = SimpleNamespace(
    budget=SimpleNamespace(take=lambda _: None, give_back=lambda _: None),
    space=SimpleNamespace(check=lambda: None),
    warm_up=SimpleNamespace(saw=lambda *_: None),
)


@pytest.mark.parametrize("refusal", [ActorClosing, InboxFull])
def test_an_actor_that_takes_nothing_is_not_begun(refusal):
    """One that closes has its file sealed meanwhile; a sync or a mark beside that could meet another file's descriptor."""

    def refuse(*_: object, **__: object) -> None:
        raise refusal

    begun: list[object] = []
    actor = SimpleNamespace(enqueue=refuse, log=SimpleNamespace(schema=SCHEMA))
    sources: Any = SimpleNamespace(peek=lambda _: actor, begin=begun.extend)
    appends = KnownAppends(sources, TOKENS, INTAKE, NOT_ASKED, NOT_ASKED)
    told: list[Reply | None] = []
    known = KnownHead(Head(b"POST", b"/", {}), 8, Plan(Call("t", wait=True, is_document=False, may_make=False), ()))
    appends.append(Batch(known, [1, 2], [b'{"id":1}', b'{"id":2}'], told.extend))
    appends.commit()

    assert told == [None, None]
    assert begun == []
