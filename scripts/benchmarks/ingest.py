"""Events over HTTP: siltstoned beside what else takes events, with the same content and the answer after the sync."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks.bodies import send_bodies
from scripts.benchmarks.contenders import Server, alone, bare, clickhouse, influxd, insert_target, siltstoned
from scripts.benchmarks.load import Load, LoadFailed, Request, run_load
from scripts.benchmarks.report import Result
from scripts.benchmarks.workloads import SMALL, SMALL_LINE, Rows, flights, nested

START: Mapping[str, Callable[..., object]] = {
    "siltstoned": siltstoned,
    "influxd": influxd,
    "clickhouse": clickhouse,
    "bare": bare,
}
INFLUX_TARGET = "/write?db=bench&precision=s"


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how often, with whom, and where the data lies."""

    rounds: int
    seconds: float
    contenders: Sequence[str]
    scratch: Path
    report: Callable[[Result], None]


def take_turns(plan: Plan, servers: Sequence[Server], load: Callable[[Server], Load]) -> dict[str, list[Load]]:
    """A B A B: every server once in each round, with the others standing still."""
    found: dict[str, list[Load]] = {server.name: [] for server in servers}
    for _ in range(plan.rounds):
        for server in servers:
            with alone(server, servers):
                one = load(server)
            if one.errors:
                raise LoadFailed(f"{server.name}: {one.errors} answers were no success")
            found[server.name].append(one)
    return found


def result(title: str, unit: str, found: Mapping[str, Sequence[Load]], amount: float) -> Result:
    """`amount` is what one request carries, in the unit."""
    return Result(
        title,
        unit,
        {name: [load.per_s * amount for load in loads] for name, loads in found.items()},
        {
            name: {
                "p50 ms": statistics.median(load.p50_s for load in loads) * 1e3,
                "p99 ms": statistics.median(load.p99_s for load in loads) * 1e3,
            }
            for name, loads in found.items()
        },
    )


def started(stack: ExitStack, plan: Plan, names: Sequence[str]) -> list[Server]:
    """The contenders of a comparison that the plan asks for, siltstoned first."""
    starts = {"siltstoned": siltstoned, "influxd": influxd, "clickhouse": clickhouse, "bare": bare}
    return [stack.enter_context(starts[name](plan.scratch)) for name in names if name in plan.contenders]


def small(plan: Plan) -> None:
    """One event of 50 bytes a request."""
    with ExitStack() as stack:
        servers = started(stack, plan, ["siltstoned", "influxd", "bare"])
        requests = {
            "siltstoned": ("/v0/events?name=small&wait=true", SMALL),
            "influxd": (INFLUX_TARGET, SMALL_LINE),
            "bare": ("/v0/events?name=small&wait=true", SMALL),
        }
        for connections in (1, 32, 128):
            found = _by_wrk(plan, servers, requests, connections)
            plan.report(result(f"small: 1 event a request, {connections} connections", "req/s", found, 1))


def micro(plan: Plan) -> None:
    """A hundred events a request."""
    rows = 100
    with ExitStack() as stack:
        servers = started(stack, plan, ["siltstoned", "influxd", "bare"])
        events = b"\n".join(b'{"ts":%d,"user":"u%d","action":"click"}' % (1_700_000_000 + n, n) for n in range(rows))
        lines = b"\n".join(b'micro,action=click user="u%d" %d' % (n, 1_700_000_000 + n) for n in range(rows))
        requests = {
            "siltstoned": ("/v0/events?name=micro&wait=true", events),
            "influxd": (INFLUX_TARGET, lines),
            "bare": ("/", events),
        }
        found = _by_wrk(plan, servers, requests, 8)
        plan.report(result("micro: 100 events a request, 8 connections", "rows/s", found, rows))


def _by_wrk(
    plan: Plan, servers: Sequence[Server], requests: Mapping[str, tuple[str, bytes]], connections: int
) -> dict[str, list[Load]]:
    def load(server: Server) -> Load:
        target, body = requests[server.name]
        request = Request(server.url + target, body, server.headers)
        return run_load(request, connections=connections, seconds=plan.seconds, scratch=plan.scratch)

    for server in servers:
        # The first request makes the data source, which is no part of the figure.
        target, body = requests[server.name]
        server.call("POST", target, body)
    return take_turns(plan, servers, load)


def large(plan: Plan) -> None:
    """Bodies of ten megabytes."""
    for rows in (flights(), nested()):
        with ExitStack() as stack:
            servers = started(stack, plan, ["siltstoned", "clickhouse", "bare"])
            requests = {server.name: _large_request(server, rows) for server in servers}
            for server in servers:
                if server.name == "clickhouse":
                    table = f"CREATE TABLE IF NOT EXISTS {rows.name} ({rows.columns}"
                    server.call("POST", "/", table.replace(") ORDER", ") ENGINE = MergeTree ORDER").encode())
                server.call("POST", requests[server.name].url.removeprefix(server.url), requests[server.name].body)
            for clients in (1, 4):

                def load(server: Server) -> Load:
                    return send_bodies(requests[server.name], clients=clients, seconds=plan.seconds)  # noqa: B023 -- called within the round

                found = take_turns(plan, servers, load)
                title = f"large: 10 MB of {rows.name}, {clients} client{'s' * (clients > 1)}"
                plan.report(result(title, "MB/s", found, len(rows.body) / 1e6))


def _large_request(server: Server, rows: Rows) -> Request:
    if server.name == "clickhouse":
        return Request(server.url + insert_target(rows.name), rows.flat)
    return Request(f"{server.url}/v0/events?name={rows.name}&wait=true", rows.body, server.headers)
