"""JSON values as clients send them, column types, schemas and datafiles."""

import json
from datetime import datetime

import orjson
from hypothesis import strategies as st

from segments.column_type import ColumnType, parse_type
from segments.datafile_schema import read_columns
from segments.errors import SchemaError
from segments.paths import print_path
from segments.scanner import Scanner
from segments.schema import RESERVED_NAMES, Schema

texts = st.text(st.characters(codec="utf-8"), max_size=12)
integers = st.one_of(st.integers(-10, 10), st.integers(-(1 << 63), (1 << 64) - 1), st.integers(-(1 << 70), 1 << 70))
fractions = st.floats(allow_nan=False, allow_infinity=False)
dates = st.one_of(
    st.dates().map(str),
    st.datetimes().map(lambda moment: moment.isoformat(sep=" ")),
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    st.datetimes().map(lambda moment: moment.isoformat(timespec="milliseconds") + "+05:30"),
    st.sampled_from(["2013-02-30", "2013-01-01 24:00:00", "2013-01-01T10:00", "2013-01-01 10:00:00.1234567"]),
    st.sampled_from(["0000-01-01", "0000-01-01 00:00:00", "2026-03-29 02:30:00", "2026-10-25T02:30:00.5"]),
    st.sampled_from(["1677-09-21 00:12:43", "2262-04-12T00:00:00Z", "2020-02-29T23:59:59.120Z", "9999-12-31 23:59:59"]),
)
scalars = st.one_of(st.none(), st.booleans(), integers, fractions, texts, dates)
values = st.recursive(
    scalars,
    lambda children: st.one_of(st.lists(children, max_size=3), st.dictionaries(texts, children, max_size=3)),
    max_leaves=8,
)
keys = st.one_of(st.sampled_from(["a", "b", "A", "a.b", "a_b", "ingested", "é", "'", "`", "\\", ""]), texts)
objects = st.dictionaries(keys, values, max_size=5)

edges = st.sampled_from(
    sorted({sign * (1 << bits) + off for sign in (-1, 1) for bits in range(66) for off in (-1, 0, 1)})
)
literals = st.one_of(
    edges.map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-10_000, max_value=10_000).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,21})(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?", fullmatch=True),
    st.sampled_from(["0.1", "1.10", "-0", "-0.0", "0.123456789", "16777217", "1e-45", "3.5e38", "1e-400", "1e9999999"]),
)
"""Numbers as JSON spells them, among them the ends of every integer type and digits that floats drop."""
json_texts = st.recursive(
    st.one_of(
        scalars.map(lambda value: line(value).decode()),
        literals.filter(lambda literal: is_json(literal.encode())),
        literals.map(lambda literal: f'"{literal}"'),
        st.uuids().map(lambda uuid: f'"{uuid}"'),
        st.uuids().map(lambda uuid: f'"{str(uuid).upper()}"'),
        st.sampled_from(['"007"', '"+1"', '"1 "', '""', '"1_0"', '"é"', '"٣"', '"2013-01-01\\n"']),
    ),
    lambda children: st.one_of(
        st.lists(children, max_size=3).map(lambda parts: f"[{','.join(parts)}]"),
        st.dictionaries(st.one_of(texts, literals, dates), children, max_size=3).map(
            lambda pairs: "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in pairs.items()) + "}"
        ),
    ),
    max_leaves=5,
)
"""JSON of any kind, as text, because the digits of a number are part of what is sent."""

zones = st.sampled_from(["UTC", "Europe/Madrid", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe"])
_word_types = st.sampled_from(
    [f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
    + ["Float32", "Float64", "Bool", "String", "UUID", "Date", "Date32", "JSON", "DateTime"]
)
_decimals = st.integers(1, 38).flatmap(lambda p: st.integers(0, p).map(lambda s: f"Decimal({p}, {s})"))
_leaf_types = st.one_of(
    _word_types,
    st.integers(1, 40).map(lambda n: f"FixedString({n})"),
    zones.map(lambda zone: f"DateTime('{zone}')"),
    st.integers(0, 9).map(lambda p: f"DateTime64({p})"),
    st.builds(lambda p, zone: f"DateTime64({p}, '{zone}')", st.integers(0, 9), zones),
    _decimals,
    st.sampled_from(["LowCardinality(String)", "LowCardinality(Nullable(FixedString(3)))", "LowCardinality(Int8)"]),
)
_key_types = st.sampled_from(
    [
        "String",
        "LowCardinality(String)",
        "FixedString(9)",
        "Int8",
        "UInt64",
        "UUID",
        "Date",
        "DateTime",
        "DateTime64(3)",
    ]
)
_flat = st.one_of(_leaf_types, _leaf_types.filter(lambda t: not t.startswith("Low")).map(lambda t: f"Nullable({t})"))
type_texts = st.recursive(
    _flat,
    lambda inner: st.one_of(
        inner.map(lambda t: f"Array({t})"),
        inner.map(lambda t: f"Nullable(Array({t}))"),
        st.builds(lambda key, value: f"Map({key}, {value})", _key_types, inner),
        st.builds(lambda key, value: f"Nullable(Map({key}, {value}))", _key_types, inner),
    ),
    max_leaves=3,
)
"""Spellings of column types, as ClickHouse prints them."""
column_types: st.SearchStrategy[ColumnType] = type_texts.map(parse_type)


def line(value: object) -> bytes:
    """JSON text with integers of any size exact."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=False).encode()


def is_json(text: bytes) -> bool:
    """Whether the parser takes it; it refuses numbers that a double would make infinite."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def values_for(kind: ColumnType) -> st.SearchStrategy[str]:
    """JSON texts of the kind that the column is for, most of which it takes."""
    fitting = _fitting(kind)
    return st.one_of(fitting, st.just("null")) if kind.nullable else fitting


def _fitting(kind: ColumnType) -> st.SearchStrategy[str]:
    match kind.name:
        case "Bool":
            return st.sampled_from(["true", "false"])
        case "Float32" | "Float64":
            return st.one_of(
                st.integers(-(1 << 25), 1 << 25).map(str),
                st.floats(width=16, allow_nan=False, allow_infinity=False).map(repr),
                st.sampled_from(["0.1", "3.25", "1.1", "0.30000001"]),
            )
        case "Decimal":
            low, high = -(10**kind.precision), 10**kind.precision
            return st.integers(low + 1, high - 1).map(lambda n: _scaled(n, kind.scale))
        case "UUID":
            return st.uuids().map(lambda uuid: f'"{uuid}"')
        case "Date" | "Date32":
            return st.dates().map(lambda day: f'"{day}"')
        case "DateTime" | "DateTime64":
            return st.builds(_moment, st.datetimes(), st.integers(0, kind.precision), st.sampled_from(["", "Z"]))
        case "Array":
            assert kind.element is not None
            return st.lists(values_for(kind.element), max_size=3).map(lambda parts: f"[{','.join(parts)}]")
        case "Map":
            assert kind.key is not None
            assert kind.element is not None
            quoted = values_for(kind.key).map(lambda key: key if key.startswith('"') else f'"{key}"')
            return st.dictionaries(quoted, values_for(kind.element), max_size=3).map(
                lambda pairs: "{" + ",".join(f"{key}:{value}" for key, value in pairs.items()) + "}"
            )
        case "String" | "FixedString" | "JSON":
            return texts.map(lambda text: line(text).decode())
    bits = int(kind.name.removeprefix("U").removeprefix("Int"))
    return (
        st.integers(0, 2**bits - 1) if kind.name[0] == "U" else st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    ).map(str)


def _scaled(number: int, scale: int) -> str:
    digits = str(abs(number)).rjust(scale + 1, "0")
    whole, fraction = (digits[:-scale], digits[-scale:]) if scale else (digits, "")
    return ("-" if number < 0 else "") + whole + (f".{fraction}" if fraction else "")


def _moment(moment: datetime, digits: int, zone: str) -> str:
    fraction = f".{moment.microsecond:06}000"[: digits + 1] if digits else ""
    return f'"{moment.replace(microsecond=0).isoformat()}{fraction}{zone}"'


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name.lower() not in RESERVED_NAMES
)


def _in_sql(value: object) -> str:
    """A value of JSON as DEFAULT spells it."""
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n") + "'"
    if isinstance(value, list):
        return f"[{', '.join(map(_in_sql, value))}]"
    return "NULL" if value is None else line(value).decode()


@st.composite
def _column_texts(draw: st.DrawFn, name: str) -> str:
    """A column as a person writes it, with the blanks and comments that may stand in it."""
    kind = draw(column_types)
    space = st.sampled_from([" ", "  ", "\t", "\n    ", " -- `, ' (\n  "])
    text = draw(st.sampled_from([name, f"`{name}`"])) + draw(space) + str(kind)
    if draw(st.booleans()):
        path = print_path(tuple(draw(st.lists(keys, min_size=1, max_size=3))), array=kind.name == "Array")
        text += f"{draw(space)}`json:{path}`"
    if draw(st.booleans()):
        sent = draw(values_for(kind))
        default = _in_sql(sent if kind.name in {"JSON", "Map"} else json.loads(sent))
        if _is_column(f"{text} DEFAULT {default}"):
            text += f"{draw(space)}DEFAULT{draw(space)}{default}"
    if draw(st.booleans()):
        text += f"{draw(space)}{draw(st.sampled_from(['CODEC(LZ4)', 'codec( Delta(8), ZSTD(1) )']))}"
    return text


def _is_column(text: str) -> bool:
    try:
        read_columns(Scanner(text))
    except SchemaError:
        return False
    return True


column_texts = st.lists(names, min_size=1, max_size=4, unique_by=str.lower).flatmap(
    lambda names: st.tuples(*map(_column_texts, names))
)
_columns = column_texts.map(lambda found: read_columns(Scanner(", ".join(found))))
schemas = _columns.flatmap(
    lambda columns: st.builds(
        lambda key: Schema(columns, tuple(key)),
        st.lists(st.sampled_from([c.name for c in columns if c.type.is_sortable]), unique=True, max_size=2)
        if any(c.type.is_sortable for c in columns)
        else st.just([]),
    )
)
_between = st.lists(st.sampled_from(["\n", "# a comment, `'\n", "  \n", "\r\n"]), max_size=2).map("".join)
_commands = st.lists(
    st.sampled_from(
        [
            'TOKEN "one" APPEND\n', "token two READ # for the board\n", "ENGINE_TTL 'x'\n", "KAFKA_TOPIC a b c\n",
            "INDEXES >\n  INDEX a\n\n   b\n", "Tags  a, b\n", "SHARED_WITH >\n\tsomeone\n", 'ENGINE_SETTINGS "a=1"  \n',
        ]
    ),
    max_size=4,
)  # fmt: skip
_descriptions = st.sampled_from(
    ["", "DESCRIPTION >\n    Some\n\n      text\n", "DESCRIPTION 'it is'\n", "description >\n"]
)
_engines = st.sampled_from(["", 'ENGINE "MergeTree"\n', "ENGINE ReplacingMergeTree\n", "ENGINE_SORTING_KEY tuple()\n"])


@st.composite
def _datafiles(draw: st.DrawFn) -> str:
    comma = draw(st.sampled_from([",\n    ", ", ", "\n  ,", " , -- c\n  "]))
    schema = f"{draw(st.sampled_from(['SCHEMA >', 'schema>', 'Schema  > ']))}\n    {comma.join(draw(column_texts))}\n"
    pieces = draw(st.permutations([schema, draw(_descriptions), draw(_engines), *draw(_commands)]))
    text = "".join(piece + draw(_between) for piece in pieces)
    return text.rstrip("\n") if draw(st.booleans()) else text


datafiles = _datafiles()
"""Whole datafiles, all of which are right."""
