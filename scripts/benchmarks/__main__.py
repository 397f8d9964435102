"""siltstoned beside InfluxDB, ClickHouse and a bare Trio and h11 server: A B A B on one machine, so that the ratios mean something.

The absolute figures are context only: they change with the machine and with its neighbours.
"""

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from scripts.benchmarks import ingest
from scripts.benchmarks.contenders import ROOT, NotStarted, missing
from scripts.benchmarks.ingest import Plan
from scripts.benchmarks.load import LoadFailed
from scripts.benchmarks.machine import MEMORY_ONLY, facts, file_system
from scripts.benchmarks.report import Result, svg, text, write_json

CONTENDERS = ["siltstoned", "influxd", "clickhouse", "bare"]
WORKLOADS: dict[str, Callable[[Plan], None]] = {
    "small": ingest.small,
    "large": ingest.large,
    "micro": ingest.micro,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("workload", choices=[*WORKLOADS, "all"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each contender, case and round")
    parser.add_argument("--only", action="append", choices=CONTENDERS, help="these contenders, beside siltstoned")
    parser.add_argument(
        "--scratch", type=Path, default=ROOT / "build", help="where the data goes; no memory file system"
    )
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--svg", type=Path, help="plot the ratios in this file")
    options = parser.parse_args()

    options.scratch.mkdir(exist_ok=True)
    if file_system(options.scratch) in MEMORY_ONLY:
        sys.exit(f"{options.scratch} is in memory, where a sync costs nothing; give another with --scratch")
    absent = missing(CONTENDERS)
    for name in absent:
        print(f"not on this machine, so not measured: {name}")
    wanted = ["siltstoned", *(options.only or CONTENDERS[1:])]
    # Ctrl-C raises in the middle of whatever runs; so must a TERM, or the servers would outlive us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results: list[Result] = []

    def report(result: Result) -> None:
        results.append(result)
        print(text(result), flush=True)

    scratch = Path(tempfile.mkdtemp(prefix="bench-", dir=options.scratch))
    found = facts(scratch) | {"rounds": str(options.rounds), "seconds": str(options.seconds)}
    print("; ".join(f"{name} {value}" for name, value in found.items()), end="\n\n")
    plan = Plan(options.rounds, options.seconds, [name for name in wanted if name not in absent], scratch, report)
    try:
        for name in WORKLOADS if options.workload == "all" else [options.workload]:
            WORKLOADS[name](plan)
    except (LoadFailed, NotStarted) as error:
        logs = "\n".join(f"{log}:\n{log.read_text()[-2000:]}" for log in scratch.glob("*/log"))
        sys.exit(f"{error}\n{logs}")
    finally:
        shutil.rmtree(scratch)
        if options.json is not None:
            write_json(options.json, found, results)
        if options.svg is not None:
            options.svg.write_text(svg(results, "; ".join(f"{name} {found[name]}" for name in ("machine", "kernel"))))


if __name__ == "__main__":
    main()
