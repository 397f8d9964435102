"""Quarantined rows keep what was sent, column by column, whichever way they were read."""

from datetime import datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segments import line_reader
from segments.compiled.load import loaded
from segments.datafile import parse_datafile
from segments.decode import decode
from segments.filenames import Lsn
from segments.lines import parse_lines
from segments.quarantine import Quarantine
from segments.schema import Schema
from tests.strategies import json_texts

NOW = datetime(2026, 11, 23, 12)
FIRST = Lsn(7)
SCHEMA = parse_datafile(
    "SCHEMA > i Int64 `json:$.i`, f Float64 `json:$.f`, d Date `json:$.d`, a Array(Int64) `json:$.a[:]`, "
    "n_x Int8 `json:$.n.x`, n_y String `json:$.n.m.y`\n"
).schema
PLAIN = b'{"i":"x","f":1.50'
WHOLE = parse_datafile("SCHEMA > i Int64 `json:$.i`, all String `json:$`\n").schema


@pytest.fixture(autouse=True, scope="module")
def _loaded():
    line_reader.use(loaded())


def check(schema: Schema, lines: list[bytes]) -> pa.RecordBatch:
    """The batch, which is the same without machine code."""
    bad = decode(schema, parse_lines(lines), NOW).bad
    batch = Quarantine(schema).batch(bad, FIRST, NOW)
    assert batch["c__lsn"].to_pylist() == [FIRST + row.number for row in bad]
    plain = [row for row in bad if row.raw.startswith(PLAIN)]
    if len(plain) > 8:
        assert Quarantine(schema)._by_machine(plain) is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_reader, "_machine_code", None)
        assert Quarantine(schema).batch(bad, FIRST, NOW).equals(batch)
    batch.validate(full=True)
    return batch


@settings(max_examples=300)
@given(st.data())
def test_rows_are_kept_the_same_with_and_without_machine_code(data):
    lines = []
    for _ in range(data.draw(st.integers(8, 14))):
        keys = data.draw(st.lists(st.sampled_from(["i", "f", "d", "a", "n", "k"]), max_size=4))
        fields = [f'"{key}":{data.draw(json_texts)}' for key in keys]
        inner = data.draw(st.sampled_from(['"n":{"x":1.50,"m":{"y":"\\u00e9\\n"}}', '"n":{"x":[1, 2.0]}', '"n":null', '"z":1']))  # fmt: skip
        glue = data.draw(st.sampled_from([",", ",\n ", " , "]))
        line = "{" + glue.join([*fields, inner]) + "}"
        lines.append(data.draw(st.sampled_from([line, line, line, "nope", "[1]"])).encode(errors="replace"))
    check(SCHEMA, lines)


def test_every_column_has_the_text_that_was_sent_for_it():
    sent = b'{"i":"x","f":1.50,"d":20240101,"a":[1, 2.0,{"b":null}],"n":{"x":true,"m":{"y":"\\u00e9"}}}'
    other = b'{"i":2,\n"f":123456789012345678901234567890,"k":"no column"}'
    batch = check(SCHEMA, [sent] * 10 + [other, b"\xff not JSON"] + [sent])

    assert sent.startswith(PLAIN)
    texts = {name: batch[name].to_pylist() for name in SCHEMA.names}
    first = {"i": "x", "f": "1.50", "d": "20240101", "a": '[1,2.0,{"b":null}]', "n_x": "true", "n_y": "é"}
    assert [texts[name][0] for name in SCHEMA.names] == list(first.values())
    assert [texts[name][12] for name in SCHEMA.names] == list(first.values())
    assert [texts[name][10] for name in SCHEMA.names] == ["2", "123456789012345678901234567890", None, None, None, None]
    assert [texts[name][11] for name in SCHEMA.names] == [None] * 6
    assert batch["c__row"].to_pylist() == [sent.decode()] * 10 + [other.decode(), "\\xff not JSON", sent.decode()]
    assert batch["c__lsn"].to_pylist() == list(range(7, 20))


def test_a_column_of_the_whole_event_has_it():
    line = b'{"i":"x","k":[1.0]}'
    assert check(WHOLE, [line] * 10)["all"].to_pylist() == [line.decode()] * 10


def test_many_rows_are_taken_in_parts():
    lines = [b'{"i":"' + bytes([97 + n % 26]) * 400_000 + b'"}' for n in range(9)]
    assert [len(text) for text in check(SCHEMA, lines)["i"].to_pylist()] == [400_000] * 9
