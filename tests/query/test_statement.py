"""What counts as one statement that only reads, what it mentions, and where its FORMAT begins."""

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from query.errors import QueryFailed, StatementRefused
from query.statement import FORMAT_NAMES, parse_statement

CONNECTION = duckdb.connect()


def parse(sql):
    return parse_statement(CONNECTION, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "select 1;",
        "SELECT 1 ; ;  -- the end",
        "/* a; b */ SELECT ';'",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "WITH RECURSIVE a AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM a WHERE n < 3) FROM a",
        "FROM t",
        "FROM t SELECT a",
        "VALUES (1)",
        "TABLE t",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "DESCRIBE t",
        "DESC t",
        "DESCRIBE SELECT 1",
        "SUMMARIZE t",
        "SHOW TABLES",
        "SHOW t",
        "PIVOT t ON a IN (1, 2) USING sum(b)",
    ],
)
def test_reading_statements_are_taken(sql):
    assert parse(sql).format_name is None


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("", "there is no statement"),
        (" ; ", "there is no statement"),
        ("-- SELECT 1", "there is no statement"),
        ("SELECT 1; SELECT 2", "there are 2"),
        ("SELECT 1; DROP TABLE t", "there are 2"),
        ("INSERT INTO t VALUES (1)", "this is INSERT"),
        ("UPDATE t SET a = 1", "this is UPDATE"),
        ("DELETE FROM t", "this is DELETE"),
        ("CREATE TABLE t (a INT)", "this is CREATE"),
        ("CREATE TABLE t AS SELECT 1", "this is CREATE"),
        ("CREATE MACRO f(x) AS x", "this is CREATE"),
        ("DROP TABLE t", "this is DROP"),
        ("COPY (SELECT 1) TO '/tmp/stolen'", "this is COPY"),
        ("COPY t FROM '/etc/passwd'", "this is COPY"),
        ("ATTACH '/tmp/a.db'", "this is ATTACH"),
        ("EXPORT DATABASE '/tmp/a'", "this is EXPORT"),
        ("PRAGMA version", "this is PRAGMA"),
        ("SET memory_limit = '1TB'", "this is SET"),
        ("RESET memory_limit", "this is SET"),
        ("USE memory", "this is SET"),
        ("INSTALL httpfs", "this is LOAD"),
        ("LOAD httpfs", "this is LOAD"),
        ("CALL pragma_version()", "this is CALL"),
        ("CHECKPOINT", "this is CALL"),
        ("VACUUM", "this is VACUUM"),
        ("BEGIN", "this is TRANSACTION"),
        ("PREPARE p AS SELECT 1", "this is PREPARE"),
        ("EXECUTE p", "this is EXECUTE"),
        ("EXPLAIN SELECT 1", "this is EXPLAIN"),
        ("EXPLAIN ANALYZE SELECT 1", "this is EXPLAIN"),
        ("WITH a AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM a", "WITH holds INSERT"),
        ("WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a", "WITH holds DELETE"),
        ("SELECT * FROM (WITH a AS (UPDATE t SET x = 1 RETURNING *) FROM a)", "WITH holds UPDATE"),
        ("PIVOT t ON a USING sum(b)", "must name its values"),
        ("SELECT 1 \x00", "not plain UTF-8"),
        ("SELECT '\udc80'", "not plain UTF-8"),
        ("SELECT " + "(SELECT " * 400 + "1" + ")" * 400, "nested too deeply"),
    ],
)
def test_anything_else_is_refused_with_what_it_is(sql, said):
    with pytest.raises(StatementRefused, match=said):
        parse(sql)


@pytest.mark.parametrize("sql", ["SELEC 1", "SELECT FROM WHERE", "SELECT 'open", "SELECT (1 FORMAT JSON"])
def test_what_is_not_sql_is_refused_in_the_words_of_the_parser(sql):
    with pytest.raises(QueryFailed, match="Parser Error"):
        parse(sql)


class TestFormat:
    @pytest.mark.parametrize(
        ("sql", "before", "name"),
        [
            ("SELECT 1 FORMAT JSON", "SELECT 1 ", "JSON"),
            ("select 1 format json;", "select 1 ", "JSON"),
            ("SELECT 1\nFORMAT\n  JSONEachRow -- lines\n", "SELECT 1\n", "JSONEachRow"),
            ("SELECT 'é', 'ü' FORMAT CSVWithNames ; ;", "SELECT 'é', 'ü' ", "CSVWithNames"),
            ("SELECT 1 AS a /* FORMAT CSV */ FORMAT /* no */ TabSeparated", "SELECT 1 AS a /* FORMAT CSV */ ", "TSV"),
            ("SELECT 1 FORMAT TabSeparatedWithNames", "SELECT 1 ", "TSVWithNames"),
            ("FROM t ORDER BY a LIMIT 3 FORMAT prettycompact", "FROM t ORDER BY a LIMIT 3 ", "PrettyCompact"),
            ("SHOW TABLES FORMAT Parquet", "SHOW TABLES ", "Parquet"),
            ("DESCRIBE t FORMAT Arrow", "DESCRIBE t ", "Arrow"),
        ],
    )
    def test_it_is_split_off_the_end(self, sql, before, name):
        statement = parse(sql)

        assert (statement.sql, statement.format_name) == (before, name)

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT 'FORMAT JSON'",
            "SELECT $$ FORMAT JSON $$",
            "SELECT 1 -- FORMAT JSON",
            "SELECT 1 /* FORMAT JSON */",
            'SELECT 1 AS "FORMAT JSON"',
            "SELECT 1 AS format",
            "FROM t ORDER BY format DESC",
            "SELECT a FROM t AS format",
        ],
    )
    def test_what_only_looks_like_it_is_part_of_the_statement(self, sql):
        statement = parse(sql)

        assert (statement.sql, statement.format_name) == (sql, None)

    @pytest.mark.parametrize("name", ["XML", "Native", "'JSON'", '"JSON"'])
    def test_an_unknown_one_is_refused_with_those_there_are(self, name):
        with pytest.raises(StatementRefused, match=r"there is no format .*; there are JSON, JSONEachRow, CSV"):
            parse(f"SELECT 1 FORMAT {name}")

    def test_two_statements_in_front_of_it_are_still_two(self):
        with pytest.raises(StatementRefused, match="there are 2"):
            parse("SELECT 1; SELECT 2 FORMAT JSON")

    @given(st.text(max_size=20), st.sampled_from(sorted(FORMAT_NAMES)))
    def test_no_text_in_the_statement_hides_it_or_stands_for_it(self, text, name):
        quoted = "'" + text.replace("'", "''").replace("\x00", "") + "'"
        with_format = parse(f"SELECT {quoted} FORMAT {name}")

        assert with_format.format_name == FORMAT_NAMES[name]
        assert CONNECTION.execute(with_format.sql).fetchall() == [(text.replace("\x00", ""),)]
        assert parse(f"SELECT {quoted}").format_name is None


class TestMentions:
    @pytest.mark.parametrize(
        ("sql", "tables"),
        [
            ("SELECT 1", set()),
            ("FROM t", {("t",)}),
            ('SELECT * FROM T JOIN "U" USING (a), s.v', {("T",), ("U",), ("s", "v")}),
            ("SELECT (SELECT max(a) FROM t) FROM u WHERE x IN (SELECT y FROM v)", {("t",), ("u",), ("v",)}),
            ("FROM a UNION ALL FROM b", {("a",), ("b",)}),
            ("DESCRIBE t", {("t",)}),
            ("SHOW t", {("t",)}),
            ("SUMMARIZE t", {("t",)}),
            ("FROM (DESCRIBE t)", {("t",)}),
            ("PIVOT t ON a IN (1) USING sum(b)", {("t",)}),
            ("FROM '/etc/passwd'", {("/etc/passwd",)}),
            ("SELECT 't' FROM u -- FROM v", {("u",)}),
            ("SELECT * FROM t, LATERAL (SELECT t.a + w.b FROM w)", {("t",), ("w",)}),
            ("SELECT * FROM t WHERE EXISTS (FROM u ORDER BY (SELECT 1 FROM v))", {("t",), ("u",), ("v",)}),
            ("SELECT sum(a) OVER (ORDER BY (SELECT 1 FROM u)) FROM t", {("t",), ("u",)}),
        ],
    )
    def test_tables_are_found_wherever_they_stand(self, sql, tables):
        assert parse(sql).tables == tables

    def test_names_of_with_are_kept_apart(self):
        statement = parse('WITH a AS (FROM t), "B" AS (FROM a) SELECT * FROM b, a')

        assert statement.tables == {("t",), ("a",), ("b",)}
        assert statement.local_names == {"a", "b"}

    def test_functions_and_table_functions_are_named_in_lower_case(self):
        statement = parse(
            "SELECT toDate(x), s.Trim(), sum(y) OVER (), z.a.f(1) FROM Read_CSV('x') JOIN range(3) r ON true"
        )

        assert statement.table_functions == {"read_csv", "range"}
        assert {"todate", "trim", "sum", "f"} <= statement.functions

    @pytest.mark.parametrize(
        "sql", ["SHOW TABLES", "SHOW ALL TABLES", "DESCRIBE", "SHOW DATABASES", "FROM (SHOW TABLES)"]
    )
    def test_listing_is_noticed(self, sql):
        assert parse(sql).lists_tables
