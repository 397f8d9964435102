"""ClickHouse's formats, to the byte, for values of every type."""

import csv
import io
import json
import math
import time
from datetime import date, datetime
from pathlib import Path

import duckdb
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import ipc, parquet

from query import wire
from query.catalog import Stored
from query.clickhouse import type_name
from query.connection import Limits, open_connection
from query.engine import Result, run_confined
from query.errors import QueryFailed, ResultTooLarge
from query.statement import FORMAT_NAMES, parse_statement
from segments.disk import Disk
from segments.filenames import DataDir

# expression -> type name, JSON, CSV, TSV
VALUES = {
    "1::TINYINT": ("Nullable(Int8)", "1", "1", "1"),
    "1::SMALLINT": ("Nullable(Int16)", "1", "1", "1"),
    "1": ("Nullable(Int32)", "1", "1", "1"),
    "'-9223372036854775808'::BIGINT": ("Nullable(Int64)", "-9223372036854775808", "-9223372036854775808", "-9223372036854775808"),
    "1::UTINYINT": ("Nullable(UInt8)", "1", "1", "1"),
    "1::USMALLINT": ("Nullable(UInt16)", "1", "1", "1"),
    "1::UINTEGER": ("Nullable(UInt32)", "1", "1", "1"),
    "18446744073709551615": ("Nullable(Int128)", "18446744073709551615", "18446744073709551615", "18446744073709551615"),
    "18446744073709551615::UBIGINT": ("Nullable(UInt64)", "18446744073709551615", "18446744073709551615", "18446744073709551615"),
    "sum(9007199254740993)": ("Nullable(Int128)", "9007199254740993", "9007199254740993", "9007199254740993"),
    "340282366920938463463374607431768211455::UHUGEINT": ("Nullable(String)", '"340282366920938463463374607431768211455"', '"340282366920938463463374607431768211455"', "340282366920938463463374607431768211455"),
    "123456789012345678901234567890123456789012345::BIGNUM": ("Nullable(String)", '"123456789012345678901234567890123456789012345"', '"123456789012345678901234567890123456789012345"', "123456789012345678901234567890123456789012345"),
    "0.1::FLOAT": ("Nullable(Float32)", "0.1", "0.1", "0.1"),
    "1e0": ("Nullable(Float64)", "1.0", "1", "1"),
    "1e300": ("Nullable(Float64)", "1e+300", "1e+300", "1e+300"),
    "'nan'::DOUBLE": ("Nullable(Float64)", "null", "nan", "nan"),
    "'-inf'::DOUBLE": ("Nullable(Float64)", "null", "-inf", "-inf"),
    "1.50::DECIMAL(4,2)": ("Nullable(Decimal(4, 2))", "1.50", "1.50", "1.50"),
    "true": ("Nullable(Bool)", "true", "true", "true"),
    "'a'": ("Nullable(String)", '"a"', '"a"', "a"),
    "'it''s \"x\"'": ("Nullable(String)", r'"it' + "'" + r's \"x\""', '"it\'s ""x"""', r"it\'s " + '"x"'),
    r"'a\b' || chr(9) || chr(10) || 'c'": ("Nullable(String)", r'"a\\b\t\nc"', '"a\\b\t\nc"', r"a\\b\t\nc"),
    "''": ("Nullable(String)", '""', '""', ""),
    "'x'::BLOB": ("Nullable(String)", '"x"', '"x"', "x"),
    "'101'::BIT": ("Nullable(String)", '"101"', '"101"', "101"),
    "'a'::ENUM('a', 'b')": ("Nullable(String)", '"a"', '"a"', "a"),
    "'7aa1c9a5-7f9e-4c0b-a0b1-3d1f6c1f9a11'::UUID": ("Nullable(String)", '"7aa1c9a5-7f9e-4c0b-a0b1-3d1f6c1f9a11"', '"7aa1c9a5-7f9e-4c0b-a0b1-3d1f6c1f9a11"', "7aa1c9a5-7f9e-4c0b-a0b1-3d1f6c1f9a11"),
    "'{\"a\": 1}'::JSON": ("Nullable(String)", r'"{\"a\": 1}"', '"{""a"": 1}"', '{"a": 1}'),
    "DATE '2024-02-29'": ("Nullable(Date)", '"2024-02-29"', '"2024-02-29"', "2024-02-29"),
    "TIME '10:00:00.5'": ("Nullable(Time64(6))", '"10:00:00.500000"', '"10:00:00.500000"', "10:00:00.500000"),
    "'10:00:00+02'::TIMETZ": ("Nullable(String)", '"10:00:00+02"', '"10:00:00+02"', "10:00:00+02"),
    "TIMESTAMP_S '2024-02-29 10:00:00'": ("Nullable(DateTime)", '"2024-02-29 10:00:00"', '"2024-02-29 10:00:00"', "2024-02-29 10:00:00"),
    "TIMESTAMP_MS '2024-02-29 10:00:00'": ("Nullable(DateTime64(3))", '"2024-02-29 10:00:00.000"', '"2024-02-29 10:00:00.000"', "2024-02-29 10:00:00.000"),
    "TIMESTAMP '2024-02-29 10:00:00.5'": ("Nullable(DateTime64(6))", '"2024-02-29 10:00:00.500000"', '"2024-02-29 10:00:00.500000"', "2024-02-29 10:00:00.500000"),
    "TIMESTAMP_NS '2024-02-29 10:00:00.5'": ("Nullable(DateTime64(9))", '"2024-02-29 10:00:00.500000000"', '"2024-02-29 10:00:00.500000000"', "2024-02-29 10:00:00.500000000"),
    "TIMESTAMPTZ '2024-02-29 10:00:00+02'": ("Nullable(DateTime64(6, 'UTC'))", '"2024-02-29 08:00:00.000000"', '"2024-02-29 08:00:00.000000"', "2024-02-29 08:00:00.000000"),
    "INTERVAL 36 HOUR": ("Nullable(String)", '"36:00:00"', '"36:00:00"', "36:00:00"),
    "NULL": ("Nullable(Nothing)", "null", r"\N", r"\N"),
    "NULL::VARCHAR": ("Nullable(String)", "null", r"\N", r"\N"),
    "[1, NULL]": ("Array(Nullable(Int32))", "[1,null]", '"[1,NULL]"', "[1,NULL]"),
    "['a''b', chr(9)]": ("Array(Nullable(String))", '["a\'b","\\t"]', r'''"['a\'b','\t']"''', r"['a\'b','\t']"),
    "[TIMESTAMP_MS '2024-02-29 10:00:00']": ("Array(Nullable(DateTime64(3)))", '["2024-02-29 10:00:00.000"]', "\"['2024-02-29 10:00:00.000']\"", "['2024-02-29 10:00:00.000']"),
    "[]::INT[]": ("Array(Nullable(Int32))", "[]", '"[]"', "[]"),
    "[1, 2]::INT[2]": ("Array(Nullable(Int32))", "[1,2]", '"[1,2]"', "[1,2]"),
    "[[1], [2]]": ("Array(Array(Nullable(Int32)))", "[[1],[2]]", '"[[1],[2]]"', "[[1],[2]]"),
    "{'a': 1, 'b c': 'x'}": ("Tuple(a Nullable(Int32), `b c` Nullable(String))", '{"a":1,"b c":"x"}', "\"(1,'x')\"", "(1,'x')"),
    "MAP {'k': 1.5}": ("Map(String, Nullable(Decimal(2, 1)))", '{"k":1.5}', "\"{'k':1.5}\"", "{'k':1.5}"),
    "union_value(n := 1)": ("Nullable(String)", "1", '"1"', "1"),
}  # fmt: skip

CONNECTION = duckdb.connect()


def written(reader_or_sql, format_name, *, quote_64bit=False, limit_bytes=1 << 30):
    if isinstance(reader_or_sql, str):
        connection = open_connection(Limits())
        nothing = Stored(Disk(), DataDir(Path("/nowhere")))
        result = run_confined(connection, parse_statement(connection, reader_or_sql), nothing)
    else:
        result = Result(reader_or_sql, (), CONNECTION, 0, 0)
    out = io.BytesIO()
    done = wire.write_answer(
        result,
        format_name,
        out,
        started=time.monotonic(),
        quote_64bit=quote_64bit,
        limit_bytes=limit_bytes,
    )
    return done, out.getvalue()


def text(reader_or_sql, format_name, **options):
    return written(reader_or_sql, format_name, **options)[1].decode()


def reader_of(**columns):
    batch = pa.record_batch(columns)
    return pa.RecordBatchReader.from_batches(batch.schema, [batch])


def test_every_name_of_a_format_has_a_writer():
    assert set(wire.FORMATS) == set(FORMAT_NAMES.values())


@pytest.mark.parametrize(("expression", "expected"), VALUES.items(), ids=list(VALUES))
def test_values_of_every_type(expression, expected):
    kind, as_json, as_csv, as_tsv = expected
    sql = f"SELECT {expression} AS v"

    assert json.loads(text(sql, "JSON"))["meta"] == [{"name": "v", "type": kind}]
    assert text(sql, "JSONEachRow") == f'{{"v":{as_json}}}\n'
    assert text(sql, "CSV") == as_csv + "\n"
    assert text(sql, "TSV") == as_tsv + "\n"


class TestJson:
    def test_the_document_is_as_clickhouse_writes_it(self):
        done, data = written("SELECT x AS n, 'a' || x AS t FROM range(2) r(x)", "JSON")
        document = json.loads(data)
        statistics = document.pop("statistics")

        assert document == {
            "meta": [{"name": "n", "type": "Nullable(Int64)"}, {"name": "t", "type": "Nullable(String)"}],
            "data": [{"n": 0, "t": "a0"}, {"n": 1, "t": "a1"}],
            "rows": 2,
        }
        assert list(statistics) == ["elapsed", "rows_read", "bytes_read"]
        assert 0 < statistics["elapsed"] < 10
        assert (done.content_type, done.rows) == ("application/json; charset=UTF-8", 2)

    def test_no_rows_are_an_empty_list(self):
        document = json.loads(text("SELECT 1 AS a WHERE false", "JSON"))

        assert (document["data"], document["rows"], len(document["meta"])) == ([], 0, 1)
        assert text("SELECT 1 AS a WHERE false", "JSONEachRow") == ""

    def test_many_rows_are_one_document(self):
        document = json.loads(text("SELECT x FROM range(300000) r(x)", "JSON"))

        assert [row["x"] for row in document["data"]] == list(range(300_000))
        assert document["rows"] == 300_000

    def test_a_count_is_named_as_it_was_asked_for(self):
        document = json.loads(text("SELECT count(), 1 AS a", "JSON"))

        assert document["data"] == [{"count()": 1, "a": 1}]
        assert document["meta"][0]["name"] == "count()"

    def test_columns_of_one_name_are_all_kept(self):
        reader = pa.RecordBatchReader.from_batches(
            schema := pa.schema([("a", pa.int32()), ("a", pa.int32())]),
            [pa.RecordBatch.from_arrays([pa.array([1], pa.int32()), pa.array([2], pa.int32())], schema=schema)],
        )

        assert text(reader, "JSONEachRow") == '{"a":1,"a_2":2}\n'

    @pytest.mark.parametrize(
        ("expression", "quoted"),
        [
            ("1::BIGINT", '"1"'),
            ("1::UBIGINT", '"1"'),
            ("sum(1)", '"1"'),
            ("NULL::BIGINT", "null"),
            ("[1::BIGINT]", '["1"]'),
            ("{'a': 1::BIGINT}", '{"a":"1"}'),
            ("MAP {1::BIGINT: [2::UBIGINT]}", '{"1":["2"]}'),
            ("1::INTEGER", "1"),
            ("1.5", "1.5"),
        ],
    )
    def test_integers_of_64_bits_are_quoted_on_request(self, expression, quoted):
        assert text(f"SELECT {expression} AS v", "JSONEachRow", quote_64bit=True) == f'{{"v":{quoted}}}\n'

    @given(st.lists(st.one_of(st.none(), st.integers(-(1 << 63), (1 << 63) - 1)), min_size=1))
    def test_any_integer_comes_back_with_and_without_quotes(self, numbers):
        bare = text(reader_of(v=pa.array(numbers, pa.int64())), "JSONEachRow")
        quoted = text(reader_of(v=pa.array(numbers, pa.int64())), "JSONEachRow", quote_64bit=True)

        assert [json.loads(line)["v"] for line in bare.splitlines()] == numbers
        assert [json.loads(line)["v"] for line in quoted.splitlines()] == [
            None if n is None else str(n) for n in numbers
        ]

    @given(st.lists(st.floats(), min_size=1))
    def test_any_float_is_itself_or_null(self, numbers):
        lines = text(reader_of(v=pa.array(numbers, pa.float64())), "JSONEachRow").splitlines()

        assert [orjson.loads(line)["v"] for line in lines] == [n if math.isfinite(n) else None for n in numbers]


class TestText:
    @given(st.lists(st.tuples(st.none() | st.text(), st.none() | st.text()), min_size=1))
    def test_any_text_comes_back_from_tsv(self, rows):
        columns = {
            name: pa.array(values, pa.string()) for name, values in zip("ab", zip(*rows, strict=True), strict=True)
        }
        escapes = {"b": "\b", "f": "\f", "r": "\r", "n": "\n", "t": "\t", "0": "\0"}

        def unescaped(cell):
            if cell == r"\N":
                return None
            parts = iter(cell)
            return "".join(escapes.get(after := next(parts), after) if c == "\\" else c for c in parts)

        data = text(reader_of(**columns), "TSV")

        assert [tuple(map(unescaped, line.split("\t"))) for line in data.removesuffix("\n").split("\n")] == rows

    @given(st.lists(st.tuples(st.text(), st.text()), min_size=1))
    def test_any_text_comes_back_from_csv(self, rows):
        columns = {
            name: pa.array(values, pa.string()) for name, values in zip("ab", zip(*rows, strict=True), strict=True)
        }
        data = text(reader_of(**columns), "CSV")

        assert [tuple(row) for row in csv.reader(io.StringIO(data, newline=""))] == rows

    def test_names_stand_on_top_when_the_format_says_so(self):
        sql = """SELECT 1 AS "a b", 'x' AS "c""d" """

        assert text(sql, "CSVWithNames") == '"a b","c""d"\n1,"x"\n'
        assert text(sql, "TSVWithNames") == 'a b\tc"d\n1\tx\n'
        assert text("SELECT 1 AS a WHERE false", "TSVWithNames") == "a\n"
        assert text("SELECT 1 AS a WHERE false", "TSV") == ""


class TestPretty:
    def test_numbers_stand_right_and_text_left(self):
        sql = "SELECT * FROM (VALUES (1, 'a'), (200, 'bcd'), (NULL, '日本')) t(number, name)"

        assert text(sql, "PrettyCompact").splitlines() == [
            "┌─number─┬─name─┐",
            "│      1 │ a    │",
            "│    200 │ bcd  │",
            "│   ᴺᵁᴸᴸ │ 日本 │",
            "└────────┴──────┘",
        ]

    def test_the_first_thousand_rows_are_shown_and_the_others_counted(self):
        lines = text("SELECT x FROM range(200000) r(x)", "PrettyCompact").splitlines()

        assert len(lines) == 1003
        assert lines[-1] == "  Showed first 1000 of 200000 rows."

    def test_no_rows_are_no_table(self):
        assert text("SELECT 1 WHERE false", "PrettyCompact") == ""

    def test_data_can_not_drive_the_terminal(self):
        assert "\x1b" not in text("SELECT chr(27) || '[31m' AS v", "PrettyCompact")


class TestBinary:
    SQL = "SELECT x AS n, DATE '2024-01-01' AS d, TIMESTAMP_MS '2024-01-01' AS t, count(*) OVER () FROM range(3) r(x)"

    def test_parquet_and_arrow_hold_the_rows(self):
        in_parquet, data = written(self.SQL, "Parquet")
        table = parquet.read_table(io.BytesIO(data))
        in_arrow, stream = written(self.SQL, "Arrow")

        assert table.to_pylist()[0]["d"] == date(2024, 1, 1)
        assert table.to_pylist() == ipc.open_stream(stream).read_all().to_pylist()
        assert table.to_pylist()[2]["t"] == datetime(2024, 1, 1)
        assert (in_parquet.rows, in_arrow.rows) == (3, 3)
        assert in_parquet.content_type == in_arrow.content_type == "application/octet-stream"


class TestLimits:
    @pytest.mark.parametrize("name", wire.FORMATS)
    def test_an_answer_beyond_the_limit_is_an_error(self, name):
        with pytest.raises(ResultTooLarge, match="larger than 0 MiB"):
            written("SELECT md5(x::VARCHAR) AS v FROM range(10000) r(x)", name, limit_bytes=10_000)

    def test_an_answer_of_exactly_the_limit_is_none(self):
        assert len(written("SELECT 'abc'", "TSV", limit_bytes=4)[1]) == 4
        with pytest.raises(ResultTooLarge):
            written("SELECT 'abc'", "TSV", limit_bytes=3)

    @pytest.mark.parametrize("name", wire.FORMATS)
    def test_a_failure_half_way_is_the_querys(self, name):
        def batches():
            yield pa.record_batch({"v": [1]})
            raise QueryFailed("boom")

        reader = pa.RecordBatchReader.from_batches(pa.schema([("v", pa.int64())]), batches())

        with pytest.raises(QueryFailed, match="boom"):
            written(reader, name)


def test_a_type_unknown_to_clickhouse_is_a_string():
    assert type_name(pa.month_day_nano_interval()) == "Nullable(String)"
    assert type_name(pa.dictionary(pa.int8(), pa.string())) == "Nullable(String)"
