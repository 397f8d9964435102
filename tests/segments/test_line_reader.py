"""Lines that machine code reads are the rows that they are line by line; what it does not take, it says so."""

import gzip
import json
from datetime import datetime
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segments import line_reader
from segments.bulk import decode_bulk
from segments.column_type import parse_type
from segments.compiled.load import loaded
from segments.compiled.plan import LISTS_MAX, NODES_MAX
from segments.datafile import parse_datafile
from segments.decode import decode
from segments.errors import BodyRejected
from segments.infer import infer
from segments.line_reader import LineReader, Lines
from segments.lines import LINE_BYTES_MAX, parse_body, parse_lines
from segments.schema import Column, Schema
from tests.strategies import json_texts, values_for

NOW = datetime(2026, 11, 23, 12)
FLIGHTS = Path(__file__).parents[1] / "data" / "flights-10000.ndjson.gz"
SCHEMA = parse_datafile(
    "SCHEMA > i Nullable(Int64), u UInt64, f Nullable(Float64), b Nullable(Bool), s Nullable(String), d Nullable(Date), "
    "t Nullable(DateTime64(3)), a Nullable(Array(Int64)) `json:$.a[:]`, n_x Nullable(Int8) `json:$.n.x`, "
    "n_m_y Nullable(String) `json:$.n.m.y`, z Nullable(Array(Nullable(String))) `json:$.z[:]`\n"
).schema
TYPES = [
    "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float64", "Bool", "String", "LowCardinality(String)", "Date", "Date32", "DateTime", "DateTime64(1)",
    "DateTime64(6)", "DateTime64(9)", "Array(Int64)", "Array(Nullable(Float64))", "Array(String)", "Array(Bool)", "Array(DateTime)",
]  # fmt: skip
kinds = st.sampled_from(
    [parse_type(text) for kind in TYPES for text in (kind, f"Nullable({kind})") if "Nullable(Low" not in text]
)
PLAIN = b'{"i":1,"u":2,"f":0.5,"b":true,"s":"x","d":"2024-02-29","t":"2024-02-29T10:00:00.5Z","a":[1],"n":{"x":3}}'


@pytest.fixture(autouse=True, scope="module")
def _loaded():
    line_reader.use(loaded())


def check(schema: Schema, body: bytes) -> Lines:
    """What was read, which is what each line means by itself, and no line that a row by itself would refuse."""
    lines = LineReader(schema).read(body)
    assert lines is not None
    others = {line.number for line in lines.refused}
    stripped = [line.strip(b" \t\r") for line in body.split(b"\n")]
    there = [line for line in stripped if line]
    assert lines.events == len(there)
    taken = decode(schema, parse_lines([line for number, line in enumerate(there) if number not in others]), NOW)
    assert not taken.bad
    assert not taken.unknown
    lines.batch.validate(full=True)
    # Not by Python's values: it has none for nanoseconds.
    assert lines.batch.equals(taken.good)
    assert lines.batch.schema == taken.good.schema
    assert lines.batch.serialize() == taken.good.serialize()
    for line in lines.refused:
        assert body[line.begin : line.end].strip(b" \t\r") == there[line.number]
    return lines


@pytest.mark.parametrize(
    "line",
    [
        PLAIN,
        b' {\t"u" : 2 , "n" : { "x" : 3 , "m" : { "y" : "z" } } , "a" : [ 1 , 2 ] }  \r',
        b'{"n":{"m":{"y":null},"x":-128},"u":0}', b'{"n":null,"u":1}', b'{"n":{},"u":1}', b'{"n":{"m":{}},"u":1}', b'{"u":1,"n":{"m":null}}',
        b'{"u":1,"s":"\\u00e9\\n\\"\\\\\\/\\b\\f\\r\\t\xc3\xa9\\u20AC\\u0000"}', b'{"u":1,"s":""}',
        b'{"u":1,"a":[],"z":[]}', b'{"u":1,"z":["a",null,""]}', b'{"u":1,"a":null}', b'{"u":1,"a":[-1,0]}',
        b'{"u":999999999999999999,"i":-999999999999999999}', b'{"u":1,"f":-0.0}', b'{"u":1,"f":12345}', b'{"u":1,"f":0.1234567890123456789}', b'{"u":1,"f":1.7976931348623157}',
        b'{"u":1,"z":[["a"]]}', b'{"u":1,"s":5}', b'{"u":1,"s":-1.50e+7}', b'{"u":1,"s":true}', b'{"u":1,"s":{"b":1,"a":[1.0,"\\u00e9 \\" ]"], "c" : {}}}', b'{"u":1,"s":[]}', b'{"u":1,"s":[[1, 123456789012345678901234]]}', b'{"u":1,"z":[1,true,{"a":2.50},null,"x"]}',
        b'{"u":1,"s":"\\ud83d\\ude00 \\uD83D\\uDE00x"}', b'{"u":1,"f":1e-2}', b'{"u":1,"f":12.5E-07}', b'{"u":1,"k":null,"n":{"k":[],"x":1,"l":{ }},"m":[ ]}', b'{"":null,"u":1}',
        b'{"u":1,"d":"0001-01-01"}', b'{"u":1,"d":"9999-12-31"}', b'{"u":1,"d":"2000-02-29"}', b'{"u":1,"t":"1969-12-31 23:59:59.999"}',
        b'{"u":1,"t":"0001-01-01 00:00:00"}', b'{"u":1,"t":"9999-12-31T23:59:59.999Z"}', b'{"u":1,"b":false,"t":"2024-01-01 00:00:00"}',
    ],
)  # fmt: skip
def test_lines_that_fit_are_taken(line):
    assert not check(SCHEMA, line).refused
    assert not check(SCHEMA, b"\n".join([b"", PLAIN, line, b" \t", line, PLAIN])).refused


@pytest.mark.parametrize(
    "line",
    [
        b"{}", b'{"u":-1}', b'{"u":1,"i":1.0}', b'{"u":1,"i":"1"}', b'{"u":1,"i":1e2}', b'{"u":1,"f":1e2}', b'{"u":1,"f":9007199254740993}', b'{"u":1,"f":NaN}', b'{"u":1,"f":.5}', b'{"u":1,"f":5.}', b'{"u":1,"f":-}',
        b'{"u":1,"s":"\\ud800"}', b'{"u":1,"s":"\\ude00"}', b'{"u":1,"s":"\\ud83dx"}', b'{"u":1,"s":"\\ud83d\\ud83d"}', b'{"u":1,"s":-0}', b'{"u":1,"s":01}', b'{"u":1,"s":1.}', b'{"u":1,"s":[' + b"[" * 60 + b"]" * 60 + b"]}", b'{"u":1,"k":[1]}', b'{"u":1,"k":nil}', b'{"u":1,"s":"\\u12g4"}', b'{"u":1,"s":"\\x"}', b'{"u":1,"s":"a\tb"}', b'{"u":1,"s":"a', b'{"u":1,"s":"\\',
        b'{"u":1,"d":"2023-02-29"}', b'{"u":1,"d":"1900-02-29"}', b'{"u":1,"d":"0000-01-01"}', b'{"u":1,"d":"2024-1-1"}', b'{"u":1,"d":"2024-04-31"}', b'{"u":1,"d":"2024-01-01 "}', b'{"u":1,"d":"2024-00-10"}', b'{"u":1,"d":"2024-13-10"}',
        b'{"u":1,"t":1709200800}', b'{"u":1,"t":"2024-02-29T10:00:00.1234Z"}', b'{"u":1,"t":"2024-02-29T24:00:00"}', b'{"u":1,"t":"2024-02-29T10:60:00"}', b'{"u":1,"t":"2024-02-29T10:00:60"}', b'{"u":1,"t":"2024-02-29T10:00:00."}', b'{"u":1,"t":"2024-02-29T10:00:00+01:00"}',
        b'{"u":1,"a":[1,null]}', b'{"u":1,"a":[1,]}', b'{"u":1,"a":[,1]}', b'{"u":1,"a":[1 2]}', b'{"u":1,"a":[1', b'{"u":1,"a":1}', b'{"u":1,"n":5}', b'{"u":1,"n":{"x":300}}', b'{"u":1,"n":{"k":1}}', b'{"u":1,"n":{"x":1,}}',
        b'{"u":1}{"u":2}', b'{"u":1,"u":2}', b'{"u":1,"n":{"x":1},"n":{}}', b'{"u":1,"i":null,"i":1}', b'{"u":1,"f":-0}', b'{"u":01}', b'{"u":1,"k":2}', b'{"u":1,"i":nul}', b'{"u":1,"b":tru}', b'{"u":1,"b":falsy}',
        b'{"u":1,}', b'{,"u":1}', b'{"u":1', b'{"u"', b'{"u":1]', b'{"u" 1}', b'{"u":}', b"{u:1}", b"nope", b"[1]", b"{", b"}", b'{"u":null}', b'"u"', b"\xef\xbb\xbf" + PLAIN, b'{"\\u0075":1}', b'{"u":12345678901234567890}',
        b'{"u":1,"s":1e400}', b'{"u":1,"z":[-1.5E+309]}', b'{"u":1,"s":' + b"9" * 400 + b"}", b'{"u":1,"s":' + b"9" * 280 + b"e-5}",
        b'{"u":1,"\\u0075":null}', b'{"u":1,"i":5,"\\u0069":null}', b'{"u":1,"n":{"x":1},"\\u006e":{}}', b'{"\\u0075\\n":null,"u":1}',
    ],
)  # fmt: skip
def test_other_lines_are_left_out_wherever_they_stand(line):
    for body in (line, line + b"\n", PLAIN + b"\n" + line, b"\n".join([line, PLAIN, line, b"", PLAIN, line])):
        taken = body.count(PLAIN) if not line.endswith(PLAIN) else 0
        lines = check(SCHEMA, body)
        if not line.endswith(PLAIN):
            assert lines.batch.num_rows == taken
            assert len(lines.refused) == body.count(line) - (line in PLAIN) * taken or len(line) < 3


@settings(max_examples=600)
@given(st.data())
def test_any_values_in_any_columns_are_what_they_are_line_by_line(data):
    columns = data.draw(st.lists(kinds, min_size=1, max_size=5))
    paths = [(f"c{n}",) if n % 3 == 0 else ("k", f"c{n}") if n % 3 == 1 else ("k", "deep", f"c{n}") for n in range(5)]
    schema = Schema(tuple(Column(f"c{n}", kind, paths[n]) for n, kind in enumerate(columns)))
    lines = []
    for _ in range(data.draw(st.integers(1, 6))):
        texts = [
            data.draw(st.one_of(values_for(kind), values_for(kind), values_for(kind), json_texts)) for kind in columns
        ]
        fields = [f'"c{n}":{text}' for n, text in enumerate(texts)]
        inner = [*fields[1::3], *(['"deep":{' + ",".join(fields[2::3]) + "}"] if fields[2::3] else [])]
        outer = [*fields[0::3], *(['"k":{' + ",".join(data.draw(st.permutations(inner))) + "}"] if inner else [])]
        shown = data.draw(st.permutations(outer))
        lines.append(("{" + data.draw(st.sampled_from([",", " , "])).join(shown) + "}").encode(errors="replace"))
    check(schema, b"\n".join(lines))


@settings(max_examples=300)
@given(
    st.lists(st.one_of(st.just(PLAIN), st.binary(max_size=20), json_texts.map(str.encode)), max_size=6),
    st.data(),
)
def test_any_bytes_are_read_or_refused(lines, data):
    """Also a good line that ends anywhere, or has one byte changed: nothing beyond the text is looked at."""
    whole = bytearray(b"\n".join(lines))
    if whole and data.draw(st.booleans()):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    body = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        body.decode()
    except UnicodeDecodeError:
        assert LineReader(SCHEMA).read(body) is None
    else:
        if body:
            check(SCHEMA, body)


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 1000])
def test_real_events_are_all_taken(rows):
    body = b"\n".join(gzip.decompress(FLIGHTS.read_bytes()).splitlines()[:rows])
    lines = check(infer([parse_body(body)]), body)

    assert not lines.refused
    assert lines.batch.num_rows == rows


@settings(max_examples=500)
@given(st.lists(st.one_of(st.floats(-1e14, 1e14), st.floats(-1, 1), st.integers(-(10**15), 10**15).map(lambda n: n / 1000)), min_size=1, max_size=20), st.data())  # fmt: skip
def test_floats_are_the_nearest_to_what_was_sent(numbers, data):
    """As Python reads them, to the bit; also with more digits than a float has."""
    texts = [repr(number) for number in numbers]
    longer = [
        text + data.draw(st.text("0123456789", max_size=12)) if "." in text and "e" not in text else text
        for text in texts
    ]
    body = b"\n".join(b'{"f":%s}' % text.encode() for text in longer)
    lines = check(infer([parse_body(b'{"f":0.5}')]), body)

    refused = {line.number for line in lines.refused}
    expected = [float(text) for number, text in enumerate(longer) if number not in refused]
    assert repr([row["f"] for row in lines.batch.to_pylist()]) == repr(expected)


def test_a_decimal_between_two_floats_becomes_the_even_one():
    texts = [
        f"{(1 << 49) + n}.{digits}"
        for n in range(40)
        for digits in ("0625", "1875", "3125", "9375", "06250", "0624999")
    ]
    lines = check(infer([parse_body(b'{"f":0.5}')]), b"\n".join(b'{"f":%s}' % text.encode() for text in texts))

    assert not lines.refused
    assert [row["f"] for row in lines.batch.to_pylist()] == [float(text) for text in texts]


@pytest.mark.parametrize(("column", "value"), [("f", "0.%030d"), ("s", '{"a":[1.50,"x",%d]}'), ("s", "[%d, null]")])
def test_values_that_python_has_to_read_are_read_by_it_up_to_a_number(column, value, monkeypatch):
    monkeypatch.setattr(line_reader, "LATE_MAX", 10)
    lines = check(SCHEMA, b"\n".join(b'{"u":1,"%s":%s}' % (column.encode(), (value % n).encode()) for n in range(15)))

    assert lines.batch.num_rows == 10
    assert [line.number for line in lines.refused] == [10, 11, 12, 13, 14]


@pytest.mark.parametrize("late", [b"[1,]", b'{"a" 1}', b'{"a":1]', b"[01]", b'["\\ud800"]', b"[nul]", b"[[1}]"])
def test_a_value_that_only_looks_like_one_leaves_the_whole_text_to_others(late):
    body = PLAIN + b'\n{"u":1,"s":%s}' % late
    lines = LineReader(SCHEMA).read(body)
    assert lines is None or [line.number for line in lines.refused] == [1]
    whole = decode_bulk(SCHEMA, body, NOW, check_rows=lambda _: None)
    assert whole.bad == decode(SCHEMA, parse_body(body), NOW).bad
    assert whole.good.num_rows == 1


@pytest.mark.parametrize("special", [b'\\"', b"\\\\", b"\\u00e9", b"\x7f", b"\x1f", b"\xc3\xa9", b"\x80", b"!", b"\x00", b"\\", b'"', b"\xc2\xa2\xf0\x9f\x98\x80"])  # fmt: skip
def test_texts_end_where_they_end_wherever_their_characters_stand(special):
    """They are looked at eight bytes at a time."""
    for before in range(18):
        line = b'{"u":1,"s":"' + b"x" * before + special + b"y" * (before % 5) + b'","n":{"x":1}}'
        lines = [line + b" " * behind for behind in (0, 3)] + [b'{"u":2,"s":"' + special * before + b'"}']
        if special == b"\x80":
            assert LineReader(SCHEMA).read(line) is None
        else:
            check(SCHEMA, b"\n".join(lines))


@pytest.mark.parametrize("size", range(1, 19))
def test_keys_of_any_length_are_told_apart(size):
    keys = [name * size for name in "ab"] + ["a" * (size - 1) + "c", "a" * size + "b", "b" * size + "a" * 8]
    schema = Schema(tuple(Column(f"c{n}", parse_type("Nullable(Int64)"), (key,)) for n, key in enumerate(dict.fromkeys(keys))))  # fmt: skip
    line = json.dumps({key: n for n, key in enumerate(keys)}).encode()
    unknown = json.dumps({"a" * (size - 1) + "d": 1}).encode()
    assert len(check(schema, b"\n".join([line, unknown, line])).refused) == 1


def test_a_line_may_be_as_long_as_any_other_way_takes_it():
    schema = infer([parse_body(b'{"s":"x"}')])
    long = b'{"s":"%s"}' % (b"x" * (LINE_BYTES_MAX - 8))

    assert len(long) == LINE_BYTES_MAX
    assert not check(schema, long).refused
    longer = b"\n".join([b'{"s":"a"}', long, long.replace(b"xx", b"xxx", 1)])
    assert [line.number for line in check(schema, longer).refused] == [2]


@pytest.mark.parametrize(
    "datafile",
    [
        "SCHEMA > d Decimal(9, 2)\n", "SCHEMA > d Float32\n", "SCHEMA > d UUID\n", "SCHEMA > d DateTime('Europe/Madrid')\n", "SCHEMA > d Int64 DEFAULT 3\n", "SCHEMA > d Map(String, Int64)\n",
        "SCHEMA > d String `json:$`\n", "SCHEMA > a String, b String `json:$.a.b`\n", "SCHEMA > d String `json:$.['a\"b']`\n",
        "SCHEMA > " + ", ".join(f"c{n} Array(Int64) `json:$.c{n}[:]`" for n in range(LISTS_MAX + 1)) + "\n",
        "SCHEMA > " + ", ".join(f"c{n} Int64 `json:$.k{n}.c`" for n in range(NODES_MAX)) + "\n",
    ],
)  # fmt: skip
def test_other_schemas_are_read_otherwise(datafile):
    assert LineReader(parse_datafile(datafile).schema).read(b'{"a":1}') is None


def test_very_many_rows_of_very_few_bytes_are_read_otherwise():
    """A row of nothing takes a cell in each column."""
    schema = parse_datafile("SCHEMA > " + ", ".join(f"c{n} Nullable(Int64)" for n in range(60)) + "\n").schema
    assert LineReader(schema).read(b"{}\n" * 100_000) is None
    assert check(schema, b"{}\n" * 10).events == 10


def test_rows_that_are_read_otherwise_stand_where_they_were_sent():
    """Lines that fit, lines that fit when they are looked at closely, and bad ones, in any order."""
    numbered = []
    for n in range(600):
        odd = {
            70: b'{"i":%d,"u":1,"s":"\\ud83d\\ude00"}',
            50: b'{"i":%d,"u":"bad"}',
            30: b'{"i":%d,"u":1,"k":"unknown"}',
        }
        form = next((text for every, text in odd.items() if n % every == every - 1), b'{"i":%d,"u":1}')
        numbered.append(form % n)
    body = b"\n".join(numbered)
    fast = decode_bulk(SCHEMA, body, NOW, check_rows=lambda _: None)
    slow = decode(SCHEMA, parse_body(body), NOW)

    assert fast.good.equals(slow.good)
    assert fast.bad == slow.bad
    assert fast.count == slow.count
    assert fast.unknown == slow.unknown


@settings(max_examples=200)
@given(st.lists(st.sampled_from([PLAIN, b'{"u":1,"k":5}', b'{"u":"x"}', b'{"u":1,"s":"\\ud83d\\ude00"}', b"nope", b'{"u":3,"f":1e3}', b""]), min_size=1, max_size=40))  # fmt: skip
def test_a_body_is_the_same_with_and_without_machine_code(lines):
    body = b"\n".join(lines)
    try:
        slow = decode(SCHEMA, parse_body(body), NOW)
    except BodyRejected:
        return
    fast = decode_bulk(SCHEMA, body, NOW, check_rows=lambda _: None)

    assert fast.good.equals(slow.good)
    assert (fast.bad, fast.count) == (slow.bad, slow.count)
    assert {path: seen.count for path, seen in fast.unknown.items()} == {p: s.count for p, s in slow.unknown.items()}


def test_small_bodies_are_decoded_when_all_of_them_fits():
    reader = LineReader(SCHEMA)
    body = b"\n".join([PLAIN] * 20)
    decoded = reader.decode(body)

    assert decoded is not None
    assert decoded.good.equals(decode(SCHEMA, parse_body(body), NOW).good)
    assert reader.decode(body + b'\n{"u":"x"}') is None
    assert reader.decode(b"[" + PLAIN + b"]") is None
    assert reader.decode(b" \n\n") is None
    assert reader.decode(b'{"u":1}{"u":2}') is None


def test_rows_are_read_the_same_when_there_is_no_machine_code(monkeypatch):
    monkeypatch.setattr(line_reader, "_machine_code", None)
    assert LineReader(SCHEMA).read(PLAIN) is None
    body = b"\n".join([PLAIN] * 5)
    assert decode_bulk(SCHEMA, body, NOW, check_rows=lambda _: None).good.equals(
        decode(SCHEMA, parse_body(body), NOW).good
    )


def test_a_batch_stays_when_what_it_was_read_from_goes():
    """Its memory is its own: the text may be reused, and so may what the scan worked with."""
    reader = LineReader(SCHEMA)
    batches = []
    for n in range(50):
        text = bytearray(b"\n".join(orjson.dumps({"u": n, "s": "x" * n, "a": [n] * 3}) for _ in range(20)))
        lines = reader.read(bytes(text))
        assert lines is not None
        batches.append(lines.batch)
    table = pa.Table.from_batches(batches)

    assert table["u"].to_pylist() == [n for n in range(50) for _ in range(20)]
    assert json.dumps(table["s"].to_pylist()) == json.dumps(["x" * n for n in range(50) for _ in range(20)])
