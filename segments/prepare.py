"""A group of requests -> what its frame holds, and what each of them is answered once that is written. Without I/O."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple

from segments.errors import BodyRejected
from segments.filenames import Lsn
from segments.frame import Sections
from segments.group import Outcome, Outcomes, Unread, Write, answered, answers, by_member, number, number_bodies, split
from segments.group_encoder import GroupEncoder
from segments.keys import Key, KeyWindow, Notes, encode_notes
from segments.line_reader import LineReader
from segments.unknown_keys import UnknownKeys
from segments.unread import Joined, read_alone, read_joined, read_plain


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
    if len(unread) == len(group):
        prepared = _prepare_bodies(unread, bodies, joined, first, at, encoder)
        if prepared is not None:
            return prepared
    rows_of = [0] * len(bodies) if joined is None else joined.rows
    writes: list[Write | BodyRejected] = [] if joined is None else [Write(joined.decoded)]
    are_read = iter(rows_of)
    for member in group:
        if isinstance(member, Write):
            writes.append(member)
        else:
            writes += [read_alone(reader, body) for body in member.bodies if not next(are_read)]
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
    bodies: Sequence[bytes],
    joined: Joined | None,
    first: Lsn,
    at: datetime,
    encoder: GroupEncoder,
) -> Prepared | None:
    """A group of nothing but bodies, in fewer steps. None when they are not all of one kind: read as one, or small."""
    if joined is not None:
        if not all(joined.rows):
            return None
        good = joined.decoded.good
        sections = (good.serialize(), b"", b"")
        return Prepared(first, good.num_rows, sections, (), {}, number_bodies(group, first, joined.rows), at.date())
    plain = read_plain(bodies)
    if plain is None:
        return None
    rows = encoder.encode(plain, first, at)
    outcomes: tuple[Outcome | Outcomes, ...]
    if rows.bad:
        outcomes = by_member(group, number(first, rows.counts), [0] * len(bodies), first)
    else:
        outcomes = number_bodies(group, first, list(map(len, plain)))
    return Prepared(first, rows.count, (rows.good, rows.bad, b""), (), rows.unknown, outcomes, at.date())
