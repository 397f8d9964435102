"""The promise of wait=true as the kernel sees it: the sync that covers a row returns before its answer is sent."""

import os
import re
import shutil
import signal
import subprocess
import threading
from dataclasses import dataclass

import pytest

from tests.daemons import TOKEN, Daemon

CALLS = "fdatasync,fsync,sendto,write,pwrite64,rename"
LINE = re.compile(r"(\d+) +(\d+\.\d+) (?:<\.\.\. )?(\w+)")


@dataclass(frozen=True)
class Event:
    """`kind`: a row's write returned, a sync was entered or returned, a directory's likewise, an answer begun."""

    kind: str
    marker: str = ""


def can_trace() -> bool:
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0


def read_trace(text: str) -> list[Event]:
    """The calls in the order in which they were entered or returned, with interrupted ones put together."""
    events: list[Event] = []
    open_calls: dict[str, str] = {}
    for line in text.splitlines():
        thread, rest = line.split(None, 1)
        if "resumed>" in rest:
            started = open_calls.pop(thread)
            if started.startswith("pwrite64"):
                events += [Event("written", marker) for marker in re.findall(r"marker-\d+-end", started)]
            if started.startswith(("fdatasync", "fsync")) and rest.endswith("= 0"):
                events.append(Event("synced", thread))
            continue
        call = rest
        is_whole = not rest.endswith("<unfinished ...>")
        if not is_whole:
            open_calls[thread] = call
        if call.startswith(("sendto", "write")) and "HTTP/1.1 200" in call:
            events += [Event("answered", lsn) for lsn in re.findall(r'\\"lsn\\": (\d+)', call)]
        if call.startswith("pwrite64") and is_whole:
            events += [Event("written", marker) for marker in re.findall(r"marker-\d+-end", call)]
        if call.startswith(("fdatasync", "fsync")):
            events.append(Event("sync begins", thread))
            if is_whole and call.endswith("= 0"):
                events.append(Event("synced", thread))
    return events


def answered_before_synced(events: list[Event], markers: dict[str, str]) -> list[str]:
    """LSNs answered although no sync that began after their row's write had returned. `markers`: LSN -> marker."""
    written: set[str] = set()
    covered: dict[str, set[str]] = {}
    durable: set[str] = set()
    early = []
    for event in events:
        if event.kind == "written":
            written.add(event.marker)
        elif event.kind == "sync begins":
            covered[event.marker] = set(written)
        elif event.kind == "synced":
            durable |= covered.pop(event.marker)
        elif markers.get(event.marker) not in durable:
            early.append(event.marker)
    return early


def test_the_check_itself_sees_an_early_answer():
    events = [Event("sync begins", "1"), Event("written", "m"), Event("synced", "1"), Event("answered", "5")]

    assert answered_before_synced(events, {"5": "m"}) == ["5"]
    assert answered_before_synced([*events[:-1], *events[0::2], *events[-1:]], {"5": "m"}) == []


def test_each_answer_follows_the_sync_that_covers_it(start, tmp_path):
    if not can_trace():
        pytest.skip("strace is not installed, or may not trace here")
    trace = tmp_path / "trace"
    daemon: Daemon = start(prefix=("strace", "-f", "-s", "1000000", "-e", f"trace={CALLS}", "-o", str(trace)))
    markers: dict[str, str] = {}

    def post(number: int) -> None:
        marker = f"marker-{number}-end"
        answer = daemon.post(b'{"text":"%b"}' % marker.encode(), f"name=t&wait=true&token={TOKEN}")
        markers[str(answer.json()["lsn"])] = marker

    for number in range(10):
        post(number)
    threads = [threading.Thread(target=post, args=(number,)) for number in range(10, 60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # strace itself stays deaf to the signal, and ends with the daemon.
    os.killpg(daemon.process.pid, signal.SIGTERM)
    assert daemon.process.wait(timeout=60) == 0

    events = read_trace(trace.read_text())
    assert sum(event.kind == "answered" for event in events) == 60
    assert {event.marker for event in events if event.kind == "written"} == set(markers.values())
    assert answered_before_synced(events, markers) == []
