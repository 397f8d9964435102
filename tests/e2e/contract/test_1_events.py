"""Sending events"""

import gzip
import re
import time

import orjson
import pyarrow as pa
import pytest

from tests.contract import states
from tests.daemons import TOKEN, query

AUTH = {"Authorization": f"Bearer {TOKEN}"}


@states(
    "`POST /v0/events?name=NAME` takes one JSON object or one a line, and makes the data source NAME from the first.",
    "Without `wait`, with `wait=false`, `wait=0` or `wait=` the answer is 202, once the rows are decoded and handed to the system.",
    "With `wait=true`, `wait=True` or `wait=1` the answer is 200, once the rows are synced to disk.",
    "A 200 has `lsn`, the position up to which the data source's rows are durable; a 202 has not.",
)
@pytest.mark.parametrize(
    ("wait", "status"),
    [
        *[("", 202), ("&wait=", 202), ("&wait=false", 202), ("&wait=0", 202)],
        *[("&wait=true", 200), ("&wait=True", 200), ("&wait=1", 200)],
    ],
)
def test_wait(api, name, wait, status):
    answer = api.post(b'{"n":1}\n{"n":2}', f"name={name}{wait}")

    assert answer.status == status
    counts = answer.json()
    assert (counts.pop("lsn", None) is None) == (status == 202)
    assert counts == {"successful_rows": 2, "quarantined_rows": 0}
    assert query(api.data, f"SELECT n FROM {name} ORDER BY n") == [{"n": 1}, {"n": 2}]


@states("Any other value of `wait` is refused with 400.")
def test_wait_with_something_else(api, name):
    assert api.post(b'{"n":1}', f"name={name}&wait=maybe").status == 400


@states(
    "A successful answer is JSON with the integers `successful_rows` and `quarantined_rows`, true for 202 as for 200."
)
def test_counts(api, name):
    for wait in ("true", "false"):
        answer = api.post(b'{"n":1}', f"name={name}&wait={wait}")
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
    answer = api.post(b'{"n":1}\n{"n":"x"}\nnope', f"name={name}")
    assert answer.json() == {"successful_rows": 1, "quarantined_rows": 2}


@states("All rows quarantined is still a success.")
def test_all_bad(api, name):
    api.post(b'{"n":1}', f"name={name}")
    assert api.post(b'{"n":"x"}', f"name={name}").json() == {"successful_rows": 0, "quarantined_rows": 1}


@states(
    "Lines may end in `\\r\\n`; blank lines and a last newline make no row; a byte-order mark at the start is skipped.",
    "A top-level array of objects is a batch.",
    "A body whose lines are not JSON but which is one JSON object as a whole is one event.",
)
@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (b'{"n":1}\r\n\r\n{"n":2}\r\n', 2),
        (b'\xef\xbb\xbf{"n":1}', 1),
        (b'[{"n":1},\n{"n":2},{"n":3}]', 3),
        (b'{\n  "n": 1\n}', 1),
    ],
)
def test_forms(api, name, body, rows):
    assert api.post(body, f"name={name}").json()["successful_rows"] == rows


@states("An empty body, or one of blanks, is a success with no rows, and makes no data source.")
@pytest.mark.parametrize("body", [b"", b" \n\r\n"])
def test_empty(api, body):
    answer = api.post(body, "name=never_made&wait=true")
    assert (answer.status, answer.json()["successful_rows"]) == (200, 0)
    assert not (api.data / "sources" / "never_made").exists()


@states("With `format=json` the body is one JSON document, an object or an array of objects, over any number of lines.")
def test_format_json(api, name):
    assert api.post(b'[{"n":1},\n {"n":\n2}]', f"name={name}&format=json").json()["successful_rows"] == 2
    assert api.post(b'{"n":1}\n{"n":2}', f"name={name}&format=json").status == 400
    assert api.post(b'{"n":1}\n{"n":2}', f"name={name}&format=ndjson").json()["successful_rows"] == 2


@states("A `format` other than `ndjson` and `json` is refused with 400.")
def test_format_other(api, name):
    assert api.post(b"n\n1\n", f"name={name}&format=csv").status == 400


@states("`Content-Type` never selects the parser.")
@pytest.mark.parametrize("kind", ["application/x-ndjson", "text/plain", "application/x-www-form-urlencoded", None])
def test_content_type(api, name, kind):
    fields = {} if kind is None else {"Content_Type": kind}
    assert api.post(b'{"n":1}\n{"n":2}', f"name={name}", **fields).json()["successful_rows"] == 2


@states("Parameters that are not known are ignored.", "Of a repeated parameter the first counts.")
def test_parameters(api, name):
    assert api.post(b'{"n":1}', f"mode=append&name={name}&from=sdk&name=other&cli_version=5").status == 202
    assert not (api.data / "sources" / "other").exists()


@states("`Content-Encoding: gzip` and `zstd` are unfolded; `identity` is the body itself.")
@pytest.mark.parametrize("coding", ["gzip", "zstd", "identity", "GZIP"])
def test_codings(api, name, coding):
    body = b'{"n":1}\n' * 1000
    pack = {"gzip": gzip.compress, "zstd": lambda b: pa.compress(b, codec="zstd", asbytes=True), "identity": bytes}
    packed = pack[coding.lower()](body)
    answer = api.post(packed, f"name={name}", Content_Encoding=coding)
    assert answer.json()["successful_rows"] == 1000


@states("Any other coding, or two of them, is refused with 415, which names what is taken.")
@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "gzip, identity"])
def test_other_codings(api, name, coding):
    answer = api.post(b'{"n":1}', f"name={name}", Content_Encoding=coding)
    assert answer.status == 415
    assert "gzip, zstd or identity" in answer.json()["error"]


@states("A body that is not what its coding says is refused with 400, and nothing of it is stored.")
def test_broken_coding(api):
    answer = api.post(gzip.compress(b'{"n":1}' * 99)[:-4], "name=broken", Content_Encoding="gzip")
    assert answer.status == 400
    assert not (api.data / "sources" / "broken").exists()


@states("A body that is in gzip or zstd when its request does not say so is refused with 400, which says what to send.")
@pytest.mark.parametrize("coding", ["gzip", "zstd", "gzip, not compressed"])
@pytest.mark.parametrize("rows", [1, 20_000])
def test_unsaid_coding(api, name, coding, rows):
    body = b"".join(b'{"n":%d,"x":%d}\n' % (n, n * n * 7919 % 1_000_003) for n in range(rows))
    coding, _, is_plain = coding.partition(",")
    packed = gzip.compress(body, 0) if is_plain else bytes(pa.compress(body, codec=coding, asbytes=True))
    for _ in range(2):
        answer = api.post(packed, f"name={name}")
        assert answer.status == 400
        assert f"send Content-Encoding: {coding}" in answer.json()["error"]
        api.post(b'{"n":1}', f"name={name}")
    assert query(api.data, f"SELECT count(*) AS n FROM {name}") == [{"n": 2}]


@states(
    "A body over 10 MiB, as sent or as unfolded, is refused with 413, which says the limit.",
    "A body of more than 1,000,000 rows is refused with 413; a million are taken.",
)
def test_large(api, name):
    assert api.post(gzip.compress(bytes(11 << 20)), f"name={name}", Content_Encoding="gzip").status == 413
    many = b"{}\n" * 1_000_000
    api.post(b'{"n":1}', f"name={name}")
    assert api.post(many, f"name={name}").json()["successful_rows"] == 1_000_000
    answer = api.post(many + b"{}", f"name={name}")
    assert answer.status == 413
    assert "1000000" in answer.json()["error"]


@states(
    "No data source is made from objects without a value, such as `{}`: that is 400, which says how to make one; once it is there, such rows are taken."
)
def test_no_values(api, name):
    answer = api.post(b'{}\n{"a":null,"b":[]}', f"name={name}")
    assert answer.status == 400
    assert "create the data source with a schema" in answer.json()["error"]
    api.post(b'{"a":1}', f"name={name}")
    assert api.post(b"{}", f"name={name}").json()["successful_rows"] == 1


@states("Only a body without any JSON object is itself refused, with 400; it makes no data source.")
@pytest.mark.parametrize("body", [b"nope", b"[1,2]", b"1\n2", b'"text"', b"\xff\xfe"])
def test_no_object(api, body):
    answer = api.post(body, "name=no_object")
    assert answer.status == 400
    assert "no JSON object" in answer.json()["error"]
    assert not (api.data / "sources" / "no_object").exists()


@states(
    "A name is letters, digits and underscores, starts with no digit, has at most 128 characters and does not end in `_quarantine`; any other is refused with 400."
)
@pytest.mark.parametrize("bad", ["", "1a", "a-b", "a/b", "..", "a%2Fb", "%00", "x" * 129, "t_quarantine", "%C3%A9"])
def test_names(api, bad):
    assert api.post(b'{"n":1}', f"name={bad}").status == 400


@states("Names are unique without regard to case: one that differs from another by case only is refused with 400.")
def test_case(api, name):
    api.post(b'{"n":1}', f"name={name}")
    answer = api.post(b'{"n":1}', f"name={name.upper()}")
    assert answer.status == 400
    assert name in answer.json()["error"]


@states(
    "A data source may be named by its id, `t_` and 32 hex digits; an id that no data source has is refused with 400."
)
def test_ids(api, name):
    api.post(b'{"n":1}', f"name={name}")
    source_id = orjson.loads((api.data / "sources" / name / "source.json").read_bytes())["id"]
    assert re.fullmatch("t_[0-9a-f]{32}", source_id)
    assert api.post(b'{"n":2}', f"name={source_id}&wait=true").status == 200
    assert query(api.data, f"SELECT count(*) AS n FROM {name}") == [{"n": 2}]
    assert api.post(b'{"n":2}', f"name=t_{'0' * 32}").status == 400


@states(
    "`x-vercel-verify` is echoed as a header of that name; anything but letters, digits, `-` and `_` in it is refused."
)
def test_vercel(api, name):
    answer = api.post(b'{"n":1}', f"name={name}&x-vercel-verify=abc-123")
    assert answer.headers["x-vercel-verify"] == "abc-123"
    assert api.post(b'{"n":1}', f"name={name}&x-vercel-verify=a%0d%0ab").status == 400


@states(
    "The same `Idempotency-Key` with the same body gives the first answer again, with `Idempotency-Replayed: true`, and adds nothing.",
    "The same `Idempotency-Key` with another body is refused with 422.",
)
def test_idempotency(api, name):
    first = api.post(b'{"n":1}', f"name={name}&wait=true", Idempotency_Key="a")
    again = api.post(b'{"n":1}', f"name={name}&wait=true", Idempotency_Key="a")
    assert (again.body, again.headers["idempotency-replayed"]) == (first.body, "true")
    assert "idempotency-replayed" not in first.headers
    assert api.post(b'{"n":2}', f"name={name}&wait=true", Idempotency_Key="a").status == 422
    assert query(api.data, f"SELECT count(*) AS n FROM {name}") == [{"n": 1}]


@states("Each answer has a `Date` and an `X-Request-Id` of its own.")
def test_ids_of_requests(api, name):
    answers = [api.post(b'{"n":1}', f"name={name}") for _ in range(3)] + [api.post(b"", "name=")]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 4
    assert all(answer.headers["date"].endswith("GMT") for answer in answers)


@states(
    "With `--limit-requests` every answer has `X-RateLimit-Limit`, `-Remaining` and `-Reset` as integers.",
    "Over the limit the answer is 429 with `X-RateLimit-Remaining: 0` and `Retry-After` of at least 1; nothing is stored.",
    "A second later the data source takes requests again; another data source is not concerned.",
)
def test_rate_limits(start):
    daemon = start("--limit-requests", "3")
    answers = [daemon.post(b'{"n":1}') for _ in range(12)]
    refused = [answer for answer in answers if answer.status == 429]
    for answer in answers:
        assert {int(answer.headers[f"x-ratelimit-{part}"]) >= 0 for part in ("limit", "remaining", "reset")} == {True}
    assert refused
    for answer in refused:
        assert answer.headers["x-ratelimit-remaining"] == "0"
        assert int(answer.headers["retry-after"]) >= 1
    assert daemon.post(b'{"n":1}', "name=other").status == 202
    time.sleep(1.1)
    assert daemon.post(b'{"n":1}').status == 200
    rows = query(daemon.data, "SELECT count(*) AS n FROM t")
    assert rows == [{"n": sum(answer.status == 200 for answer in answers) + 1}]


@states("With `--limit-bytes` a data source takes about so many bytes a second.")
def test_byte_limits(start):
    daemon = start("--limit-bytes", "10000")
    body = b'{"s":"%b"}' % (b"x" * 4000)
    assert 429 in {daemon.post(body).status for _ in range(12)}


@states("With `--no-auto-create` an unknown data source is refused with 403, which says how to make it.")
def test_strict_mode(start):
    daemon = start("--no-auto-create")
    answer = daemon.post(b'{"n":1}')
    assert answer.status == 403
    assert "siltstone create FILE.datasource" in answer.json()["error"]
