"""SQL"""

from urllib.parse import quote

import orjson
import pyarrow as pa
import pytest

from tests.contract import states
from tests.daemons import TOKEN


def sql(api, text, token=TOKEN, more=""):
    return api.call("GET", f"/v0/sql?q={quote(text)}{more}", token=token)


def reader(api, name, *sources):
    pairs = "&".join(f"scope=DATASOURCES:READ:{one}" for one in sources)
    return api.call("POST", f"/v0/tokens?name={name}&{pairs}", b"").json()["token"]


@pytest.fixture
def filled(api, name):
    api.post(b'{"n":1,"s":"x"}\n{"n":9007199254740993,"s":"a\\tb"}', f"name={name}&wait=true")
    return name


@states(
    "`GET` and `POST /v0/sql` take one statement as `q` in the query, in a form or in JSON, or as the body.",
    "A row answered with 200 is in every query that begins afterwards.",
)
def test_ways(api, filled):
    text = f"SELECT count() AS c FROM {filled} FORMAT JSONEachRow"
    expected = b'{"c":2}\n'
    assert sql(api, text).body == expected
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    assert api.call("POST", "/v0/sql", b"q=" + quote(text).encode(), **form).body == expected
    document = orjson.dumps({"q": text})
    assert api.call("POST", "/v0/sql", document, Content_Type="application/json").body == expected
    assert api.call("POST", "/v0/sql", text.encode(), Content_Type="text/plain").body == expected
    assert api.call("POST", "/v0/sql", text.encode() + b" ;").body == expected


@states(
    "A trailing `FORMAT` chooses JSON, JSONEachRow, CSV, CSVWithNames, TSV, TSVWithNames, PrettyCompact, Parquet or Arrow; without it the answer is TSV.",
    "A statement that comes as a `text/plain` body without `FORMAT` is answered in JSON, which is what SDKs read.",
)
def test_formats(api, filled):
    text = f"SELECT n, s FROM {filled} ORDER BY n"
    assert sql(api, text).body == b"1\tx\n9007199254740993\ta\\tb\n"
    assert sql(api, text + " FORMAT CSV").body == b'1,"x"\n9007199254740993,"a\tb"\n'
    assert sql(api, text + " FORMAT CSVWithNames").body.startswith(b'"n","s"\n')
    assert "x" in sql(api, text + " FORMAT PrettyCompact").body.decode()
    table = pa.ipc.open_stream(sql(api, text + " format Arrow").body).read_all()
    assert table["n"].to_pylist() == [1, 9007199254740993]
    assert sql(api, text + " FORMAT Parquet").body.startswith(b"PAR1")
    plain = api.call("POST", "/v0/sql", text.encode(), Content_Type="text/plain")
    assert plain.json()["rows"] == 2


@states(
    "FORMAT JSON has `meta` with names and types of the result, all of them Nullable, `data`, `rows` and `statistics`.",
    "Integers of 64 bits are exact, and unquoted unless `output_format_json_quote_64bit_integers=1`.",
)
def test_json(api, filled):
    text = f"SELECT n, s FROM {filled} ORDER BY n FORMAT JSON"
    document = sql(api, text).json()
    assert document["meta"] == [{"name": "n", "type": "Nullable(Int64)"}, {"name": "s", "type": "Nullable(String)"}]
    assert document["data"][1]["n"] == 9007199254740993
    assert document["rows"] == 2
    assert set(document["statistics"]) == {"elapsed", "rows_read", "bytes_read"}
    quoted = sql(api, text, more="&output_format_json_quote_64bit_integers=1").json()
    assert quoted["data"][1]["n"] == "9007199254740993"


@states(
    "A data source that does not exist and one that the token may not read are both 403 with `Resource 'x' not found`.",
    "`READ` on a data source covers its quarantine.",
)
def test_scopes(api, filled):
    api.post(b'{"secret":1}', f"name={filled}_other&wait=true")
    api.post(b'{"n":"bad"}', f"name={filled}&wait=true")
    token = reader(api, filled, filled)
    assert sql(api, f"SELECT count() FROM {filled}", token).body == b"2\n"
    assert sql(api, f"SELECT count() FROM {filled}_quarantine", token).body == b"1\n"
    for missing in (f"{filled}_other", f"{filled}_other_quarantine", "nowhere"):
        answer = sql(api, f"SELECT * FROM {missing}", token)
        assert (answer.status, answer.json()["error"]) == (403, f"Resource '{missing}' not found")
    assert filled + "_other" not in sql(api, "SHOW TABLES", token).body.decode()
    assert sql(api, "SELECT 1", "wrong").status == 403


@states(
    "A name that is a word of the dialect is pointed out where the statement can't be parsed: it needs double quotes."
)
def test_reserved_words(api, name):
    api.post(b'{"at":1,"n":2}', f"name={name}&wait=true")
    answer = sql(api, f"SELECT max(at) FROM {name}")
    assert answer.status == 400
    assert '"at" means something in the dialect' in answer.json()["error"]
    assert sql(api, f'SELECT max("at") FROM {name}').body == b"1\n"


@states("A syntax error or an unknown column is 400 with the engine's message.")
@pytest.mark.parametrize("text", ["SELEKT 1", "SELECT nope FROM {}", "SELECT 1 +"])
def test_errors(api, filled, text):
    answer = sql(api, text.format(filled))
    assert answer.status == 400
    assert "Error" in answer.json()["error"]


@states("Anything but one SELECT, DESCRIBE or SHOW is 400.")
@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1; SELECT 2",
        "DROP TABLE {}",
        "INSERT INTO {} VALUES (1)",
        "COPY {} TO '/tmp/x'",
        "SET threads = 1",
        "ATTACH ':memory:'",
        "",
    ],
)
def test_one_reading_statement(api, filled, text):
    assert sql(api, text.format(filled)).status == 400


@states("SQL reaches no file, no setting and no network of the server.")
@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/proc/self/environ')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM read_parquet('https://example.com/x.parquet')",
        "SELECT getenv('PATH')",
        "SELECT * FROM duckdb_settings()",
        "SELECT current_setting('temp_directory')",
    ],
)
def test_confined(api, text):
    answer = sql(api, text)
    assert answer.status in (400, 403), answer.body
    assert b"root:" not in answer.body


@states(
    "Names that queries for ClickHouse use are there where they are cheap: `count()`, `countIf`, `uniq`, `toDate`, `toStartOfHour`."
)
def test_dialect(api, filled):
    text = f"SELECT count(), countIf(n = 1), uniq(s), toDate('2024-02-29'), toStartOfHour(TIMESTAMP '2024-02-29 10:20:30') FROM {filled}"
    assert sql(api, text).body == b"2\t1\t2\t2024-02-29\t2024-02-29 10:00:00\n"


@states(
    "`siltstone.sources`, `siltstone.segments` and `siltstone.ops_log` are tables of what is stored and what was asked.",
    "`tinybird.datasources_ops_log` and `tinybird.datasources_storage` show the same under the original's names.",
    "A token sees the lines about data sources that it may read.",
)
def test_service_tables(api, filled):
    api.post(b"nope", f"name={filled}")
    text = f"SELECT rows, wal_rows FROM siltstone.sources WHERE name = '{filled}'"
    assert sql(api, text).body == b"2\t2\n"
    log = f"SELECT result, status, rows FROM siltstone.ops_log WHERE datasource = '{filled}' ORDER BY timestamp"
    assert sql(api, log).body == b"ok\t200\t2\nerror\t400\t0\n"
    storage = f"SELECT rows FROM tinybird.datasources_storage WHERE datasource_name = '{filled}'"
    assert sql(api, storage).body == b"2\n"
    original = f"SELECT event_type, result FROM tinybird.datasources_ops_log WHERE datasource_name = '{filled}' LIMIT 1"
    assert sql(api, original).body == b"append-hfi\tok\n"
    token = reader(api, f"s_{filled[:90]}", filled)
    assert sql(api, "SELECT name FROM siltstone.sources", token).body == filled.encode() + b"\n"
    assert sql(api, "SELECT count(DISTINCT datasource) FROM siltstone.ops_log", token).body == b"1\n"
