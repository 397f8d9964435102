"""A line of which only values do not fit is not read as a whole; it is the bad row, for the same reasons, that it would be."""

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segments import bulk, line_reader
from segments.bulk import decode_bulk
from segments.column_type import parse_type
from segments.compiled.load import loaded
from segments.datafile import parse_datafile
from segments.decode import Decoded, decode
from segments.errors import BodyRejected
from segments.line_reader import LineReader
from segments.lines import parse_body, parse_lines
from segments.schema import Column, Schema
from tests.strategies import json_texts, values_for

NOW = datetime(2026, 11, 23, 12)
SCHEMA = parse_datafile(
    "SCHEMA > i Nullable(Int64), u UInt64, f Nullable(Float64), b Nullable(Bool), s Nullable(String), d Nullable(Date), "
    "t Nullable(DateTime64(3)), a Nullable(Array(Int64)) `json:$.a[:]`, n_x Nullable(Int8) `json:$.n.x`\n"
).schema
GOOD = b'{"i":1,"u":2,"f":0.5,"b":true,"s":"x","d":"2024-02-29","t":"2024-02-29T10:00:00.5Z","a":[1],"n":{"x":3}}'
KINDS = [parse_type(kind) for kind in ("Int8", "UInt64", "Float64", "Bool", "String", "Date", "DateTime64(3)")]


@pytest.fixture(autouse=True, scope="module")
def _loaded():
    line_reader.use(loaded())


def decoded(schema: Schema, body: bytes) -> Decoded | None:
    """What the body becomes, which is what it becomes line by line; None when it is refused."""
    try:
        slow = decode(schema, parse_body(body), NOW)
    except BodyRejected:
        return None
    fast = decode_bulk(schema, body, NOW, check_rows=lambda _: None)
    assert fast.good.equals(slow.good)
    assert (fast.bad, fast.count, fast.unknown) == (slow.bad, slow.count, slow.unknown)
    return fast


@pytest.fixture
def read_whole(monkeypatch) -> list[bytes]:
    """The lines that Python reads whole."""
    seen: list[bytes] = []

    def seen_by_python(lines):
        kept = list(lines)
        seen.extend(kept)
        return parse_lines(kept)

    monkeypatch.setattr(bulk, "parse_lines", seen_by_python)
    return seen


@pytest.mark.parametrize(
    "line",
    [
        b'{"u":"x"}', b'{"u":null}', b'{"u":-1}', b'{"u":1.5}', b'{"u":true}', b'{"u":{"a":[1, "]", "\\""]}}', b'{"u":[]}', b'{"u":"\\u00e9\\n"}',
        b'{"n":{"x":128},"b":"true","u":1}', b' { "d" : "2024-02-30" , "u" : "x" , "i" : 1.0 } \t\r', b'{"u":1,"t":"yesterday","f":"1"}', b'{"u":1,"t":"0001-01-01T00:00:00.1234"}',
        b'{"u":"x","s":"{}","a":[1,2]}', b'{"u":1,"f":false,"k":null,"m":[]}', b'{"u":1,"i":[1.0,12345678901234567]}',
        b'{"u":1,"i":1E5}', b'{"u":1,"b":1e-400}', b'{"u":"' + b"x" * 100 + b'"}',
    ],
)  # fmt: skip
def test_rows_whose_values_do_not_fit_are_told_by_their_values_alone(line, read_whole):
    body = b"\n".join([GOOD, line, line, GOOD, line])
    found = decoded(SCHEMA, body)

    lines = LineReader(SCHEMA).read(body)
    assert lines is not None
    assert [bool(refused.odd) for refused in lines.refused] == [True] * 3
    assert found is not None
    assert [row.number for row in found.bad] == [1, 2, 4]
    assert all(row.raw == line.strip() for row in found.bad)
    assert not read_whole


@pytest.mark.parametrize(
    "line",
    [
        # It fits after all; it is no JSON, or not only values are wrong, or a key comes twice.
        b'{"u":1,"i":"12"}', b'{"u":"18446744073709551615"}', b'{"u":18446744073709551615}', b'{"u":1,"t":1700000000}', b'{"u":1,"f":1e3}', b'{"u":1,"d":"2024-02-29","i":-0}',
        b'{"u":[nope]}', b'{"u":{"a":1,}}', b'{"u":"x"', b'{"u":"x"}}', b'{"u":"x","k":5}', b'{"u":"x","u":1}', b'{"u":1,"u":"x"}', b'{"i":"x"}', b'{"u":1,"n":"x","i":"y"}',
        b'{"u":1,"a":"x"}', b'{"u":1,"a":["x"]}', b'{"u":1,"a":["x"],"i":"y"}', b'{"u":1e400}', b'{"u":-}', b'{"u":nul}', b'{"u":"x","s":[nope]}', b'{"s":{"k":},"u":"x"}', b'{"u":"x","f":0.12345678901234567890123456789}', b'{"u":{"k":1E+30}}',
    ],
)  # fmt: skip
def test_other_lines_are_read_whole(line, read_whole):
    assert decoded(SCHEMA, b"\n".join([GOOD] * 12 + [line] + [GOOD] * 12)) is not None
    assert read_whole == [line]


def test_many_bad_rows_among_few_good_ones_are_told_by_their_values(read_whole):
    found = decoded(SCHEMA, b"\n".join(([b'{"u":"x","s":"' + b"y" * 100 + b'"}'] * 9 + [GOOD]) * 200))

    assert found is not None
    assert len(found.bad) == 1800
    assert not read_whole


def test_more_odd_values_than_there_is_room_for_leave_their_lines_to_be_read_whole():
    line = b'{"i":"","u":"","f":"","b":""}'
    lines = LineReader(SCHEMA).read(b"\n".join([line] * 100))

    assert lines is not None
    assert len(lines.refused) == 100
    assert 0 < sum(map(bool, (refused.odd for refused in lines.refused))) < 100
    assert {len(refused.odd) for refused in lines.refused} == {0, 4}
    assert decoded(SCHEMA, b"\n".join([line] * 100)) is not None


@settings(max_examples=300)
@given(st.data())
def test_any_values_are_what_they_are_line_by_line(data):
    columns = data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    paths = [(f"c{n}",) if n % 2 == 0 else ("k", f"c{n}") for n in range(4)]
    schema = Schema(tuple(Column(f"c{n}", kind, paths[n]) for n, kind in enumerate(columns)))
    lines = []
    for _ in range(data.draw(st.integers(1, 12))):
        texts = [data.draw(st.one_of(values_for(kind), values_for(kind), json_texts)) for kind in columns]
        fields = [f'"c{n}":{text}' for n, text in enumerate(texts)]
        inner = ['"k":{' + ",".join(fields[1::2]) + "}"] if fields[1::2] else []
        lines.append(("{" + ",".join(data.draw(st.permutations([*fields[0::2], *inner]))) + "}").encode(errors="replace"))  # fmt: skip
    decoded(schema, b"\n".join(lines))


def test_a_long_line_is_searched_for_huge_integers_once_whatever_its_columns(monkeypatch):
    """Once for each of hundreds of columns held the interpreter for half a minute a megabyte."""
    asked: list[bytes] = []

    def seen(line: bytes) -> bool:
        asked.append(line)
        return False

    monkeypatch.setattr("segments.decode.may_hold_huge_integers", seen)
    schema = Schema(tuple(Column(f"c{n}", parse_type("Nullable(Int64)"), (f"c{n}",)) for n in range(100)))
    empty = "{" + ",".join(f'"c{n}":[]' for n in range(100)) + "}"
    huge = "{" + ",".join(f'"c{n}":[1e30]' for n in range(100)) + "}"
    found = decode_bulk(schema, "\n".join([empty, huge] * 3).encode(), NOW, check_rows=lambda _: None)

    assert len(found.bad) == 6
    assert len(asked) <= 3
