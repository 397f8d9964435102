"""siltstoned beside InfluxDB, ClickHouse and a bare Trio and h11 server, in turn on one machine, so that the ratios mean something.

The absolute figures are context only: they change with the machine and with its neighbours.
"""

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks.contenders import ROOT, NotStarted, missing
from scripts.benchmarks.ingest import large, micro, small
from scripts.benchmarks.load import LoadFailed
from scripts.benchmarks.machine import MEMORY_ONLY, facts, file_system
from scripts.benchmarks.plan import Plan
from scripts.benchmarks.reads import reads
from scripts.benchmarks.recovery import recovery
from scripts.benchmarks.report import Result, svg, text, write_json
from scripts.benchmarks.slow_lane import slow_lane
from scripts.benchmarks.sources import sources
from scripts.benchmarks.sustained import sustained
from scripts.benchmarks.workers import workers

CONTENDERS = ["siltstoned", "influxd", "clickhouse", "bare"]


@dataclass(frozen=True, slots=True)
class Workload:
    run: Callable[[Plan], None]
    what: str
    rounds: int = 5
    seconds: float = 3.0


WORKLOADS = {
    "small": Workload(small, "one event a request at 1, 32 and 128 connections"),
    "large": Workload(large, "bodies of 10 MB from 1 and 4 clients", seconds=5),
    "micro": Workload(micro, "100 events a request at 8 connections"),
    "slow-lane": Workload(slow_lane, "bad rows, codecs, nesting, many columns, each beside its clean twin", rounds=3),
    "sources": Workload(sources, "1, 100 and very many data sources", rounds=3),
    "workers": Workload(workers, "front processes, beside none and with pinned cores", rounds=3),
    "sustained": Workload(sustained, "minutes at full speed, with compaction and without", rounds=1, seconds=300),
    "reads": Workload(reads, "siltstone query beside plain DuckDB on the same files"),
    "recovery": Workload(recovery, "a start on a large log", rounds=3),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        epilog="; ".join(f"{name}: {workload.what}" for name, workload in WORKLOADS.items()),
    )
    parser.add_argument("workload", nargs="+", choices=[*WORKLOADS, "all"])
    parser.add_argument("--rounds", type=int, help="of each contender; the default is the workload's own")
    parser.add_argument("--seconds", type=float, help="for each contender, case and round")
    parser.add_argument("--only", action="append", choices=CONTENDERS, help="this contender beside siltstoned")
    parser.add_argument("--sources", type=int, default=10_000, help="the most data sources (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=20_000_000, help="that are read (default: %(default)s)")
    parser.add_argument("--log-mib", type=int, default=1024, help="of log to recover (default: %(default)s)")
    parser.add_argument("--scratch", type=Path, default=ROOT / "build", help="where the data goes (default: build)")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--svg", type=Path, help="plot the ratios in this file")
    parser.add_argument("--save", action="store_true", help="write docs/performance.json and docs/performance.svg")
    options = parser.parse_args()
    if options.save:
        options.json, options.svg = ROOT / "docs" / "performance.json", ROOT / "docs" / "performance.svg"
    return options


def main() -> None:
    options = arguments()
    options.scratch.mkdir(exist_ok=True)
    if file_system(options.scratch) in MEMORY_ONLY:
        sys.exit(f"{options.scratch} is in memory, where a sync costs nothing; give another with --scratch")
    absent = missing(CONTENDERS)
    for name in absent:
        print(f"not on this machine, so not measured: {name}")
    wanted = ["siltstoned", *(options.only or CONTENDERS[1:])]
    # Ctrl-C raises in the middle of whatever runs; so must a TERM, or the servers would outlive us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    names = list(WORKLOADS) if "all" in options.workload else options.workload
    found = facts(options.scratch)
    print("\n".join(f"{name}: {value}" for name, value in found.items()))
    results: list[Result] = []

    def report(result: Result) -> None:
        results.append(result)
        print(text(result), flush=True)

    try:
        for name in names:
            workload = WORKLOADS[name]
            rounds, seconds = options.rounds or workload.rounds, options.seconds or workload.seconds
            found[name] = f"{rounds} rounds" + (f" of {seconds:g} s" if name not in {"reads", "recovery"} else "")
            print(f"\n{name}: {workload.what}; {found[name]}", flush=True)
            with scratch_directory(options.scratch) as scratch:
                present = [one for one in wanted if one not in absent]
                sizes = (options.sources, options.rows, options.log_mib << 20)
                workload.run(Plan(rounds, seconds, present, scratch, report, *sizes))
    finally:
        if options.json is not None:
            write_json(options.json, found, results)
        if options.svg is not None:
            options.svg.write_text(svg(results, f"{found['machine']}; {found['kernel']}; {found['file system']}"))


@contextmanager
def scratch_directory(parent: Path) -> Iterator[Path]:
    """One that is gone afterwards. When a measurement fails, the logs of the servers are shown first."""
    scratch = Path(tempfile.mkdtemp(prefix="bench-", dir=parent.resolve()))
    try:
        yield scratch
    except (LoadFailed, NotStarted) as error:
        logs = "\n".join(f"{log}:\n{log.read_text(errors='replace')[-2000:]}" for log in scratch.rglob("log"))
        sys.exit(f"{error}\n{logs}")
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
