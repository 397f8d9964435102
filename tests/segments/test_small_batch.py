"""A few rows without Arrow's arrays: the very bytes that Arrow would have written, or none."""

from datetime import datetime

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segments.column_type import parse_type
from segments.datafile import parse_datafile
from segments.decode import decode
from segments.infer import infer
from segments.lines import parse_body
from segments.one_row import FORM_COLUMNS_MAX
from segments.schema import Column, Schema
from segments.small_batch import ROWS_MAX, SmallBatches
from tests.strategies import json_texts, values_for

NOW = datetime(2026, 11, 23, 12)
INTEGERS = ["Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64"]
TYPES = [
    *INTEGERS, "Float64", "Bool", "String", "LowCardinality(String)", "DateTime", "DateTime64(3)", "DateTime64(9)",
    "DateTime('Europe/Madrid')",
]  # fmt: skip
kinds = st.sampled_from([text for kind in TYPES for text in (kind, f"Nullable({kind})") if "Low" not in kind] + TYPES)


def encode(schema: Schema, bodies: list[bytes]) -> bytes | None:
    """What the short way gives, if anything, which is what the long way gives."""
    batches = SmallBatches.of(schema)
    assert batches is not None
    short = batches.encode([parse_body(body) for body in bodies])
    if short is not None:
        long = decode(schema, parse_body(b"\n".join(bodies)), NOW)
        assert not long.bad
        assert not long.unknown
        assert short == long.good.serialize().to_pybytes()
    return short


@settings(max_examples=400)
@given(st.data())
def test_any_values_in_any_columns_are_the_bytes_that_arrow_writes(data):
    columns = [parse_type(text) for text in data.draw(st.lists(kinds, min_size=1, max_size=5))]
    schema = Schema(tuple(Column(f"c{n}", kind, (f"c{n}",)) for n, kind in enumerate(columns)))
    lines = []
    for _ in range(data.draw(st.integers(1, 20))):
        texts = [data.draw(st.one_of(values_for(kind), values_for(kind), json_texts)) for kind in columns]
        fields = [f'"c{number}":{text}' for number, text in enumerate(texts) if data.draw(st.integers(0, 9))]
        lines.append(("{" + ",".join(fields) + "}").encode(errors="replace"))
    encode(schema, lines)


@pytest.mark.parametrize("rows", [1, 2, 7, 8, 9, ROWS_MAX])
def test_plain_rows_go_the_short_way(rows):
    row = b'{"i":-5,"t":"2024-02-29T10:00:00.5Z","b":true,"s":"\xc3\xa9x","f":1.5,"n":null,"u":18446744073709551615}'
    schema = infer([parse_body(row.replace(b"null", b"7"))])
    assert encode(schema, [row] * rows) is not None
    assert encode(schema, [row, b'{"i":1}', b'{"s":""}']) is not None


def test_more_rows_are_for_arrow():
    schema = infer([parse_body(b'{"i":1}')])
    assert encode(schema, [b'{"i":1}'] * (ROWS_MAX + 1)) is None


SCHEMA = parse_datafile("SCHEMA > i Int32, s Nullable(String), d UInt8 DEFAULT 3, f Nullable(Float64)\n").schema


@pytest.mark.parametrize(
    "row",
    [
        b'{"s":"x","d":1}', b'{"i":null,"d":1}', b'{"i":1}', b'{"i":1,"d":null}', b'{"i":2147483648,"d":1}', b'{"i":1.0,"d":1}',
        b'{"i":true,"d":1}', b'{"i":1,"d":1,"s":5}', b'{"i":1,"d":1,"f":5}', b'{"i":1,"d":1,"f":1e19}', b'{"i":1,"d":1,"more":0}',
    ],
)  # fmt: skip
def test_a_row_that_needs_a_closer_look_sends_all_the_long_way(row):
    assert encode(SCHEMA, [b'{"i":1,"d":1}']) is not None
    assert encode(SCHEMA, [b'{"i":1,"d":1}', row]) is None


@pytest.mark.parametrize("kind", ["Date", "Array(Int8)", "Decimal(9, 2)", "UUID", "Float32"])
def test_other_types_are_for_arrow(kind):
    assert SmallBatches.of(Schema((Column("c", parse_type(kind), ("c",)),))) is None
    assert SmallBatches.of(Schema((Column("c", parse_type("Int8"), ("a", "b")),))) is None


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.text(max_size=20), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=FORM_COLUMNS_MAX)
)
def test_one_row_after_another_is_what_arrow_writes_of_each(rows):
    schema = Schema(tuple(Column(key, parse_type(kind), (key,)) for key, kind in (("s", "String"), ("i", "Int64"))))
    batches = SmallBatches.of(schema)
    assert batches is not None
    for text, number in rows:
        body = parse_body(orjson.dumps({"i": number, "s": text}))
        expected = decode(schema, body, NOW).good.serialize().to_pybytes()
        assert batches.one.encode(body.objects[0] or {}) == batches.encode([body]) == expected
        assert len(batches.one._forms) * len(schema.columns) <= FORM_COLUMNS_MAX


def test_a_row_with_a_key_of_its_own_is_looked_at_more_closely_where_two_columns_share_one():
    schema = Schema(tuple(Column(name, parse_type("Int64"), ("k",)) for name in ("a", "b")))

    assert encode(schema, [b'{"k":1}']) is not None
    assert encode(schema, [b'{"k":1,"z":2}']) is None
    assert encode(schema, [b'{"z":2}']) is None
