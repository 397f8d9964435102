"""What the figures were made on: without it nobody can compare them."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from scripts.benchmarks.contenders import missing
from scripts.benchmarks.load import generator

MEMORY_ONLY = {"tmpfs", "ramfs", "devtmpfs"}


def file_system(path: Path) -> str:
    """Its type, from the mount that the path is on."""
    best, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, found, *_ = line.split()
        if path.resolve().is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, found
    return kind


def facts(scratch: Path) -> dict[str, str]:
    """Names and values, for people and for JSON."""
    found = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {_cpu()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "file system": file_system(scratch),
        "python": platform.python_version(),
        "small requests by": generator(),
    }
    for package in ("trio", "h11", "pyarrow", "numba", "duckdb", "orjson"):
        found[package] = version(package)
    if not missing(["influxd"]):
        found["influxd"] = _first_line(["influxd", "version"]) + ", wal-fsync-delay 0"
    if not missing(["clickhouse"]):
        # The server has no option for it; the client is built from the same source.
        client = _first_line(["clickhouse-client", "--version"]) if shutil.which("clickhouse-client") else "unknown"
        found["clickhouse"] = f"{client}, MergeTree with its defaults, which sync nothing before the answer"
    if shutil.which("wrk"):
        found["wrk"] = _first_line(["wrk", "-v"])
    return found


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown processor"


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).partition("\n")[0].strip()
