"""Events over HTTP: siltstoned beside what else takes events, with the same content and the answer after the sync."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import orjson

from scripts.benchmarks.bodies import send_bodies
from scripts.benchmarks.contenders import Server, insert_target
from scripts.benchmarks.load import Load, LoadFailed, Request, run_load
from scripts.benchmarks.plan import Plan, result, started, take_turns
from scripts.benchmarks.workloads import (
    LENGTHS,
    SMALL,
    SMALL_LINE,
    flights,
    micro_events,
    micro_lines,
    nested,
    of_many_lengths,
)

INFLUX_TARGET = "/write?db=bench&precision=s"


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
            found = _small_requests(plan, servers, requests, connections)
            title = f"small: 1 event a request, {connections} connection{'s' * (connections > 1)}"
            plan.report(result(title, "req/s", found, dict.fromkeys(found, 1.0)))
        found = _small_requests(plan, servers, requests, 128, of_many_lengths)
        title = f"small: 1 event a request, of {LENGTHS} lengths, 128 connections"
        plan.report(result(title, "req/s", found, dict.fromkeys(found, 1.0)))


def micro(plan: Plan) -> None:
    """A hundred events a request."""
    rows = 100
    with ExitStack() as stack:
        servers = started(stack, plan, ["siltstoned", "influxd", "bare"])
        requests = {
            "siltstoned": ("/v0/events?name=micro&wait=true", micro_events(rows)),
            "influxd": (INFLUX_TARGET, micro_lines(rows)),
            "bare": ("/v0/events?name=micro&wait=true", micro_events(rows)),
        }
        found = _small_requests(plan, servers, requests, 8)
        plan.report(result("micro: 100 events a request, 8 connections", "rows/s", found, dict.fromkeys(found, rows)))


def _small_requests(
    plan: Plan,
    servers: Sequence[Server],
    requests: Mapping[str, tuple[str, bytes]],
    connections: int,
    varied: Callable[[bytes], tuple[bytes, ...]] = lambda _: (),
) -> dict[str, list[Load]]:
    def load(server: Server) -> Load:
        target, body = requests[server.name]
        request = Request(server.url + target, body, server.headers, bodies=varied(body))
        return run_load(request, connections=connections, seconds=plan.seconds, scratch=plan.scratch)

    for server in servers:
        target, body = requests[server.name]
        send_first(server, target, body)
    return take_turns(plan, servers, load)


def large(plan: Plan) -> None:
    """Bodies of ten megabytes."""
    for rows in (flights(), nested()):
        with ExitStack() as stack:
            servers = started(stack, plan, ["siltstoned", "clickhouse", "bare"])
            targets = {server.name: f"/v0/events?name={rows.name}&wait=true" for server in servers}
            targets["clickhouse"] = insert_target(rows.name)
            bodies = {"siltstoned": rows.body, "clickhouse": rows.flat, "bare": rows.body}
            for server in servers:
                if server.name == "clickhouse":
                    server.call("POST", "/", rows.clickhouse_table().encode())
                send_first(server, targets[server.name], bodies[server.name])
            for clients in (1, 4):

                def load(server: Server) -> Load:
                    request = Request(server.url + targets[server.name], bodies[server.name], server.headers)  # noqa: B023 -- called within the round
                    return send_bodies(request, clients=clients, seconds=plan.seconds)  # noqa: B023 -- the same

                found = take_turns(plan, servers, load)
                title = f"large: 10 MB of {rows.name}, {clients} client{'s' * (clients > 1)}"
                # Also for ClickHouse: its body says the same rows in a few bytes less.
                plan.report(result(title, "MB/s", found, dict.fromkeys(found, len(rows.body) / 1e6)))


def send_first(server: Server, target: str, body: bytes) -> None:
    """The request that makes the data source, outside of what is measured, and shows that its rows are taken."""
    answer = server.call("POST", target, body)
    if server.name == "siltstoned" and orjson.loads(answer)["quarantined_rows"]:
        raise LoadFailed(f"{server.name} does not take the rows as they are meant: {answer.decode()}")
