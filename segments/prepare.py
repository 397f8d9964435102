"""A group of requests -> what its frame holds, and what each of them is answered once that is written. Without I/O."""

from collections.abc import Sequence
from datetime import date, datetime
from itertools import islice
from typing import NamedTuple

from segments.decode import Decoded
from segments.errors import BodyRejected
from segments.filenames import Lsn
from segments.frame import Sections
from segments.group import Outcome, Outcomes, Unread, Write, answered, answers, by_member, number, number_bodies, split
from segments.group_encoder import GroupEncoder
from segments.keys import Key, KeyWindow, Notes, encode_notes
from segments.line_reader import LineReader
from segments.lines import Events
from segments.unknown_keys import UnknownKeys
from segments.unread import Joined, read_alone, read_joined


class Prepared(NamedTuple):
    """A group as it will be written: its `rows` from LSN `first` on, and the keys of its requests. `outcomes` hold once it is."""

    first: Lsn
    rows: int
    sections: Sections
    keys: tuple[Key, ...]
    unknown: UnknownKeys
    outcomes: tuple[Outcome | Outcomes, ...]
    day: date


def prepare(
    group: Sequence[Write | Unread],
    first: Lsn,
    at: datetime,
    *,
    reader: LineReader,
    encoder: GroupEncoder,
    keys: KeyWindow,
) -> Prepared:
    """The group, the first of whose rows gets LSN `first`. `at`, naive UTC, is when they are written."""
    unread = [member for member in group if isinstance(member, Unread)]
    bodies = [body for member in unread for body in member.bodies]
    joined = read_joined(reader, bodies) if bodies else None
    rows_of = [0] * len(bodies) if joined is None else joined.rows
    alone = [read_alone(reader, body) for body, rows in zip(bodies, rows_of, strict=True) if not rows]
    if len(unread) == len(group):
        prepared = _prepare_bodies(unread, joined, alone, first, at, encoder)
        if prepared is not None:
            return prepared
    writes: list[Write | BodyRejected] = [] if joined is None else [Write(joined.decoded)]
    are_joined, left = iter(rows_of), iter(alone)
    for member in group:
        if isinstance(member, Write):
            writes.append(member)
            continue
        read = [next(left) for rows in islice(are_joined, len(member.bodies)) if not rows]
        writes += [one if isinstance(one, BodyRejected) else Write(one) for one in read]
    fresh, others = split(writes, keys, reader.schema)
    rows = encoder.encode([write.body for write in fresh], first, at)
    numbered = number(first, rows.counts)
    # A request without rows leaves nothing that a repeat of it could double.
    done_to = zip(fresh, numbered, strict=True)
    new_keys = tuple(answered(write.key, done) for write, done in done_to if write.key and done.last_lsn)
    replays = tuple(lsn for write in fresh for lsn in write.replays) if rows.count else ()
    sections = (rows.good, rows.bad, encode_notes(Notes(new_keys, replays)))
    told = answers(numbered, others)[0 if joined is None else 1 :]
    outcomes = by_member(group, told, rows_of, first)
    return Prepared(first, rows.count, sections, new_keys, rows.unknown, outcomes, at.date())


def _prepare_bodies(
    group: Sequence[Unread],
    joined: Joined | None,
    alone: Sequence[Events | Decoded | BodyRejected],
    first: Lsn,
    at: datetime,
    encoder: GroupEncoder,
) -> Prepared | None:
    """A group of nothing but bodies, in fewer steps. None unless they were read as one, all of them, or each as plain events."""
    if joined is not None and not alone:
        good = joined.decoded.good
        sections = (good.serialize(), b"", b"")
        return Prepared(first, good.num_rows, sections, (), {}, number_bodies(group, first, joined.rows), at.date())
    events = [one for one in alone if isinstance(one, Events) and one]
    if joined is not None or len(events) < len(alone):
        return None
    counts = list(map(len, events))
    small = encoder.encode_small(events)
    if small is not None:
        outcomes = number_bodies(group, first, counts)
        return Prepared(first, sum(counts), (small, b"", b""), (), {}, outcomes, at.date())
    rows = encoder.encode_any(events, first, at)
    told = by_member(group, number(first, rows.counts), [0] * len(counts), first)
    return Prepared(first, rows.count, (rows.good, rows.bad, b""), (), rows.unknown, told, at.date())
