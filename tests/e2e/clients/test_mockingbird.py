"""@tinybirdco/mockingbird (npm): made-up rows as text/plain NDJSON. It looks at no status, only at the JSON of an answer."""

import functools

from tests.daemons import query
from tests.e2e.clients.installed import NODE, call, drive

pytestmark = NODE
mockingbird = functools.partial(drive, "call_mockingbird.mjs")
NUMBERS = {"n": {"type": "number.int"}, "s": {"type": "mockingbird.pick", "params": [{"values": ["a", "ü"]}]}}


def test_batches_of_made_up_rows(daemon):
    """1000 a second are five batches of 200."""
    (lines,) = mockingbird(daemon.url, call("generate", name="t", schema=NUMBERS, eps=1000, limit=400))

    told = [line for line in lines if "Tinybird Response" in line]
    assert len(told) == 2
    assert all('{"successful_rows":200,"quarantined_rows":0}' in line for line in told)
    assert query(daemon.data, "SELECT count(*) AS n FROM t WHERE s IN ('a', 'ü')") == [{"n": 400}]


def test_a_preset_schema(daemon):
    """Nested payloads as text, dates in the format of JSON.stringify."""
    preset = "Web Analytics Starter Kit"
    (lines,) = mockingbird(daemon.url, call("generate", name="hits", preset=preset, eps=50, limit=50))

    assert any('{"successful_rows":50,"quarantined_rows":0}' in line for line in lines)
    assert query(daemon.data, "SELECT count(*) AS n FROM hits WHERE timestamp IS NOT NULL") == [{"n": 50}]


def test_a_wrong_token_shows_in_its_log(daemon):
    (lines,) = mockingbird(daemon.url, call("generate", name="t", schema=NUMBERS, eps=1, limit=1), token="wrong")

    assert daemon.post(b"{}", token="wrong").json()["error"] in "\n".join(lines)
    assert not list((daemon.data / "sources").iterdir())
