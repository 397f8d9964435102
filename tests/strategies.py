"""JSON values as clients send them, and schemas."""

import json

import orjson
from hypothesis import strategies as st

texts = st.text(st.characters(codec="utf-8"), max_size=12)
integers = st.one_of(st.integers(-10, 10), st.integers(-(1 << 63), (1 << 64) - 1), st.integers(-(1 << 70), 1 << 70))
fractions = st.floats(allow_nan=False, allow_infinity=False)
dates = st.one_of(
    st.dates().map(str),
    st.datetimes().map(lambda moment: moment.isoformat(sep=" ")),
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    st.datetimes().map(lambda moment: moment.isoformat(timespec="milliseconds") + "+05:30"),
    st.sampled_from(["2013-02-30", "2013-01-01 24:00:00", "2013-01-01T10:00", "2013-01-01 10:00:00.1234567"]),
)
scalars = st.one_of(st.none(), st.booleans(), integers, fractions, texts, dates)
values = st.recursive(
    scalars,
    lambda children: st.one_of(st.lists(children, max_size=3), st.dictionaries(texts, children, max_size=3)),
    max_leaves=8,
)
keys = st.one_of(st.sampled_from(["a", "b", "A", "a.b", "a_b", "ingested", "é", "'", "`", "\\", ""]), texts)
objects = st.dictionaries(keys, values, max_size=5)


def line(value: object) -> bytes:
    """JSON text with integers of any size exact."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=False).encode()
