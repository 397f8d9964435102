"""Bodies that come into a group as they were sent. Machine code reads those of all requests as one, which takes little longer for
a hundred lines than for one; what it does not take, and what is too little for it, is read one by one."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from operator import itemgetter
from typing import NamedTuple

from segments.decode import Decoded
from segments.errors import BodyRejected
from segments.line_reader import LineReader, Refused
from segments.lines import Events, parse_body

BODIES_MIN = 32
"""Fewer small ones are read faster without machine code."""
BODY_BYTES_MIN = 1024
"""One of so many bytes is not small."""
JOINED_BYTES_MAX = 1 << 20
"""Of more, each is read by itself: what this takes in memory meanwhile, no budget counts."""
_FIRST, _OBJECT = itemgetter(0), ord("{")


class Joined(NamedTuple):
    """The rows of the bodies that fit as a whole, and how many each has; none where it has to be looked at by itself."""

    decoded: Decoded
    rows: list[int]


def read_joined(reader: LineReader, bodies: Sequence[bytes]) -> Joined | None:
    """None when each has to be looked at by itself."""
    size = sum(map(len, bodies))
    if size > JOINED_BYTES_MAX or (len(bodies) < BODIES_MIN and size < len(bodies) * BODY_BYTES_MIN):
        return None
    text = b"\n".join(bodies)
    found = reader.read(text)
    if found is None or not found.batch.num_rows:
        return None
    if len(bodies) == text.count(b"\n") + 1:
        rows = [1] * len(bodies)
    else:
        rows = [body.count(b"\n") + (not body.endswith(b"\n")) for body in bodies]
    # A line is one event at most. Only where there are as many as lines is it known whose each is.
    if found.events != sum(rows) or not _none_apart(rows, found.refused):
        return None
    return Joined(Decoded(reader.schema, found.batch, (), found.batch.num_rows, {}), rows)


def _none_apart(rows: list[int], refused: Sequence[Refused]) -> bool:
    """Take away the rows of bodies with a line that was refused; whether none of those has another line, which was not."""
    if refused:
        ends = list(accumulate(rows))
        others = {bisect_right(ends, line.number) for line in refused}
        if sum(rows[number] for number in others) > len(refused):
            return False
        for number in others:
            rows[number] = 0
    return True


def read_alone(reader: LineReader, body: bytes) -> Events | Decoded | BodyRejected:
    """The rows of a body by itself, if any of it is to be stored."""
    decoded = reader.decode(body) if len(body) >= BODY_BYTES_MIN else None
    try:
        return parse_body(body) if decoded is None else decoded
    except BodyRejected as error:
        # Without its frames, which lead back to the whole group: nobody would free such a ring for long.
        return error.with_traceback(None)


def rows_max(bodies: Sequence[bytes]) -> int:
    """How many rows the bodies have, or more. None of them is empty."""
    rows = len(bodies) + (bodies[0] if len(bodies) == 1 else b"".join(bodies)).count(b"\n")
    if set(map(_FIRST, bodies)) != {_OBJECT}:
        # What does not start with an object may be an array of them.
        rows += sum(body.count(b",") for body in bodies if body[0] != _OBJECT)
    return rows
