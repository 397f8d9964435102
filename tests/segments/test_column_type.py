"""The spelling of column types, and the Arrow types that hold them."""

import re
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given

from segments.column_type import DEPTH_MAX, parse_type
from segments.errors import SchemaError
from tests.strategies import type_texts

FORMAT = Path(__file__).parent.parent.parent / "segments" / "FORMAT.md"


@given(type_texts)
def test_a_type_is_printed_as_it_is_spelled_and_means_the_same_again(text):
    kind = parse_type(text)

    assert str(kind) == text
    assert parse_type(str(kind)) == kind


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("Decimal32(2)", "Decimal(9, 2)"),
        ("Decimal64(18)", "Decimal(18, 18)"),
        ("Decimal128( 0 )", "Decimal(38, 0)"),
        (" Map( String ,Array(Nullable(Int8)) ) ", "Map(String, Array(Nullable(Int8)))"),
        ("DateTime64(3,'UTC')", "DateTime64(3, 'UTC')"),
    ],
)
def test_other_spellings_are_printed_in_one_way(text, spelled):
    assert str(parse_type(text)) == spelled


@pytest.mark.parametrize(
    ("text", "arrow"),
    [
        ("UInt16", pa.uint16()),
        ("Float32", pa.float32()),
        ("LowCardinality(String)", pa.string()),
        ("FixedString(16)", pa.string()),
        ("UUID", pa.string()),
        ("JSON", pa.string()),
        ("Date", pa.date32()),
        ("DateTime('Europe/Madrid')", pa.timestamp("s")),
        ("DateTime64(0)", pa.timestamp("s")),
        ("DateTime64(1)", pa.timestamp("ms")),
        ("DateTime64(4, 'UTC')", pa.timestamp("us")),
        ("DateTime64(7)", pa.timestamp("ns")),
        ("Decimal(38, 10)", pa.decimal128(38, 10)),
        ("Array(Nullable(Date))", pa.list_(pa.field("element", pa.date32()))),
        ("Array(Int8)", pa.list_(pa.field("element", pa.int8(), nullable=False))),
        ("Map(String, Int8)", pa.map_(pa.string(), pa.field("value", pa.int8(), nullable=False))),
    ],
)
def test_arrow_types(text, arrow):
    assert parse_type(text).arrow == arrow


def test_the_table_in_format_md_is_true():
    rows = re.findall(r"^\| (`.*`) \| (`.*`) \|$", FORMAT.read_text().split("## Types")[1], re.MULTILINE)
    pairs = [pair for types, arrows in rows for pair in zip(types.split("` `"), arrows.split("` `"), strict=True)]

    assert len(pairs) == 29
    for text, arrow in pairs:
        assert str(parse_type(text.strip("`")).arrow) == arrow.strip("`")


@pytest.mark.parametrize(
    ("text", "column", "reason"),
    [
        ("", 1, "expected a column type, found the end; known are (U)Int8"),
        ("Strin", 1, "'Strin' is not a column type"),
        ("int64", 1, "'int64' is not a column type"),
        ("Enum8('a' = 1)", 1, "'Enum8' is not a column type; known are (U)Int8, (U)Int16"),
        ("Array(Foo)", 7, "'Foo' is not a column type"),
        ("Array", 6, "expected '(' after Array, found the end"),
        ("Array(Int8", 11, "expected ')' after Array's arguments, found the end"),
        ("Nullable(Nullable(Int8))", 10, "Nullable can't stand inside Nullable"),
        ("Nullable(LowCardinality(String))", 10, "write LowCardinality(Nullable(String))"),
        ("LowCardinality(Array(String))", 16, "LowCardinality takes strings, numbers, UUID, Date and DateTime"),
        ("LowCardinality(LowCardinality(String))", 16, "LowCardinality takes"),
        ("Map(Nullable(String), Int8)", 5, "a Map's keys are strings"),
        ("Map(String)", 11, "expected ',' between a Map's keys and values, found ')'"),
        ("FixedString(0)", 13, "expected the bytes of a FixedString, 1 to 16777215, found '0'"),
        ("DateTime64", 11, "expected '(' after DateTime64, as in DateTime64(3)"),
        ("DateTime64(10)", 12, "the digits of a DateTime64's fraction, 0 to 9"),
        ("DateTime('Mars/Base')", 10, "'Mars/Base' is not a time zone"),
        ("DateTime(UTC)", 10, "expected a time zone in quotes"),
        ("Decimal(39, 0)", 9, "the digits of a Decimal, 1 to 38"),
        ("Decimal256(3)", 11, "at most 38 digits"),
        ("Decimal(10, 11)", 13, "the scale of a Decimal, 0 to 10"),
        ("Decimal(10)", 11, "expected ',' after the digits of a Decimal"),
        ("Int64 String", 7, "expected nothing after the type Int64, found 'String'"),
        ("Array(" * 5000, DEPTH_MAX * 6 + 1, f"types within types go {DEPTH_MAX} deep"),
    ],
)
def test_what_is_no_type_is_refused_where_it_goes_wrong(text, column, reason):
    with pytest.raises(SchemaError) as caught:
        parse_type(text)

    assert str(caught.value).startswith(f"line 1, column {column}: ")
    assert reason in str(caught.value)
