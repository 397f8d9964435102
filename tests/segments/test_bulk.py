"""Large bodies take a way of their own, and mean what they would mean line by line."""

import json
from datetime import datetime

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segments import bulk
from segments.bulk import decode_bulk
from segments.bulk_schema import BulkSchema
from segments.column_type import parse_type
from segments.datafile import parse_datafile
from segments.decode import decode
from segments.errors import BodyRejected
from segments.infer import infer
from segments.lines import parse_body
from segments.plain_lines import count_objects
from segments.schema import Column, Schema
from tests.strategies import json_texts, values_for

NOW = datetime(2026, 11, 23, 12)
SCHEMA = parse_datafile(
    "SCHEMA > i Nullable(Int64), u UInt64, f Nullable(Float64), b Nullable(Bool), s Nullable(String), d Nullable(Date), "
    "t Nullable(DateTime64(3)), a Nullable(Array(Int64)) `json:$.a[:]`, n_x Nullable(Int8) `json:$.n.x`\n"
).schema
TYPES = ["Int8", "Int64", "UInt64", "Float64", "Bool", "String", "Date", "DateTime", "DateTime64(6)", "Array(Int64)"]
kinds = st.sampled_from([text for kind in TYPES for text in (kind, f"Nullable({kind})")]).map(parse_type)


def both(schema: Schema, body: bytes):
    """The rows by the bulk way, if it took them, and line by line."""
    fast = BulkSchema(schema).decode(body, count_objects(body))
    return fast, decode(schema, parse_body(body), NOW)


def check(schema: Schema, body: bytes) -> bool:
    """Whether the bulk way took the body; if it did, it is what it is line by line."""
    fast, slow = both(schema, body)
    if fast is None:
        return False
    assert not slow.bad
    assert fast.count == slow.count
    assert repr(fast.good.to_pylist()) == repr(slow.good.to_pylist())
    assert fast.good.schema == slow.good.schema
    assert {path: seen.count for path, seen in fast.unknown.items()} == {p: s.count for p, s in slow.unknown.items()}
    return True


PLAIN = b'{"i":1,"u":2,"f":0.5,"b":true,"s":"x","d":"2024-02-29","t":"2024-02-29T10:00:00Z","a":[1],"n":{"x":3},"k":1}'


@pytest.mark.parametrize(
    "body",
    [
        PLAIN,
        PLAIN + b"\n" + PLAIN + b"\n",
        b'{"u":1}\n{"u":184467440737095,"s":"\\u00e9\\n\xc3\xa9","n":{},"a":[]}',
        b'{"u":1,"i":90071992547409,"n":null}',
        b'{ "u" : 1 , "x" : [{"y": [1, 2]}], "when": "2024-01-01" }\n{"u":2,"x":[]}',
    ],
)
def test_plain_lines_are_taken(body):
    assert check(SCHEMA, body)


def test_long_integers_are_taken_where_no_column_would_round_them():
    assert check(SCHEMA, b'{"u":18446744073709551615,"i":-9223372036854775808}')
    assert not check(SCHEMA, b'{"u":1,"f":9007199254740992}')


@pytest.mark.parametrize(
    "row",
    [
        b"{}", b'{"u":-1}', b'{"u":1,"i":1.0}', b'{"u":1,"i":"1"}', b'{"u":1,"f":9007199254740993}', b'{"u":1,"f":NaN}',
        b'{"u":1,"s":1}', b'{"u":1,"s":{"a":1}}', b'{"u":1,"s":"\\ud800"}', b'{"u":1,"k":"\xff"}', b'{"u":1,"s":"\xff"}', b'{"u":1,"\xc3":2}', b'{"u":1,"d":"2023-02-29"}',
        b'{"u":1,"t":1709200800}', b'{"u":1,"t":"2024-02-29T10:00:00.1234Z"}', b'{"u":1,"a":[1,null]}', b'{"u":1,"n":5}', b'{"u":1,"k":[null,null]}', b'{"u":1,"k":[[null]]}',
        b'{"u":1,"f":-0.0}', b'{"u":1,"f":-Infinity}', b'{"u":1,"k":NaN}', b'{"u":1,"k":1e400}', b'{"u":1,"k":[[1,-Inf]]}', b'{"u":1,"k":[{"y":[NaN]}]}', b'{"u":1,"i":NaN}',
        b'{"u":1,"n":{"x":300}}', b'{"u":1}{"u":2}', b'{"u":1,"u":2}', b'{"u":1,"f":-0}', b'{"u":1,"f":1e400}', b'{"u":01}',
        b'{"u":1,"k":[' + b"[" * 70 + b"]" * 70 + b"]}", b'{"u":1,"s":"a\tb"}', b"", b"nope", b"[1]", b'{"u":1,}',
    ],
)  # fmt: skip
def test_what_needs_a_closer_look_goes_line_by_line(row):
    """Alone, and among plain lines, with the same outcome for every row."""
    body = PLAIN + b"\n" + row + b"\n" + PLAIN + b"\n"
    assert BulkSchema(SCHEMA).decode(body, count_objects(body)) is None
    whole = decode_bulk(SCHEMA, body, NOW, check_rows=lambda _: None)
    slow = decode(SCHEMA, parse_body(body), NOW)
    assert whole.good.equals(slow.good)
    assert whole.bad == slow.bad


@pytest.mark.parametrize("depth", [60, 70, 190, 210, 900, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_values_read_the_same_both_ways_and_end_no_process(depth, opening, closing):
    deep = b'{"id": 1, "x": %s1%s}' % (opening * depth, closing * depth)
    check(SCHEMA, b"\n".join([b'{"id": 2}', deep, b'{"id": 3}']))


def test_an_object_over_two_lines_is_not_taken_for_two_rows():
    assert BulkSchema(SCHEMA).decode(b'{"u":1}{"u":2}\n{"u":\n3}', count_objects(b'{"u":1}{"u":2}\n{"u":\n3}')) is None
    assert (
        BulkSchema(SCHEMA).decode(
            b'{"u":1}{"u":2}\n{"k":{}\n,"u":3}', count_objects(b'{"u":1}{"u":2}\n{"k":{}\n,"u":3}')
        )
        is None
    )


@settings(max_examples=400)
@given(st.data())
def test_any_values_in_any_columns_are_the_same_both_ways(data):
    columns = data.draw(st.lists(kinds, min_size=1, max_size=4))
    schema = Schema(tuple(Column(f"c{n}", kind, ("k", f"c{n}")[n % 2 :]) for n, kind in enumerate(columns)))
    lines = []
    for _ in range(data.draw(st.integers(1, 5))):
        inner: list[str] = []
        outer: list[str] = []
        for number, kind in enumerate(columns):
            text = data.draw(st.one_of(values_for(kind), values_for(kind), json_texts))
            (outer if number % 2 else inner).append(f'"c{number}":{text}')
        extra = data.draw(st.one_of(st.just(""), json_texts.map(lambda text: f',"more":{text}')))
        lines.append("{" + ",".join(['"k":{' + ",".join(inner) + "}", *outer]) + extra + "}")
    check(schema, "\n".join(lines).encode(errors="replace"))


@settings(max_examples=200)
@given(st.lists(st.dictionaries(st.text(max_size=3), st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5), max_size=4), min_size=1, max_size=6))  # fmt: skip
def test_inferred_schemas_take_their_own_batch_both_ways(rows):
    body = "\n".join(json.dumps(row) for row in rows).encode()
    try:
        schema = infer([parse_body(body)])
    except BodyRejected:
        return
    check(schema, body)
    assert not decode_bulk(schema, body, NOW, check_rows=lambda _: None).bad


@pytest.mark.parametrize("size", [100, 1000, 1 << 20])
def test_a_body_cut_into_parts_is_the_body(size, monkeypatch):
    monkeypatch.setattr(bulk, "PART_BYTES", size)
    monkeypatch.setattr(bulk, "SLICE_BYTES", size // 3)
    rows = [PLAIN if n % 7 else orjson.dumps({"u": n, "i": "bad"}) for n in range(200)]
    body = b"\xef\xbb\xbf" + b"\n".join(rows)
    whole, slow = decode_bulk(SCHEMA, body, NOW, check_rows=lambda _: None), decode(SCHEMA, parse_body(body), NOW)

    assert whole.good.equals(slow.good)
    assert whole.bad == slow.bad


def test_bodies_that_are_no_lines_are_read_as_they_are():
    assert decode_bulk(SCHEMA, b'[{"u":1},{"u":2}]', NOW, check_rows=lambda _: None).good.num_rows == 2
    assert decode_bulk(SCHEMA, b'{\n"u":\n1}', NOW, check_rows=lambda _: None).good.num_rows == 1
    nested = decode_bulk(SCHEMA, b'{"u":1, "n":\n{"u":2}\n}', NOW, check_rows=lambda _: None)
    assert (nested.good["u"].to_pylist(), nested.bad) == ([1], ())
    with pytest.raises(BodyRejected):
        decode_bulk(SCHEMA, b"nope\n" * 9, NOW, check_rows=lambda _: None)
