"""What front processes bring: beside one process on all cores, and with the storing process alone on a core."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks.contenders import Server, one_front, siltstoned
from scripts.benchmarks.ingest import send_first
from scripts.benchmarks.load import Load, LoadFailed, Request, run_load
from scripts.benchmarks.plan import Plan, clean, result
from scripts.benchmarks.workloads import SMALL

CONNECTIONS = 128
TARGET = "/v0/events?name=workers&wait=true"
FRONTS_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Setting:
    """`fronts` processes beside the one that stores, which has the first core to itself if `pinned`."""

    name: str
    fronts: int
    pinned: bool = False


SETTINGS = (
    Setting("one process", 0),
    Setting("two fronts", 2),
    Setting("pinned, two fronts", 2, pinned=True),
    Setting("pinned, one front", 1, pinned=True),
    Setting("pinned, none", 0, pinned=True),
)


def workers(plan: Plan) -> None:
    """In turn; every one starts anew in each round, because a process can't be asked to have other fronts."""
    found: dict[str, list[Load]] = {setting.name: [] for setting in SETTINGS}
    for number in range(plan.rounds):
        for setting in SETTINGS:
            with ExitStack() as stack:
                scratch = plan.scratch / f"{number}-{setting.fronts}-{setting.pinned}"
                scratch.mkdir()
                if setting.fronts == 1:
                    server = stack.enter_context(one_front(scratch))
                else:
                    server = stack.enter_context(siltstoned(scratch, "--workers", str(setting.fronts or 1)))
                fronts = _fronts(server, setting.fronts)
                if setting.pinned:
                    stack.enter_context(_pinned(server.process.pid, fronts))
                send_first(server, TARGET, SMALL)
                request = Request(server.url + TARGET, SMALL, server.headers)
                load = run_load(request, connections=CONNECTIONS, seconds=plan.seconds, scratch=scratch)
                found[setting.name].append(clean(server.name, load))
    title = f"workers: 1 event a request, {CONNECTIONS} connections, {os.cpu_count()} cores"
    plan.report(result(title, "req/s", found, dict.fromkeys(found, 1.0)))


def _fronts(server: Server, count: int) -> list[int]:
    deadline = time.monotonic() + FRONTS_WITHIN_S
    while time.monotonic() < deadline:
        tasks = Path(f"/proc/{server.process.pid}/task").iterdir()
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
        fronts = [pid for pid in children if b"daemon.front" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        if len(fronts) == count:
            return fronts
        time.sleep(0.05)
    raise LoadFailed(f"{server.name} has not started {count} fronts")


@contextmanager
def _pinned(storing: int, fronts: list[int]) -> Iterator[None]:
    """The storing process on the first core, its fronts and the load, which starts from here, on the others."""
    before = os.sched_getaffinity(0)
    first, *others = sorted(before)
    rest = set(others or [first])
    for task in Path(f"/proc/{storing}/task").iterdir():
        os.sched_setaffinity(int(task.name), {first})
    for pid in fronts:
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), rest)
    os.sched_setaffinity(0, rest)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
