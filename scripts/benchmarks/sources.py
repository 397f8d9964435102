"""How the number of data sources tells on throughput, memory and start-up."""

import time
from concurrent.futures import ThreadPoolExecutor

from scripts.benchmarks.contenders import Server, siltstoned
from scripts.benchmarks.load import Load, Request, run_load
from scripts.benchmarks.plan import Plan, clean, result
from scripts.benchmarks.report import Result
from scripts.benchmarks.workloads import SMALL

CONNECTIONS = 32
MAKERS = 8


def sources(plan: Plan) -> None:
    """The same 32 connections, spread over one, a hundred and very many data sources, in turn."""
    counts = sorted({1, 100, plan.sources})
    found: dict[str, list[Load]] = {_named(count): [] for count in reversed(counts)}
    with siltstoned(plan.scratch) as server:
        idle = server.rss_bytes()
        for count in counts:
            _make(server, count)
        many = server.rss_bytes()
        for _ in range(plan.rounds):
            for count in counts:
                url = f"{server.url}/v0/events?wait=true&name=s{count}_" + ("0" if count == 1 else "")
                request = Request(url, SMALL, server.headers, spread=count)
                load = run_load(request, connections=CONNECTIONS, seconds=plan.seconds, scratch=plan.scratch)
                found[_named(count)].append(clean(server.name, load))
        loaded = server.rss_bytes()
    plan.report(result(f"sources: {CONNECTIONS} connections over many", "req/s", found, dict.fromkeys(found, 1.0)))
    memory = {"none": idle, "made": many, "after load": loaded}
    plan.report(
        Result(f"sources: memory with {plan.sources:,}", "MiB", {name: [size / 2**20] for name, size in memory.items()})
    )
    times = [_start_seconds(plan) for _ in range(plan.rounds)]
    plan.report(Result(f"sources: start with {plan.sources:,}", "s", {"siltstoned": times}))


def _named(count: int) -> str:
    return f"{count:,} source{'s' * (count > 1)}"


def _make(server: Server, count: int) -> None:
    """Several at a time, because each waits for a few syncs."""
    with ThreadPoolExecutor(MAKERS) as makers:
        targets = [f"/v0/events?wait=true&name=s{count}_{number}" for number in range(count)]
        for _ in makers.map(lambda target: server.call("POST", target, SMALL), targets):
            pass


def _start_seconds(plan: Plan) -> float:
    """Until requests are taken; the data is what the life before left."""
    began = time.perf_counter()
    with siltstoned(plan.scratch):
        return time.perf_counter() - began
