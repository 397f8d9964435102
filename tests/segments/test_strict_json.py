"""Which texts are JSON and which are not, answered as a strict parser does, by both ways that rows are read.

The questions are those of Nicolas Seriot's JSONTestSuite, in our own words: each value stands in a row of its own.
"""

from datetime import datetime

import pytest

from segments.bulk import BulkSchema
from segments.datafile import parse_datafile
from segments.lines import parse_body

MUST_PARSE = [
    b"[]", b"[[]]", b'[""]', b"[1]", b"[-0]", b"[-1]", b"[0e1]", b"[0e+1]", b"[1E22]", b"[1e-2]", b"[123.456e78]", b"[20e1]",
    b"[123.456789]", b"[-123]", b"[1.0]", b"[null]", b"[true,false]", b'{"":0}', b'{"a":[]}', b'{"a":1,"a":2}', b'{"\\u0000":1}',
    b'["\\u0060\\u012a\\u12AB"]', b'["\\uD801\\udc37"]', b'["\\"\\\\\\/\\b\\f\\n\\r\\t"]', b'["\\u0012"]', b'["\\uFFFF"]', b'["\xc3\xa9"]',
    b'["\xe2\x82\xac"]', b'["\xf0\x9d\x84\x9e"]', b'["\x7f"]', b'["\\u2028"]', b'["\xe2\x80\xa8"]', b'" "', b"-0", b"1e2", b"[ 1 , 2 ]", b"\t1\t",
    b'{"min":-1.0e+28,"max":1.0e+28}', b'[[[[[["deep"]]]]]]', b"[9007199254740993]", b"[123456789012345678901234567890]",
]  # fmt: skip
MUST_NOT = [
    b"[1 true]", b"[a]", b"[1,]", b"[,1]", b"[1,,2]", b'["x"', b"[1", b"[", b"]", b'[""],', b'["": 1]', b"[++1]", b"[+1]", b"[-01]",
    b"[-1.0.]", b"[-2.]", b"[.123]", b"[0.1.2]", b"[0.3e]", b"[0.3e+]", b"[0.e1]", b"[0E]", b"[1.0e]", b"[1.0e-]", b"[1eE2]", b"[2.e3]",
    b"[012]", b"[0x1]", b"[0x42]", b"[1_000]", b"[Infinity]", b"[-Infinity]", b"[NaN]", b"[-NaN]", b"[inf]", b"[nan]", b"[- 1]", b"[1+2]",
    b"[True]", b"[tru]", b"[nul]", b"[fals]", b'{"a"}', b'{"a":}', b'{"a" 1}', b'{"a":1,}', b'{,"a":1}', b"{a:1}", b"{1:1}", b"{'a':1}",
    b'{"a":1 "b":2}', b'{"a":1}}', b"['x']", b'["\\x00"]', b'["\\a"]', b'["\\u00A"]', b'["\\u"]', b'["\\"]', b'["\t"]', b'["a\x00b"]', b'["\x1f"]',
    b'["\xff"]', b'["\xc3"]', b'["\xed\xa0\x80"]', b'["\\uD800"]', b'["\\uD800\\u0041"]', b'["\\uDC00"]', b"[1]//", b"[1]/**/", b"\x0b1", b"\xc2\xa01",
    b"[1]x", b"1 2", b"<null>", b"\xef\xbb\xbf1", b"[1e400]", b"undefined", b"",
]  # fmt: skip
ROW = b'{"good":1,"v":%b}'
SCHEMA = parse_datafile("SCHEMA > good Nullable(Int64)\n").schema
NOW = datetime(2026, 11, 23)


@pytest.mark.parametrize("text", MUST_PARSE)
def test_what_is_json_is_a_row(text):
    assert not parse_body(ROW % text).errors


@pytest.mark.parametrize("text", MUST_NOT)
def test_what_is_not_json_is_no_row_and_the_fast_way_does_not_take_it(text):
    good = b'{"good":1}'
    assert list(parse_body(good + b"\n" + ROW % text).errors) == [1]
    assert BulkSchema(SCHEMA).decode(good + b"\n" + ROW % text) is None
