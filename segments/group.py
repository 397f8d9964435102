"""A group of requests that are committed as one: which of them add rows, and what each is answered."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple, Self

from segments.decode import Counts, Decoded
from segments.errors import BodyRejected, KeyReused, KeysFull, SchemaChanged
from segments.filenames import Lsn
from segments.keys import REUSED, Key, KeyWindow
from segments.lines import Events
from segments.schema import Schema


@dataclass(frozen=True, slots=True)
class Write:
    """One request in a group: its rows, decoded or not yet, and its idempotency key if it has one.

    `replays` are the LSNs of quarantined rows that are these rows, and are there no more once these are.
    """

    body: Events | Decoded
    key: Key | None = None
    replays: tuple[int, ...] = ()


class Unread(NamedTuple):
    """Requests in a group that have no key: the bodies that their rows are still in."""

    bodies: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of one request of a group. `last_lsn` is 0 when it had no rows.

    `is_repeat`: the rows were stored before, by a request with the same key.
    """

    counts: Counts
    last_lsn: Lsn
    is_repeat: bool = field(default=False, compare=False)

    @classmethod
    def none(cls) -> Self:
        """The answer to a request without rows."""
        return cls(Counts(0, 0), Lsn(0))


@dataclass(frozen=True, slots=True)
class BodiesCommitted:
    """What became of bodies whose rows all fit: the first got LSN `first`, and each body has so many."""

    first: Lsn
    rows: Sequence[int]


Outcome = Committed | KeyReused | KeysFull | SchemaChanged | BodyRejected
Outcomes = BodiesCommitted | tuple[Outcome, ...]
"""Of bodies that came unread."""


def split(
    group: Sequence[Write | BodyRejected], keys: KeyWindow, schema: Schema
) -> tuple[list[Write], list[Outcome | int | None]]:
    """The writes to make, and for each of the group what it is answered if it is none of them: a number stands for
    the answer to that one of those to make, which has its key and its body."""
    fresh: list[Write] = []
    others: list[Outcome | int | None] = []
    in_group: dict[tuple[str, str], tuple[int, Key]] = {}
    for write in group:
        if isinstance(write, BodyRejected):
            others.append(write)
            continue
        key = write.key
        other: Outcome | int | None = None
        if key is not None and (key.scope, key.key) in in_group:
            twin, first = in_group[key.scope, key.key]
            other = twin if first.fingerprint == key.fingerprint else KeyReused(REUSED)
        elif key is not None:
            other = _repeated(keys, key, len(in_group))
        if other is None and isinstance(write.body, Decoded) and write.body.schema != schema:
            other = SchemaChanged("the schema has changed since the rows were decoded")
        if other is None:
            fresh.append(write)
            if key is not None and len(write.body):
                in_group[key.scope, key.key] = (len(fresh) - 1, key)
        others.append(other)
    return fresh, others


def _repeated(keys: KeyWindow, key: Key, more: int) -> Committed | KeyReused | KeysFull | None:
    """What is answered to the key without its rows being looked at. `more` keys of the group are new as well."""
    try:
        known = keys.find(key)
        if known is None:
            keys.check_room(more + 1)
            return None
    except (KeyReused, KeysFull) as error:
        # Without its frames, which lead back to the whole group: nobody would free such a ring for long.
        return error.with_traceback(None)
    return Committed(Counts(known.successful, known.quarantined), Lsn(known.last_lsn), is_repeat=True)


def number(first: Lsn, counts: Sequence[Counts]) -> tuple[Committed, ...]:
    """What each request is answered, by how many rows it had, when the first of them gets LSN `first`."""
    committed, last = [], first - 1
    for count in counts:
        rows = count.successful + count.quarantined
        last += rows
        committed.append(Committed(count, Lsn(last if rows else 0)))
    return tuple(committed)


def number_bodies(group: Sequence[Unread], first: Lsn, rows: Sequence[int]) -> tuple[BodiesCommitted, ...]:
    """The same for bodies whose rows all fit, by how many each has."""
    committed = []
    start = 0
    for member in group:
        end = start + len(member.bodies)
        of_each = rows[start:end]
        committed.append(BodiesCommitted(first, of_each))
        first, start = Lsn(first + sum(of_each)), end
    return tuple(committed)


def by_member(
    group: Sequence[Write | Unread], told: Iterable[Outcome], rows: Sequence[int], first: Lsn
) -> tuple[Outcome | Outcomes, ...]:
    """What each member of the group is answered. `rows` of each body that was read with others, the first of which got LSN
    `first`; what all else is answered, each write and each body without such rows, is `told`."""
    following, of_each = iter(told), iter(rows)
    last = first - 1
    found: list[Outcome | Outcomes] = []
    for member in group:
        if isinstance(member, Write):
            found.append(next(following))
            continue
        outcomes = []
        for count in islice(of_each, len(member.bodies)):
            last += count
            outcomes.append(Committed(Counts(count, 0), Lsn(last)) if count else next(following))
        found.append(tuple(outcomes))
    return tuple(found)


def answered(key: Key, done: Committed) -> Key:
    """The key with what was answered to its request."""
    return replace(key, successful=done.counts.successful, quarantined=done.counts.quarantined, last_lsn=done.last_lsn)


def answers(numbered: Sequence[Committed], others: Sequence[Outcome | int | None]) -> tuple[Outcome, ...]:
    """What each request of a group is answered, from what `number` and `split` gave."""
    own = iter(numbered)
    return tuple(
        next(own) if other is None else replace(numbered[other], is_repeat=True) if isinstance(other, int) else other
        for other in others
    )
