"""Minutes at full speed, with compaction at work and without: what it takes, how long anybody waits, how large the log gets."""

import os
import signal
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
    ways = {f"compaction every {often_s:g} s": False, "compaction held still": True}
    found: dict[str, list[Run]] = {name: [] for name in ways}
    for number in range(plan.rounds):
        for name, is_held in ways.items():
            scratch = plan.scratch / f"sustained-{number}-{'held' if is_held else 'at-work'}"
            scratch.mkdir()
            found[name].append(_run(replace(plan, scratch=scratch), often_s, is_held=is_held))
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


def _run(plan: Plan, interval_s: float, *, is_held: bool) -> Run:
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
                if is_held:
                    _hold_children(server.process.pid)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            answers = drive(Request(server.url + target, body, server.headers), CONNECTIONS, plan.seconds)
        finally:
            done.set()
            watcher.join()
    stall_s = max(later - earlier for earlier, later in pairwise([answers.began_s, *answers.times_s]))
    return Run(clean("siltstoned", answers.load()), stall_s, max(sizes))


def _hold_children(pid: int) -> None:
    """Stop the processes that compact; the daemon has no others here, and no option to do without."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            os.kill(int(child), signal.SIGSTOP)


def _size(folder: Path) -> int:
    total = 0
    for path in folder.iterdir():
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            # Compaction has taken it away since it was listed.
            continue
    return total
