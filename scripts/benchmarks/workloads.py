"""What is sent: the same content in the words of each server, the same bytes in every run."""

import gzip
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from scripts.benchmarks.contenders import ROOT

SMALL = b'{"ts":1700000000,"user":"u12345","action":"click"}'
SMALL_LINE = b'small,action=click user="u12345" 1700000000'
LENGTHS = 100
LARGE_BYTES = 10 * 1000 * 1000
SEED = 20_240_101


@dataclass(frozen=True, slots=True)
class Rows:
    """A large body: as it is sent to siltstoned, with every nested key at the top as `flat`, and ClickHouse's columns."""

    name: str
    body: bytes
    flat: bytes
    columns: tuple[str, ...]
    order_by: str

    @property
    def count(self) -> int:
        return self.body.count(b"\n")

    def clickhouse_table(self) -> str:
        columns = ", ".join(self.columns)
        return f"CREATE TABLE IF NOT EXISTS {self.name} ({columns}) ENGINE = MergeTree ORDER BY {self.order_by}"


def of_many_lengths(event: bytes) -> tuple[bytes, ...]:
    """The small event with users of so many lengths."""
    return tuple(event.replace(b"u12345", b"u" + b"1" * length) for length in range(1, LENGTHS + 1))


def micro_events(rows: int) -> bytes:
    return b"\n".join(b'{"ts":%d,"user":"u%d","action":"click"}' % (1_700_000_000 + n, n) for n in range(rows))


def micro_lines(rows: int) -> bytes:
    """The same for InfluxDB."""
    return b"\n".join(b'micro,action=click user="u%d" %d' % (n, 1_700_000_000 + n) for n in range(rows))


def flights() -> Rows:
    """Real rows of 19 columns: a sample of its own when SILTSTONE_BENCH_DATA names one, else that of the tests."""
    path = Path(os.environ.get("SILTSTONE_BENCH_DATA") or ROOT / "tests" / "data" / "flights-10000.ndjson.gz")
    body = _cut(gzip.decompress(path.read_bytes()))
    texts = {"carrier", "tailnum", "origin", "dest"}
    row = orjson.loads(body[: body.index(b"\n")])
    columns = [f"{name} Nullable({'String' if name in texts else 'Int64'})" for name in row if name != "time_hour"]
    return Rows("flights", body, body, (*columns, "time_hour DateTime"), "time_hour")


def nested() -> Rows:
    """Events as web pages send them: objects in objects, and lists of texts and numbers."""
    chance = random.Random(SEED)
    lines: list[bytes] = []
    flat_lines: list[bytes] = []
    size = 0
    while True:
        event = _event(chance, len(lines))
        line = orjson.dumps(event) + b"\n"
        size += len(line)
        if size > LARGE_BYTES:
            break
        lines.append(line)
        flat_lines.append(orjson.dumps(_flat(event)) + b"\n")
    columns = (
        "id Nullable(Int64)",
        "ts DateTime",
        "type Nullable(String)",
        "user_id Nullable(Int64)",
        "user_name Nullable(String)",
        "user_address_city Nullable(String)",
        "user_address_country Nullable(String)",
        "page_url Nullable(String)",
        "page_referrer Nullable(String)",
        "page_load_ms Nullable(Float64)",
        "device_os Nullable(String)",
        "device_width Nullable(Int64)",
        "tags Array(String)",
        "scores Array(Int64)",
    )
    return Rows("nested", b"".join(lines), b"".join(flat_lines), columns, "ts")


def _event(chance: random.Random, number: int) -> dict[str, Any]:
    city, country = chance.choice([("Lisbon", "PT"), ("Oslo", "NO"), ("São Paulo", "BR"), ("Osaka", "JP")])
    minute, second = divmod(number // 10, 60)
    return {
        "id": number,
        "ts": f"2024-01-01 {minute // 60 % 24:02}:{minute % 60:02}:{second:02}",
        "type": chance.choice(["view", "click", "purchase"]),
        "user": {
            "id": chance.randrange(10**9),
            "name": f"user {chance.randrange(10**6)}",
            "address": {"city": city, "country": country},
        },
        "page": {
            "url": f"https://shop.example/items/{chance.randrange(10**5)}?from=search&position={chance.randrange(100)}",
            "referrer": chance.choice([None, "https://search.example/", "https://news.example/today"]),
            "load_ms": round(chance.uniform(20, 900), 3),
        },
        "device": {"os": chance.choice(["Linux", "macOS", "Windows", "Android"]), "width": chance.choice([390, 1920])},
        "tags": chance.sample(["new", "sale", "returning", "mobile", "beta"], chance.randrange(4)),
        "scores": [chance.randrange(1000) for _ in range(chance.randrange(5))],
    }


def _flat(event: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in event.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}_")
        else:
            found[prefix + key] = value
    return found


def _cut(lines: bytes) -> bytes:
    """Whole lines, repeated as needed, just under ten megabytes."""
    body = lines * (LARGE_BYTES // len(lines) + 1)
    return body[: body.rindex(b"\n", 0, LARGE_BYTES) + 1]
