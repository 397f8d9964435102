"""ClickHouse's names mean what they mean there."""

from datetime import date, datetime

import duckdb
import pytest

from query.connection import Limits, open_connection
from query.dialect import NAMES, macros_sql

MOMENT = "TIMESTAMP_MS '2024-05-16 10:17:45.678'"


@pytest.fixture(scope="module")
def connection():
    connection = open_connection(Limits())
    connection.execute(macros_sql(NAMES)).fetchall()
    return connection


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (f"toDate({MOMENT})", date(2024, 5, 16)),
        ("toDate('2024-05-16')", date(2024, 5, 16)),
        ("toDate('2024-05-16 23:59:59.9')", date(2024, 5, 16)),
        ("toDate(86400)", date(1970, 1, 2)),
        ("toDate(NULL)", None),
        (f"toDateTime({MOMENT})", datetime(2024, 5, 16, 10, 17, 45)),
        ("toDateTime('2024-05-16T10:00:00+02:00')", datetime(2024, 5, 16, 8)),
        ("toDateTime('2024-05-16 10:00:00')", datetime(2024, 5, 16, 10)),
        ("toDateTime(DATE '2024-05-16')", datetime(2024, 5, 16)),
        ("toDateTime(TIMESTAMP_NS '2024-05-16 10:00:00.999')", datetime(2024, 5, 16, 10)),
        ("toDateTime(5)", datetime(1970, 1, 1, 0, 0, 5)),
        (f"toStartOfMinute({MOMENT})", datetime(2024, 5, 16, 10, 17)),
        (f"toStartOfFiveMinutes({MOMENT})", datetime(2024, 5, 16, 10, 15)),
        (f"toStartOfTenMinutes({MOMENT})", datetime(2024, 5, 16, 10, 10)),
        (f"toStartOfFifteenMinutes({MOMENT})", datetime(2024, 5, 16, 10, 15)),
        (f"toStartOfHour({MOMENT})", datetime(2024, 5, 16, 10)),
        ("toStartOfHour('2024-05-16 10:17:45')", datetime(2024, 5, 16, 10)),
        (f"toStartOfDay({MOMENT})", datetime(2024, 5, 16)),
        (f"toMonday({MOMENT})", date(2024, 5, 13)),
        (f"toStartOfMonth({MOMENT})", date(2024, 5, 1)),
        ("toStartOfMonth(DATE '2024-05-16')", date(2024, 5, 1)),
        (f"toStartOfQuarter({MOMENT})", date(2024, 4, 1)),
        (f"toStartOfYear({MOMENT})", date(2024, 1, 1)),
        (f"toStartOfInterval({MOMENT}, INTERVAL 7 MINUTE)", datetime(2024, 5, 16, 10, 16)),
        (f"toStartOfInterval({MOMENT}, INTERVAL 1 WEEK)", datetime(2024, 5, 13)),
        (f"toYYYYMM({MOMENT})", 202405),
        (f"toYYYYMMDD({MOMENT})", 20240516),
        (f"toDayOfWeek({MOMENT})", 4),
        (f"toUnixTimestamp({MOMENT})", 1715854665),
        (f"dateDiff('day', toDate({MOMENT}), DATE '2024-05-18')", 2),
        ("addDays(DATE '2024-01-31', 1)", datetime(2024, 2, 1)),
        ("subtractHours(TIMESTAMP '2024-01-01', 1)", datetime(2023, 12, 31, 23)),
        ("toInt64(3.7)", 3),
        ("toInt64(-3.7)", -3),
        ("toInt64('12')", 12),
        ("toInt64(9223372036854775807)", 9223372036854775807),
        ("toUInt64(18446744073709551615)", 18446744073709551615),
        ("toInt32(true)", 1),
        ("toFloat64('1.5')", 1.5),
        ("toString(5)", "5"),
        ("if(1 > 0, 'a', 'b')", "a"),
        ("ifNull(NULL, 3)", 3),
        ("intDiv(-7, 2)", -3),
        ("has([1, 2], 2)", True),
        ("empty('')", True),
        ("notEmpty([1])", True),
        ("splitByChar(',', 'a,b')", ["a", "b"]),
        ("""JSONExtractString('{"a.b": "x"}', 'a.b')""", "x"),
        ("""JSONExtractInt('{"a": 5}', 'a')""", 5),
        ("JSONExtractInt('{}', 'a')", 0),
    ],
)
def test_one_value(connection, expression, value):
    assert connection.sql(f"SELECT {expression}").fetchall() == [(value,)]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("count()", 5),
        ("uniq(x)", 3),
        ("uniqExact(x)", 3),
        ("uniqIf(x, x > 1)", 2),
        ("countIf(x > 1)", 2),
        ("sumIf(x, x > 1)", 5),
        ("sumIf(x, false)", 0),
        ("avgIf(x, x > 1)", 2.5),
        ("avgIf(x, false)", None),
        ("maxIf(x, x < 3)", 2),
        ("groupArray(x)", [1, 1, 2, 3]),
        ("argMax(y, x)", "d"),
    ],
)
def test_aggregates(connection, expression, value):
    table = "(VALUES (1, 'a'), (1, 'b'), (2, 'c'), (3, 'd'), (NULL, 'e')) t(x, y)"

    assert connection.sql(f"SELECT {expression} FROM {table}").fetchall() == [(value,)]


def test_numbers_is_a_table(connection):
    assert connection.sql("SELECT sum(number) FROM numbers(4)").fetchall() == [(6,)]


def test_names_are_not_case_sensitive(connection):
    assert connection.sql("SELECT TODATE('2024-05-16')").fetchall() == [(date(2024, 5, 16),)]


def test_only_what_is_asked_for_is_made():
    assert macros_sql({"sum", "count_star"}) == ""
    assert macros_sql({"uniq"}) == "CREATE MACRO uniq(x) AS count(DISTINCT x);\n"


def test_no_macro_hides_a_function_of_the_engine():
    built_in = {
        name.lower() for (name,) in duckdb.connect().sql("SELECT function_name FROM duckdb_functions()").fetchall()
    }

    assert NAMES & built_in == set()
