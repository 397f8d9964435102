"""The datafile: what a person may write, what comes back, and where it goes wrong."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segments.column_type import parse_type
from segments.datafile import FileToken, parse_datafile
from segments.datafile_print import print_column, print_datafile, print_schema, with_schema
from segments.errors import SchemaError
from segments.schema import COLUMNS_MAX, Column, Schema
from tests.strategies import datafiles, schemas

DEPARTURES = """\
# who sends this: the gates
DESCRIPTION >
    Departures
      of the day
TOKEN "tracker" APPEND
token board read  # the screens
SCHEMA >
    `timestamp` DateTime64(3) `json:$.timestamp`,
    -- a comment, with a comma
    `city` LowCardinality(String) `json:$.city` DEFAULT 'unknown' CODEC(ZSTD(1)),
    user_id Nullable(Int64) `json:$.user.id`, tags Array(String) `json:$.tags[:]`,

    `odd` String `json:$.data.['$event'].v`,
    `event-less` String
"""
DEPARTURES = (
    DEPARTURES.replace("`event-less` String", "`raw` String `json:$`,\n    plain Array(Int8)")
    + """
ENGINE 'MergeTree'
engine_sorting_key timestamp, city
ENGINE_PARTITION_KEY "toYYYYMM(timestamp)"
ENGINE_TTL "toDate(timestamp) + INTERVAL 90 DAY"
"""
)


def column(text: str) -> Column:
    return parse_datafile(f"SCHEMA >\n    {text}\n").schema.columns[0]


def test_a_file_as_people_write_it():
    datafile = parse_datafile(DEPARTURES)

    assert datafile.description == "Departures\n  of the day"
    assert datafile.tokens == (FileToken("tracker", "APPEND"), FileToken("board", "READ"))
    assert datafile.schema.sorting_key == ("timestamp", "city")
    assert [print_column(c) for c in datafile.schema.columns] == [
        "`timestamp` DateTime64(3) `json:$.timestamp`",
        "`city` LowCardinality(String) `json:$.city` DEFAULT 'unknown' CODEC(ZSTD(1))",
        "`user_id` Nullable(Int64) `json:$.user.id`",
        "`tags` Array(String) `json:$.tags[:]`",
        "`odd` String `json:$.data.['$event'].v`",
        "`raw` String `json:$`",
        "`plain` Array(Int8) `json:$.plain[:]`",
    ]
    assert datafile.schema.columns[4].path == ("data", "$event", "v")
    assert datafile.warnings == (
        "line 19: ENGINE_PARTITION_KEY is kept in the file and has no effect: rows are kept by the day on which they came in.",
        "line 20: ENGINE_TTL is kept in the file and has no effect: rows stay until someone deletes them.",
    )
    assert print_datafile(datafile) == DEPARTURES


@given(datafiles)
def test_parsing_then_printing_gives_the_same_file_back(text):
    assert print_datafile(parse_datafile(text)) == text


@given(schemas)
def test_a_printed_schema_is_the_same_schema_again(schema):
    text = print_schema(schema)

    assert parse_datafile(text).schema == schema
    assert parse_datafile(text).warnings == ()
    assert print_schema(parse_datafile(text).schema) == text


@given(datafiles, schemas)
def test_a_new_schema_leaves_every_other_character_as_it_was(text, schema):
    datafile = parse_datafile(text)
    schema = replace(schema, columns=(*datafile.schema.columns, *unlike(datafile.schema, schema)))
    schema = replace(schema, columns=schema.columns[:COLUMNS_MAX], sorting_key=datafile.schema.sorting_key)
    changed = with_schema(datafile, schema)

    assert changed.schema == schema
    assert [c for c in changed.commands if c.name != "SCHEMA"] == [c for c in datafile.commands if c.name != "SCHEMA"]
    assert (changed.description, changed.tokens) == (datafile.description, datafile.tokens)


def unlike(old: Schema, new: Schema) -> list[Column]:
    names = {known.name.lower() for known in old.columns}
    return [added for added in new.columns if added.name.lower() not in names]


def test_blank_lines_and_comments_around_the_schema_stay():
    before, after = "# head\n\nVERSION 1\n  \n", "\n\n# tail\nTAGS a\n\n"
    datafile = parse_datafile(f"{before}Schema >  \n\n  a Int8, -- the first\n\n  b Int8\n{after}")
    changed = with_schema(datafile, Schema((column("c Int8"),)))

    assert print_datafile(changed) == f"{before}SCHEMA >\n    `c` Int8 `json:$.c`\n{after}"


def test_a_schema_without_the_sorting_key_of_the_file_is_refused():
    datafile = parse_datafile("SCHEMA >\n  a Int8, b Int8\nENGINE_SORTING_KEY a")

    with pytest.raises(SchemaError, match="'a' is not a column of the SCHEMA"):
        with_schema(datafile, Schema((column("b Int8"),), ("a",)))
    with pytest.raises(SchemaError, match=r"the file's sorting key is \['a'\], not \['b'\]"):
        with_schema(datafile, Schema(datafile.schema.columns, ("b",)))


@given(st.text(max_size=200))
def test_any_text_is_a_datafile_or_a_schema_error(text):
    parse_or_refuse(text)


@given(datafiles, st.integers(0, 400), st.integers(0, 8), st.text("`'\"()[]$.,:>-#\\ \n\tAa1", max_size=6))
def test_any_damaged_datafile_is_a_datafile_or_a_schema_error(text, at, cut, put):
    parse_or_refuse(text[:at] + put + text[at + cut :])


def parse_or_refuse(text: str) -> None:
    try:
        datafile = parse_datafile(text)
    except SchemaError as error:
        assert re.match("line [1-9][0-9]*, column [1-9][0-9]*: ", str(error))  # noqa: PT017 -- one of two ways
    else:
        assert print_datafile(datafile) == text
        assert parse_datafile(print_schema(datafile.schema)).schema == datafile.schema


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a Int64", "`a` Int64 `json:$.a`"),
        ("`a` Nullable( DateTime64( 3 , 'UTC' ) )", "`a` Nullable(DateTime64(3, 'UTC')) `json:$.a`"),
        ("a String `json:$.event-data.x`", "`a` String `json:$.event-data.x`"),
        ("a String `json:$['a b']`", "`a` String `json:$.['a b']`"),
        ('a String `json:$["a"].b`', "`a` String `json:$.a.b`"),
        ("a String `json:$.$set`", "`a` String `json:$.['$set']`"),
        ("a String `json:$.['it\\'s']`", "`a` String `json:$.['it\\'s']`"),
        ("a JSON `json:$`", "`a` JSON `json:$`"),
        ("a Nullable(Array(Int8)) `json:$.b[:]`", "`a` Nullable(Array(Int8)) `json:$.b[:]`"),
        ("a Int64 default -5 codec( Delta(8) ,\n   LZ4 )", "`a` Int64 `json:$.a` DEFAULT -5 CODEC(Delta(8) , LZ4)"),
        ("a Int64 CODEC(LZ4)", "`a` Int64 `json:$.a` CODEC(LZ4)"),
        ("a String DEFAULT 'it''s \\'\\\\ \\n'", "`a` String `json:$.a` DEFAULT 'it\\'s \\'\\\\ \\n'"),
        ("a Nullable(Int8) DEFAULT null", "`a` Nullable(Int8) `json:$.a` DEFAULT NULL"),
        ("a Bool DEFAULT TRUE", "`a` Bool `json:$.a` DEFAULT true"),
        ("a Decimal(9, 2) DEFAULT 1.50", "`a` Decimal(9, 2) `json:$.a` DEFAULT 1.50"),
        ("a Array(String) DEFAULT [ 'x' ,1.50 ]", "`a` Array(String) `json:$.a[:]` DEFAULT ['x', 1.50]"),
        ("a Array(Int8) DEFAULT []", "`a` Array(Int8) `json:$.a[:]` DEFAULT []"),
        ("a Map(String, Int8) DEFAULT '{}'", "`a` Map(String, Int8) `json:$.a` DEFAULT '{}'"),
        ("a JSON DEFAULT '{\"b\":1.10}'", "`a` JSON `json:$.a` DEFAULT '{\"b\":1.10}'"),
        ("a DateTime DEFAULT NOW()", "`a` DateTime `json:$.a` DEFAULT now()"),
        ("a DateTime64(6) DEFAULT now64( 6 )", "`a` DateTime64(6) `json:$.a` DEFAULT now64(6)"),
        ("a DateTime64(3) DEFAULT now64()", "`a` DateTime64(3) `json:$.a` DEFAULT now64()"),
        ("a Date DEFAULT today()", "`a` Date `json:$.a` DEFAULT today()"),
    ],
)
def test_columns_as_they_may_be_written_and_as_they_are_printed(text, printed):
    assert print_column(column(text)) == printed
    assert column(printed) == column(text)


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("a Foo", "2, column 7", "'Foo' is not a column type; known are (U)Int8"),
        ("a Enum8('x' = 1)", "2, column 7", "'Enum8' is not a column type"),
        ("a", "2, column 6", "expected a column type, found the end"),
        ("`a b` Int8", "2, column 5", "expected a column name of letters, digits and '_'"),
        ("1a Int8", "2, column 5", "that starts with no digit, found '1a'"),
        ("a Int8, A Int8", "2, column 13", "a second column 'A'; names are unique, case aside"),
        ("a Int8\n    b Int8", "3, column 5", "expected ',' between columns"),
        ("a Int8,", "3, column 1", "expected a column name"),
        ("Ingested Int8", "2, column 5", "'Ingested' is a name that Siltstone keeps for itself"),
        ("c__row String", "2, column 5", "keeps for itself"),
        (
            "a Int8 MATERIALIZED 1",
            "2, column 12",
            "expected ',' between columns, each `name` Type `json:$.path` DEFAULT",
        ),
        ("a Int8 `json:$.a` `json:$.b`", "2, column 23", "a second path of one column"),
        ("a Int8 `$.a`", "2, column 12", "expected a path in backquotes, such as `json:$.key`"),
        ("a Int8 `json:a`", "2, column 18", "a path starts with '$', found 'a'"),
        ("a Int8 `json:$.a..b`", "2, column 22", "expected a key, found '.'; a path is $, $.key"),
        ("a Int8 `json:$.a[0]`", "2, column 22", "expected a key in quotes and brackets, ['key'], found '0'"),
        (
            "a Int8 `json:$.a[:]`",
            "2, column 18",
            "[:] ends the path of an Array column and of no other; for Int8 it is $.a",
        ),
        ("a Array(Int8) `json:$.a`", "2, column 25", "for Array(Int8) it is $.a[:]"),
        ("a Array(Int8) `json:$.a[:].b`", "2, column 31", "expected the end of the path after [:]"),
        (
            "a Int8 `json:$`",
            "2, column 12",
            "the path $ is the text of the whole event, for a String column, not for Int8",
        ),
        (
            "a String DEFAULT 'x' `json:$.a` CODEC(LZ4)",
            "2, column 26",
            "the path stands before DEFAULT, and CODEC last: a String `json:$.a` DEFAULT 'x' CODEC(LZ4)",
        ),
        ("a String CODEC(LZ4) DEFAULT 'x'", "2, column 25", "and CODEC last: a String DEFAULT 'x' CODEC(LZ4)"),
        ("a String CODEC(LZ4 DEFAULT 'x", "3, column 1", "expected ')' at the end of CODEC(, found the end"),
        ("a Int8 DEFAULT 300", "2, column 20", "the DEFAULT does not fit Int8: 300 is out of range for Int8"),
        ("a Int8 DEFAULT NULL", "2, column 20", "null or missing in a column that is not Nullable"),
        ("a Int8 DEFAULT 1 + 2", "2, column 22", "DEFAULT takes 'text', a number"),
        ("a Int8 DEFAULT rand()", "2, column 20", "DEFAULT takes 'text', a number, true, false, NULL"),
        ("a DateTime DEFAULT now", "3, column 1", "expected '(' after now"),
        ("a DateTime DEFAULT now('UTC')", "2, column 28", "expected ')'"),
        ("a Int8 DEFAULT now()", "2, column 20", "now() does not fit Int8, but DateTime and DateTime64"),
        (
            "a DateTime64(3) DEFAULT now64(6)",
            "2, column 29",
            "now64(6) has more fraction digits than DateTime64(3) holds",
        ),
        ("a String DEFAULT 'x", "2, column 22", "the text that starts here has no closing quote"),
        ("a String DEFAULT '\\q'", "2, column 23", "'\\q' is not an escape"),
        ("a JSON DEFAULT '{'", "2, column 20", "the DEFAULT must be JSON in a text"),
        (", ".join(f"c{n} Int8" for n in range(COLUMNS_MAX + 1)), "2, column ", f"more than {COLUMNS_MAX} columns"),
    ],
)
def test_what_is_wrong_in_a_column_is_refused_where_it_stands(text, place, reason):
    refused(f"SCHEMA >\n    {text}\n", place, reason)


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("", "1, column 1", "there is no SCHEMA; expected a block that starts with SCHEMA >"),
        ("# nothing\nENGINE MergeTree\n", "3, column 1", "there is no SCHEMA"),
        ("SCHEMA >\n", "2, column 1", "expected columns under SCHEMA >, found the end"),
        ("SCHEMA\n  a Int8", "2, column 3", "indented lines stand under a command that ends in '>', found 'a'"),
        ("SCHEMA a Int8", "1, column 7", "expected '>' after SCHEMA"),
        ("SCHEMA >\n  a Int8\nSCHEMA >\n  b Int8", "3, column 1", "a second SCHEMA; the first one stands on line 1"),
        ("SCHEMA >\n  a Int8\nENGINE x\nengine y", "4, column 1", "a second ENGINE; the first one stands on line 3"),
        ("SCHEMA >\n  a Int8\nENGIN x", "3, column 1", "'ENGIN' is not a command; known are BACKFILL, DESCRIPTION"),
        ("SCHEMA >\n  a Int8\n!", "3, column 1", "expected a command, found '!'"),
        ("SCHEMA >\n  a Int8\n# x\n  b Int8", "4, column 3", "indented lines stand under a command"),
        ("TOKEN\nSCHEMA >\n  a Int8", "1, column 6", 'expected a name, as in TOKEN "name" APPEND'),
        ('TOKEN ""\nSCHEMA >\n  a Int8', "1, column 7", "expected a name"),
        ('TOKEN "x"\nSCHEMA >\n  a Int8', "1, column 10", "expected APPEND or READ after the token's name"),
        ('TOKEN "x" WRITE', "1, column 11", "expected APPEND or READ"),
        ('TOKEN "x" APPEND READ', "1, column 11", "expected APPEND or READ after the token's name, and nothing more"),
        ("SCHEMA >\n  a Int8\nENGINE", "3, column 7", "expected an engine, such as MergeTree after ENGINE"),
        ("SCHEMA >\n  a Int8\nENGINE 'x\n", "3, column 8", "expected an engine"),
        ("SCHEMA >\n  a Int8\nENGINE_SORTING_KEY b", "3, column 20", "'b' is not a column of the SCHEMA"),
        ('SCHEMA >\n  a Int8\nENGINE_SORTING_KEY "a, b"', "3, column 24", "'b' is not a column of the SCHEMA"),
        ('SCHEMA >\n  a Int8\nENGINE_SORTING_KEY "a,"', "3, column 23", "expected the name of a column"),
        ("SCHEMA >\n  a Int8\nENGINE_SORTING_KEY toDate(a", "3, column 28", "the brackets do not match"),
        (
            "SCHEMA >\n  a Array(Int8)\nENGINE_SORTING_KEY a",
            "3, column 20",
            "rows can't be sorted by 'a', which is Array",
        ),
    ],
)
def test_what_is_wrong_in_a_file_is_refused_where_it_stands(text, place, reason):
    refused(text, place, reason)


def refused(text: str, place: str, reason: str) -> None:
    with pytest.raises(SchemaError) as caught:
        parse_datafile(text)

    assert str(caught.value).startswith(f"line {place}")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("command", "warning"),
    [
        ("ENGINE ReplacingMergeTree", "ENGINE ReplacingMergeTree is kept in the file and works as MergeTree does"),
        ("ENGINE ReplicatedMergeTree('/a', 'b')", "ENGINE ReplicatedMergeTree('/a', 'b') is kept in the file"),
        ("ENGINE_SETTINGS index_granularity=8192", "ENGINE_SETTINGS is kept in the file and has no effect"),
        ("INDEXES >\n  INDEX i a TYPE minmax GRANULARITY 1", "INDEXES is kept in the file"),
        ("KAFKA_TOPIC flights", "KAFKA_TOPIC is kept in the file and has no effect: rows come in over HTTP only"),
        ("IMPORT_SCHEDULE @on-demand", "IMPORT_SCHEDULE is kept in the file"),
        ("FORWARD_QUERY >\n  SELECT *", "FORWARD_QUERY is kept in the file"),
        ("shared_with >\n  other", "SHARED_WITH is kept in the file"),
        ("TAGS a, b", "TAGS is kept in the file"),
        ("VERSION 3", "VERSION is kept in the file"),
        ("BACKFILL skip", "BACKFILL is kept in the file"),
        (
            "ENGINE_SORTING_KEY a, toDate(t)",
            "toDate(t) is kept in the file and has no effect: rows are sorted by columns",
        ),
    ],
)
def test_what_has_no_effect_is_kept_and_named(command, warning):
    text = f"SCHEMA >\n  a Int8, t DateTime\n{command}\n"
    datafile = parse_datafile(text)

    assert len(datafile.warnings) == 1
    assert datafile.warnings[0].startswith(f"line 3: {warning}")
    assert datafile.warnings[0].endswith(".")
    assert print_datafile(datafile) == text


def test_warnings_come_in_the_order_of_the_file():
    text = "VERSION 1\nENGINE Null\nTAGS a\nENGINE_SORTING_KEY f(a), g(a)\nSCHEMA >\n  a Int8\nBACKFILL skip\n"

    assert [warning.split(" is ")[0] for warning in parse_datafile(text).warnings] == [
        "line 1: VERSION", "line 2: ENGINE Null", "line 3: TAGS", "line 4: f(a)", "line 4: g(a)", "line 7: BACKFILL",
    ]  # fmt: skip


def test_smaller_freedoms_of_the_grammar():
    assert (
        parse_datafile("SCHEMA > a Int64, b String").schema == parse_datafile("schema>\n\ta Int64\n\t,b String").schema
    )
    assert parse_datafile("SCHEMA >\r\n  a Int8\r\nENGINE_SORTING_KEY 'a'\r\n").schema.sorting_key == ("a",)
    assert parse_datafile("SCHEMA >\n  a Int8\nENGINE_SORTING_KEY tuple()\n").schema.sorting_key == ()
    assert parse_datafile("SCHEMA >\n  a Int8\nENGINE_SORTING_KEY `a`\n").schema.sorting_key == ("a",)
    assert parse_datafile("DESCRIPTION 'one line # all of it'\nSCHEMA > a Int8").description == "one line # all of it"
    assert column("a Int8 -- `json:$.b`").type == parse_type("Int8")
