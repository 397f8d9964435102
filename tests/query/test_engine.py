"""SQL over stored rows: what a statement sees, what it may not, and the tables about the service."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from click.testing import CliRunner

from query import cli
from query.catalog import Stored as Readable
from query.connection import Limits, open_connection
from query.engine import run_confined, run_query
from query.errors import QueryFailed, ResourceNotFound, SegmentGone, StatementRefused
from query.service_tables import OPS_LOG
from query.statement import parse_statement
from segments.datafile_print import print_schema
from segments.disk import Disk
from segments.errors import UnknownSource
from segments.filenames import DataDir
from segments.group import Write
from segments.lines import parse_body
from segments.recovery import create_source
from segments.truncation import replace_rows
from tests.stored import NOW, SCHEMA, Stored, body, commit


@pytest.fixture
def stored(tmp_path):
    """`events`: two rows and a quarantined one in segments, two and one in the log; `secret`: empty."""
    stored = Stored(tmp_path / "data")
    stored.create()
    log = stored.open()
    commit(log, body(1, 2, -3))
    stored.compact(log)
    commit(log, body(4, 5, -6))
    create_source(stored.disk, DataDir(stored.path), "secret", print_schema(SCHEMA), source_id=b"s" * 16, now=NOW)
    return stored


class Overtaken(Disk):
    """A disk on which the rows are replaced as soon as a segment has been checked, which is before the engine reads it."""

    def __init__(self, stored: Stored, times: int) -> None:
        self._stored = stored
        self.left = times

    def pieces(self, path: Path) -> Iterator[bytes]:
        yield from super().pieces(path)
        if self.left:
            self.left -= 1
            log = self._stored.open()
            replace_rows(self._stored.disk, log, [Write(parse_body(body(7, 8)))], NOW)
            self._stored.compact(log)


@pytest.mark.parametrize("times", [1, 4])
def test_files_that_go_away_under_a_query_make_it_look_again(stored, times):
    disk = Overtaken(stored, times)
    result = run_query(disk, DataDir(stored.path), "SELECT id FROM events ORDER BY id")

    assert disk.left == 0
    assert [row["id"] for row in result.reader.read_all().to_pylist()] == [7, 8]


def test_files_that_go_away_again_and_again_are_said(stored):
    with pytest.raises(SegmentGone, match="ask again"):
        run_query(Overtaken(stored, 100), DataDir(stored.path), "SELECT id FROM events")


@pytest.mark.parametrize(
    "sql", ["FROM 'no/such.csv'", "FROM read_parquet('no/such.csv')", "FROM events, 'no/such.csv'"]
)
def test_a_file_of_the_persons_own_that_is_not_there_is_named(stored, sql):
    with pytest.raises(QueryFailed, match=r"No files found that match the pattern .*no/such\.csv"):
        run_query(stored.disk, DataDir(stored.path), sql)


@pytest.fixture
def ask(stored):
    """The rows of a statement from the network, as tuples."""

    def ask(sql, readable=None, ops_log=None, **limits):
        connection = open_connection(Limits(**limits))
        found = Readable(stored.disk, DataDir(stored.path), readable, ops_log)
        result = run_confined(connection, parse_statement(connection, sql), found)
        assert result.damage == ()
        return [tuple(row.values()) for row in result.reader.read_all().to_pylist()]

    return ask


def test_a_segment_with_any_byte_changed_is_left_out_and_named(stored):
    """DuckDB alone returns other values for some of them."""
    (path,) = (stored.source.path / "rows").rglob("*.parquet")
    content = path.read_bytes()
    for at in range(0, len(content), 97):
        path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        result = run_query(stored.disk, DataDir(stored.path), "SELECT id FROM events ORDER BY id")
        assert [row["id"] for row in result.reader.read_all().to_pylist()] == [4, 5]
        assert str(path) in str(result.damage[0])
    path.write_bytes(content)
    result = run_query(stored.disk, DataDir(stored.path), "SELECT count() AS n FROM events")
    assert (result.reader.read_all().to_pylist(), result.damage) == ([{"n": 4}], ())


class TestRows:
    def test_segments_and_log_are_one_table(self, ask):
        assert ask("SELECT id FROM events ORDER BY id") == [(1,), (2,), (4,), (5,)]
        assert ask("SELECT count() FROM events") == [(4,)]
        assert ask("SELECT count(*), uniq(id) FROM EVENTS_QUARANTINE") == [(2, 1)]

    @pytest.mark.parametrize("name", ["events", "Events", "main.events", "memory.main.events", '"events"'])
    def test_a_source_has_more_than_one_name(self, ask, name):
        assert ask(f"SELECT count() FROM {name}") == [(4,)]

    def test_a_row_committed_before_is_seen(self, ask, stored):
        log = stored.open()
        commit(log, body(7))

        assert ask("SELECT count() FROM events WHERE id = 7") == [(1,)]

    def test_what_was_read_is_counted(self, stored):
        connection = open_connection(Limits())
        statement = parse_statement(connection, "SELECT sum(id) FROM events")
        result = run_confined(connection, statement, Readable(stored.disk, DataDir(stored.path)))
        result.reader.read_all()

        assert result.scanned().rows == 4
        assert 0 < result.scanned().bytes < 10_000

    def test_describe_and_show_work(self, ask):
        assert ask("DESCRIBE events")[0][:2] == ("id", "BIGINT")
        assert ask("SHOW TABLES") == [("events",), ("events_quarantine",), ("secret",), ("secret_quarantine",)]
        assert ask("SHOW TABLES", frozenset({"events"})) == [("events",), ("events_quarantine",)]
        assert ask("SHOW TABLES", frozenset()) == []

    def test_columns_can_be_looked_up(self, ask):
        sql = "SELECT column_name FROM information_schema.columns WHERE table_name = 'events' ORDER BY ordinal_position"

        assert ask(sql) == [("id",), ("text",)]
        assert ask(sql, frozenset({"secret"})) == []


class TestNotFound:
    @pytest.mark.parametrize("sql", ["FROM {}", "SELECT 1 FROM events JOIN {} ON true", "DESCRIBE {}", "SHOW {}",
                                     "SELECT (SELECT count() FROM {})", "WITH a AS (FROM {}) FROM a",
                                     "WITH a AS (WITH {} AS (SELECT 1) SELECT 2) SELECT * FROM {}"])  # fmt: skip
    def test_what_is_not_there_and_what_may_not_be_read_sound_the_same(self, ask, sql):
        for name in ("nothing", "secret"):
            with pytest.raises(ResourceNotFound) as caught:
                ask(sql.format(name, name), frozenset({"events"}))
            assert str(caught.value) == f"Resource '{name}' not found"

    def test_a_name_of_with_is_no_source(self, ask):
        assert ask("WITH secret AS (SELECT 1) FROM secret", frozenset()) == [(1,)]

    def test_quarantine_is_read_with_its_source(self, ask):
        assert ask("SELECT count() FROM events_quarantine", frozenset({"events"})) == [(2,)]
        with pytest.raises(ResourceNotFound):
            ask("FROM events_quarantine", frozenset({"secret"}))

    def test_an_unknown_column_is_the_statements_fault(self, ask):
        with pytest.raises(QueryFailed, match='"nope" not found'):
            ask("SELECT nope FROM events")


class TestConfinement:
    @pytest.mark.parametrize(
        "sql",
        [
            "FROM '/etc/passwd'",
            "FROM '{data}/tokens.json'",
            "FROM 'https://example.com/x.csv'",
            "FROM information_schema.views",
            "FROM duckdb_settings",
            "FROM pg_catalog.pg_settings",
            "FROM sqlite_master",
            "FROM pg_views",
            "FROM system.information_schema.tables",
            "FROM temp.main.events",
            "SHOW memory_limit",
            "SELECT * FROM stored",
        ],
    )
    def test_nothing_but_readable_sources_can_be_named(self, ask, stored, sql):
        with pytest.raises(ResourceNotFound):
            ask(sql.format(data=stored.path))

    @pytest.mark.parametrize(
        "call",
        [
            "read_csv('/etc/passwd')",
            "read_text('/etc/passwd')",
            "read_blob('/proc/self/environ')",
            "read_json_auto('{data}/tokens.json')",
            "read_parquet('{data}/**/*.parquet')",
            "parquet_metadata('{data}/x.parquet')",
            "sniff_csv('/etc/passwd')",
            "glob('/*')",
            "duckdb_settings()",
            "duckdb_views()",
            "duckdb_secrets()",
            "duckdb_functions()",
            "which_secret('s3://x', 's3')",
            "pragma_database_size()",
            "query('SELECT 1')",
            "query_table('secret')",
            "histogram('secret', 'id')",
            "json_execute_serialized_sql('x')",
            "arrow_scan(1, 2, 3)",
            "pandas_scan(1)",
            "python_arrow_scan(1)",
            "enable_logging()",
            "enable_profiling()",
            "seq_scan('x')",
        ],
    )
    def test_functions_that_reach_outside_can_not_be_called(self, ask, stored, call):
        with pytest.raises(StatementRefused, match="can't be used here"):
            ask(f"SELECT * FROM {call.format(data=stored.path)}")

    @pytest.mark.parametrize(
        "call",
        [
            "current_setting('allowed_paths')",
            "system.main.current_setting('allowed_paths')",
            "'allowed_paths'.current_setting()",
            "getvariable('x')",
            "json_serialize_plan('SELECT 1')",
            "write_log('x')",
            "sleep_ms(100000)",
            "nextval('x')",
        ],
    )
    def test_settings_and_side_effects_can_not_be_had(self, ask, call):
        with pytest.raises(StatementRefused, match="can't be used here"):
            ask(f"SELECT {call}")

    @pytest.mark.parametrize("sql", ["SELECT getenv('HOME')", "SELECT pg_read_file('/etc/passwd')", "SELECT @@version"])
    def test_functions_that_are_not_there_stay_so(self, ask, sql):
        with pytest.raises(QueryFailed):
            ask(sql)

    @pytest.mark.parametrize(
        "file", ["/etc/passwd.csv", "{there}", "{data}/*.csv", "nowhere.parquet", "https://x/y.csv"]
    )
    def test_a_name_of_with_outside_of_its_query_is_no_way_to_a_file(self, stored, ask, file):
        """What is said is the same whether there is such a file or not."""
        there = stored.path / "there.csv"
        there.write_text("a\n1\n")
        name = file.format(there=there, data=stored.path)
        for sql in (
            f'SELECT * FROM (WITH "{name}" AS (SELECT 1) SELECT 1), "{name}"',
            f'WITH "{name}" AS (SELECT * FROM "{name}") FROM "{name}"',
        ):
            with pytest.raises(StatementRefused) as caught:
                ask(sql)
            assert str(caught.value) == f'the name "{name}", which WITH gives, means nothing outside of its query'
        assert ask(f'SELECT * FROM (WITH "{name}" AS (SELECT 1) FROM "{name}")') == [(1,)]

    @pytest.fixture
    def locked(self, stored):
        """What is left when our own checks are stepped around: a connection after a confined statement."""
        connection = open_connection(Limits())
        data = Readable(stored.disk, DataDir(stored.path))
        run_confined(connection, parse_statement(connection, "SELECT id FROM events"), data).reader.read_all()
        return connection

    @pytest.mark.parametrize(
        "sql",
        [
            "FROM '/etc/passwd'",
            "FROM read_csv('/etc/passwd')",
            "FROM read_text('/proc/self/environ')",
            "FROM read_blob('{data}/LOCK')",
            "FROM read_parquet('{data}/sources/**/*.parquet')",
            "FROM read_parquet('{allowed}/../../../../siltstone.json')",
            "FROM glob('/etc/*')",
            "FROM 'https://example.com/x.parquet'",
            "COPY (SELECT 1) TO '{data}/stolen'",
            "COPY (SELECT 1) TO '{allowed}' (FORMAT parquet)",
            "ATTACH '{data}/x.db'",
            "EXPORT DATABASE '{data}/x'",
            "INSTALL httpfs",
            "LOAD httpfs",
            "SET enable_external_access = true",
            "SET lock_configuration = false",
            "RESET allowed_paths",
            "SET memory_limit = '1TB'",
            "SET allowed_directories = ['/']",
            "PRAGMA enable_profiling = 'json'",
            "SET secret_directory = '/tmp'",
        ],
    )
    def test_the_engine_is_locked_underneath(self, stored, locked, sql):
        (segment,) = stored.snapshot().rows.paths
        before = segment.read_bytes()

        with pytest.raises(duckdb.Error):
            locked.execute(sql.format(data=stored.path, allowed=segment)).fetchall()

        assert segment.read_bytes() == before
        assert not (stored.path / "stolen").exists()

    def test_variables_of_this_program_are_no_tables(self, ask):
        my_table = pa.table({"a": [1]})

        with pytest.raises(ResourceNotFound):
            ask("FROM my_table")
        with pytest.raises(duckdb.Error, match="does not exist"):
            open_connection(Limits()).sql("FROM my_table")
        assert my_table.num_rows == 1

    def test_memory_is_bounded(self, ask):
        with pytest.raises(QueryFailed, match="needs more memory"):
            ask("SELECT list(x) FROM range(100000000) t(x)", memory_bytes=50 << 20)

    def test_rows_beyond_memory_go_to_the_spill_directory(self, ask, tmp_path):
        sql = "SELECT count(*) FROM (SELECT x, count(*) FROM range(3000000) t(x) GROUP BY x)"
        limits = {"memory_bytes": 60 << 20, "threads": 1}

        with pytest.raises(QueryFailed, match="needs more memory"):
            ask(sql, **limits)
        assert ask(sql, spill_directory=tmp_path / "spill", spill_bytes=1 << 30, **limits) == [(3_000_000,)]


class TestServiceTables:
    def test_sources_are_listed_with_their_sizes(self, ask):
        sql = """SELECT name, id, created_at, "rows", quarantined_rows, wal_rows, segments, columns, last_lsn, damage
            FROM siltstone.sources ORDER BY name"""

        assert ask(sql) == [
            ("events", "t_" + b"0123456789abcdef".hex(), NOW.replace(tzinfo=None), 4, 2, 3, 1, 2, 6, None),
            ("secret", "t_" + (b"s" * 16).hex(), NOW.replace(tzinfo=None), 0, 0, 0, 0, 2, 0, None),
        ]

    def test_sizes_are_those_of_the_files(self, ask, stored):
        snapshot = stored.snapshot()
        sizes = [sum(p.stat().st_size for p in snapshot.of(kind).paths) for kind in ("rows", "quarantine")]

        sql = "SELECT bytes, bytes_quarantine FROM siltstone.sources WHERE name = 'events'"

        assert ask(sql) == [tuple(sizes)]
        assert ask("SELECT sum(bytes) FROM siltstone.segments") == [(sum(sizes),)]

    def test_segments_are_listed_by_path(self, ask, stored):
        (segment,) = stored.snapshot().rows.paths
        sql = """SELECT source, path, CAST(day AS VARCHAR), first_lsn, last_lsn, "rows", crc32c FROM siltstone.segments
            WHERE kind = 'rows'"""

        assert ask(sql) == [
            ("events", str(segment.relative_to(stored.source.path)), "2026-11-23", 1, 3, 2, segment.stem[-8:])
        ]

    @pytest.mark.parametrize("table", ["siltstone.sources", "tinybird.datasources_storage"])
    def test_only_readable_sources_are_in_them(self, ask, table):
        assert len(ask(f"FROM {table}")) == 2
        assert len(ask(f"FROM {table}", frozenset({"secret"}))) == 1
        assert ask("FROM siltstone.segments", frozenset({"secret"})) == []

    def test_the_log_of_requests_is_what_is_handed_in(self, ask):
        row = {"timestamp": datetime(2026, 11, 23), "event_type": "append", "result": "ok", "status": 200, "rows": 3}
        log = pa.Table.from_pylist([{**row, "datasource": name} for name in ("events", "secret", None)], OPS_LOG)
        sql = "SELECT datasource_name, datasource_id, event_type, result, rows FROM tinybird.datasources_ops_log"

        assert len(ask("FROM siltstone.ops_log", ops_log=log)) == 3
        assert ask("FROM siltstone.ops_log") == []
        assert ask(sql, frozenset({"events"}), log) == [("events", "t_" + b"0123456789abcdef".hex(), "append", "ok", 3)]

    def test_they_have_the_columns_that_tinybird_documents(self, ask):
        storage = [name for name, *_ in ask("DESCRIBE tinybird.datasources_storage")]
        log = [name for name, *_ in ask("DESCRIBE tinybird.datasources_ops_log")]

        assert storage == [
            "datasource_id",
            "datasource_name",
            "timestamp",
            "bytes",
            "rows",
            "bytes_quarantine",
            "rows_quarantine",
        ]
        assert log[:4] == ["timestamp", "event_type", "datasource_id", "datasource_name"]
        assert {"result", "elapsed_time", "error", "request_id", "import_id", "job_id", "rows_quarantine"} <= set(log)

    def test_a_source_that_can_not_be_read_is_listed_with_the_reason(self, ask, stored):
        (stored.path / "sources" / "secret" / "schema.datasource").write_text("not a schema")
        (row,) = ask("SELECT \"rows\", damage FROM siltstone.sources WHERE name = 'secret'")

        assert row[0] is None
        assert "schema" in row[1]


class TestCommandLine:
    def ask(self, stored, sql):
        result = run_query(stored.disk, DataDir(stored.path), sql)
        return [tuple(row.values()) for row in result.reader.read_all().to_pylist()]

    def test_files_beside_the_data_can_be_read(self, stored, tmp_path):
        (tmp_path / "more.csv").write_text("id,name\n1,one\n")

        assert self.ask(stored, f"SELECT name FROM events JOIN '{tmp_path}/more.csv' USING (id)") == [("one",)]

    def test_a_name_that_is_data_opens_its_source(self, stored):
        assert self.ask(stored, "SELECT count() FROM query_table('events')") == [(4,)]

    @pytest.mark.parametrize(
        ("sql", "said"),
        [
            ("SELECT 1; SELECT 2", "there are 2"),
            ("CREATE TABLE t (a INT)", "this is CREATE"),
            ("COPY (SELECT 1) TO '/tmp/x'", "this is COPY"),
            ("SELECT 1 FORMAT JSON", "--format"),
        ],
    )
    def test_more_than_one_reading_statement_is_refused(self, stored, sql, said):
        with pytest.raises(StatementRefused, match=said):
            self.ask(stored, sql)

    def test_an_unknown_source_is_answered_with_those_there_are(self, stored):
        with pytest.raises(UnknownSource, match="no data source or table 'evnts'; data sources here: events, secret"):
            self.ask(stored, "FROM evnts")

    def test_the_command_says_it_in_one_sentence(self, stored):
        done = CliRunner().invoke(cli.main, ["query", "FROM evnts", "--data", str(stored.path)])

        assert done.exit_code == 1
        assert done.output == (
            "siltstone: there is no data source or table 'evnts'; data sources here: events, secret\n"
        )
