"""Small answers without Arrow: the same bytes as with it, and nobody is made to wait twice."""

import io

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.box import ROUNDED
from rich.console import Console
from rich.table import Table
from rich.text import Text

from query import output, plain_output
from query.connection import Limits, open_connection
from query.engine import PlainResult, Result, run_plainly
from query.errors import QueryFailed
from query.plain import SMALL_ROWS, plain_rows
from query.quoting import quoted_text
from query.table import Shown, cell_text, count_line, draw_table
from query.texts import printable
from segments.errors import UnknownSource
from segments.filenames import DataDir
from tests.stored import SCHEMA, Stored

HUGE = 2**127 - 1
DAYS = (
    st.dates().map(str)
    | st.builds("{:04}-03-01{}".format, st.integers(1, 200_000), st.sampled_from(["", " (BC)"]))
    | st.sampled_from(["infinity", "-infinity", "epoch"])
)
MOMENTS = (
    st.datetimes().map(lambda moment: moment.isoformat(" "))
    | st.builds(
        "{:04}-03-01{} 01:02:03.{:06}".format,
        st.integers(1, 200_000),
        st.sampled_from(["", " (BC)"]),
        st.integers(0, 999_999),
    )
    | st.sampled_from(["infinity", "-infinity", "epoch", "1969-12-31 23:59:59.999999"])
)
KINDS = {
    "BIGINT": st.integers(-(2**63), 2**63 - 1),
    "UBIGINT": st.integers(0, 2**64 - 1),
    "UTINYINT": st.integers(0, 255),
    "HUGEINT": st.integers(-HUGE, HUGE),
    "DOUBLE": st.floats(),
    "BOOLEAN": st.booleans(),
    "DECIMAL(18,3)": st.decimals(-(10**14), 10**14, places=3),
    "DECIMAL(38,12)": st.decimals(-(10**25), 10**25, places=12),
    "DATE": DAYS,
    "TIMESTAMP": MOMENTS,
    "TIMESTAMP_MS": MOMENTS,
    "TIMESTAMP_S": MOMENTS,
    "TIMESTAMPTZ": MOMENTS,
    "VARCHAR": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
}
COLUMNS = st.sampled_from(sorted(KINDS)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.lists(st.none() | KINDS[kind], min_size=3, max_size=3))
)


def literal(kind, value):
    return f"CAST({'NULL' if value is None else quoted_text(str(value))} AS {kind})"


def plainly(sql, format_name):
    out = io.BytesIO()
    rows = plain_rows(open_connection(Limits()), sql)
    assert rows is not None
    plain_output.FORMATS[format_name](rows, out)
    return out.getvalue()


def by_arrow(sql, format_name):
    out = io.BytesIO()
    output.FORMATS[format_name](open_connection(Limits()).sql(sql).to_arrow_reader(), out)
    return out.getvalue()


@given(columns=st.lists(COLUMNS, min_size=1, max_size=4), format_name=st.sampled_from(["table", "json", "ndjson"]))
def test_any_values_are_written_as_they_are_by_way_of_arrow(columns, format_name):
    rows = (", ".join(literal(kind, values[row]) for kind, values in columns) for row in range(3))
    sql = " UNION ALL ".join(f"(SELECT {row})" for row in rows)

    assert plainly(sql, format_name) == by_arrow(sql, format_name)


@pytest.mark.parametrize("format_name", ["table", "json", "ndjson"])
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 AS a, 2 AS a, 3 AS a_2, 'x' AS \"a b\"",
        "SELECT count(*), sum(x), avg(x), max(x) FROM range(10) t(x)",
        "SELECT x FROM range(10) t(x) WHERE x > 10",
        "SELECT x FROM range(1_500) t(x)",
        "DESCRIBE SELECT 1 AS a, 'x' AS b",
        "SELECT 1 AS x;",
    ],
)
def test_names_and_numbers_of_rows_are_as_they_are_by_way_of_arrow(sql, format_name):

    assert plainly(sql, format_name) == by_arrow(sql, format_name)


@pytest.mark.parametrize(
    "value",
    [
        "TIME '10:00:00'",
        "[1]",
        "[1.5]",
        "[1.5]::DECIMAL(4,2)[1]",
        "0.1::FLOAT",
        "'epoch'::TIMESTAMP_NS",
        "'x'::BLOB",
        "uuid()",
    ],
)
def test_other_types_take_arrow(value):
    assert plain_rows(open_connection(Limits()), f"SELECT 1 AS a, {value} AS b") is None


def test_many_rows_take_arrow_unless_they_were_long_in_coming():
    sql = f"SELECT x FROM range({3 * SMALL_ROWS}) t(x)"
    connection = open_connection(Limits())

    assert plain_rows(connection, sql, patience_s=3600) is None
    assert connection.sql(sql).to_arrow_reader().read_all().num_rows == 3 * SMALL_ROWS

    rows = plain_rows(connection, sql, patience_s=0)
    assert rows is not None
    assert [row for piece in rows.pieces for row in piece] == [(x,) for x in range(3 * SMALL_ROWS)]


@pytest.mark.parametrize("sql", ["SELECT DATE 'epoch' AS d; -- at last", "SELECT d FROM far"])
def test_what_can_only_be_asked_for_as_it_is_takes_arrow(sql):
    connection = open_connection(Limits())
    connection.register("far", pa.table({"d": pa.array([10**16], pa.timestamp("s"))}))

    assert plain_rows(connection, sql, patience_s=0) is None
    assert connection.sql(sql).to_arrow_reader().read_all().num_rows == 1


def test_a_failure_after_the_first_rows_is_raised_while_they_are_read():
    sql = "SELECT CASE WHEN x < 500_000 THEN x ELSE error('too far') END AS v FROM range(1_000_000) t(x)"
    rows = plain_rows(open_connection(Limits(threads=1)), sql, patience_s=0)
    assert rows is not None

    with pytest.raises(duckdb.Error, match="too far"):
        list(rows.pieces)


def test_columns_have_the_names_that_they_have_in_arrow():
    assert list(SCHEMA.names) == SCHEMA.arrow.names
    assert list(SCHEMA.quarantine_names) == SCHEMA.quarantine.names


class TestEngine:
    @pytest.fixture
    def stored(self, tmp_path):
        stored = Stored(tmp_path / "data").create()
        log = stored.open()
        stored.publish(log, 1, 2, -3)
        stored.publish(log, 4)
        return stored

    def test_rows_of_segments_and_of_quarantine_are_there(self, stored):
        found = run_plainly(stored.disk, DataDir(stored.path), "SELECT id, text FROM events ORDER BY id")
        bad = run_plainly(stored.disk, DataDir(stored.path), "SELECT c__row FROM events_quarantine")

        assert isinstance(found, PlainResult)
        assert isinstance(bad, PlainResult)
        assert [row for piece in found.rows.pieces for row in piece] == [(n, f"event {n}") for n in (1, 2, 4)]
        assert [row for piece in bad.rows.pieces for row in piece] == [('{"id":"bad","text":"event -3"}',)]

    def test_many_rows_come_all_and_once(self, stored):
        sql = f"SELECT x FROM events, range({SMALL_ROWS}) t(x)"
        found = run_plainly(stored.disk, DataDir(stored.path), sql)

        assert isinstance(found, Result)
        assert found.reader.read_all().num_rows == 3 * SMALL_ROWS

    @pytest.mark.parametrize(
        ("sql", "kind"),
        [
            ("SELECT nope FROM events", QueryFailed),
            ("SELECT error('no') FROM events", QueryFailed),
            ("FROM evnts", UnknownSource),
        ],
    )
    def test_what_fails_is_said_in_our_words(self, stored, sql, kind):
        with pytest.raises(kind):
            run_plainly(stored.disk, DataDir(stored.path), sql)


def drawn_by_rich(shown):
    """The same table as the library for terminals draws it, as wide as it likes."""
    table = Table(box=ROUNDED)
    for name, is_number in zip(shown.names, shown.numbers, strict=True):
        table.add_column(Text(printable(name)), justify="right" if is_number else "left", overflow="fold")
    for row in shown.rows:
        table.add_row(*(Text(cell_text(value)) for value in row))
    text = io.StringIO()
    console = Console(file=text, width=1_000_000, highlight=False)
    console.print(table)
    console.print(count_line(len(shown.rows), shown.total))
    return text.getvalue()


@given(
    names=st.lists(st.text(st.characters(exclude_categories=["Cs", "Zs"]), max_size=8), min_size=3, max_size=3),
    rows=st.lists(st.tuples(st.integers(-(2**63), 2**63), st.none() | st.text(), st.none() | st.floats()), max_size=4),
)
def test_a_table_for_a_file_is_drawn_as_the_library_for_terminals_draws_it(names, rows):
    out = io.BytesIO()
    shown = Shown(names, [True, False, True], rows, len(rows))
    draw_table(shown, out)

    assert out.getvalue().decode() == drawn_by_rich(shown)
