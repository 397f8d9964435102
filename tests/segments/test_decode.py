"""Events and a schema -> rows: exact, or in quarantine with a reason."""

import math
from datetime import date, datetime

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from segments.column_type import parse_type
from segments.columns import fit_column
from segments.decode import Counts, decode, decode_group, value_at
from segments.errors import BodyRejected
from segments.infer import infer
from segments.lines import Number, exact, parse_body
from segments.schema import Column, Schema
from tests.strategies import line, objects, scalars, values

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456)

TYPES = [
    "Int64", "UInt64", "Float64", "Bool", "String", "Date", "DateTime64(3)", "DateTime64(6)", "DateTime64(9)",
    "Array(Int64)", "Array(String)", "Array(Nullable(Float64))", "Array(DateTime64(3))", "Array(Array(Int64))",
]  # fmt: skip


def one_column(kind: str) -> Schema:
    return Schema((Column("x", parse_type(kind), ("x",)),))


def stored(kind: str, text: str) -> object:
    """What a column holds after `{"x": text}`, or the reason why it holds nothing."""
    decoded = decode(one_column(kind), parse_body(b'{"x":' + text.encode() + b"}"), NOW)
    if decoded.bad:
        return "BAD: " + decoded.bad[0].errors[0][1]
    return decoded.good["x"][0].as_py()


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("Int64", "9223372036854775807", 9223372036854775807),
        ("Int64", "-9223372036854775808", -9223372036854775808),
        ("Int64", '"9223372036854775807"', 9223372036854775807),
        ("UInt64", "18446744073709551615", 18446744073709551615),
        ("Float64", "1", 1.0),
        ("Float64", "0.1", 0.1),
        ("Float64", "18446744073709551616", 2.0**64),
        ("String", '"x"', "x"),
        ("String", "12", "12"),
        ("String", "1.10", "1.10"),
        ("String", "123456789012345678901234567890", "123456789012345678901234567890"),
        ("String", "true", "true"),
        ("String", '{"b": [1, 2.50]}', '{"b":[1,2.50]}'),
        ("String", '{"b": 18446744073709551616}', '{"b":18446744073709551616}'),
        ("Date", '"2013-01-31"', date(2013, 1, 31)),
        ("DateTime64(3)", '"2013-01-01 10:00:00"', datetime(2013, 1, 1, 10)),
        ("DateTime64(3)", '"2013-01-01T10:00:00.5Z"', datetime(2013, 1, 1, 10, 0, 0, 500000)),
        ("DateTime64(3)", '"2013-01-01T10:00:00+05:30"', datetime(2013, 1, 1, 4, 30)),
        ("DateTime64(3)", "1357034400", datetime(2013, 1, 1, 10)),
        ("DateTime64(3)", "1357034400.125", datetime(2013, 1, 1, 10, 0, 0, 125000)),
        ("DateTime64(6)", "1357034400.123456", datetime(2013, 1, 1, 10, 0, 0, 123456)),
        ("DateTime64(3)", "-0.5", datetime(1969, 12, 31, 23, 59, 59, 500000)),
        ("Array(Int64)", "[1,2]", [1, 2]),
        ("Array(Int64)", "[]", []),
        ("Nullable(Int64)", "null", None),
    ],
)
def test_values_that_fit(kind, text, expected):
    assert stored(kind, text) == expected


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("Int64", "1.5", "number '1.5' does not fit Int64"),
        ("Int64", "1.0", "number '1.0' does not fit Int64"),
        ("Int64", "9223372036854775808", "9223372036854775808 is out of range for Int64"),
        ("Int64", '"12x"', "string '12x' does not fit Int64"),
        ("Int64", "true", "boolean 'true' does not fit Int64"),
        ("UInt64", "-1", "-1 is out of range for UInt64"),
        ("UInt64", "18446744073709551616", "number '18446744073709551616' does not fit UInt64"),
        ("Float64", "9007199254740993", "the integer 9007199254740993 would be rounded in Float64"),
        ("Float64", "18446744073709551617", "the integer 18446744073709551617 would be rounded in Float64"),
        ("Float64", '"1.5"', "string '1.5' does not fit Float64"),
        ("Bool", "1", "number '1' does not fit Bool"),
        ("Date", '"2013-02-30"', "string '2013-02-30' does not fit Date"),
        ("DateTime64(3)", '"2013-01-01"', "string '2013-01-01' does not fit DateTime64"),
        ("DateTime64(3)", '"1357034400"', "string '1357034400' does not fit DateTime64"),
        ("DateTime64(3)", '"2013-01-01 10:00:00.1234"', "more than the 3 fraction digits"),
        ("DateTime64(3)", "1e300", "no exact place"),
        ("DateTime64(9)", "1357034400.1234567891", "no exact place"),
        ("DateTime64(3)", "99999999999999", "out of range"),
        ("Array(Int64)", "[1,null]", "element 1: null or missing in a column that is not Nullable"),
        ("Array(Int64)", '[1,"x"]', "element 1: string 'x' does not fit Int64"),
        ("Array(Int64)", "1", "number '1' does not fit Array"),
        ("Int64", "null", "Strict type checking failed. Object does not have column 'x'"),
    ],
)
def test_values_that_do_not_fit_say_why(kind, text, reason):
    said = stored(kind, text)
    assert isinstance(said, str)
    assert said.startswith("BAD: ")
    assert reason in said


@given(st.sampled_from(TYPES), st.lists(st.one_of(scalars, values), max_size=6))
def test_the_two_speeds_of_a_column_have_one_meaning(name, found):
    """A column converted in one call is what its values are when each is converted alone."""
    kind = parse_type(f"Nullable({name})")
    together = fit_column(kind, [as_parsed(value) for value in found])

    for index, value in enumerate(found):
        alone = fit_column(kind, [as_parsed(value), {"not": "plain"}, as_parsed(value)])
        assert alone.array[0] == together.array[index] or both_nan(alone.array[0], together.array[index])
        assert alone.errors.get(0) == together.errors.get(index)


def as_parsed(value: object) -> object:
    return exact(b'{"x":' + line(value) + b"}")["x"] if not isinstance(value, float) else value


def both_nan(a, b) -> bool:
    return isinstance(a.as_py(), float) and math.isnan(a.as_py()) and math.isnan(b.as_py())


@given(st.sampled_from(TYPES), st.lists(values, min_size=1, max_size=5))
def test_any_value_into_any_column_is_exact_or_quarantined_with_a_reason(name, found):
    schema = one_column(f"Nullable({name})")
    decoded = decode(schema, parse_body(b"\n".join(b'{"x":' + line(value) + b"}" for value in found)), NOW)

    bad = {row.index for row in decoded.bad}
    assert decoded.good.num_rows + len(bad) == len(found)
    kept = [value for index, value in enumerate(found) if index not in bad]
    column = decoded.good["x"]
    # Python's datetimes end at microseconds.
    cells = (column.cast("string") if name == "DateTime64(9)" else column).to_pylist()
    for value, cell in zip(kept, cells, strict=True):
        if value is None or isinstance(value, bool | int) or name == "String":
            assert means_the_same(name, value, cell), (value, cell)
    assert all(reason for row in decoded.bad for _, reason in row.errors)


def means_the_same(name: str, value: object, cell: object) -> bool:
    if name == "String" and not isinstance(value, str) and value is not None:
        return (
            parse_body(b'{"x":' + str(cell).encode() + b"}").objects
            == parse_body(b'{"x":' + line(value) + b"}").objects
        )
    if name.startswith("DateTime64"):
        return value is None or cell is not None
    return value == cell


@given(st.lists(objects, min_size=1, max_size=6))
def test_a_batch_is_never_quarantined_by_the_schema_inferred_from_it(batch):
    events = parse_body(b"\n".join(map(line, batch)))
    try:
        schema = infer([events])
    except BodyRejected:
        assume(False)
    decoded = decode(schema, events, NOW)

    assert decoded.bad == ()
    assert decoded.good.num_rows == len(batch)
    names = [column.name.lower() for column in schema.columns]
    assert len(set(names)) == len(names)
    for column in schema.columns:
        for row, is_null in zip(batch, decoded.good[column.name].is_null().to_pylist(), strict=True):
            assert (value_at(column.path, row) is None) == is_null


def test_requests_of_a_group_keep_their_own_counts_and_their_order():
    schema = one_column("Nullable(Int64)")
    small = parse_body(b'{"x":1}\n{"x":"a"}\n')
    large = decode(schema, parse_body(b'{"x":"b"}\n{"x":2}'), NOW)
    group = decode_group(schema, [small, large, small], NOW)

    assert group.counts == (Counts(1, 1), Counts(1, 1), Counts(1, 1))
    assert group.good["x"].to_pylist() == [1, 2, 1]
    assert [position for position, _ in group.bad] == [1, 2, 5]
    assert group.count == 6


def test_numbers_of_hundreds_of_digits_are_refused_quickly_and_in_short():
    said = stored("Int64", "1" * 300)

    assert str(said).startswith("BAD: number '1111")
    assert len(str(said)) < 200
    assert stored("String", "1" * 300) == "1" * 300
    assert isinstance(exact(b"1" * 5000), Number)


def test_quarantined_text_is_what_was_sent():
    raw = b'{"x": "y", "z": 1.10}'
    decoded = decode(one_column("Int64"), parse_body(raw), NOW)

    assert decoded.bad[0].raw == raw
    assert orjson.loads(decoded.bad[0].raw) == {"x": "y", "z": 1.1}
