"""Keys that no column takes are counted, with a type that holds what was seen, however many there are."""

from typing import Any

import orjson
import pytest

from segments.datafile import parse_datafile
from segments.unknown_keys import KEYS_MAX, unknown_keys

SCHEMA = parse_datafile("SCHEMA > id Int64 `json:$.id`, a_b Int64 `json:$.a.b`\n").schema


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, -3], "Int64"), ([1, 2.5], "Float64"), ([2.5, 1], "Float64"), ([True, False], "Bool"), ([True, 1], "String"), ([1, "x"], "String"), (["x", 1], "String"),
        ([2**63, 2**63 + 1], "UInt64"), ([2**63, 1], "Float64"), ([1, 2**63], "Float64"), (["2024-01-01", "2024-01-02"], "Date"), (["2024-01-01", "x"], "String"),
        (["2024-01-01 10:00:00", "2024-01-01 10:00:00"], "DateTime64(3)"), ([["a"], ["b", "c"]], "Array(String)"), ([[1], [2]], "Array(Int64)"), ([[1], [2.5]], "String"), ([["a"], [None]], "String"),
        ([["a"], [["b"]]], "String"), ([["a"], [{"b": 1}]], "String"), ([["a"], "b"], "String"), ([{"k": 1}, {"k": 2}], "String"), ([["a"], ["2024-01-01"]], "Array(String)"),
    ],
)  # fmt: skip
def test_a_type_is_told_that_holds_all_values(values, kind):
    found = unknown_keys(SCHEMA, [{"id": 1, "k": value} for value in values])

    assert {path: (seen.count, str(seen.type)) for path, seen in found.items()} == {
        ("k",): (len(values), f"Nullable({kind})" if not kind.startswith("Array") else str(found["k",].type))
    }
    assert kind in str(found["k",].type)


def test_only_values_count_and_only_keys_beside_columns():
    events: list[dict[str, Any] | None] = [
        {"id": 1, "a": {"b": 2, "c": 3}, "n": None, "l": [], "o": {}},
        {"a": {"c": "x"}, "z": {"y": 1}},
        None,
        {"a": 5, "l": [1]},
    ]
    found = unknown_keys(SCHEMA, events)

    assert {path: seen.count for path, seen in found.items()} == {("a", "c"): 2, ("z",): 1, ("l",): 1}


def test_beyond_a_number_nothing_new_is_kept_and_what_is_known_is_counted():
    events = [orjson.loads(orjson.dumps({f"k{n}": 1, "k0": 1})) for n in range(KEYS_MAX + 50)]
    found = unknown_keys(SCHEMA, events)

    assert len(found) == KEYS_MAX
    assert found["k0",].count == KEYS_MAX + 50
