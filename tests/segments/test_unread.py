"""Bodies that come into a group as they were sent: whether machine code reads all at once or each is read by itself, each
request stores the same rows and hears the same as if it had come alone."""

import gc
import tempfile
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segments.decode import Counts
from segments.errors import BodyRejected
from segments.filenames import Lsn
from segments.group import BodiesCommitted, Committed, Outcome, Outcomes, Unread, Write
from segments.line_reader import use
from segments.lines import parse_body
from segments.source_log import SourceLog
from segments.unread import BODIES_MIN, JOINED_BYTES_MAX, read_joined, rows_max
from tests.stored import NOW, Stored, body, key

GOOD = st.integers(0, 1000).map(lambda number: b'{"id":%d,"text":"event %d"}' % (number, number))
LINES = st.lists(GOOD, min_size=1, max_size=3).map(b"\n".join)
ODD = st.sampled_from(
    [
        b'{"id":"bad"}',
        b'{"id":1}\n{"id":"bad"}',
        b'{"id":1,"more":true}',
        b'{"text":[1,}]}',
        b'{"text":"\xc3\xa9"}',
        b'{"text":"\xff"}',
        b'{"text":"\xc3',
        b"[]",
        b'[{"id":1},{"id":2},3]',
        b'[{"id":1},\n{"id":2}]',
        b"[1,2]",
        b'{"id":[{}',
        b"{}]}",
        b'{"id":1},{"id":2}',
        b'{"id":1}{"id":2}',
        b'{\n"id":3\n}',
        b'{"id":4}\n',
        b'{"id":4}\r\n',
        b'{"id":4}\n\n{"id":5}',
        b"\n\n",
        b"   ",
        b'\xef\xbb\xbf{"id":6}',
        b' {"id":7}',
        b"nothing",
        b"null",
        b'"',
        b'{"text":"' + b"x" * 2000 + b'"}',
    ]
)
BODIES = st.one_of(
    st.lists(LINES, min_size=1, max_size=2 * BODIES_MIN),
    st.lists(st.one_of(GOOD, GOOD, GOOD, LINES, ODD), min_size=1, max_size=2 * BODIES_MIN),
    # One among many that fit, which decides whether they may be read as one.
    st.builds(lambda good, odd: [*good[1:], odd, *good[:1]], st.lists(GOOD, min_size=BODIES_MIN, max_size=40), ODD),
)


@pytest.fixture(scope="module", autouse=True)
def machine_code():
    from segments.compiled.load import loaded  # noqa: PLC0415 -- 40 MB that no other test of this file's process needs

    use(loaded())


def each(outcomes: tuple[Outcome | Outcomes, ...]) -> list[Committed | str]:
    """What each body is told, spelled out."""
    found: list[Committed | str] = []
    for outcome in outcomes:
        if isinstance(outcome, BodiesCommitted):
            last = outcome.first - 1
            for rows in outcome.rows:
                last += rows
                found.append(committed(rows, last))
        elif isinstance(outcome, tuple):
            found += [one if isinstance(one, Committed) else str(one) for one in outcome]
        else:
            found.append(outcome if isinstance(outcome, Committed) else str(outcome))
    return found


def committed(rows: int, last: int) -> Committed:
    return Committed(Counts(rows, 0), Lsn(last))


def commit(log: SourceLog, group: list[Write | Unread]) -> list[Committed | str]:
    return each(log.write(log.prepare(group, NOW), durably=False))


def alone(log: SourceLog, bodies: list[bytes]) -> list[Committed | str]:
    """What each is told when every request is a commit of its own."""
    found: list[Committed | str] = []
    for sent in bodies:
        try:
            write = Write(parse_body(sent))
        except BodyRejected as error:
            found.append(str(error))
        else:
            found += commit(log, [write])
    return found


Rows = list[tuple[bool, object]]


def of_each(stored: Stored, told: list[Committed | str]) -> list[tuple[Counts, Rows] | str]:
    """What each request is told without its LSN, and the rows that lie where that says: good ones, and the texts of others."""
    bad = {row["c__lsn"]: row["c__row"] for row in stored.quarantined()}
    good = iter(stored.rows())
    rows: Rows = []
    for lsn in range(1, stored.open().appended_lsn + 1):
        text = bad.get(lsn)
        rows.append((True, next(good)) if text is None else (False, text))
    found: list[tuple[Counts, Rows] | str] = []
    for one in told:
        if isinstance(one, Committed):
            count = one.counts.successful + one.counts.quarantined
            found.append((one.counts, rows[one.last_lsn - count : one.last_lsn]))
        else:
            found.append(one)
    return found


@settings(max_examples=300, deadline=None)
@given(BODIES, st.data())
def test_a_group_of_bodies_is_what_its_requests_are_one_by_one(bodies, data):
    cut = data.draw(st.integers(0, len(bodies)))
    members = [Unread(part) for part in (bodies[:cut], bodies[cut:]) if part]
    # Among them perhaps requests that have been read already, because they have a key; the second of them is the first again.
    keyed = [Write(parse_body(body(7, -8)), key("k", body(7, -8)))] * data.draw(st.integers(0, 2))
    places = [data.draw(st.integers(0, len(members))) for _ in keyed]
    with tempfile.TemporaryDirectory() as here:
        together, apart = (Stored(Path(here) / name).create() for name in ("together", "apart"))
        log, others = together.open(), apart.open()
        group: list[Write | Unread] = list(members)
        for place, write in zip(places, keyed, strict=True):
            group.insert(place, write)
        told = of_each(together, commit(log, group))
        expected = alone(others, bodies) + [done for write in keyed for done in commit(others, [write])]

        assert log.appended_lsn == others.appended_lsn
        sizes = [len(member.bodies) if isinstance(member, Unread) else 0 for member in group]
        starts = list(accumulate((size or 1 for size in sizes), initial=0))
        of_bodies = [told[start : start + size] for start, size in zip(starts, sizes, strict=False)]
        of_keyed = [told[start] for start, size in zip(starts, sizes, strict=False) if not size]
        assert [one for part in of_bodies for one in part] + of_keyed == of_each(apart, expected)
        assert log.unknown == others.unknown


def test_bodies_whose_rows_all_fit_are_read_as_one(stored):
    reader = stored.open().reader
    bodies = [b'{"id":%d}' % number for number in range(BODIES_MIN)]
    joined = read_joined(reader, bodies)
    assert joined is not None
    assert joined.decoded.good.column("id").to_pylist() == list(range(BODIES_MIN))
    several = read_joined(reader, [*bodies, b'{"id":1}\n{"id":2}\n'])
    assert several is not None
    assert several.rows == [1] * BODIES_MIN + [2]


@pytest.mark.parametrize("more", [b'{"id":"bad"}', b'{"id":1},{"id":2}', b"[]", b'{"id":"bad"}\n{"id":"bad"}'])
def test_those_that_do_not_fit_at_all_are_left_out(stored, more):
    joined = read_joined(stored.open().reader, [b'{"id":1}\n{"id":2}', more, *[b'{"id":3}'] * BODIES_MIN])
    assert joined is not None
    assert joined.rows == [2, 0] + [1] * BODIES_MIN


@pytest.mark.parametrize("more", [b'{"id":1}\n{"id":"bad"}', b"", b"\n", b'{"id":1}\n\n', b"x" * JOINED_BYTES_MAX])
def test_none_is_read_with_others_where_nobody_could_tell_whose_the_rows_are(stored, more):
    bodies = [b'{"id":%d}' % number for number in range(BODIES_MIN)]
    assert read_joined(stored.open().reader, [*bodies, more]) is None


@pytest.mark.parametrize("sent", [b"nothing", b"  ", b'{"id":"bad"}'])
def test_what_is_refused_keeps_nothing_of_its_group_alive(stored, sent):
    """A ring of what was sent would stay for as long as the collector of garbage is at rest."""
    log = stored.open()
    first = Write(parse_body(body(1)), key("k", body(1)))
    commit(log, [first, Unread([sent])])
    again = Write(parse_body(body(2)), key("k", body(2)))
    gc.collect()
    log.prepare([Unread([sent, b'{"id":1}']), again], NOW)
    assert gc.collect() == 0


@settings(max_examples=500)
@given(st.lists(st.one_of(ODD, LINES, st.binary(min_size=1, max_size=40), st.text("{}[], \n1", min_size=1).map(str.encode)), min_size=1))  # fmt: skip
def test_no_body_has_more_rows_than_room_is_taken_for(bodies):
    found = 0
    for sent in bodies:
        try:
            found += len(parse_body(sent))
        except BodyRejected:
            continue
    assert found <= rows_max(bodies)
