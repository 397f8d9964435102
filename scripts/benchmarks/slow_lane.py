"""What siltstoned does by a longer way, beside the same rows by the short one: bad rows, codecs, many columns, nesting."""

import gzip
from dataclasses import dataclass, replace

import orjson
import pyarrow as pa

from scripts.benchmarks.bodies import send_bodies
from scripts.benchmarks.contenders import Server, siltstoned
from scripts.benchmarks.ingest import send_first
from scripts.benchmarks.load import Load, Request
from scripts.benchmarks.plan import Plan, result
from scripts.benchmarks.workloads import flights, nested

BYTES_MAX = 4_000_000
CLIENTS = 2


@dataclass(frozen=True, slots=True)
class Lane:
    """A body, and what it counts for."""

    name: str
    first: bytes
    """A few clean rows, which make the data source."""
    body: bytes
    amount: float
    encoding: str = ""

    def target(self) -> str:
        return f"/v0/events?name={self.name}&wait=true"

    def request(self, server: Server) -> Request:
        coding = {"Content-Encoding": self.encoding} if self.encoding else {}
        return Request(server.url + self.target(), self.body, {**server.headers, **coding})


@dataclass(frozen=True, slots=True)
class Pair:
    title: str
    unit: str
    slow: Lane
    clean: Lane


def pairs() -> list[Pair]:
    """Every pair carries the same rows, but for the wide one, which is compared by bytes."""
    lines = flights().body[:BYTES_MAX].splitlines()[:-1]
    count, first, plain = len(lines), lines[0], b"\n".join(lines)
    clean = Lane("plain", first, plain, count)
    bad = [line.replace(b'"year":2013', b'"year":"x"') if n % 10 == 9 else line for n, line in enumerate(lines)]
    epoch = [orjson.dumps(orjson.loads(line) | {"time_hour": 1_357_000_000 + n}) for n, line in enumerate(lines)]
    wide = [orjson.dumps({f"column_{n}": (row * n) % 1000 for n in range(60)}) for row in range(5000)]
    zstd = pa.Codec("zstd").compress(plain, asbytes=True)
    objects, flat = _nested_lanes()
    return [
        Pair("10 % bad rows", "rows/s", Lane("bad", first, b"\n".join(bad), count), clean),
        Pair("gzip", "rows/s", Lane("gzip", first, gzip.compress(plain), count, "gzip"), clean),
        Pair("zstd", "rows/s", Lane("zstd", first, zstd, count, "zstd"), clean),
        Pair("nested objects", "rows/s", objects, flat),
        Pair(
            "timestamps as text, beside whole numbers",
            "rows/s",
            clean,
            Lane("epoch", epoch[0], b"\n".join(epoch), count),
        ),
        Pair(
            "60 columns",
            "MB/s",
            Lane("wide", wide[0], b"\n".join(wide), len(b"\n".join(wide)) / 1e6),
            replace(clean, amount=len(plain) / 1e6),
        ),
    ]


def _nested_lanes() -> tuple[Lane, Lane]:
    rows = nested()
    count = rows.count * BYTES_MAX // len(rows.body)
    lanes = []
    for name, body in (("objects", rows.body), ("flat", rows.flat)):
        lines = body.splitlines()[:count]
        # A hundred rows, because the lists of the first may be empty, which says nothing about their type.
        lanes.append(Lane(name, b"\n".join(lines[:100]), b"\n".join(lines), count))
    return lanes[0], lanes[1]


def slow_lane(plan: Plan) -> None:
    """siltstoned alone, twice."""
    with siltstoned(plan.scratch) as server:
        for pair in pairs():
            lanes = {pair.title: pair.slow, "clean twin": pair.clean}
            for lane in lanes.values():
                send_first(server, lane.target(), lane.first)
            found: dict[str, list[Load]] = {name: [] for name in lanes}
            for _ in range(plan.rounds):
                for name, lane in lanes.items():
                    found[name].append(send_bodies(lane.request(server), clients=CLIENTS, seconds=plan.seconds))
            amounts = {name: lane.amount for name, lane in lanes.items()}
            plan.report(result(f"slow-lane: {pair.title}", pair.unit, found, amounts))
