"""The bytes of a body -> events."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segments import lines
from segments.elements import array_elements
from segments.errors import BodyRejected
from segments.lines import (
    DEPTH_MAX,
    LINE_BYTES_MAX,
    Events,
    Number,
    exact,
    json_text,
    parse_body,
    parse_document,
    parse_slices,
)


@pytest.mark.parametrize(
    ("body", "objects"),
    [
        (b'{"a":1}', [{"a": 1}]),
        (b'{"a":1}\n{"a":2}', [{"a": 1}, {"a": 2}]),
        (b'{"a":1}\r\n\r\n  \n{"a":2}\n', [{"a": 1}, {"a": 2}]),
        (b'\xef\xbb\xbf{"a":1}', [{"a": 1}]),
        (b'[{"a":1},\n {"a":2}]', [{"a": 1}, {"a": 2}]),
        (b'{\n  "a": 1,\n  "b": [\n1]}\n', [{"a": 1, "b": [1]}]),
        (b'{\n  "a": [\n    {}\n  ]\n}\n', [{"a": [{}]}]),
        (b'{"a":\n{"b":2}\n}', [{"a": {"b": 2}}]),
        (b'{"a":1,"a":2}', [{"a": 2}]),
        (b"", []),
        (b" \n\r\n", []),
        (b"[]", []),
        (b" " * 100 + b'[{"a":"]},{"},\n{"b":"\\"[,"} , 3]\n', [{"a": "]},{"}, {"b": '"[,'}, None]),
        (b'[{"a":1}]\n{"a":2}', [None, {"a": 2}]),
        (b'[1,\n{"a":2}', [None, {"a": 2}]),
    ],
)
def test_forms_of_a_body(body, objects):
    assert parse_body(body).objects == objects


@pytest.mark.parametrize("body", [b"nope", b"1\n2\n", b"[1,2]", b'"text"', b"[[1]]", b'{"a":1', b"\xff\xfe"])
def test_a_body_without_any_object_is_rejected(body):
    with pytest.raises(BodyRejected, match="no JSON object"):
        parse_body(body)


def test_lines_that_are_no_objects_stay_in_their_place_with_a_reason():
    events = parse_body(b'{"a":1}\nnope\n[1]\n3\nnull\n{"a":2}')

    assert [value is not None for value in events.objects] == [True, False, False, False, False, True]
    assert events.raws[1] == b"nope"
    assert events.errors[1].startswith("not JSON")
    assert events.errors[2] == "a JSON array where an object is expected"
    assert events.errors[4] == "a JSON null where an object is expected"


@pytest.mark.parametrize(
    "bad", [b'{"a":NaN}', b'{"a":1e400}', b'{"a":"\xff"}', b'{"a":"\\ud800"}', b"{'a':1}", b'{"a":01}']
)
def test_what_strict_json_refuses_is_refused(bad):
    assert 1 in parse_body(b'{"a":1}\n' + bad).errors


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_large_body_in_parts_is_what_it_is_at_once(size, monkeypatch):
    body = b"\n".join(b'{"n":%d}' % n if n % 7 else b"bad\r\n " for n in range(1000)) + b"\n"
    monkeypatch.setattr(lines, "SLICE_BYTES", size)
    joined = Events()
    for part in parse_slices(body):
        joined.extend(part)

    monkeypatch.undo()
    assert joined == parse_body(body)
    with pytest.raises(BodyRejected, match="line 1: not JSON"):
        list(parse_slices(b"bad\n" * 100))


def test_a_line_too_long_or_too_deep_is_refused_without_being_walked():
    long = b'{"a":"' + b"x" * LINE_BYTES_MAX + b'"}'
    deep = b'{"a":' + b"[" * DEPTH_MAX + b"]" * DEPTH_MAX + b"}"
    fits = b'{"a":' + b"[" * (DEPTH_MAX - 1) + b"]" * (DEPTH_MAX - 1) + b"}"
    wide = b'{"a":[' + b",".join([b"{}"] * 200) + b"]}"
    events = parse_body(b"\n".join([long, deep, fits, wide]))

    assert sorted(events.errors) == [0, 1]
    assert "1048576 is the limit" in events.errors[0]
    assert "64 levels" in events.errors[1]


def test_integers_beyond_64_bits_and_fractions_keep_their_digits():
    value = exact(b'{"a":18446744073709551616,"b":1.10,"c":18446744073709551615,"d":-9223372036854775809,"e":[0.1]}')

    assert value["a"] == Number("18446744073709551616")
    assert value["c"] == 18446744073709551615
    assert value["d"] == Number("-9223372036854775809")
    assert json_text(value["b"]) == "1.10"
    assert json_text(value["e"]) == "[0.1]"


def test_integers_beyond_64_bits_survive_in_a_top_level_array():
    (raw,) = parse_body(b'[{"a":18446744073709551616,"b":1.50}]').raws

    assert raw == b'{"a":18446744073709551616,"b":1.50}'


def test_an_array_is_a_batch_whose_elements_are_judged_alone():
    """However long the array is: each element has the limits of a line, and its own text."""
    deep = b'{"a":' + b"[" * 300 + b"]" * 300 + b"}"
    events = parse_body(
        b"[" + b",".join([b'{"n": 1.50}', deep, b'{"s":"' + b"x" * LINE_BYTES_MAX + b'"}', b"nope"]) + b"]"
    )

    assert events.raws[0] == b'{"n": 1.50}'
    assert sorted(events.errors) == [1, 2, 3]
    assert len(parse_body(b"[" + b",".join([b'{"a":1}'] * 200_000) + b"]")) == 200_000


@pytest.mark.parametrize(
    "body", [b'[{"a":1},]', b'[{"a":1},,{"a":2}]', b'[{"a":1}', b'[{"a":1}}', b'[{"a":1}] x', b'["a{}']
)
def test_a_broken_array_is_no_array(body):
    assert array_elements(body) is None


def test_a_string_without_an_end_is_looked_through_once():
    """From each of its quotes on, this would take days, in which nothing else gets a turn."""
    assert array_elements(b'["' + b'\\"' * 4_000_000) is None


@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.text() | st.integers(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
        )
    )
)
def test_the_elements_of_any_array_are_found(values):
    body = json.dumps(values, ensure_ascii=False).encode(errors="replace")
    found = array_elements(body)

    assert found is not None
    assert [json.loads(body[start:end]) for start, end in found] == json.loads(body)


@given(st.binary(max_size=60))
def test_no_bytes_break_the_parser(body):
    for parse in (parse_body, parse_document):
        try:
            events = parse(body)
        except BodyRejected:
            continue
        assert len(events.raws) == len(events.objects)


def test_a_document_may_span_lines_and_is_one_event_or_an_array_of_them():
    assert parse_document(b'\xef\xbb\xbf\n{"a":\n1}\n').objects == [{"a": 1}]
    assert parse_document(b'[{"a":1},\n{"a":2}]').objects == [{"a": 1}, {"a": 2}]
    for body in (b'{"a":1}\n{"a":2}', b"1", b"nope", b"[1]"):
        with pytest.raises(BodyRejected, match="not one JSON object"):
            parse_document(body)
