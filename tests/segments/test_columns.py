"""Any JSON into any column: exact or refused, fast or slow, as an oracle has it."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from segments.column_type import ColumnType, parse_type
from segments.columns import fit_column, fit_values
from segments.decode import decode
from segments.lines import exact, parse_body
from segments.plain_columns import plain_column
from segments.schema import Column, Schema
from tests.oracle import Refused, held, plain, read
from tests.strategies import column_types, json_texts, values_for

NOW = datetime(2026, 11, 23, 12, 0)


def counted(kind: ColumnType) -> ColumnType:
    """The type with integers for date-times, because Python's datetimes end at microseconds."""
    if kind.name in {"DateTime", "DateTime64"}:
        return ColumnType("Int64", nullable=kind.nullable)
    key = None if kind.key is None else counted(kind.key)
    return replace(kind, key=key, element=None if kind.element is None else counted(kind.element))


def cells(kind: ColumnType, column: pa.Array | pa.ChunkedArray) -> list[Any]:
    return [plain(kind, cell) for cell in column.cast(kind.arrow).cast(counted(kind).arrow).to_pylist()]


def expected(kind: ColumnType, texts: list[str]) -> tuple[list[Any], list[int]]:
    """The cells of the rows that fit, and the positions of the others."""
    kept, refused = [], []
    for index, text in enumerate(texts):
        try:
            kept.append(held(kind, read(text)))
        except Refused:
            refused.append(index)
    return kept, refused


def check(kind: ColumnType, texts: list[str], path: Any) -> None:
    body = b"\n".join(b'{"x":' + text.encode() + b"}" for text in texts)
    decoded = decode(Schema((Column("x", kind, ("x",)),)), parse_body(body), NOW)
    kept, refused = expected(kind, texts)

    assert [row.number for row in decoded.bad] == refused
    assert all(reason for row in decoded.bad for _, reason in row.errors)
    pq.write_table(pa.Table.from_batches([decoded.good]), path)
    assert repr(cells(kind, pq.read_table(path)["x"])) == repr(kept)


@given(column_types, st.lists(json_texts, min_size=1, max_size=4))
@example(parse_type("Int64"), ["-0", '"-0"', '"007"', '"7"'])
@example(parse_type("Int32"), ['"7"', "7"])
@example(parse_type("String"), ["[1.10,{}]", "1.10", '{"a":[1e2]}', "-0.0"])
@example(parse_type("Array(String)"), ["[1.10,2]", "[0.1]"])
@example(parse_type("Array(Decimal(9, 2))"), ["[1.10,2]", "[0.123]", "[99999999999999999999.5]"])
@example(parse_type("Array(DateTime64(6))"), ["[1357034400.123456, 0]"])
@example(parse_type("Map(String, String)"), ['{"a":1.10}'])
@example(parse_type("Map(UUID, Int8)"), ['{"A0EEBC999C0B4EF8BB6D6BB9BD380A11":1}'])
@example(parse_type("Float32"), ["0.1", "0.123456789", "16777217", "1073741888", "1073741900", "1e39", "-0.0"])
@example(parse_type("Float32"), ["0.123456789"])
@example(parse_type("FixedString(2)"), ['"éa"'])
@example(
    parse_type("Map(UUID, Int8)"),
    [f'{{"{"A" * 8}-AAAA-AAAA-AAAA-{"a" * 12}":1,"{"a" * 8}-aaaa-aaaa-aaaa-{"a" * 12}":2}}'],
)
@example(parse_type("Decimal(5, 2)"), ["1.10", "1.100", "1.111", "1000", '"-1.5"', '"1e1"', "1e2"])
@example(parse_type("Date"), ['"0000-01-01"', '"0001-01-01"'])
@example(parse_type("DateTime64(3)"), ['"0000-01-01 00:00:00"'])
@example(parse_type("DateTime"), ['"2020-01-01T00:00:00.000Z"', "1357034400", "1.5", "1.0", "1.5e9"])
@example(parse_type("DateTime('Europe/Madrid')"), ['"2026-07-01 12:00:00"', '"2026-03-29 02:30:00"'])
def test_what_is_read_back_from_parquet_is_what_was_sent(tmp_path_factory, kind, texts):
    """The oracle shares no code with the conversion."""
    check(kind, texts, tmp_path_factory.getbasetemp() / "one.parquet")


@given(st.data(), column_types)
def test_values_made_for_the_column_are_read_back_as_they_were_sent(tmp_path_factory, data, kind):
    """As above, with values of the column's own kind and at the ends of its range, which are all taken the fast way."""
    check(kind, data.draw(st.lists(values_for(kind), min_size=1, max_size=4)), tmp_path_factory.getbasetemp() / "one")


def as_decoded(kind: ColumnType, text: str) -> Any:
    return exact(text.encode()) if kind.takes_literals else parse_body(b'{"x":%b}' % text.encode()).objects[0]["x"]  # type: ignore[index]


@given(st.data(), column_types)
def test_the_two_speeds_of_a_column_have_one_meaning(data, kind):
    """A column converted in a few calls is what its values are when each is converted alone."""
    texts = data.draw(st.lists(st.one_of(values_for(kind), json_texts), max_size=5))
    found = [as_decoded(kind, text) for text in texts]
    slow = fit_values(kind, found)
    fast = fit_column(kind, found)

    assert fast.errors == slow.errors
    assert repr(cells(kind, fast.array)) == repr(cells(kind, slow.array))


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        *((f"{sign}Int{bits}", ["1", "127"]) for sign in ("", "U") for bits in (8, 16, 32, 64)),
        ("Float64", ["1", "0.5"]),
        ("Float32", ["1", "0.1"]),
        ("Bool", ["true"]),
        ("LowCardinality(String)", ['"a"']),
        ("FixedString(2)", ['"é"']),
        ("UUID", ['"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"']),
        ("Date32", ['"2013-01-01"']),
        ("DateTime", ['"2013-01-01 10:00:00"', '"2013-01-01T10:00:00Z"']),
        ("DateTime64(6)", ['"2013-01-01T10:00:00.123456Z"', '"2013-01-01T10:00:00.1"']),
        ("DateTime", ["1357034400", "0"]),
        ("DateTime64(3, 'Europe/Madrid')", ['"2013-01-01T10:00:00Z"']),
        ("Decimal(9, 2)", ["1", "1.10", '"3.5"']),
        ("Map(String, Array(Decimal(9, 2)))", ['{"a":[1,1.10]}', "{}"]),
        ("JSON", ["1.10", "{}", '"x"']),
    ],
)
def test_the_common_kinds_go_the_fast_way(name, texts):
    kind = parse_type(name)

    assert plain_column(kind, [as_decoded(kind, text) for text in texts]) is not None
    assert plain_column(replace(kind, nullable=True), [None, as_decoded(kind, texts[0])]) is not None
