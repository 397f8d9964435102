"""Data sources"""

import gzip
import io
import re

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.contract import states
from tests.daemons import query

FILE = """DESCRIPTION >
    Departures
TOKEN "departures_tracker" APPEND
SCHEMA >
    `timestamp` DateTime64(3) `json:$.timestamp`,
    `city` LowCardinality(String) `json:$.city` DEFAULT 'unknown',
    `user_id` Nullable(Int64) `json:$.user.id`,
    `tags` Array(String) `json:$.tags[:]`,
    `raw` String `json:$`
ENGINE "MergeTree"
ENGINE_SORTING_KEY "timestamp, city"
ENGINE_PARTITION_KEY "toYYYYMM(timestamp)"
"""


def made(api, name, *scopes):
    pairs = "&".join(f"scope={scope}" for scope in scopes)
    return api.call("POST", f"/v0/tokens?name={name}&{pairs}", b"").json()["token"]


@states(
    "`GET /v0/datasources` lists the data sources that the token may read; an admin sees all.",
    "A data source is shown with `id`, `name`, `columns`, `engine`, `statistics`, `quarantine_rows`, `new_columns_detected`, `created_at` and `updated_at` with six digits of a second's fraction.",
)
def test_list_and_show(api, name):
    api.post(b'{"n":1,"s":"x"}\n{"n":2,"s":null}', f"name={name}&wait=true")
    api.post(b'{"n":"bad"}', f"name={name}&wait=true")
    names = [one["name"] for one in api.call("GET", "/v0/datasources").json()["datasources"]]
    assert name in names
    one = api.call("GET", f"/v0/datasources/{name}").json()
    assert re.fullmatch("t_[0-9a-f]{32}", one["id"])
    assert [(c["name"], c["type"], c["nullable"], c["jsonpath"]) for c in one["columns"]] == [
        ("n", "Int64", True, "$.n"),
        ("s", "String", True, "$.s"),
    ]
    assert (one["statistics"]["row_count"], one["quarantine_rows"], one["type"]) == (2, 1, "ndjson")
    assert one["statistics"]["bytes"] > 0
    for at in ("created_at", "updated_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", one[at])
    assert api.call("GET", f"/v0/datasources/{one['id']}").json()["name"] == name
    reader = made(api, f"r_{name[:90]}", f"DATASOURCES:READ:{name}")
    assert [s["name"] for s in api.call("GET", "/v0/datasources", token=reader).json()["datasources"]] == [name]


@states(
    "A data source that does not exist is 404 for an admin, and 403 for a token without `READ`, as one that exists is."
)
def test_unknown(api, name):
    api.post(b'{"n":1}', f"name={name}")
    other = made(api, f"o_{name[:90]}", "DATASOURCES:READ:something_else")
    assert api.call("GET", "/v0/datasources/missing").status == 404
    errors = {
        api.call("GET", f"/v0/datasources/{n}", token=other).json()["error"].replace(n, "X") for n in (name, "missing")
    }
    assert len(errors) == 1


@states(
    "`GET /v0/datasources/NAME.datasource` is the datafile, as `text/plain`; a data source can be made from it again."
)
def test_download_edit_create(api, name):
    api.post(b'{"n":1,"at":"2024-01-01T00:00:00Z"}', f"name={name}")
    file = api.call("GET", f"/v0/datasources/{name}.datasource")
    assert file.headers["content-type"] == "text/plain"
    edited = file.body.replace(b"Nullable(Int64)", b"Int32")
    answer = api.call("POST", f"/v0/datasources?name={name}_edited", edited)
    assert answer.status == 200, answer.body
    assert answer.json()["datasource"]["columns"][0]["type"] == "Int32"
    assert api.call("GET", f"/v0/datasources/{name}_edited.datasource").body == edited


@states(
    "`POST /v0/datasources?name=` with a `.datasource` file as body makes a data source; the file is kept to the last character.",
    "What in a datafile has no meaning here is named in `warnings`; `TOKEN` lines give tokens their scopes, making those that are missing.",
)
def test_create_from_a_file(api):
    answer = api.call("POST", "/v0/datasources?name=departures", FILE.encode(), Content_Type="text/plain")
    assert answer.status == 200, answer.body
    assert any("PARTITION_KEY" in warning for warning in answer.json()["warnings"])
    assert answer.json()["datasource"]["description"] == "Departures"
    assert api.call("GET", "/v0/datasources/departures.datasource").body.decode() == FILE
    token = api.call("GET", "/v0/tokens/departures_tracker").json()
    assert token["scopes"] == [{"type": "DATASOURCES:APPEND", "resource": "departures"}]
    row = b'{"timestamp":"2024-02-29 12:00:00.5","user":{"id":"9007199254740993"},"tags":["a"]}'
    assert api.post(row, "name=departures&wait=true").json()["successful_rows"] == 1
    assert query(api.data, "SELECT city, user_id, tags, raw FROM departures") == [
        {"city": "unknown", "user_id": 9007199254740993, "tags": ["a"], "raw": row.decode()}
    ]


@states("A datafile that can't be understood is refused with 400, which names line, column and what was expected.")
def test_bad_file(api):
    answer = api.call("POST", "/v0/datasources?name=bad_file", b"SCHEMA >\n    `a` Int65 `json:$.a`\n")
    assert answer.status == 400
    assert "line 2" in answer.json()["error"]
    assert "Int64" in answer.json()["error"]


@states(
    "Appending rows or a file with an `Idempotency-Key` is done once, too; with another body it is refused with 422."
)
def test_append_with_a_key(api, name):
    api.post(b'{"n":1}', f"name={name}&wait=true")
    for route in (f"/v0/datasources?mode=append&format=ndjson&name={name}", f"/v1/datasources/{name}/append"):
        key = route[:9]
        for _ in range(2):
            assert api.call("POST", route, b'{"n":2}', Idempotency_Key=key).status == 200
        assert api.call("POST", route, b'{"n":3}', Idempotency_Key=key).status == 422
    assert api.call("POST", f"/v0/datasources?mode=append&name={name}", b'{"n":2}', Idempotency_Key="").status == 400
    assert query(api.data, f"SELECT n FROM {name} ORDER BY n") == [{"n": 1}, {"n": 2}, {"n": 2}]


@states(
    "`POST /v0/datasources?mode=create&name=&schema=&engine_sorting_key=` makes a data source from form fields or parameters."
)
def test_create_from_fields(api, name):
    form = f"mode=create&name={name}&format=ndjson&engine_sorting_key=id&schema=id+Int32+%60json%3A%24.id%60%2C+s+String".encode()
    answer = api.call("POST", "/v0/datasources", form, Content_Type="application/x-www-form-urlencoded")
    assert answer.status == 200, answer.body
    assert answer.json()["datasource"]["engine"]["sorting_key"] == "id"
    assert api.call("POST", "/v0/datasources", form, Content_Type="application/x-www-form-urlencoded").status == 409


@states(
    "`POST /v0/datasources?mode=append&format=ndjson|csv|parquet&name=` appends the body, or the file in a multipart body.",
    "CSV may have a row of names or not; an empty field is null, and every field is fitted into its column.",
)
@pytest.mark.parametrize("multipart", [False, True])
@pytest.mark.parametrize("kind", ["ndjson", "csv", "csv without names", "parquet"])
def test_append(api, name, kind, multipart):
    api.post(b'{"n":1,"s":"x","f":0.5}', f"name={name}&wait=true")
    sink = io.BytesIO()
    pq.write_table(pa.table({"n": [2, 3], "s": ["a,b", None], "f": [1.5, 2.0]}), sink)
    rows = {
        "ndjson": b'{"n":2,"s":"a,b","f":1.5}\n{"n":3,"f":2.0}\n',
        "csv": b'n,s,f\n2,"a,b",1.5\n3,,2.0\n',
        "csv without names": b'2,"a,b",1.5\n3,,2.0\n',
        "parquet": sink.getvalue(),
    }[kind]
    fields = {}
    if multipart:
        head = b'--xyz\r\nContent-Disposition: form-data; name="csv"; filename="rows"\r\nContent-Type: x/y\r\n\r\n'
        rows, fields = head + rows + b"\r\n--xyz--\r\n", {"Content_Type": "multipart/form-data; boundary=xyz"}
    answer = api.call("POST", f"/v0/datasources?mode=append&format={kind.split()[0]}&name={name}", rows, **fields)
    assert answer.status == 200, answer.body
    document = answer.json()
    assert (document["quarantine_rows"], document["invalid_lines"], document["error"]) == (0, 0, False)
    assert document["datasource"]["statistics"]["row_count"] == 3
    assert query(api.data, f"SELECT n, s, f FROM {name} WHERE n > 1 ORDER BY n") == [
        {"n": 2, "s": "a,b", "f": 1.5},
        {"n": 3, "s": None, "f": 2.0},
    ]


@states(
    "`Content-Type` does not make a form of rows: what curl sends by default is taken for what it is.",
    "To create or replace with a body without rows is refused with 400, and nothing changes.",
)
def test_curl_calls_everything_a_form(api, name):
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    assert api.call("POST", f"/v0/datasources?name={name}", b"SCHEMA >\n    `n` Int8\n", **form).status == 200
    for mode, rows, count in (("append", b"n\n1\n2\n", 2), ("replace", b"n\n3\n", 1)):
        answer = api.call("POST", f"/v0/datasources?mode={mode}&format=csv&name={name}", rows, **form)
        assert answer.status == 200, answer.body
        assert query(api.data, f"SELECT count(*) AS n FROM {name}") == [{"n": count}]
    job = api.call("POST", f"/v1/datasources/{name}/append?format=ndjson", b'{"n":4}', **form).json()
    assert api.call("GET", f"/v0/jobs/{job['id']}").json()["blocks"][0]["process_return"][0]["lines"] == 1
    for target in (f"mode=replace&name={name}", f"mode=create&name={name}_new"):
        assert api.call("POST", f"/v0/datasources?{target}", b"").status == 400
    assert query(api.data, f"SELECT count(*) AS n FROM {name}") == [{"n": 2}]
    assert not (api.data / "sources" / f"{name}_new").exists()


@states("Rows of a file that do not fit go to quarantine and are counted in `quarantine_rows`; `error` says so.")
def test_append_bad_rows(api, name):
    api.post(b'{"n":1}', f"name={name}")
    answer = api.call("POST", f"/v0/datasources?mode=append&format=csv&name={name}", b"n\n2\nx\n").json()
    assert answer["quarantine_rows"] == 1
    assert "1 row in quarantine" in answer["error"]


@states("`mode=create` with rows makes the data source by inference, from CSV too.")
def test_create_by_inference(api, name):
    rows = b"id,at,city\n1,2024-01-01 10:00:00,Ulm\n2,2024-01-02 10:00:00,\n"
    answer = api.call("POST", f"/v0/datasources?mode=create&format=csv&name={name}", rows).json()
    assert [c["type"] for c in answer["datasource"]["columns"]] == ["Int64", "DateTime64(3)", "String"]


@states(
    "`mode=replace` puts the rows in the place of all good rows that were there; it needs `DROP` too.",
    "When none of the new rows fits, the old ones stay; quarantined rows stay in any case.",
)
def test_replace(api, name):
    api.post(b'{"n":1}\n{"n":2}', f"name={name}&wait=true")
    target = f"/v0/datasources?mode=replace&format=ndjson&name={name}"
    appender = made(api, f"a_{name[:90]}", f"DATASOURCES:APPEND:{name}")
    assert api.call("POST", target, b'{"n":3}', token=appender).status == 403
    assert api.call("POST", target, b'{"n":"bad"}').json()["quarantine_rows"] == 1
    assert query(api.data, f"SELECT count(*) AS n FROM {name}") == [{"n": 2}]
    assert api.call("POST", target, b'{"n":3}').status == 200
    assert query(api.data, f"SELECT count(*) AS n FROM {name}_quarantine") == [{"n": 1}]
    assert query(api.data, f"SELECT n FROM {name}") == [{"n": 3}]


@states("Appending a file to a data source that does not exist is 404, and a format or mode that is not known 400.")
def test_append_refusals(api, name):
    assert api.call("POST", "/v0/datasources?mode=append&format=ndjson&name=not_there", b'{"n":1}').status == 404
    api.post(b'{"n":1}', f"name={name}")
    assert api.call("POST", f"/v0/datasources?mode=append&format=xml&name={name}", b"<n/>").status == 400
    assert api.call("POST", f"/v0/datasources?mode=merge&name={name}", b"{}").status == 400


@states(
    "`POST /v1/datasources/NAME/append?format=` answers with a job; `GET /v0/jobs/ID` shows it with lines, quarantined rows and bytes.",
    "A job that quarantined rows ends with `status: error`, one that did not with `done`.",
)
def test_jobs(api, name):
    api.post(b'{"n":1}', f"name={name}")
    for body, status, bad in ((b'{"n":2}', "done", 0), (b'{"n":3}\n{"n":"x"}', "error", 1)):
        started = api.call(
            "POST", f"/v1/datasources/{name}/append?format=ndjson", gzip.compress(body), Content_Encoding="gzip"
        )
        assert "error" not in started.json()
        job = api.call("GET", f"/v0/jobs/{started.json()['id']}").json()
        (block,) = job["blocks"][0]["process_return"]
        assert (job["status"], block["quarantine"], block["bytes"]) == (status, bad, len(body))
    assert api.call("GET", "/v0/jobs/nothing").status == 404


@states(
    "`POST /v0/datasources/NAME/alter?schema=` adds columns and widens types; with `dry=true` it only says what it would do.",
    "After an alteration old and new rows are read under one schema.",
)
def test_alter(api, name):
    api.post(b'{"n":1}', f"name={name}&wait=true")
    schema = "`n`+Nullable(Int64)+`json:$.n`,+`s`+String+`json:$.s`+DEFAULT+'none'"
    dry = api.call("POST", f"/v0/datasources/{name}/alter?dry=true&schema={schema}", b"").json()
    assert dry["operations"] == ["ADD COLUMN `s` String `json:$.s` DEFAULT 'none'"]
    assert len(dry["datasource"]["columns"]) == 1
    assert api.call("POST", f"/v0/datasources/{name}/alter?schema={schema}", b"").status == 200
    api.post(b'{"n":2,"s":"x"}', f"name={name}&wait=true")
    assert query(api.data, f"SELECT n, s FROM {name} ORDER BY n") == [{"n": 1, "s": "none"}, {"n": 2, "s": "x"}]


@states(
    "Making and altering data sources needs `CREATE`; a token that may only append gets 403. Who may not read a data source has no description of it in answers."
)
def test_rights_to_change(api, name):
    api.post(b'{"n":1}', f"name={name}&wait=true")
    token = made(api, f"p_{name[:90]}", f"DATASOURCES:APPEND:{name}")
    schema = "`n`+Nullable(Int64),+`s`+Nullable(String)"
    assert api.call("POST", f"/v0/datasources/{name}/alter?schema={schema}", b"", token=token).status == 403
    assert api.call("POST", f"/v0/datasources?name={name}_x&schema=n+Int8", b"", token=token).status == 403
    target = f"/v0/datasources?mode=append&format=ndjson&name={name}"
    assert api.call("POST", target, b'{"n":2}', token=token).json()["datasource"] == {"name": name}
    creator = made(api, f"c_{name[:90]}", "DATASOURCES:CREATE")
    dry = api.call("POST", f"/v0/datasources/{name}/alter?dry=true&schema={schema}", b"", token=creator)
    assert dry.json()["datasource"] == {"name": name}


@states(
    "Removing a column, narrowing a type, or changing a path or a DEFAULT is refused with 400, and nothing changes."
)
@pytest.mark.parametrize(
    "schema",
    ["`m`+Nullable(Int64)", "`n`+Nullable(Int32)", "`n`+Nullable(Int64)+`json:$.m`", "`n`+Nullable(Int64)+DEFAULT+1"],
)
def test_alter_refused(api, name, schema):
    api.post(b'{"n":1}', f"name={name}&wait=true")
    before = api.call("GET", f"/v0/datasources/{name}.datasource").body
    assert api.call("POST", f"/v0/datasources/{name}/alter?schema={schema}", b"").status == 400
    assert api.call("GET", f"/v0/datasources/{name}.datasource").body == before


@states(
    "Keys that no column takes are ignored, counted, and shown as `new_columns_detected` with a type to add them with."
)
def test_new_columns(api, name):
    api.post(b'{"n":1}', f"name={name}&wait=true")
    api.post(b'{"n":2,"x":1.5,"u":{"a":"b"}}\n{"n":3,"x":2,"e":null}', f"name={name}&wait=true")
    found = api.call("GET", f"/v0/datasources/{name}").json()["new_columns_detected"]
    assert {(one["jsonpath"], one["type"], one["count"]) for one in found} == {
        ("$.x", "Nullable(Float64)", 2),
        ("$.u", "Nullable(String)", 1),
    }


@states(
    "`POST /v0/datasources/NAME/truncate` takes all rows away; of NAME_quarantine, the quarantined ones alone. It needs `DROP`."
)
def test_truncate(api, name):
    api.post(b'{"n":1}', f"name={name}&wait=true")
    api.post(b'{"n":"x"}', f"name={name}&wait=true")
    other = made(api, f"c_{name[:90]}", "DATASOURCES:CREATE")
    assert api.call("POST", f"/v0/datasources/{name}/truncate", b"", token=other).status == 403
    assert api.call("POST", f"/v0/datasources/{name}_quarantine/truncate", b"").status == 200
    count = f"SELECT (SELECT count(*) FROM {name}) AS n, (SELECT count(*) FROM {name}_quarantine) AS q"
    assert query(api.data, count) == [{"n": 1, "q": 0}]
    assert api.call("POST", f"/v0/datasources/{name}/truncate", b"").status == 200
    assert query(api.data, count) == [{"n": 0, "q": 0}]
    assert api.post(b'{"n":5}', f"name={name}&wait=true").json()["lsn"] == 3


@states("Renaming needs `CREATE` and `DROP` on the old name, and gives nobody `READ` on rows that it may not read.")
def test_rename_is_no_way_in(api, name):
    api.post(b'{"secret":1}', f"name={name}&wait=true")
    token = made(api, f"m_{name[:90]}", "DATASOURCES:CREATE", f"DATASOURCES:READ:{name}_mine")
    assert api.call("PUT", f"/v0/datasources/{name}?name={name}_mine", b"", token=token).status == 403
    dropper = made(
        api, f"d_{name[:90]}", "DATASOURCES:CREATE", f"DATASOURCES:DROP:{name}", f"DATASOURCES:READ:{name}_mine"
    )
    assert api.call("PUT", f"/v0/datasources/{name}?name={name}_mine", b"", token=dropper).status == 403


@states("`PUT /v0/datasources/NAME?name=NEW` renames a data source; its id and its rows stay.")
def test_rename(api, name):
    api.post(b'{"n":1}', f"name={name}&wait=true")
    before = api.call("GET", f"/v0/datasources/{name}").json()
    after = api.call("PUT", f"/v0/datasources/{name}?name={name}_new", b"").json()
    assert (after["id"], after["statistics"]["row_count"]) == (before["id"], 1)
    assert api.call("GET", f"/v0/datasources/{name}").status == 404
    assert api.post(b'{"n":2}', f"name={before['id']}&wait=true").status == 200
    assert api.call("PUT", f"/v0/datasources/{name}_new?name=a-b", b"").status == 400


@states("`DELETE /v0/datasources/NAME` takes a data source away and answers 204; with `dry_run=true` it does not.")
def test_delete(api, name):
    api.post(b'{"n":1}', f"name={name}&wait=true")
    assert api.call("DELETE", f"/v0/datasources/{name}?dry_run=true").json()["dependent_pipes"] == []
    assert api.call("DELETE", f"/v0/datasources/{name}").status == 204
    assert api.call("DELETE", f"/v0/datasources/{name}").status == 404
    assert not (api.data / "sources" / name).exists()
    assert api.post(b'{"s":"x"}', f"name={name}&wait=true").json()["lsn"] == 1


@states("`GET /v0/datasources/NAME/watermark` says up to which LSN rows are appended, durable, and in segments.")
def test_watermark(api, name):
    lsn = api.post(b'{"n":1}\n{"n":2}', f"name={name}&wait=true").json()["lsn"]
    mark = api.call("GET", f"/v0/datasources/{name}/watermark").json()
    assert mark == {"appended": lsn, "durable": lsn, "in_segments": 0}


@states("`POST /v0/analyze` says how a file would be read, column by column, and stores nothing.")
def test_analyze(api):
    answer = api.call("POST", "/v0/analyze", b'{"n":1,"u":{"id":7}}\n{"n":2}\n').json()
    assert answer["analysis"]["columns"] == [
        {"name": "n", "path": "$.n", "recommended_type": "Int64", "present_pct": 1.0},
        {"name": "u_id", "path": "$.u.id", "recommended_type": "Int64", "present_pct": 0.5},
    ]
    assert "`u_id` Nullable(Int64) `json:$.u.id`" in answer["analysis"]["schema"]
    assert orjson.dumps(answer["preview"]["data"]) == b'[{"n":1,"u_id":7},{"n":2,"u_id":null}]'


@states(
    "What command lines ask before they work is answered: workspace, user's workspaces, regions, pipes, health, version."
)
def test_service(api):
    workspace = api.call("GET", "/v1/workspace").json()
    assert set(workspace) == {"id", "name", "user_id", "user_email", "scope", "main"}
    assert api.call("GET", "/v0/workspace").json() == workspace
    assert (
        api.call("GET", "/v1/user/workspaces/?with_environments=false").json()["workspaces"][0]["id"] == workspace["id"]
    )
    assert api.call("GET", "/v0/regions").json() == {"regions": []}
    assert api.call("GET", "/v0/pipes").json() == {"pipes": []}
    assert api.call("GET", "/v0/health").status == 200
    assert "version" in api.call("GET", "/version").json()
