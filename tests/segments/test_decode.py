"""Events and a schema -> rows: exact, or in quarantine with a reason."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from segments.column_type import parse_type
from segments.datafile import parse_datafile
from segments.datafile_print import print_schema
from segments.decode import Counts, decode, decode_group, value_at
from segments.errors import BodyRejected
from segments.filenames import DataDir, Lsn
from segments.infer import infer
from segments.lines import Number, exact, parse_body
from segments.quarantine import Quarantine
from segments.recovery import create_source
from segments.schema import Column, Schema
from tests.stored import Stored, commit
from tests.strategies import line, objects

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456)


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
    assert [row.number for row in group.bad] == [1, 2, 5]
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


@pytest.mark.parametrize(
    ("declared", "sent", "expected"),
    [
        ("a String DEFAULT 'unknown'", "{}", "unknown"),
        ("a String DEFAULT 'unknown'", '{"a":null}', "unknown"),
        ("a String DEFAULT 'unknown'", '{"a":""}', ""),
        ("a Nullable(String) DEFAULT 'unknown'", "{}", "unknown"),
        ("a Nullable(String) DEFAULT 'unknown'", '{"a":null}', None),
        ("a Nullable(Int8) `json:$.b.c` DEFAULT 7", '{"b":null}', 7),
        ("a Nullable(Int8) `json:$.b.c` DEFAULT 7", '{"b":{"c":null}}', None),
        ("a Nullable(Int8) `json:$.b.c` DEFAULT 7", '{"b":1}', 7),
        ("a Nullable(Int8) DEFAULT NULL", "{}", None),
        ("a Array(Int8) DEFAULT [1, 2]", "{}", [1, 2]),
        ("a Map(String, Int8) DEFAULT '{\"x\":1}'", "{}", [("x", 1)]),
        ("a JSON DEFAULT '{}'", "{}", "{}"),
        ("a Decimal(9, 2) DEFAULT 1.5", "{}", Decimal("1.50")),
        ("a DateTime DEFAULT now()", "{}", datetime(2026, 11, 23, 12)),
        ("a DateTime('Europe/Madrid') DEFAULT now()", "{}", datetime(2026, 11, 23, 12)),
        ("a DateTime64(3) DEFAULT now64()", "{}", datetime(2026, 11, 23, 12, 0, 0, 123000)),
        ("a DateTime64(6) DEFAULT now64(6)", "{}", datetime(2026, 11, 23, 12, 0, 0, 123456)),
        ("a Date DEFAULT today()", "{}", date(2026, 11, 23)),
        ("a Date DEFAULT today()", '{"a":"2013-01-01"}', date(2013, 1, 1)),
        ("a String `json:$`", '{ "b" : 1.10 }', '{ "b" : 1.10 }'),
    ],
)
def test_defaults_and_the_whole_event(declared, sent, expected):
    schema = parse_datafile(f"SCHEMA >\n  {declared}").schema
    decoded = decode(schema, parse_body(sent.encode()), NOW)

    assert decoded.bad == ()
    assert decoded.good["a"].to_pylist() == [expected]


def test_a_default_does_not_stand_in_for_a_value_that_does_not_fit():
    schema = parse_datafile("SCHEMA >\n  a Int8 DEFAULT 1, b String `json:$`").schema
    decoded = decode(schema, parse_body(b'{"a":300}\n7\n{}\n\xff'), NOW)

    assert [row.number for row in decoded.bad] == [0, 1, 3]
    assert decoded.good.to_pylist() == [{"a": 1, "b": "{}"}]


def test_quarantine_shows_what_was_sent_and_no_default():
    schema = parse_datafile("SCHEMA >\n  a Int8 DEFAULT 1, b Int8, m Map(String, Int8), raw String `json:$`").schema
    sent = b'{"b": "x", "m": {"k": 1.10}}'
    bad = decode(schema, parse_body(sent), NOW).bad
    row = Quarantine(schema).batch(bad, Lsn(5), NOW).to_pylist()[0]

    assert (row["a"], row["b"], row["m"], row["raw"]) == (None, "x", '{"k":1.10}', sent.decode())
    assert row["c__error_column"] == ["b", "m"]


def test_digits_survive_in_a_body_that_is_one_array():
    decoded = decode(one_column("String"), parse_body(b'[{"x":1.10},{"x":[2.50]}]'), NOW)

    assert decoded.good["x"].to_pylist() == ["1.10", "[2.50]"]


def test_a_commit_gives_its_own_time_to_defaults(tmp_path):
    """In UTC, whatever zone the clock's reading came in."""
    stored = Stored(tmp_path)
    schema = parse_datafile("SCHEMA >\n  id Int8, at DateTime64(3) DEFAULT now64(3)").schema
    DataDir(tmp_path).sources.mkdir()
    create_source(
        stored.disk, DataDir(tmp_path), "events", print_schema(schema), source_id=bytes(16), now=datetime.now(UTC)
    )
    moment = datetime(2026, 11, 23, 13, 30, 0, 250000, tzinfo=timezone(timedelta(hours=1)))
    commit(stored.open(), b'{"id":1}', now=moment)

    assert stored.rows() == [{"id": 1, "at": datetime(2026, 11, 23, 12, 30, 0, 250000)}]
