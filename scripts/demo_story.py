"""The story that scripts/demo tells: real processes, real files, and each claim checked as it is made."""

import gzip
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import urllib3

ROOT = Path(__file__).resolve().parent.parent
FLIGHTS = ROOT / "tests" / "data" / "flights-10000.ndjson.gz"
TOKEN = f"demo-{secrets.token_hex(8)}"
QUESTION = "SELECT carrier, count(*) AS departures, round(avg(dep_delay), 1) AS mean_delay FROM {} GROUP BY carrier ORDER BY departures DESC LIMIT 5"
PATIENCE_S = 60


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n## {text}", flush=True)


class Daemon:
    """One siltstoned on `data`, compacting every two seconds so that the story need not wait."""

    def __init__(self, data: Path) -> None:
        program = Path(sys.executable).with_name("siltstoned")
        command = [str(program), "--data", str(data), "--port", "0", "--compact-interval", "2"]
        self._log = (data.parent / "siltstoned.log").open("ab")
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=os.environ | {"SILTSTONED_ADMIN_TOKEN": TOKEN},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"siltstoned did not start: {(data.parent / 'siltstoned.log').read_text()}")
        print(line, end="")
        self.url = line.split()[-1]

    def stop(self, number: signal.Signals) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        assert self.process.stdout is not None
        code = self.process.wait(timeout=PATIENCE_S)
        self.process.stdout.close()
        self._log.close()
        return code


def siltstone(data: Path, *arguments: str, url: str = "") -> str:
    """Run the CLI and give back what it printed."""
    environment = os.environ | {"SILTSTONE_DATA": str(data), "SILTSTONE_TOKEN": TOKEN, "SILTSTONE_URL": url}
    program = Path(sys.executable).with_name("siltstone")
    return subprocess.run([program, *arguments], check=True, capture_output=True, text=True, env=environment).stdout


def count(data: Path) -> int:
    answer = json.loads(siltstone(data, "query", "SELECT count(*) AS n FROM flights", "--format", "json"))
    return int(answer[0]["n"])


def post(url: str, lines: list[bytes]) -> dict[str, int]:
    answer = urllib3.request(
        "POST",
        f"{url}/v0/events?name=flights&wait=true",
        body=b"\n".join(lines),
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    assert answer.status == 200, answer.data
    said: dict[str, int] = answer.json()
    return said


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"the demo waited {PATIENCE_S} s in vain for {what}")
        time.sleep(0.1)


def check(found: int, expected: int) -> None:
    if found != expected:
        sys.exit(f"FAILED: {found} rows where {expected} were acknowledged")


def tell(data: Path, daemons: list[Daemon]) -> None:
    with gzip.open(FLIGHTS) as file:
        lines = file.read().splitlines()

    say("A daemon starts on an empty directory.")
    daemons.append(Daemon(data))

    say(f"500 real events go in over HTTP with wait=true. The first of them:\n{lines[0].decode()[:110]}...")
    print("the answer, once they were on disk:", post(daemons[-1].url, lines[:500]))

    say("One event does not fit the schema that was inferred. It is kept, with the reason:")
    print("the answer:", post(daemons[-1].url, [b'{"year": "MMXIII", "carrier": "UA"}']))
    question = "SELECT c__error_column, c__error, c__row FROM flights_quarantine"
    print(siltstone(data, "query", question, "--format", "ndjson"), end="")

    say("The other 9,500 follow by `siltstone append` ...")
    rest = data.parent / "rest.ndjson"
    rest.write_bytes(b"\n".join(lines[500:]) + b"\n")
    print(siltstone(data, "append", "flights", str(rest), url=daemons[-1].url), end="")

    say("... and at once the daemon is killed with kill -9. The query needs no daemon:")
    print("exit code of the daemon:", daemons[-1].stop(signal.SIGKILL))
    print("rows:", count(data))
    check(count(data), len(lines))

    say("The same append again, on a restarted daemon, as after a cut-off: nothing is added twice.")
    daemons.append(Daemon(data))
    print(siltstone(data, "append", "flights", str(rest), url=daemons[-1].url), end="")
    print("rows:", count(data))
    check(count(data), len(lines))

    say("Two seconds later the write-ahead log has become Parquet:")
    wal = data / "sources" / "flights" / "wal"
    wait_until(lambda: not list(wal.iterdir()), "compaction")
    print(siltstone(data, "files", "flights"), end="")
    check(count(data), len(lines))

    say("A question, asked by `siltstone query`:")
    print(siltstone(data, "query", QUESTION.format("flights")), end="")

    say("The same by plain DuckDB over the Parquet files:")
    glob = f"{data}/sources/flights/rows/**/*.parquet"
    plain = duckdb.execute(QUESTION.format(f"'{glob}'")).fetchall()
    for row in plain:
        print(*row, sep="\t")
    ours = json.loads(siltstone(data, "query", QUESTION.format("flights"), "--format", "json"))
    if [tuple(row.values()) for row in ours] != plain:
        sys.exit("FAILED: the two answers differ")

    say("Every byte checks, and the daemon leaves when it is asked to:")
    print(siltstone(data, "verify"), end="")
    print("exit code of the daemon on SIGTERM:", code := daemons[-1].stop(signal.SIGTERM))
    if code != 0:
        sys.exit("FAILED: the daemon did not stop in order")
    say("Done. 10,000 rows acknowledged, 10,000 there, one kill -9 in between.")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="siltstone-demo-") as directory:
        daemons: list[Daemon] = []
        try:
            tell(Path(directory) / "data", daemons)
        finally:
            for daemon in daemons:
                daemon.stop(signal.SIGKILL)


main()
