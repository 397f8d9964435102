"""Closed-loop load on a local HTTP server: by wrk when there is one, else by a loop of our own in another process."""

import itertools
import multiprocessing
import selectors
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    """What every connection sends over and over."""

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    spread: int = 1
    """One request after the other has a number below this at the end of its URL, when it is more than one."""
    bodies: tuple[bytes, ...] = ()
    """Where there are any, one request after the other has the next of these in place of `body`; not with a spread."""


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
%s
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
    script.write_text(_LUA % (headers, body, _lua_spread(request)))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
    done = subprocess.run([*command, "-s", str(script), request.url], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise LoadFailed(f"wrk failed: {done.stderr or done.stdout}")
    result = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    count, micros, p50, p99, errors = map(float, result.split()[1:])
    return Load(count / micros * 1e6, p50 / 1e6, p99 / 1e6, int(errors))


def _lua_spread(request: Request) -> str:
    if request.bodies:
        bodies = ", ".join(f"[==[{body.decode()}]==]" for body in request.bodies)
        return (
            f"local bodies, number = {{{bodies}}}, 0\nrequest = function()\n  number = number % #bodies + 1\n"
            "  return wrk.format(nil, nil, nil, bodies[number])\nend"
        )
    if request.spread == 1:
        return ""
    where = urlsplit(request.url)
    return (
        f"local number = 0\nrequest = function()\n  number = (number + 1) % {request.spread}\n"
        f'  return wrk.format(nil, "{where.path}?{where.query}" .. number)\nend'
    )


def message(request: Request) -> bytes:
    """All bytes of it, as they go over the connection."""
    where = urlsplit(request.url)
    headers = {"Host": where.netloc, "Content-Length": str(len(request.body)), **request.headers}
    lines = [f"POST {where.path}?{where.query} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + request.body


@dataclass(frozen=True, slots=True)
class Answers:
    """All that came back: when it was, on the clock of `time.perf_counter`, and how long it took."""

    began_s: float
    times_s: list[float]
    latencies_s: list[float]
    errors: int

    def load(self) -> Load:
        ordered = sorted(self.latencies_s)
        count = len(ordered)
        if not count:
            raise LoadFailed("no answer came in time")
        p50, p99 = (ordered[int(count * part)] for part in (0.5, 0.99))
        return Load(count / (self.times_s[-1] - self.began_s), p50, p99, self.errors)


def drive(request: Request, connections: int, seconds: float) -> Answers:
    """The loop of our own, in this process."""
    urls = [f"{request.url}{n}" for n in range(request.spread)] if request.spread > 1 else [request.url]
    bodies = request.bodies or (request.body,)
    messages = itertools.cycle([message(replace(request, url=url, body=body)) for url in urls for body in bodies])
    where = urlsplit(request.url)
    times: list[float] = []
    latencies: list[float] = []
    errors = 0
    with selectors.DefaultSelector() as selector:
        began: dict[int, float] = {}
        for _ in range(connections):
            client = socket.create_connection((where.hostname or "", where.port or 80))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(client, selectors.EVENT_READ, client)
        clients = [key.data for key in selector.get_map().values()]
        start = time.perf_counter()
        for client in clients:
            began[client.fileno()] = time.perf_counter()
            client.sendall(next(messages))
        while time.perf_counter() < start + seconds:
            for key, _ in selector.select(0.1):
                # The answers are far smaller than this, so each arrives in one piece.
                answer = key.data.recv(65536)
                now = time.perf_counter()
                times.append(now)
                latencies.append(now - began[key.fd])
                errors += not answer.startswith(b"HTTP/1.1 2")
                began[key.fd] = time.perf_counter()
                key.data.sendall(next(messages))
        for client in clients:
            client.close()
    return Answers(start, times, latencies, errors)


def _by_loop(request: Request, connections: int, seconds: float, report: Connection) -> None:
    report.send(drive(request, connections, seconds).load())
