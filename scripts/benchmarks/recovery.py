"""How fast a start reads back the write-ahead log, beside plain reading and checksumming of the same files."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import google_crc32c
import orjson

from segments.disk import Disk
from segments.filenames import DataDir
from segments.group import Write
from segments.lines import parse_body
from segments.recovery import create_source, recover

DATAFILE = "SCHEMA >\n    `id` Int64 `json:$.id`,\n    `text` String `json:$.text`\n"
ROUNDS = 3


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


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench recovery", description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="of log (default: 1024)")
    arguments = parser.parse_args()
    for rows_a_frame in (50, 1000, 20_000):
        with tempfile.TemporaryDirectory(prefix="siltstone-bench-") as scratch:
            data = DataDir(Path(scratch) / "data")
            size = make_log(data, rows_a_frame=rows_a_frame, size=arguments.mib << 20)
            source = data.source("t")

            def read() -> None:
                for path in source.wal.iterdir():  # noqa: B023 -- called within the round
                    google_crc32c.value(path.read_bytes())

            def start() -> None:
                recover(Disk(), source, now=datetime.now(UTC))  # noqa: B023 -- called within the round

            times = [(seconds(read), seconds(start)) for _ in range(ROUNDS)]
            ratio = statistics.median(plain / ours for plain, ours in times)
            ours = statistics.median(size / ours / 1e6 for _, ours in times)
            print(
                f"{rows_a_frame} rows a frame: {ours:.0f} MB/s, {ratio:.2f} of plain reading with CRC-32C", flush=True
            )


if __name__ == "__main__":
    main()
