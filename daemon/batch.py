"""Requests under one head that came in the same round, and are answered together."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from daemon.head_cache import Fields, KnownHead

Reply = tuple[int, Fields, bytes]
"""Status, fields and body of an answer; a plain tuple, which goes to other processes as it is."""


class Batch(NamedTuple):
    """`tell` is called once, and must not raise: with the reply to each, or None where nothing of a request is stored and it has
    to begin anew, elsewhere."""

    known: KnownHead
    request_ids: Sequence[int]
    bodies: Sequence[bytes]
    tell: Callable[[Sequence[Reply | None]], None]
