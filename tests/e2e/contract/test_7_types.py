"""Types: what is inferred, and what fits"""

from urllib.parse import quote

import pytest

from tests.contract import states
from tests.daemons import TOKEN, query
from tests.http_client import Client

BIG = 9007199254740993


def columns(api, name):
    with Client(api.address) as client:
        document = client.request("GET", f"/v0/datasources/{name}?token={TOKEN}").json()
    return [
        (c["name"], f"Nullable({c['type']})" if c["nullable"] else c["type"], c["jsonpath"])
        for c in document["columns"]
    ]


@states(
    "Integers are inferred as `Int64`, beyond 2^63-1 as `UInt64`, beyond 2^64 as `String`; with fractions as `Float64`.",
    "Dates are inferred as `Date`, ISO dates with time as `DateTime64(3)`, or `(6)` when a fraction has more than three digits.",
    "`true` and `false` are `Bool`; other strings, and mixed kinds, are `String`; every inferred column is `Nullable`.",
    "Arrays of scalars are `Array(T)`; arrays of objects or arrays, and empty objects, are `String` with the JSON text.",
)
@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-5"], "Int64"),
        (["1", "9223372036854775808"], "UInt64"),
        (["18446744073709551616"], "String"),
        (["1", "0.5"], "Float64"),
        (["true", "false"], "Bool"),
        (['"2024-02-29"'], "Date"),
        (['"2024-02-29T10:00:00Z"', '"2024-02-29 10:00:00.123+02:00"'], "DateTime64(3)"),
        (['"2024-02-29T10:00:00.123456"'], "DateTime64(6)"),
        (['"2024-02-30"'], "String"),
        (['"x"', "1"], "String"),
        (["[1,2]"], "Array(Int64)"),
        (['["a",null]'], "Array(Nullable(String))"),
        (['[{"a":1}]'], "String"),
        (["[[1]]"], "String"),
        (["{}"], "String"),
    ],
)
def test_inference(api, name, values, kind):
    body = "\n".join(f'{{"v":{value}}}' for value in values)
    assert api.post(body.encode(), f"name={name}").json()["quarantined_rows"] == 0
    ((_, found, _),) = columns(api, name)
    assert found == f"Nullable({kind})"


@states(
    "Objects are flattened: `a.b` becomes column `a_b` with path `$.a.b`.",
    "Characters outside `[A-Za-z0-9_]` become `_`; names that clash, case aside, get `_2`, `_3`.",
    "A key that only had null or an empty array makes no column.",
)
def test_names(api, name):
    api.post(b'{"a":{"b":1},"a_b":2,"A_B":3,"x-y":4,"n":null,"e":[]}', f"name={name}")
    assert columns(api, name) == [
        ("a_b", "Nullable(Int64)", "$.a.b"),
        ("a_b_2", "Nullable(Int64)", "$.a_b"),
        ("A_B_3", "Nullable(Int64)", "$.A_B"),
        ("x_y", "Nullable(Int64)", "$.x-y"),
    ]


@states("The first date-time column is the sorting key of an inferred data source.")
def test_sorting_key(api, name):
    api.post(b'{"n":1,"at":"2024-01-01T00:00:00Z","b":"2024-01-01T00:00:00Z"}', f"name={name}")
    with Client(api.address) as client:
        shown = client.request("GET", f"/v0/datasources/{name}?token={TOKEN}").json()
    assert shown["engine"]["sorting_key"] == "at"


@states("Integers from 2^53 to 2^64 survive exactly, alone, in arrays and in JSON text.")
def test_exact_integers(api, name):
    body = f'{{"i":{BIG},"a":[{BIG}],"o":[{{"x":18446744073709551615}}],"s":"x"}}\n{{"s":{BIG}}}'
    assert api.post(body.encode(), f"name={name}&wait=true").json()["quarantined_rows"] == 0
    rows = query(api.data, f"SELECT * FROM {name} ORDER BY s DESC")
    assert rows[0] == {"i": BIG, "a": [BIG], "o": '[{"x":18446744073709551615}]', "s": "x"}
    assert rows[1]["s"] == str(BIG)


FITS = [
    ("Int8", "127", 127),
    ("Int64", '"9007199254740993"', BIG),
    ("UInt64", "18446744073709551615", 18446744073709551615),
    ("Float64", "1", 1.0),
    ("Float32", "0.5", 0.5),
    ("String", "1.50", "1.50"),
    ("String", '{"a": [1, 2]}', '{"a":[1,2]}'),
    ("FixedString(3)", '"abc"', "abc"),
    ("UUID", '"F0000000-0000-0000-0000-00000000000A"', "f0000000-0000-0000-0000-00000000000a"),
    ("Decimal(10, 2)", '"12345678.9"', 12345678.9),
    ("DateTime", "1709200800", "2024-02-29 10:00:00"),
    ("DateTime('Europe/Madrid')", '"2024-02-29 11:00:00"', "2024-02-29 10:00:00"),
    ("DateTime64(3)", '"2024-02-29T10:00:00.123Z"', "2024-02-29 10:00:00.123"),
    ("LowCardinality(String)", '"x"', "x"),
    ("Map(String, Int8)", '{"a":1}', {"a": 1}),
    ("JSON", '{"a":1.50}', '{"a":1.50}'),
]
DOES_NOT_FIT = [
    ("Int64", "1.5"),
    ("Int8", "128"),
    ("Int64", '"abc"'),
    ("Int32", '"1"'),
    ("Float64", "9007199254740993"),
    ("Float32", "0.123456789"),
    ("Bool", "1"),
    ("Date", '"2023-02-29"'),
    ("DateTime", '"1709200800"'),
    ("DateTime64(3)", '"2024-02-29T10:00:00.1234Z"'),
    ("FixedString(3)", '"abcd"'),
    ("UUID", '"x"'),
    ("Decimal(4, 2)", "1.234"),
    ("Int64", "null"),
]


@states(
    "A value fits its column exactly: strings with an exact integer fit `Int64` and `UInt64`, with a decimal `Decimal`; numbers, objects and arrays fit `String` by their JSON text; a number in a date-time is Unix seconds.",
    "All of (U)Int8-64, Float32/64, Bool, String, FixedString, LowCardinality, UUID, Date, Date32, DateTime, DateTime64, Decimal, Array, Map, Nullable and JSON can be declared.",
)
@pytest.mark.parametrize(("kind", "sent", "stored"), FITS)
def test_fits(api, name, kind, sent, stored):
    api_create(api, name, kind)
    answer = api.post(f'{{"v":{sent}}}'.encode(), f"name={name}&wait=true").json()
    assert answer["quarantined_rows"] == 0
    ((found,),) = [row.values() for row in query(api.data, f"SELECT v FROM {name}")]
    assert found == stored or str(found).replace("T", " ").removesuffix(".000") == stored


@states(
    "What would have to be rounded, cut or guessed goes to quarantine: fractions in integer columns, what is out of range, bad dates, null in a column neither Nullable nor with a DEFAULT."
)
@pytest.mark.parametrize(("kind", "sent"), DOES_NOT_FIT)
def test_does_not_fit(api, name, kind, sent):
    api_create(api, name, kind)
    answer = api.post(f'{{"v":{sent}}}'.encode(), f"name={name}&wait=true").json()
    assert (answer["successful_rows"], answer["quarantined_rows"]) == (0, 1)


@states("A `DEFAULT` stands for what is missing, and for null where the column is not Nullable.")
def test_default(api, name):
    api_create(api, name, "Int8 DEFAULT 7")
    api.post(b'{"v":null}\n{"w":1}\n{"v":1}', f"name={name}&wait=true")
    assert query(api.data, f"SELECT v FROM {name} ORDER BY v") == [{"v": 1}, {"v": 7}, {"v": 7}]


@states("Of a key that an object has twice, the last counts.")
def test_duplicate_keys(api, name):
    api.post(b'{"n":1,"n":2}', f"name={name}&wait=true")
    assert query(api.data, f"SELECT n FROM {name}") == [{"n": 2}]


def api_create(api, name, kind):
    with Client(api.address) as client:
        target = f"/v0/datasources?name={name}&token={TOKEN}&schema={quote(f'v {kind}')}"
        answer = client.request("POST", target, b"")
    assert answer.status == 200, answer.body
