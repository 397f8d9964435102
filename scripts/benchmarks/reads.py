"""What `siltstone query` costs beyond plain DuckDB on the same files, and what a start of either costs."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from scripts.benchmarks.contenders import ROOT, Server, siltstoned
from scripts.benchmarks.ingest import send_first
from scripts.benchmarks.load import LoadFailed
from scripts.benchmarks.plan import Plan
from scripts.benchmarks.report import Result

ROWS_A_BODY = 150_000
COMPACTED_WITHIN_S = 600.0
QUERIES = {
    "count": "select count(*) from {reads}",
    "group": "select action, count(*), avg(amount) from {reads} group by action order by action",
    "filter": "select count(*), max(amount) from {reads} where user_id between 1000 and 2000",
    "top": "select user_id, sum(amount) as total from {reads} group by user_id order by total desc, user_id limit 10",
}
DUCKDB = "import sys, duckdb; print(duckdb.connect().sql(sys.argv[1]).fetchall())"


def reads(plan: Plan) -> None:
    with siltstoned(plan.scratch, "--compact-interval", "5") as server:
        time.sleep(1)  # What a start leaves to do is done by then.
        plan.report(Result("reads: memory of the idle daemon", "MiB", {"siltstoned": [server.rss_bytes() / 2**20]}))
        data = plan.scratch / "siltstoned" / "data"
        files = data / "sources" / "reads" / "rows"
        count = _fill(server, plan, files)
    ours = [sys.executable, "-m", "query"]
    for name, sql in QUERIES.items():
        plain = sql.format(reads=f"read_parquet('{files}/**/*.parquet')")
        commands = {
            "siltstone": [*ours, "query", sql.format(reads="reads"), "--data", str(data)],
            "duckdb": [sys.executable, "-c", DUCKDB, plain],
        }
        plan.report(_timed(plan, f"reads: {name} over {count:,} rows, less is better", commands))
    commands = {"siltstone": [*ours, "--help"], "imports": [sys.executable, "-c", "import pyarrow, duckdb"]}
    plan.report(_timed(plan, "reads: siltstone --help and the imports, less is better", commands))


def _fill(server: Server, plan: Plan, files: Path) -> int:
    """Send the rows and wait until all of them are in Parquet; gives their number."""
    actions = ("view", "click", "purchase", "search")
    body = b"\n".join(
        b'{"ts":%d,"user_id":%d,"action":"%s","amount":%d.5}'
        % (1_700_000_000 + n, n * 7919 % 50_000, actions[n * 31 % 4].encode(), n % 500)
        for n in range(ROWS_A_BODY)
    )
    target = "/v0/events?name=reads&wait=true"
    bodies = max(1, plan.rows // ROWS_A_BODY)
    for _ in range(bodies):
        send_first(server, target, body)
    deadline = time.monotonic() + COMPACTED_WITHIN_S
    while time.monotonic() < deadline:
        if list(files.rglob("*.parquet")):
            found = duckdb.connect().sql(f"select count(*) from read_parquet('{files}/**/*.parquet')").fetchall()[0][0]
            if found == bodies * ROWS_A_BODY:
                return bodies * ROWS_A_BODY
        time.sleep(0.5)
    raise LoadFailed(f"the rows were not all in Parquet within {COMPACTED_WITHIN_S:g} s")


def _timed(plan: Plan, title: str, commands: Mapping[str, Sequence[str]]) -> Result:
    """Whole processes in turn, the first of each not counted: it warms the page cache.

    Also where a person has Python told to keep no bytecode: installed programs come with theirs, and libraries do.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    found: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(plan.rounds + 1):
        for name, command in commands.items():
            began = time.perf_counter()
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            took = time.perf_counter() - began
            if done.returncode != 0:
                raise LoadFailed(f"{command} failed: {done.stderr}")
            if number:
                found[name].append(took)
    return Result(title, "s", found)
