"""Closed-loop load on a local HTTP server: by wrk when there is one, else by a loop of our own in another process."""

import multiprocessing
import selectors
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    """What every connection sends over and over."""

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it. Latencies in seconds; `errors` are answers other than 2xx."""

    per_s: float
    p50_s: float
    p99_s: float
    errors: int


class LoadFailed(Exception):
    """No figure could be had; the text is what the generator said."""


_LUA = """
wrk.method = "POST"
%s
local file = io.open("%s", "rb")
wrk.body = file:read("*all")
file:close()
done = function(summary, latency, requests)
  io.write(string.format("RESULT %%d %%d %%f %%f %%d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), summary.errors.status + summary.errors.connect
    + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""


def generator() -> str:
    """Which load generator `run_load` uses here."""
    return "wrk" if shutil.which("wrk") else "own loop"


def run_load(request: Request, *, connections: int, seconds: float, scratch: Path) -> Load:
    """Keep every connection busy with one request at a time, for so long."""
    if shutil.which("wrk"):
        return _by_wrk(request, connections, seconds, scratch)
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_by_loop, args=(request, connections, seconds, theirs)
    )
    process.start()
    load = ours.recv()
    process.join()
    assert isinstance(load, Load)
    return load


def _by_wrk(request: Request, connections: int, seconds: float, scratch: Path) -> Load:
    body, script = scratch / "body", scratch / "post.lua"
    body.write_bytes(request.body)
    headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in request.headers.items())
    script.write_text(_LUA % (headers, body))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
    done = subprocess.run([*command, "-s", str(script), request.url], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise LoadFailed(f"wrk failed: {done.stderr or done.stdout}")
    result = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    count, micros, p50, p99, errors = map(float, result.split()[1:])
    return Load(count / micros * 1e6, p50 / 1e6, p99 / 1e6, int(errors))


def message(request: Request) -> bytes:
    """All bytes of it, as they go over the connection."""
    where = urlsplit(request.url)
    headers = {"Host": where.netloc, "Content-Length": str(len(request.body)), **request.headers}
    lines = [f"POST {where.path}?{where.query} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + request.body


def _by_loop(request: Request, connections: int, seconds: float, report: Connection) -> None:
    where = urlsplit(request.url)
    data = message(request)
    selector = selectors.DefaultSelector()
    began: dict[int, float] = {}
    for _ in range(connections):
        client = socket.create_connection((where.hostname or "", where.port or 80))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(client, selectors.EVENT_READ)
    latencies: list[float] = []
    errors = 0
    start = time.perf_counter()
    for key in selector.get_map().values():
        began[key.fd] = time.perf_counter()
        key.fileobj.sendall(data)  # type: ignore[union-attr]  # what was registered above are sockets
    while time.perf_counter() < start + seconds:
        for key, _ in selector.select(0.1):
            # The answers are far smaller than this, so each arrives in one piece.
            answer = key.fileobj.recv(65536)  # type: ignore[union-attr]
            now = time.perf_counter()
            latencies.append(now - began[key.fd])
            errors += not answer.startswith(b"HTTP/1.1 2")
            began[key.fd] = time.perf_counter()
            key.fileobj.sendall(data)  # type: ignore[union-attr]
    took = time.perf_counter() - start
    latencies.sort()
    count = len(latencies)
    p50, p99 = (latencies[min(count - 1, int(count * part))] if count else float("nan") for part in (0.5, 0.99))
    report.send(Load(count / took, p50, p99, errors))
