"""How fast a start reads back the write-ahead log, beside plain reading and checksumming of the same files."""

import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime

import google_crc32c
import orjson

from scripts.benchmarks.plan import Plan
from scripts.benchmarks.report import Result
from segments.disk import Disk
from segments.filenames import DataDir
from segments.group import Write
from segments.lines import parse_body
from segments.recovery import create_source, recover

DATAFILE = "SCHEMA >\n    `id` Int64 `json:$.id`,\n    `text` String `json:$.text`\n"


def make_log(data: DataDir, *, rows_a_frame: int, size: int) -> int:
    """Bytes written: frames of so many rows of about 100 bytes."""
    now = datetime.now(UTC)
    data.sources.mkdir(parents=True)
    create_source(Disk(), data, "t", DATAFILE, source_id=bytes(16), now=now)
    log = recover(Disk(), data.source("t"), now=now).log
    events = parse_body(b"\n".join(orjson.dumps({"id": n, "text": "event " * 15}) for n in range(rows_a_frame)))
    done, frames = 0, 0
    while done < size:
        log.commit([Write(events)], now, durably=False)
        frames += 1
        if not frames % 100:
            done = sum(path.stat().st_size for path in data.source("t").wal.iterdir())
    log.sync()
    return sum(path.stat().st_size for path in data.source("t").wal.iterdir())


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def recovery(plan: Plan) -> None:
    for rows_a_frame in (50, 1000, 20_000):
        data = DataDir(plan.scratch / "recovery")
        size = make_log(data, rows_a_frame=rows_a_frame, size=plan.log_bytes)
        source = data.source("t")

        def read() -> None:
            for path in source.wal.iterdir():  # noqa: B023 -- called within the round
                google_crc32c.value(path.read_bytes())

        def start() -> None:
            recover(Disk(), source, now=datetime.now(UTC))  # noqa: B023 -- called within the round

        found: dict[str, list[float]] = {"siltstoned": [], "plain reading": []}
        for _ in range(plan.rounds):
            found["plain reading"].append(size / seconds(read) / 1e6)
            found["siltstoned"].append(size / seconds(start) / 1e6)
        plan.report(Result(f"recovery: {rows_a_frame:,} rows a frame", "MB/s", found))
        shutil.rmtree(plan.scratch / "recovery")
