"""What every measurement is told, and how its figures become results."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks.contenders import Server, alone, bare, clickhouse, influxd, siltstoned
from scripts.benchmarks.load import Load, LoadFailed
from scripts.benchmarks.report import Result


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how often, with whom, and where the data lies."""

    rounds: int
    seconds: float
    contenders: Sequence[str]
    scratch: Path
    report: Callable[[Result], None]
    sources: int = 10_000
    rows: int = 20_000_000
    log_bytes: int = 1 << 30


def started(stack: ExitStack, plan: Plan, names: Sequence[str]) -> list[Server]:
    """The contenders of a comparison that the plan asks for, siltstoned first."""
    starts = {"siltstoned": siltstoned, "influxd": influxd, "clickhouse": clickhouse, "bare": bare}
    return [stack.enter_context(starts[name](plan.scratch)) for name in names if name in plan.contenders]


def take_turns(plan: Plan, servers: Sequence[Server], load: Callable[[Server], Load]) -> dict[str, list[Load]]:
    """A B A B: every server once in each round, with the others standing still."""
    found: dict[str, list[Load]] = {server.name: [] for server in servers}
    for _ in range(plan.rounds):
        for server in servers:
            with alone(server, servers):
                found[server.name].append(clean(server.name, load(server)))
    return found


def clean(name: str, load: Load) -> Load:
    """The same, unless some of it was refused: such answers cost less than those that are counted."""
    if load.errors:
        raise LoadFailed(f"{name}: {load.errors} answers were no success")
    return load


def result(title: str, unit: str, found: Mapping[str, Sequence[Load]], amounts: Mapping[str, float]) -> Result:
    """`amounts` is what one request to each carries, in the unit."""
    return Result(
        title,
        unit,
        {name: [load.per_s * amounts[name] for load in loads] for name, loads in found.items()},
        {
            name: {
                "p50 ms": statistics.median(load.p50_s for load in loads) * 1e3,
                "p99 ms": statistics.median(load.p99_s for load in loads) * 1e3,
            }
            for name, loads in found.items()
        },
    )
