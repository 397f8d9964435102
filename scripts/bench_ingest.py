"""siltstoned beside a bare Trio and h11 server: A B A B on one machine, so that the ratio means something.

The bare server parses HTTP and answers a constant; it decodes nothing and stores nothing. The absolute figures are
context only: these change with the machine and with its neighbours.
"""

import argparse
import gzip
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import urllib3

from scripts.load import Load, LoadFailed, Request, generator, run_load

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "bench-token"
SMALL = b'{"ts":1700000000,"user":"u12345","action":"click"}'
LARGE_BYTES = 10 * 1000 * 1000
LARGE_SECONDS_MIN = 4.0
"""Four bodies at a time take a second or more; shorter rounds would count none."""


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the result."""

    title: str
    query: str
    body: bytes
    connections: int

    @property
    def is_large(self) -> bool:
        return self.body is not SMALL


@contextmanager
def running(command: list[str], log: Path) -> Iterator[str]:
    """A server process; gives its base URL once it says that it listens, and ends it however the block ends."""
    environment = os.environ | {"SILTSTONED_ADMIN_TOKEN": TOKEN}
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, start_new_session=True
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            sys.exit(f"{command} did not start:\n{log.read_text()}")
        yield line.split()[-1]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def flights_body() -> bytes:
    """Just under 10 MB of real rows."""
    lines = gzip.decompress((ROOT / "tests" / "data" / "flights-10000.ndjson.gz").read_bytes())
    body = lines * (LARGE_BYTES // len(lines) + 1)
    return body[: body.rindex(b"\n", 0, LARGE_BYTES) + 1]


def cases() -> list[Case]:
    large = flights_body()
    small = [
        Case(f"1 event, wait={wait}, {n} connections", f"name=small&wait={wait}", SMALL, n)
        for wait in ("true", "false")
        for n in (1, 32, 128)
    ]
    return small + [Case(f"10 MB, wait=true, {n} connections", "name=flights&wait=true", large, n) for n in (1, 4)]


def measure(
    case: Case, servers: dict[str, str], *, rounds: int, seconds: float, scratch: Path
) -> dict[str, list[Load]]:
    """Every server in turn, round after round, after a first request that makes the data source."""
    if case.is_large:
        seconds = max(seconds, LARGE_SECONDS_MIN)
    for url in servers.values():
        headers = {"Authorization": f"Bearer {TOKEN}"}
        urllib3.request("POST", f"{url}/v0/events?{case.query}", body=case.body, headers=headers)
    found: dict[str, list[Load]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name, url in servers.items():
            request = Request(f"{url}/v0/events?{case.query}", TOKEN, case.body)
            load = run_load(request, connections=case.connections, seconds=seconds, scratch=scratch)
            if load.errors:
                print(f"!! {name}: {load.errors} answers were no success: {case.title}", file=sys.stderr)
            found[name].append(load)
    return found


def show(case: Case, found: dict[str, list[Load]]) -> None:
    bare, ours = found["bare"], found["siltstoned"]
    ratios = sorted(mine.per_s / theirs.per_s for mine, theirs in zip(ours, bare, strict=True))
    per_s = statistics.median(load.per_s for load in ours)
    amount = f"{per_s * len(case.body) / 1e6:8.0f} MB/s" if case.is_large else f"{per_s:8.0f} req/s"
    p50, p99 = (statistics.median(getattr(load, name) for load in ours) * 1e3 for name in ("p50_s", "p99_s"))
    bare_p50, bare_p99 = (statistics.median(getattr(load, name) for load in bare) * 1e3 for name in ("p50_s", "p99_s"))
    print(
        f"{case.title:36} {statistics.median(ratios):5.2f}x [{ratios[0]:.2f}-{ratios[-1]:.2f}]  {amount}"
        f"   p50 {p50:7.2f} ms ({bare_p50:.2f})   p99 {p99:7.2f} ms ({bare_p99:.2f})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each server, case and round")
    parser.add_argument("--quick", action="store_true", help="one round of one second")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the cases whose titles have this text")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    options = parser.parse_args()
    rounds, seconds = (1, 1.0) if options.quick else (options.rounds, options.seconds)

    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}, "
        f"trio {version('trio')}, h11 {version('h11')}, pyarrow {version('pyarrow')}; load by {generator()}"
    )
    print(
        f"siltstoned / bare Trio + h11, median of {rounds} rounds of {seconds:g} s [spread]; bare's latency in brackets\n"
    )
    # In the checkout, because a temporary directory may be memory, whose sync costs nothing.
    scratch = Path(tempfile.mkdtemp(prefix=".bench-", dir=ROOT))
    results = {}
    try:
        daemon = [sys.executable, "-m", "daemon", "--data", str(scratch / "data"), "--port", "0"]
        bare = [sys.executable, str(ROOT / "scripts" / "bare_server.py")]
        with running(bare, scratch / "log") as bare_url, running(daemon, scratch / "log") as url:
            for case in (case for case in cases() if options.only in case.title):
                servers = {"bare": bare_url, "siltstoned": url}
                found = measure(case, servers, rounds=rounds, seconds=seconds, scratch=scratch)
                show(case, found)
                results[case.title] = {name: [asdict(load) for load in loads] for name, loads in found.items()}
    except LoadFailed as error:
        sys.exit(f"{error}\nthe servers' log:\n{(scratch / 'log').read_text()}")
    finally:
        shutil.rmtree(scratch)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
