"""What JSONTestSuite asks (Seriot, "Parsing JSON is a Minefield"; RFC 8259): nothing that is no JSON gets in as a row.

As a value of a column of each kind and of a key that no column has, on the way of large bodies and line by line.
"""

import pytest

from segments.bulk_schema import BulkSchema
from segments.datafile import parse_datafile
from segments.decode import decode
from segments.lines import parse_body
from segments.plain_lines import count_objects
from tests.stored import NOW

SCHEMA = parse_datafile("SCHEMA > a Nullable(Int64), f Nullable(Float64), s Nullable(String)\n").schema
NUMBERS = b"01 -01 .5 1. 1.e5 1e 1e+ +1 0x1 - --1 1eE2 0e+ 2.e+3 -.1 1_000 1a".split()
WORDS = b"Infinity -Infinity nan NaN nul truee tru True None undefined".split()
STRINGS = [
    b"'x'", b'"\x01"', b'"\t"', b'"\x00"', b'"\\q"', b'"\\u12"', b'"\\u00G0"', b'"\\x00"', b'"a', b'"\\"', b'"\\a"', b"x",
    b'"\\ud800"', b'"\\ud800\\u0041"', b'"\\udc00\\ud800"', b'"\xff"', b'"\xed\xa0\x80"', b'"\xc0\xaf"', b'"\xf4\x90\x80\x80"',
]  # fmt: skip
NESTED = [
    b"[1,]", b"[,1]", b"[1 2]", b"[1,,2]", b"[", b"[1", b"]", b"[1]]", b"{", b'{"x":1,}', b'{"x"}', b'{"x":}', b"{x:1}", b"{1:1}",
    b'{"x":1 "y":2}', b'{"x"::1}', b"{'x':1}", b'{"x":1}}',
]  # fmt: skip
AROUND = [
    b"/**/1",
    b"1//c",
    b"1#c",
    b"",
    b",",
    b"1,",
    b"1\x0c",
    b"\xa01",
    b"\xef\xbb\xbf1",
    b"1\x00",
    b"1 2",
    b"1;",
    b"*",
]
LINES = [
    b'{"a":1}x', b'{"a":1}}', b'{"a":1},', b'{"a":1,}', b'{,"a":1}', b'{"a" 1}', b'{"a":1;}', b'{"\x01":1}', b'{"a\t":1}',
    b'{"\\ud800":1}', b'{"a":1}\x00', b'\x00{"a":1}', b"[1]", b"1", b'"a"', b"null", b"true", b'{"a":1', b'{"a"', b"{", b"}",
]  # fmt: skip


def is_taken(line: bytes) -> tuple[bool, bool]:
    """By the way of large bodies, and line by line; between two good lines, which must be taken."""
    body = b'{"a":1}\n' + line + b'\n{"a":3}\n'
    slow = decode(SCHEMA, parse_body(body), NOW)
    fast = BulkSchema(SCHEMA).decode(body, count_objects(body))
    assert slow.good.num_rows + len(slow.bad) == 3
    assert slow.good["a"].to_pylist()[0] == 1
    assert slow.good["a"].to_pylist()[-1] == 3
    return fast is not None, slow.good.num_rows == 3


@pytest.mark.parametrize("column", [b"a", b"f", b"s", b"unknown"])
@pytest.mark.parametrize("value", [*NUMBERS, *WORDS, *STRINGS, *NESTED, *AROUND])
def test_a_value_that_is_no_json_is_no_row(column, value):
    assert is_taken(b'{"' + column + b'":' + value + b"}") == (False, False)


@pytest.mark.parametrize("line", LINES)
def test_a_line_that_is_no_object_is_no_row(line):
    assert is_taken(line) == (False, False)


@pytest.mark.parametrize(
    "line",
    [
        b'{"a":-0}', b'{"f":1E+2}', b'{"f":0e1}', b'{"f":-1.5e-3}', b'{"s":"\x7f"}', b'{"s":"\\u0000"}', b'{"s":"\\ud83d\\ude00"}',
        b'{"s":"\xf0\x9f\x98\x80"}', b'{"s":"\\/\\b\\f\\n\\r\\t\\"\\\\"}', b' {\t"a" :\r1 } ', b'{"s":""}', b'{"":1}', b"{}", b'{"unknown":[[[]]]}',
    ],
)  # fmt: skip
def test_what_is_json_is_a_row(line):
    assert is_taken(line)[1]
