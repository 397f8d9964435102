"""The promise of wait=true as the kernel sees it: the sync that covers a row returns before its answer is sent."""

import os
import re
import signal
import threading
from dataclasses import dataclass

import pytest

from tests.daemons import TOKEN, Daemon
from tests.strace import can_trace

CALLS = "fdatasync,fsync,sendto,write,pwrite64"
FILE = re.compile(r"\w+\(\d+<([^>]*)>")


@dataclass(frozen=True)
class Event:
    """`kind`: a row's write returned, a sync was entered or returned, an answer was begun.

    `name` is the row's marker, the thread that syncs, or the answer's LSN; `file` what is written or synced.
    """

    kind: str
    name: str
    file: str = ""


def read_trace(text: str) -> list[Event]:
    """The calls in the order in which they were entered or returned, with interrupted ones put together."""
    events: list[Event] = []
    open_calls: dict[str, str] = {}
    for line in text.splitlines():
        thread, call = line.split(None, 1)
        returned = not call.endswith("<unfinished ...>")
        if "resumed>" in call:
            entered, started = False, open_calls.pop(thread)
        else:
            entered, started = True, call
            if not returned:
                open_calls[thread] = call
        file = match[1] if (match := FILE.match(started)) else ""
        if entered and started.startswith(("sendto", "write")) and "HTTP/1.1 200" in started:
            events += [Event("answered", lsn) for lsn in re.findall(r'\\"lsn\\": (\d+)', started)]
        if entered and started.startswith(("fdatasync", "fsync")):
            events.append(Event("sync begins", thread, file))
        if returned and started.startswith("pwrite64"):
            events += [Event("written", marker, file) for marker in re.findall(r"marker-\d+-end", started)]
        if returned and started.startswith(("fdatasync", "fsync")) and call.endswith("= 0"):
            events.append(Event("synced", thread, file))
    return events


def answered_before_synced(events: list[Event], markers: dict[str, str]) -> list[str]:
    """LSNs answered although no sync of their row's file had returned that began after the row's write had.

    `markers`: LSN -> marker.
    """
    written: dict[str, set[str]] = {}
    covered: dict[str, set[str]] = {}
    durable: set[str] = set()
    early = []
    for event in events:
        if event.kind == "written":
            written.setdefault(event.file, set()).add(event.name)
        elif event.kind == "sync begins":
            covered[event.name] = set(written.get(event.file, ()))
        elif event.kind == "synced":
            durable |= covered.pop(event.name)
        elif markers.get(event.name) not in durable:
            early.append(event.name)
    return early


def test_the_check_itself_sees_an_early_answer():
    begins, written, synced = Event("sync begins", "1", "f"), Event("written", "m", "f"), Event("synced", "1", "f")
    other = [Event("sync begins", "1", "g"), Event("synced", "1", "g")]
    answered = Event("answered", "5")

    assert answered_before_synced([written, begins, synced, answered], {"5": "m"}) == []
    assert answered_before_synced([begins, written, synced, answered], {"5": "m"}) == ["5"]
    assert answered_before_synced([written, begins, answered, synced], {"5": "m"}) == ["5"]
    assert answered_before_synced([written, *other, answered], {"5": "m"}) == ["5"]


def test_a_call_that_another_thread_interrupts_is_put_together_again():
    trace = (
        '7 fdatasync(5</d/a.wal> <unfinished ...>\n8 pwrite64(5</d/a.wal>, "marker-1-end", 12, 0) = 12\n'
        '7 <... fdatasync resumed>) = 0\n8 sendto(9<TCP:[1]>, "HTTP/1.1 200 \\"lsn\\": 3}", 9, 0, NULL, 0) = 9\n'
    )

    assert read_trace(trace) == [
        Event("sync begins", "7", "/d/a.wal"),
        Event("written", "marker-1-end", "/d/a.wal"),
        Event("synced", "7", "/d/a.wal"),
        Event("answered", "3"),
    ]


@pytest.mark.parametrize("code", ["now", "never"])
def test_each_answer_follows_the_sync_that_covers_it(start, tmp_path, code):
    if not can_trace():
        pytest.skip("strace is not installed, or may not trace here")
    trace = tmp_path / "trace"
    prefix = ("strace", "-f", "-y", "-s", "1000000", "-e", f"trace={CALLS}", "-o", str(trace))
    daemon: Daemon = start("--machine-code", code, prefix=prefix)
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
    assert {event.name for event in events if event.kind == "written"} == set(markers.values())
    assert answered_before_synced(events, markers) == []
