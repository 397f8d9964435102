"""Quarantine and replay"""

from urllib.parse import quote

from tests.contract import states
from tests.daemons import query, siltstone


@states(
    "A row that does not fit is kept in NAME_quarantine: which columns, why, and the row as it was sent.",
    "The quarantine has every column of the data source as text: strings without quotes, objects and arrays as JSON.",
)
def test_columns(api, name):
    api.post(b'{"n":1,"s":"x","o":{"a":[1]}}', f"name={name}&wait=true")
    row = b'{"n": "seven", "s": "plain", "o":{"a":[1, 2]}}'
    api.post(row, f"name={name}&wait=true")
    (found,) = query(api.data, f"SELECT * FROM {name}_quarantine")
    assert found["c__error_column"] == ["n"]
    assert found["c__error"] == ["string 'seven' does not fit Int64"]
    assert (found["n"], found["s"], found["o_a"], found["c__row"]) == ("seven", "plain", "[1,2]", row.decode())
    assert found["c__import_id"] is None
    assert found["insertion_date"] is not None


@states(
    "`GET /v0/datasources/NAME_quarantine` shows the quarantine as a data source, with its columns and its rows counted."
)
def test_shown(api, name):
    api.post(b'{"n":1}', f"name={name}&wait=true")
    api.post(b'{"n":"x"}', f"name={name}&wait=true")
    shown = api.call("GET", f"/v0/datasources/{name}_quarantine").json()
    assert (shown["name"], shown["statistics"]["row_count"]) == (f"{name}_quarantine", 1)
    types = {column["name"]: column["type"] for column in shown["columns"]}
    assert types["c__error"] == "Array(String)"
    assert types["n"] == "String"
    assert types["insertion_date"] == "DateTime"


@states("A line that is no JSON object, among others that are, goes to quarantine with its text.")
def test_text(api, name):
    api.post(b'{"n":1}\nnope\n[1]\n\xff', f"name={name}&wait=true")
    rows = query(api.data, f"SELECT c__row, c__error FROM {name}_quarantine ORDER BY c__lsn")
    assert [row["c__row"] for row in rows] == ["nope", "[1]", "\\xff"]
    assert rows[1]["c__error"] == ["a JSON array where an object is expected"]


@states("A missing value names the column in the words that people search for.")
def test_missing(api, name):
    api.call("POST", f"/v0/datasources?name={name}&schema={quote('n Int64, s String')}", b"")
    api.post(b'{"n":1}', f"name={name}&wait=true")
    (row,) = query(api.data, f"SELECT c__error FROM {name}_quarantine")
    (message,) = row["c__error"]
    assert message.startswith("Strict type checking failed. Object does not have column 's', you should send a value")


@states(
    "`POST /v0/datasources/NAME/replay` sends quarantined rows in again: those that fit by now become rows, once, and leave the quarantine.",
    "`where` is SQL over the quarantine's columns and chooses among the rows.",
)
def test_replay(api, name):
    api.call("POST", f"/v0/datasources?name={name}&schema={quote('n Int8')}", b"")
    api.post(b'{"n":1}\n{"n":300}\n{"n":301}\n{"n":"x"}', f"name={name}&wait=true")
    api.call("POST", f"/v0/datasources/{name}/alter?schema={quote('n Int64')}", b"")
    where = quote("n = '300'")
    assert api.call("POST", f"/v0/datasources/{name}/replay?where={where}", b"").json() == {
        "successful_rows": 1,
        "remaining_rows": 0,
    }
    for expected in ({"successful_rows": 1, "remaining_rows": 1}, {"successful_rows": 0, "remaining_rows": 1}):
        assert api.call("POST", f"/v0/datasources/{name}/replay", b"").json() == expected
    assert query(api.data, f"SELECT n FROM {name} ORDER BY n") == [{"n": 1}, {"n": 300}, {"n": 301}]
    assert query(api.data, f"SELECT c__row FROM {name}_quarantine") == [{"c__row": '{"n":"x"}'}]


@states("A `where` needs `READ`, as it tells what is in the rows.")
def test_replay_rights(api, name):
    api.post(b'{"n":1}', f"name={name}&wait=true")
    scope = f"scope=DATASOURCES:APPEND:{name}"
    token = api.call("POST", f"/v0/tokens?name={name[:100]}&{scope}", b"").json()["token"]
    assert api.call("POST", f"/v0/datasources/{name}/replay?where=1=1", b"", token=token).status == 403
    assert api.call("POST", f"/v0/datasources/{name}/replay", b"", token=token).status == 200


@states("A `where` that is no condition is refused with 400.")
def test_replay_nonsense(api, name):
    api.post(b'{"n":1}', f"name={name}&wait=true")
    for where in ("nothing = 1", "1) UNION SELECT name FROM siltstone.sources WHERE (1=1", "SELEKT", "n ="):
        refused = api.call("POST", f"/v0/datasources/{name}/replay?where={quote(where)}", b"")
        assert refused.status == 400
        assert refused.json()["error"].startswith("where ")
        assert "c__lsn" not in refused.json()["error"]


def test_the_command_line_makes_alters_replays_and_drops(daemon, tmp_path):
    """`siltstone create`, `schema`, `alter`, `replay`, `token` and `drop`, as a person uses them."""
    file = tmp_path / "rides.datasource"
    file.write_text("SCHEMA >\n    `n` Int8 `json:$.n`\n")

    def run(*arguments):
        done = siltstone(daemon.data, *arguments, url=daemon.url)
        return done.returncode, done.stdout.decode() + done.stderr.decode()

    assert run("create", str(file)) == (0, "created rides with 1 columns\n")
    assert run("create", str(file))[0] == 1
    daemon.post(b'{"n":300}', "name=rides&wait=true")
    assert run("schema", "rides") == (0, file.read_text())
    file.write_text("SCHEMA >\n    `n` Int64 `json:$.n`\n")
    assert run("alter", "rides", str(file), "--dry")[1].startswith("would MODIFY COLUMN `n` Int8 -> Int64")
    assert run("alter", "rides", str(file))[0] == 0
    daemon.post(b'{"n":"x"}', "name=rides&wait=true")
    went, why = "1 rows went in, 1 stay in quarantine\n", "columns c__error_column and c__error of rides_quarantine\n"
    assert run("replay", "rides_quarantine") == (0, f"{went}siltstone: why is in {why}")
    assert query(daemon.data, "SELECT n FROM rides") == [{"n": 300}]
    code, token = run("token", "create", "reader", "--scope", "DATASOURCES:READ:rides")
    assert code == 0
    assert token.startswith("p.")
    assert "DATASOURCES:READ:rides" in run("token", "ls")[1]
    assert run("token", "ls", "--token", "p.wrong")[1].startswith("siltstone: ")
    assert run("token", "rm", "reader")[0] == 0
    assert run("drop", "rides", "--yes")[0] == 0
    assert run("schema", "rides")[0] == 1
