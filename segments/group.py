"""A group of requests that are committed as one: which of them add rows, and what each is answered."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from segments.decode import Counts, Decoded
from segments.errors import KeyReused, KeysFull, SchemaChanged
from segments.filenames import Lsn
from segments.frame import Sections
from segments.keys import REUSED, Key, KeyWindow
from segments.lines import Events
from segments.schema import Schema
from segments.unknown_keys import UnknownKeys


@dataclass(frozen=True, slots=True)
class Write:
    """One request in a group: its rows, decoded or not yet, and its idempotency key if it has one.

    `replays` are the LSNs of quarantined rows that are these rows, and are there no more once these are.
    """

    body: Events | Decoded
    key: Key | None = None
    replays: tuple[int, ...] = ()


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


Outcome = Committed | KeyReused | KeysFull | SchemaChanged


@dataclass(frozen=True, slots=True)
class Prepared:
    """A group as it will be written: `count` rows from LSN `first` on, and the keys of its requests. `outcomes` hold once
    it is."""

    first: Lsn
    count: int
    sections: Sections
    keys: tuple[Key, ...]
    unknown: UnknownKeys
    outcomes: tuple[Outcome, ...]
    at: datetime


def is_plain(group: Sequence[Write]) -> bool:
    """Whether all of the group's writes are to be made, and leave nothing but their rows."""
    return all(write.key is None and not write.replays and isinstance(write.body, Events) for write in group)


def split(group: Sequence[Write], keys: KeyWindow, schema: Schema) -> tuple[list[Write], list[Outcome | int | None]]:
    """The writes to make, and for each of the group what it is answered if it is none of them: a number stands for
    the answer to that one of those to make, which has its key and its body."""
    fresh: list[Write] = []
    others: list[Outcome | int | None] = []
    in_group: dict[tuple[str, str], tuple[int, Key]] = {}
    for write in group:
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
        return error
    return Committed(Counts(known.successful, known.quarantined), Lsn(known.last_lsn), is_repeat=True)


def number(first: Lsn, counts: Sequence[Counts]) -> tuple[Committed, ...]:
    """What each request is answered, by how many rows it had, when the first of them gets LSN `first`."""
    committed, last = [], first - 1
    for count in counts:
        rows = count.successful + count.quarantined
        last += rows
        committed.append(Committed(count, Lsn(last if rows else 0)))
    return tuple(committed)


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
