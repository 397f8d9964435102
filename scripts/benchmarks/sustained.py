"""Minutes at full speed, with compaction at work and without: what it takes, how long anybody waits, how large the log gets."""

import threading
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from scripts.benchmarks.contenders import siltstoned
from scripts.benchmarks.ingest import send_first
from scripts.benchmarks.load import Load, Request, drive
from scripts.benchmarks.plan import Plan, clean
from scripts.benchmarks.report import Result
from scripts.benchmarks.workloads import micro_events

ROWS = 1000
CONNECTIONS = 8
NEVER_S = 1e6
SAMPLE_S = 0.5


@dataclass(frozen=True, slots=True)
class Run:
    load: Load
    stall_s: float
    """The longest time in which no client had an answer."""
    log_bytes: int


def sustained(plan: Plan) -> None:
    # A run shorter than a few intervals would say nothing about compaction.
    often_s = max(0.1, min(5.0, plan.seconds / 6))
    intervals_s = {f"compaction every {often_s:g} s": often_s, "no compaction": NEVER_S}
    found: dict[str, list[Run]] = {name: [] for name in intervals_s}
    for number in range(plan.rounds):
        for name, interval_s in intervals_s.items():
            scratch = plan.scratch / f"sustained-{number}-{interval_s:g}"
            scratch.mkdir()
            found[name].append(_run(replace(plan, scratch=scratch), interval_s))
    plan.report(
        Result(
            f"sustained: {plan.seconds:g} s of {ROWS} events a request, {CONNECTIONS} connections",
            "rows/s",
            {name: [run.load.per_s * ROWS for run in runs] for name, runs in found.items()},
            {
                name: {
                    "longest stall ms": max(run.stall_s for run in runs) * 1e3,
                    "p99 ms": max(run.load.p99_s for run in runs) * 1e3,
                    "largest log MB": max(run.log_bytes for run in runs) / 1e6,
                }
                for name, runs in found.items()
            },
        )
    )


def _run(plan: Plan, interval_s: float) -> Run:
    sizes = [0]
    done = threading.Event()
    with siltstoned(plan.scratch, "--compact-interval", str(interval_s)) as server:
        target = "/v0/events?name=sustained&wait=true"
        body = micro_events(ROWS)
        send_first(server, target, body)
        log = plan.scratch / "siltstoned" / "data" / "sources" / "sustained" / "wal"

        def watch() -> None:
            while not done.wait(SAMPLE_S):
                sizes.append(_size(log))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            answers = drive(Request(server.url + target, body, server.headers), CONNECTIONS, plan.seconds)
        finally:
            done.set()
            watcher.join()
    stall_s = max(later - earlier for earlier, later in pairwise([answers.began_s, *answers.times_s]))
    return Run(clean("siltstoned", answers.load()), stall_s, max(sizes))


def _size(folder: Path) -> int:
    total = 0
    for path in folder.iterdir():
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            # Compaction has taken it away since it was listed.
            continue
    return total
