"""tb of Tinybird Classic (PyPI: tinybird-cli) after `tb auth --host URL`, and nothing but that."""

import csv

import pytest

from tests.daemons import TOKEN, query
from tests.e2e.clients.installed import CLIENTS, TB_CLASSIC, run

pytestmark = TB_CLASSIC


@pytest.fixture
def tb(tmp_path, daemon):
    """Run tb in `tmp_path`, where it is told of the daemon; returns its exit code and all that it said."""

    def run_tb(*arguments: str, token: str = TOKEN):
        options = ["--host", daemon.url, "--token", token]
        done = run(
            [str(CLIENTS / "tb-classic/bin/tb"), *options, *arguments],
            cwd=tmp_path,
            TB_VERSION_WARNING="0",
            TB_CLI_TELEMETRY_OPTOUT="1",
        )
        print(done.stdout, done.stderr)
        return done.returncode, done.stdout + done.stderr

    return run_tb


def test_logging_in(daemon, tb, tmp_path):
    """It keeps what the workspace says in a file."""
    code, said = tb("auth", "--token", TOKEN, "--host", daemon.url)

    assert code == 0
    assert "Auth successful" in said
    assert daemon.url in (tmp_path / ".tinyb").read_text()


def test_listing_data_sources(daemon, tb):
    daemon.post(b'{"n":1}\n{"n":2}')
    code, said = tb("datasource", "ls")

    assert code == 0
    assert "t" in said.split()
    assert "2" in said.split()


@pytest.mark.parametrize(("name", "text"), [("rows.ndjson", '{"n":2,"s":"ü"}\n'), ("rows.csv", "n,s\n2,ü\n")])
def test_appending_a_file(daemon, tb, tmp_path, name, text):
    """A multipart body whose part is called csv or ndjson; it shows `statistics.row_count` of the data source."""
    daemon.post(b'{"n":1,"s":"x"}')
    (tmp_path / name).write_text(text)
    code, said = tb("datasource", "append", "t", name)

    assert code == 0
    assert "Total rows in t: 2" in said
    assert query(daemon.data, "SELECT n, s FROM t ORDER BY n") == [{"n": 1, "s": "x"}, {"n": 2, "s": "ü"}]


def test_appending_a_bad_file_fails_and_counts_its_rows(daemon, tb, tmp_path):
    daemon.post(b'{"n":1}')
    (tmp_path / "rows.ndjson").write_text('{"n":"two"}\n{"n":3}\n{"n":"four"}\n')
    code, said = tb("datasource", "append", "t", "rows.ndjson")

    assert code == 1
    assert "2 rows in quarantine" in said
    assert query(daemon.data, "SELECT n FROM t ORDER BY n") == [{"n": 1}, {"n": 3}]


def test_replacing_rows(daemon, tb, tmp_path):
    daemon.post(b'{"n":1}\n{"n":2}')
    (tmp_path / "rows.ndjson").write_text('{"n":3}\n')
    code, said = tb("datasource", "replace", "t", "rows.ndjson")

    assert code == 0
    assert "Total rows in t: 1" in said
    assert query(daemon.data, "SELECT n FROM t") == [{"n": 3}]


def test_appending_by_a_job(daemon, tb, tmp_path):
    daemon.post(b'{"n":1}')
    (tmp_path / "rows.ndjson").write_text('{"n":2}\n')
    (tmp_path / "bad.ndjson").write_text('{"n":"three"}\n')
    code, said = tb("datasource", "append", "t", "rows.ndjson", "--experimental=use_v1", "--wait")
    bad_code, bad_said = tb("datasource", "append", "t", "bad.ndjson", "--experimental=use_v1", "--wait")

    assert code == 0
    assert "Append import completed" in said
    assert bad_code == 1
    assert "quarantine" in bad_said
    assert query(daemon.data, "SELECT n FROM t ORDER BY n") == [{"n": 1}, {"n": 2}]


def test_analyzing_a_file_and_making_a_data_source_file_of_it(tb, tmp_path):
    (tmp_path / "rows.ndjson").write_text('{"n":1,"user":{"name":"x"}}\n{"n":2}\n')
    code, said = tb("datasource", "analyze", "rows.ndjson")
    made_code, _ = tb("datasource", "generate", "rows.ndjson", "--force")

    assert (code, made_code) == (0, 0)
    assert "`user_name` Nullable(String) `json:$.user.name`" in said
    assert "`json:$.user.name`" in (tmp_path / "rows.datasource").read_text()


def test_pulling_the_data_source_files(daemon, tb, tmp_path):
    """Its Content-Type must be text/plain and nothing more, else tb takes it for JSON."""
    daemon.post(b'{"n":1}')
    code, _ = tb("pull", "--force")

    assert code == 0
    assert "`n` Nullable(Int64) `json:$.n`" in (tmp_path / "datasources" / "t.datasource").read_text()


def test_deleting_rows_by_a_condition_is_refused_with_what_there_is(daemon, tb):
    daemon.post(b'{"n":1}\n{"n":2}')
    code, said = tb("datasource", "delete", "t", "--sql-condition", "n = 2", "--yes", "--wait")

    assert code != 0
    assert "truncate" in said
    assert len(query(daemon.data, "SELECT n FROM t")) == 2


def test_emptying_and_removing_a_data_source(daemon, tb):
    """It asks first what would go, by DELETE with dry_run=true: that must remove nothing."""
    daemon.post(b'{"n":1}')
    assert tb("datasource", "truncate", "t", "--yes")[0] == 0
    assert query(daemon.data, "SELECT * FROM t") == []
    # Standard input ends here, so the question is not answered with yes.
    assert tb("datasource", "rm", "t")[0] == 1
    assert query(daemon.data, "SELECT * FROM t") == []
    assert tb("datasource", "rm", "t", "--yes")[0] == 0
    assert "t" not in tb("datasource", "ls")[1].split()


def test_sql(daemon, tb):
    daemon.post(b'{"n":1,"s":"x"}\n{"n":2,"s":"\xc3\xbc"}')
    code, said = tb("sql", "SELECT n, s FROM t ORDER BY n", "--format", "csv")
    stats_code, stats_said = tb("sql", "SELECT count() AS c FROM t", "--stats")
    missing_code, missing = tb("sql", "SELECT * FROM missing")

    assert (code, stats_code, missing_code) == (0, 0, 1)
    assert list(csv.reader(said.split())) == [["n", "s"], ["1", "x"], ["2", "ü"]]
    assert "Query took " in stats_said
    assert "Resource 'missing' not found" in missing


def test_a_wrong_token_is_forbidden(tb):
    code, said = tb("sql", "SELECT 1", token="wrong")

    assert code == 1
    assert "Forbidden: " in said


def test_tokens(daemon, tb):
    daemon.post(b'{"n":1}')
    made = tb("token", "create", "static", "ingest", "--scope", "DATASOURCES:APPEND", "--resource", "t")
    listed = tb("token", "ls")
    removed = tb("token", "rm", "ingest", "--yes")

    assert [code for code, _ in (made, listed, removed)] == [0] * 3
    assert "ingest" in listed[1]
    assert "ingest" not in tb("token", "ls")[1]
