"""tb of Tinybird Forward (PyPI: tinybird) with `--cloud --host URL`, and nothing but that."""

import csv
import json
import re

import pytest

from tests.daemons import TOKEN, query
from tests.e2e.clients.installed import CLIENTS, TB, run

pytestmark = TB


@pytest.fixture
def tb(tmp_path, daemon):
    """Run tb in `tmp_path`; returns its exit code and all that it said."""

    def run_tb(*arguments: str, token: str = TOKEN, output: str = "human"):
        command = [str(CLIENTS / "tb/bin/tb"), "--cloud", "--host", daemon.url, "--token", token, "--output", output]
        done = run([*command, *arguments], cwd=tmp_path, TB_VERSION_WARNING="0", TB_CLI_TELEMETRY_OPTOUT="1")
        print(done.stdout, done.stderr)
        return done.returncode, done.stdout + done.stderr

    return run_tb


def test_listing_data_sources(daemon, tb):
    """It cuts 7 characters off the end of the times: they must have a fraction of 6 digits."""
    daemon.post(b'{"n":1}\n{"n":2}')
    code, said = tb("datasource", "ls", "--format", "json")

    (listed,) = json.loads(said[said.index("{") :])["datasources"]
    assert code == 0
    assert (listed["name"], listed["row_count"]) == ("t", 2)
    assert len(listed["updated at"]) == len("2026-11-23 12:00:00")
    code, said = tb("datasource", "ls")
    assert (code, "name: t" in said or " t " in said) == (0, True)


def test_appending_events(daemon, tb):
    daemon.post(b'{"n":1}')
    code, said = tb("datasource", "append", "t", "--events", '{"n":2}\n{"n":3}')

    assert code == 0
    assert "2 rows appended!" in said
    assert query(daemon.data, "SELECT n FROM t ORDER BY n") == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_appending_bad_events_fails_and_counts_them(daemon, tb):
    daemon.post(b'{"n":1}')
    code, said = tb("datasource", "append", "t", "--events", '{"n":2}\n{"n":"three"}\n{"n":"four"}')

    assert code != 0
    assert "quarantine" in said
    assert "2" in said[said.index("quarantine") :]
    assert query(daemon.data, "SELECT n FROM t ORDER BY n") == [{"n": 1}, {"n": 2}]
    assert len(query(daemon.data, "SELECT * FROM t_quarantine")) == 2


@pytest.mark.parametrize(
    ("name", "text"),
    [("rows.ndjson", '{"n":2,"s":"ü"}\n'), ("rows.csv", "n,s\n2,ü\n"), ("rows.jsonl", '{"n":2,"s":"ü"}')],
)
def test_appending_a_file(daemon, tb, tmp_path, name, text):
    daemon.post(b'{"n":1,"s":"x"}')
    (tmp_path / name).write_text(text)
    code, said = tb("datasource", "append", "t", name)

    assert code == 0
    assert "Rows appended!" in said
    assert query(daemon.data, "SELECT n, s FROM t ORDER BY n") == [{"n": 1, "s": "x"}, {"n": 2, "s": "ü"}]


def test_appending_a_bad_file_shows_the_quarantined_row(daemon, tb, tmp_path):
    """Its exit code is 0 all the same."""
    daemon.post(b'{"n":1}')
    (tmp_path / "rows.ndjson").write_text('{"n":"two"}\n')
    _, said = tb("datasource", "append", "t", "rows.ndjson")

    assert "quarantine" in said
    assert "c__error" in said
    assert len(query(daemon.data, "SELECT * FROM t_quarantine")) == 1


def test_replacing_rows(daemon, tb, tmp_path):
    daemon.post(b'{"n":1}\n{"n":2}')
    (tmp_path / "rows.ndjson").write_text('{"n":3}\n')
    code, _ = tb("datasource", "replace", "t", "rows.ndjson")

    assert code == 0
    assert query(daemon.data, "SELECT n FROM t") == [{"n": 3}]


def test_analyzing_a_file(tb, tmp_path):
    """The file as a body without a Content-Type or a name: what it is must show in it."""
    (tmp_path / "rows.ndjson").write_text('{"n":1,"user":{"name":"x"},"at":"2026-11-23T12:00:00Z"}\n{"n":2}\n')
    (tmp_path / "rows.csv").write_text("n,city\n1,Ulm\n2,Bonn\n")
    code, said = tb("datasource", "analyze", "rows.ndjson")
    csv_code, csv_said = tb("datasource", "analyze", "rows.csv")

    assert (code, csv_code) == (0, 0)
    assert re.search(r"^n +(Nullable\()?Int64", said, re.MULTILINE)
    assert re.search(r"^at +(Nullable\()?DateTime64\(3\)", said, re.MULTILINE)
    assert "`user_name` Nullable(String) `json:$.user.name`" in said
    assert "`city`" in csv_said
    assert "Int64" in csv_said


def test_emptying_a_data_source(daemon, tb):
    daemon.post(b'{"n":1}')
    code, said = tb("datasource", "truncate", "t", "--yes")

    assert code == 0
    assert "truncated" in said
    assert query(daemon.data, "SELECT * FROM t") == []


def test_deleting_rows_by_a_condition_is_refused_with_what_there_is(daemon, tb):
    daemon.post(b'{"n":1}\n{"n":2}')
    code, said = tb("datasource", "delete", "t", "--sql-condition", "n = 2", "--yes", "--wait")
    assert code != 0
    assert "truncate" in said
    assert len(query(daemon.data, "SELECT n FROM t")) == 2


def test_sql(daemon, tb, tmp_path):
    daemon.post(b'{"n":1,"s":"x"}\n{"n":2,"s":"\xc3\xbc"}')
    code, said = tb("sql", "SELECT n, s FROM t ORDER BY n;", output="json")
    csv_code, csv_said = tb("sql", "SELECT n, s FROM t ORDER BY n", output="csv")
    long_code, long_said = tb("sql", f"SELECT n FROM t WHERE s <> '{'y' * 5000}' ORDER BY n", output="csv")
    data_code, data_said = tb("datasource", "data", "t")
    export_code, _ = tb("datasource", "export", "t", "--format", "csv", "--target", "out.csv")

    assert (code, csv_code, long_code, data_code, export_code) == (0, 0, 0, 0, 0)
    assert json.loads(said)["data"] == [{"n": 1, "s": "x"}, {"n": 2, "s": "ü"}]
    assert list(csv.reader(csv_said.split())) == [["n", "s"], ["1", "x"], ["2", "ü"]]
    assert list(csv.reader(long_said.split())) == [["n"], ["1"], ["2"]]
    assert "ü" in data_said
    assert "ü" in (tmp_path / "out.csv").read_text()


def test_sql_that_fails(daemon, tb):
    missing_code, missing = tb("sql", "SELECT * FROM missing")
    wrong_code, wrong = tb("sql", "SELEKT")

    assert missing_code == wrong_code == 1
    assert "Resource 'missing' not found" in missing
    assert "Error" in wrong


def test_a_wrong_token_is_forbidden(tb):
    code, said = tb("sql", "SELECT 1", token="wrong")

    assert code == 1
    assert "Forbidden: " in said


def test_tokens(daemon, tb):
    """It makes one only when asking for it is answered with 404, and lists those that have a key `token`."""
    daemon.post(b'{"n":1}')
    made = tb("token", "create", "static", "ingest", "--scope", "DATASOURCES:APPEND", "--resource", "t")
    listed = tb("token", "ls")
    scopes = tb("token", "scopes", "ingest")
    renewed = tb("token", "refresh", "ingest", "--yes")
    removed = tb("token", "rm", "ingest", "--yes")
    after = tb("token", "ls")

    assert [code for code, _ in (made, listed, scopes, renewed, removed, after)] == [0] * 6
    assert "ingest" in listed[1]
    assert "DATASOURCES:APPEND" in scopes[1]
    assert "ingest" not in after[1]


def test_the_workspace(tb):
    """`/v1/user/workspaces/` with a slash at its end."""
    assert tb("workspace", "current")[0] == 0
