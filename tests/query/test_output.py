"""What each output format promises about values, names and sizes."""

import csv
import io
import json
import os
import pty
import threading
import time
from datetime import date, timedelta
from decimal import Decimal

import duckdb
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import ipc, parquet

from query.output import FORMATS

BIGGEST_HUGEINT = 2**127 - 1


def reader_of(*batches):
    return pa.RecordBatchReader.from_batches(batches[0].schema, batches)


def column(values, kind=None, name="v"):
    return reader_of(pa.record_batch({name: pa.array(values, kind)}))


def written(format_name, reader):
    out = io.BytesIO()
    FORMATS[format_name](reader, out)
    assert not out.closed
    return out.getvalue()


def sql(query, format_name="ndjson"):
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'Europe/Paris'")
        return written(format_name, connection.sql(query).to_arrow_reader())


def values_of(reader):
    """The column `v` of every row as the text that stands in the JSON, numbers to the letter."""
    lines = written("ndjson", reader).splitlines()
    return [json.loads(line, parse_int=lambda text: text, parse_float=lambda text: text)["v"] for line in lines]


def on_terminal(reader, *, columns):
    """What the table format sends to a terminal so many columns wide."""
    leader, follower = pty.openpty()
    os.system(f"stty cols {columns} rows 24 raw < {os.ttyname(follower)}")
    seen = bytearray()

    def collect():
        while chunk := os.read(leader, 65536):
            seen.extend(chunk)
            if b"\x00END" in seen:
                return

    collector = threading.Thread(target=collect)
    collector.start()
    with os.fdopen(follower, "wb") as terminal:
        FORMATS["table"](reader, terminal)
        terminal.write(b"\x00END")
        terminal.flush()
        collector.join()
    os.close(leader)
    return seen.decode().removesuffix("\x00END")


def test_the_formats_are_those_of_the_command_line():
    assert list(FORMATS) == ["table", "json", "ndjson", "csv", "parquet", "arrow"]


class TestNumbers:
    @pytest.mark.parametrize(
        ("expression", "digits"),
        [
            ("9223372036854775807::BIGINT", "9223372036854775807"),
            ("18446744073709551615::UBIGINT", "18446744073709551615"),
            ("170141183460469231731687303715884105727::HUGEINT", str(BIGGEST_HUGEINT)),
            ("-170141183460469231731687303715884105727::HUGEINT", str(-BIGGEST_HUGEINT)),
            ("sum(9007199254740993)", "9007199254740993"),
            ("1.50::DECIMAL(4,2)", "1.50"),
            ("12345678901234567890.123456789::DECIMAL(38,9)", "12345678901234567890.123456789"),
            ("0.0000000001::DECIMAL(38,10)", "0.0000000001"),
            ("0::DECIMAL(38,10)", "0.0000000000"),
        ],
    )
    def test_integers_and_decimals_keep_every_digit_in_json_and_csv(self, expression, digits):
        query = f"SELECT {expression} AS v"

        assert sql(query) == b'{"v":%s}\n' % digits.encode()
        assert sql(query, "csv").decode().splitlines()[1].strip('"') == digits

    @given(st.lists(st.one_of(st.none(), st.decimals(-(10**19), 10**19, places=18)), min_size=1))
    def test_any_decimal_comes_back_as_it_was(self, numbers):
        reader = column(numbers, pa.decimal128(38, 18))

        assert [None if text is None else Decimal(text) for text in values_of(reader)] == numbers

    def test_a_decimal_with_a_negative_scale_is_written_out(self):
        assert values_of(column([Decimal(12300)], pa.decimal128(10, -2))) == ["12300"]

    def test_json_has_null_for_nan_and_infinity(self):
        assert values_of(column([float("nan"), float("inf"), float("-inf"), 0.5])) == [None, None, None, "0.5"]

    def test_csv_and_table_name_nan_and_infinity(self):
        numbers = [float("nan"), float("-inf")]

        assert written("csv", column(numbers)) == b'"v"\nnan\n-inf\n'
        assert "nan" in written("table", column(numbers)).decode()

    def test_a_float32_is_written_with_the_digits_it_was_given(self):
        assert values_of(column([0.1, None, float("nan"), 16777216.0], pa.float32())) == [
            "0.1",
            None,
            None,
            "16777216.0",
        ]


class TestMoments:
    @pytest.mark.parametrize(
        ("kind", "count", "text"),
        [
            (pa.timestamp("s"), 1_600_000_000, "2020-09-13 12:26:40"),
            (pa.timestamp("ms"), 1_600_000_000_000, "2020-09-13 12:26:40"),
            (pa.timestamp("ms"), 1_600_000_000_120, "2020-09-13 12:26:40.120"),
            (pa.timestamp("us"), 1_600_000_000_000_000, "2020-09-13 12:26:40"),
            (pa.timestamp("us"), 1_600_000_000_500_000, "2020-09-13 12:26:40.500000"),
            (pa.timestamp("us"), -1, "1969-12-31 23:59:59.999999"),
            (pa.timestamp("ns"), 1_600_000_000_123_456_789, "2020-09-13 12:26:40.123456789"),
            (pa.timestamp("us", "Asia/Tokyo"), 1_600_000_000_000_001, "2020-09-13 12:26:40.000001+00:00"),
            (pa.timestamp("ns", "UTC"), 0, "1970-01-01 00:00:00+00:00"),
            (pa.date32(), 18_518, "2020-09-13"),
            (pa.date64(), 18_518 * 86_400_000, "2020-09-13"),
            (pa.time64("us"), 3_600_000_000, "01:00:00"),
            (pa.time64("us"), 3_600_000_001, "01:00:00.000001"),
        ],
    )
    def test_a_fraction_is_written_when_there_is_one_and_zones_become_utc(self, kind, count, text):
        moments = pa.array([count, None], pa.int32() if kind == pa.date32() else pa.int64()).cast(kind)

        assert values_of(column(moments)) == [text, None]

    def test_duckdb_reads_every_timestamp_back_exactly(self):
        query = "SELECT TIMESTAMPTZ '2024-03-31 02:30:00.25+01:00' + to_hours(i::INT) AS v FROM range(3) t(i)"

        assert [json.loads(line)["v"] for line in sql(query).splitlines()] == [
            "2024-03-31 01:30:00.250000+00:00",
            "2024-03-31 02:30:00.250000+00:00",
            "2024-03-31 03:30:00.250000+00:00",
        ]

    @pytest.mark.parametrize(
        ("expression", "text"),
        [
            ("'infinity'::TIMESTAMP", "infinity"),
            ("'-infinity'::TIMESTAMPTZ", "-infinity"),
            ("'infinity'::DATE", "infinity"),
            ("'49999-12-31'::DATE", "49999-12-31"),
            ("'52000-02-29 01:02:03.5'::TIMESTAMP", "52000-02-29 01:02:03.500000"),
            ("'52000-02-29 01:02:03+00'::TIMESTAMPTZ", "52000-02-29 01:02:03+00:00"),
        ],
    )
    def test_moments_beyond_the_calendar_of_arrow_are_spelled_out(self, expression, text):
        assert json.loads(sql(f"SELECT {expression} AS v")) == {"v": text}

    @given(st.integers(-600_000, 2_900_000))
    def test_dates_agree_with_pythons_calendar(self, days):
        there = date(1970, 1, 1) + timedelta(days)

        assert values_of(column([days], pa.int32()).cast(pa.schema([("v", pa.date32())]))) == [there.isoformat()]

    @pytest.mark.parametrize(
        ("interval", "text"),
        [
            ("14 months 3 days 04:05:06.5", "1 year 2 months 3 days 04:05:06.5"),
            ("-1 day", "-1 day"),
            ("0 days", "00:00:00"),
            ("-90 seconds", "-00:01:30"),
        ],
    )
    def test_intervals_read_as_duckdb_writes_them(self, interval, text):
        assert json.loads(sql(f"SELECT INTERVAL '{interval}' AS v")) == {"v": text}
        assert json.loads(sql(f"SELECT (INTERVAL '{interval}')::VARCHAR AS v")) == {"v": text}


class TestTextAndNesting:
    def test_bytes_are_text_and_what_is_not_utf8_is_escaped(self):
        assert values_of(column(["é".encode(), b"\xff\x00a", None], pa.binary())) == ["é", "\\xff\x00a", None]

    def test_lists_structs_and_maps_nest(self):
        nested = sql(
            """SELECT [1, NULL] AS list, [[1], [], NULL] AS lists, {'a': 1, 'b': {'c': 'x'}} AS struct,
               MAP {'k': 1, 'l': NULL} AS map, MAP {DATE '2024-01-02': [1]} AS dated, [1, 2]::INT[2] AS array,
               [9007199254740993::HUGEINT] AS huge, [TIMESTAMP_NS '2024-01-01 00:00:00.000000001'] AS nanos,
               NULL::STRUCT(a INT) AS nothing, union_value(n := 7) AS either, 'b'::ENUM('a', 'b') AS word"""
        )

        assert nested.decode() == (
            '{"list":[1,null],"lists":[[1],[],null],"struct":{"a":1,"b":{"c":"x"}},"map":{"k":1,"l":null},'
            '"dated":{"2024-01-02":[1]},"array":[1,2],"huge":[9007199254740993],'
            '"nanos":["2024-01-01 00:00:00.000000001"],"nothing":null,"either":7,"word":"b"}\n'
        )

    @pytest.mark.parametrize(
        "kind",
        [
            pa.list_(pa.int64()),
            pa.large_list(pa.int64()),
            pa.list_(pa.int64(), 2),
            pa.list_view(pa.int64()),
            pa.map_(pa.string(), pa.list_(pa.int64())),
            pa.struct([("a", pa.list_(pa.int64()))]),
        ],
        ids=str,
    )
    def test_a_slice_of_a_nested_column_has_its_own_rows(self, kind):
        def row(number):
            if pa.types.is_map(kind):
                return [("k", [number])]
            return {"a": [number]} if pa.types.is_struct(kind) else [number, number]

        def as_json(value):
            return dict(value) if pa.types.is_map(kind) and value is not None else value

        rows = [None if number % 5 == 0 else row(number) for number in range(10_000)]
        batch = pa.record_batch({"v": pa.array(rows, kind)}).slice(3, 9_000)

        lines = written("ndjson", reader_of(batch)).splitlines()

        assert [orjson.loads(line)["v"] for line in lines] == [as_json(value) for value in rows[3:9_003]]

    def test_members_of_both_kinds_of_union_are_found(self):
        codes = pa.array([0, 1, 0], pa.int8())
        numbers, words = pa.array([1, 2, 3]), pa.array(["x", "y", "z"])

        assert values_of(column(pa.UnionArray.from_sparse(codes, [numbers, words]))) == ["1", "y", "3"]
        offsets = pa.array([0, 0, 1], pa.int32())
        assert values_of(column(pa.UnionArray.from_dense(codes, offsets, [numbers, words]))) == ["1", "x", "2"]

    def test_a_uuid_extension_column_is_text(self):
        uuids = pa.array([bytes(range(16)), None], pa.uuid())

        assert values_of(column(uuids)) == ["00010203-0405-0607-0809-0a0b0c0d0e0f", None]


class TestNames:
    @pytest.mark.parametrize("format_name", ["ndjson", "json", "csv", "parquet", "arrow", "table"])
    def test_columns_of_one_name_are_all_kept(self, format_name):
        batch = pa.RecordBatch.from_arrays([pa.array([n]) for n in (11, 22, 33, 44)], ["a", "a", "a_2", "a"])

        data = written(format_name, reader_of(batch))

        match format_name:
            case "json" | "ndjson":
                row = json.loads(data.strip(b"[]\n"))
            case "csv":
                row = {name: int(text) for name, text in next(csv.DictReader(io.StringIO(data.decode()))).items()}
            case "parquet":
                row = parquet.read_table(io.BytesIO(data)).to_pylist()[0]
            case "arrow":
                row = ipc.open_stream(data).read_all().to_pylist()[0]
            case "table":
                cells = [line.strip("│").split("│") for line in data.decode().splitlines() if "│" in line]
                row = {name.strip(): int(text) for name, text in zip(*cells, strict=True)}
        assert row == {"a": 11, "a_3": 22, "a_2": 33, "a_4": 44}


class TestJson:
    def test_the_array_stays_one_document_over_several_batches(self):
        batches = [pa.record_batch({"v": list(range(start, start + 5_000))}) for start in (0, 5_000)]

        rows = json.loads(written("json", reader_of(batches[0], batches[0].slice(0, 0), batches[1])))

        assert rows == [{"v": number} for number in range(10_000)]

    def test_no_rows_are_an_empty_array_and_no_line(self):
        assert json.loads(written("json", column([], pa.int64()))) == []
        assert written("ndjson", column([], pa.int64())) == b""

    def test_rows_are_written_while_the_engine_still_makes_them(self):
        out = io.BytesIO()
        seen = []

        def batches():
            for number in range(3):
                seen.append(out.getvalue().count(b"\n"))
                yield pa.record_batch({"v": [number]})

        FORMATS["ndjson"](pa.RecordBatchReader.from_batches(pa.schema([("v", pa.int64())]), batches()), out)

        assert seen == [0, 1, 2]

    def test_a_hundred_thousand_rows_of_nineteen_columns_take_less_than_two_seconds(self):
        rows = 100_000
        kinds = [
            *[pa.array(range(rows))] * 6,
            *[pa.array([f"text {n}" for n in range(rows)])] * 5,
            *[pa.array(range(rows)).cast(pa.timestamp("us"))] * 3,
            *[pa.array(range(rows)).cast(pa.float64())] * 4,
            pa.array(range(rows)).cast(pa.decimal128(38, 0)),
        ]
        reader = reader_of(pa.RecordBatch.from_arrays(kinds, [f"c{n}" for n in range(19)]))

        start = time.process_time()
        data = written("ndjson", reader)

        assert time.process_time() - start < 2.0
        assert data.count(b"\n") == rows


class TestCsv:
    def test_null_is_empty_and_the_empty_string_is_quoted(self):
        batch = pa.record_batch({"a": ["", None, "x"], "b": [1, None, 3]})

        assert written("csv", reader_of(batch)) == b'"a","b"\n"",1\n,\n"x",3\n'

    def test_text_with_commas_quotes_and_line_ends_comes_back_as_it_was(self):
        texts = ["a,b", 'say "hi"', "two\nlines", "two\r\nlines", " spaced ", "é", "#", "'"]

        rows = csv.reader(io.StringIO(written("csv", column(texts, name='odd "name",')).decode(), newline=""))

        assert list(rows) == [['odd "name",'], *([text] for text in texts)]

    def test_nested_values_are_json_text(self):
        data = sql("SELECT [1, NULL] AS l, {'a': 'x'} AS s, MAP {1: true} AS m, NULL::INT[] AS n", "csv")

        assert list(csv.reader(io.StringIO(data.decode()))) == [
            ["l", "s", "m", "n"],
            ["[1,null]", '{"a":"x"}', '{"1":true}', ""],
        ]

    def test_numbers_stand_unquoted_and_moments_as_in_json(self):
        data = sql(
            "SELECT 1 AS i, 2.5::DOUBLE AS d, true AS b, sum(3) AS h, '\\xFF'::BLOB AS x, DATE '2024-01-02' AS t", "csv"
        )

        assert data.splitlines()[1] == b'1,2.5,true,3,"\\xff","2024-01-02"'

    def test_the_header_is_there_without_rows(self):
        assert written("csv", column([], pa.int64())) == b'"v"\n'

    def test_a_column_of_nothing_but_null_can_be_written(self):
        assert written("csv", reader_of(pa.record_batch({"a": [1, 2], "v": pa.nulls(2)}))) == b'"a","v"\n1,\n2,\n'


class TestFiles:
    def test_parquet_is_zstd_and_holds_the_same_rows(self):
        table = pa.table({"a": range(300_000), "t": pa.array(range(300_000)).cast(pa.timestamp("us", "UTC"))})
        batches = table.to_batches(max_chunksize=1_000)

        file = parquet.ParquetFile(io.BytesIO(written("parquet", reader_of(*batches))))

        assert file.read().equals(table)
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"
        assert file.metadata.num_row_groups == 3

    def test_parquet_goes_into_a_pipe(self):
        readable, writable = os.pipe()
        with os.fdopen(writable, "wb") as pipe:
            FORMATS["parquet"](column([1, 2]), pipe)
        with os.fdopen(readable, "rb") as pipe:
            assert parquet.read_table(io.BytesIO(pipe.read())).to_pylist() == [{"v": 1}, {"v": 2}]

    def test_parquet_holds_as_text_what_it_has_no_type_for(self):
        data = sql("SELECT INTERVAL 2 DAY AS i, union_value(n := 7) AS u, [INTERVAL 1 DAY] AS l, 1 AS n", "parquet")

        assert parquet.read_table(io.BytesIO(data)).to_pylist() == [{"i": "2 days", "u": "7", "l": '["1 day"]', "n": 1}]

    def test_arrow_is_an_ipc_stream_of_the_engines_own_types(self):
        batch = pa.record_batch({"d": pa.array([Decimal(1)], pa.decimal128(38, 0)), "l": [[1]]})

        assert ipc.open_stream(written("arrow", reader_of(batch))).read_all() == pa.Table.from_batches([batch])

    @pytest.mark.parametrize("format_name", ["parquet", "arrow"])
    def test_no_rows_are_a_valid_file_with_the_schema(self, format_name):
        data = written(format_name, column([], pa.int64()))

        table = parquet.read_table(io.BytesIO(data)) if format_name == "parquet" else ipc.open_stream(data).read_all()
        assert (table.num_rows, table.schema) == (0, pa.schema([("v", pa.int64())]))

    @pytest.mark.parametrize("format_name", ["parquet", "json"])
    def test_a_query_that_fails_half_way_leaves_no_file_that_looks_whole(self, format_name):
        def batches():
            yield pa.record_batch({"v": list(range(200_000))})
            raise ValueError("the engine gave up")

        out = io.BytesIO()
        with pytest.raises(ValueError, match="the engine gave up"):
            FORMATS[format_name](pa.RecordBatchReader.from_batches(pa.schema([("v", pa.int64())]), batches()), out)

        assert len(out.getvalue()) > 0
        with pytest.raises((pa.ArrowInvalid, json.JSONDecodeError)):
            parquet.read_table(io.BytesIO(out.getvalue())) if format_name == "parquet" else json.loads(out.getvalue())


class TestTable:
    def test_numbers_stand_right_and_text_left(self):
        batch = pa.record_batch({"n": [1, 10_000], "text": ["a", "bcd"]})

        assert written("table", reader_of(batch)).decode().splitlines()[3:5] == ["│     1 │ a    │", "│ 10000 │ bcd  │"]

    def test_a_thousand_rows_are_shown_and_the_others_counted(self):
        batches = [pa.record_batch({"v": list(range(start, start + 700))}) for start in (0, 700, 1_400)]

        lines = written("table", reader_of(*batches)).decode().splitlines()

        assert "│  999 │".replace(" ", "") in [line.replace(" ", "") for line in lines]
        assert not any("1000" in line for line in lines[:-1])
        assert lines[-1] == "1,000 rows, and 1,100 more that are not shown: another --format gives them all"

    @pytest.mark.parametrize(("rows", "line"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows")])
    def test_the_number_of_rows_is_said(self, rows, line):
        assert written("table", column(list(range(rows)), pa.int64())).decode().splitlines()[-1] == line

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("\x1b[31mred", r"\x1b[31mred"),
            ("\x9b2J", r"\x9b2J"),
            ("a\r\nb\tc", r"a\r\nb\tc"),
            ("\x00\x07\x7f", r"\x00\x07\x7f"),
            ("user\u202egnp.exe", r"user\u202egnp.exe"),
            ("[bold]x[/bold] :smile:", "[bold]x[/bold] :smile:"),
            ("naïve 你好 👍", "naïve 你好 👍"),
        ],
    )
    def test_data_and_column_names_cannot_drive_the_terminal(self, text, shown):
        lines = written("table", column([text], name=text)).decode().splitlines()

        assert [lines[1].strip("│ "), lines[3].strip("│ ")] == [shown, shown]

    def test_on_a_terminal_null_is_dim_and_told_from_the_text_null(self):
        table = on_terminal(column([None, "NULL"]), columns=80)

        assert table.count("NULL") == 2
        assert table.count("\x1b[2mNULL\x1b[0m") == 1

    def test_the_table_is_as_wide_as_the_terminal_at_most_and_loses_no_text(self):
        text = "x" * 100 + "end"

        lines = on_terminal(column([text], name="name"), columns=40).splitlines()

        assert max(len(line) for line in lines if "│" in line and "\x1b" not in line) == 40
        assert "".join(line.strip("│ ") for line in lines if "x" in line or "end" in line) == text

    def test_more_columns_than_fit_become_a_block_a_row(self):
        batch = pa.record_batch({f"column_{n}": [f"value {n}", f"other {n}"] for n in range(19)})

        table = on_terminal(reader_of(batch), columns=80)

        assert all(f"value {n} " in table and f"other {n} " in table for n in range(19))
        assert max(len(line) for line in table.splitlines()) <= 80

    def test_a_file_gets_columns_as_wide_as_they_are(self):
        text = "x" * 500

        assert f"│ {text} │" in written("table", column([text])).decode()
