"""The table of types that inference gives, and the names it makes."""

import pytest

from segments.datafile import parse_datafile
from segments.datafile_print import print_schema
from segments.errors import BodyRejected
from segments.infer import infer
from segments.lines import parse_body
from segments.schema import COLUMNS_MAX


def columns(*lines: str) -> dict[str, str]:
    schema = infer([parse_body("\n".join(lines).encode())])
    assert parse_datafile(print_schema(schema)).schema == schema
    return {column.name: str(column.type) for column in schema.columns}


def type_of(*found: str) -> str:
    return columns(*(f'{{"x":{value}}}' for value in found))["x"].removeprefix("Nullable(").removesuffix(")")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["1", "-5", "null"], "Int64"),
        (["9223372036854775807"], "Int64"),
        (["9223372036854775808", "1"], "UInt64"),
        (["9223372036854775808", "-1"], "String"),
        (["18446744073709551616"], "String"),
        (["1", "1.5"], "Float64"),
        (["0.5", "9007199254740993"], "String"),
        (["true"], "Bool"),
        (["true", "1"], "String"),
        (['"2013-01-01"', '"2013-12-31"'], "Date"),
        (['"2013-01-01"', '"x"'], "String"),
        (['"2013-02-30"'], "String"),
        (['"2013-01-01 10:00:00"', '"2013-01-01T10:00:00.123Z"'], "DateTime64(3"),
        (['"2013-01-01T10:00:00.1234+02:00"'], "DateTime64(6"),
        (['"2013-01-01T10:00:00.123456789Z"'], "DateTime64(9"),
        (['"0013-01-01T10:00:00.123456789Z"'], "String"),
        (['"2013-01-01"', '"2013-01-01 10:00:00"'], "String"),
        (["[1,2]", "[]"], "Array(Int64"),
        (["[1,null]"], "Array(Nullable(Int64)"),
        (['["a",1]'], "Array(String"),
        (["[{}]"], "String"),
        (["[[1]]"], "String"),
        (["{}"], "String"),
        (['{"a":1}', "1"], "String"),
        (["[null]"], "String"),
    ],
)
def test_types(found, expected):
    assert type_of(*found).rstrip(")") == expected.rstrip(")")


def test_objects_are_flattened_with_their_paths():
    schema = infer([parse_body(b'{"a":{"b":{"c":1}},"d":[1],"$e-f g":2}')])

    assert print_schema(schema) == (
        "SCHEMA >\n"
        "    `a_b_c` Nullable(Int64) `json:$.a.b.c`,\n"
        "    `d` Nullable(Array(Int64)) `json:$.d[:]`,\n"
        "    `_e_f_g` Nullable(Int64) `json:$.['$e-f g']`\n"
        "\n"
        'ENGINE "MergeTree"\n'
    )


def test_deeper_than_eight_levels_is_json_text():
    assert columns('{"1":{"2":{"3":{"4":{"5":{"6":{"7":{"8":{"9":1}}}}}}}}}') == {
        "_1_2_3_4_5_6_7_8": "Nullable(String)"
    }


def test_colliding_names_get_numbers_case_aside():
    names = columns('{"a":1,"A":2,"a_b":3,"a.b":4,"a":{"b":5},"ingested":6,"c__row":7,"é":8}')

    assert list(names) == ["a_b", "A", "a_b_2", "a_b_3", "ingested_2", "c__row_2", "_"]


def test_what_is_only_null_or_only_an_empty_array_is_left_out():
    assert columns('{"a":null,"b":[],"c":{"d":null},"e":1}') == {"e": "Nullable(Int64)"}
    with pytest.raises(BodyRejected, match="no column can be inferred"):
        columns('{"a":null}')


def test_the_first_date_time_is_the_sorting_key():
    schema = infer([parse_body(b'{"a":1,"t":"2013-01-01 10:00:00","u":"2013-01-01 10:00:00"}')])

    assert schema.sorting_key == ("t",)


def test_a_flood_of_keys_is_looked_at_only_so_far():
    """A body of keys that never repeat must not fill the memory with what was seen of each."""
    flood = "\n".join("{" + ",".join(f'"k{line}_{n}":1' for n in range(1000)) + "}" for line in range(20))

    assert len(columns(flood)) == COLUMNS_MAX


def test_no_more_than_500_columns():
    body = "{" + ",".join(f'"k{n}":{n}' for n in range(COLUMNS_MAX + 50)) + "}"

    assert len(columns(body)) == COLUMNS_MAX
