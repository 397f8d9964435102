"""What a machine does to a process under load, short of ending it: no false 200, reads go on, and no restart is needed."""

import resource
import signal
import socket
import time
from pathlib import Path

import pytest

from segments.filenames import parse_day
from tests.daemons import query, segments
from tests.faults.control_group import ControlGroup
from tests.faults.kill_storm import SOURCES, Load, Storm
from tests.faults.shim import Fault, Kind, Shim

QUICK = ("--compact-interval", "0.3", "--sync-interval", "0.3")
MIB = 1024 * 1024
HOUR_S = 3600
TEN_YEARS_S = 10 * 365 * 24 * HOUR_S
SMALL = Load(sizes=(1, 1, 1, 50), rest_s=0.01)
LARGE = Load(sizes=(1, 20), ballast=250_000)


def finish(storm, *also):
    print(storm)
    assert set(storm.statuses) <= {200, 202, 503, *also}
    storm.settle(keeps_taken=True)


def read(daemon):
    """By the CLI, which goes by the files, and by the daemon. How many rows they find."""
    answer = daemon.call("GET", "/v0/sql?q=SELECT%20count()%20AS%20n%20FROM%20t%20FORMAT%20JSON")
    assert answer.status == 200, answer
    assert query(daemon.data, "SELECT count(*) AS n FROM t")[0]["n"] > 0
    return int(answer.json()["data"][0]["n"])


def test_a_stopped_process_goes_on_where_it_was(start, seed):
    daemon = start(*QUICK)
    storm = Storm(daemon, seed=seed, load=SMALL)
    with storm.blowing():
        for _ in range(2):
            storm.wait_for_rows()
            daemon.process.send_signal(signal.SIGSTOP)
            time.sleep(1.5)
            assert query(daemon.data, "SELECT count(*) AS n FROM t")[0]["n"] > 0
            daemon.process.send_signal(signal.SIGCONT)
        storm.wait_for_rows()
        assert read(daemon) > 0
    finish(storm)


def test_slow_syncs_are_waited_for(start, tmp_path, seed):
    shim = Shim(tmp_path / "shim", tmp_path / "data")
    daemon = start(*QUICK, env=shim.env)
    storm = Storm(daemon, seed=seed, load=SMALL)
    with storm.blowing():
        storm.wait_for_rows()
        for delay_ms in (300, 2000):
            rule = shim.arm(Kind.SYNC | Kind.SYNC_DIR, Fault.DELAY, onwards=True, delay_ms=delay_ms)
            time.sleep(2)
            assert rule.hits > 0
            assert read(daemon) > 0
            rule.disarm()
        storm.wait_for_rows()
    finish(storm)


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_without_descriptors_nothing_is_answered_wrongly_and_all_goes_on_when_there_are_some(start, seed):
    """The limit is lowered on the running process, so that opening files fails too, beside accepting connections."""
    daemon = start(*QUICK)
    pid = daemon.process.pid
    storm = Storm(daemon, seed=seed, load=SMALL)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    with storm.blowing():
        storm.wait_for_rows()
        for spare in (3, 0):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors(pid) + spare, before[1]))
            idle = [socket.create_connection(daemon.address) for _ in range(100)]
            time.sleep(1)
            assert query(daemon.data, "SELECT count(*) AS n FROM t")[0]["n"] > 0
            for one in idle:
                one.close()
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
            storm.wait_for_rows()
            assert read(daemon) > 0
    finish(storm)


@pytest.fixture
def group():
    made = ControlGroup.made(limit_bytes=384 * MIB)
    yield made
    made.remove()


def test_in_little_memory_large_bodies_are_refused_and_nothing_is_killed(group, start, seed):
    daemon = start(*QUICK, "--memory", str(32 * MIB), prefix=group.prefix)
    storm = Storm(daemon, seed=seed, load=LARGE)
    with storm.blowing():
        for _ in range(3):
            storm.wait_for_rows()
            assert read(daemon) > 0
    assert group.kills == 0
    assert storm.statuses[503] > 0
    finish(storm)


def days(data: Path, source: str) -> list[str]:
    """The day of each segment in the order of their rows."""
    # Their names begin with the first LSN.
    paths = sorted(segments(data, source), key=lambda path: path.name)
    return [str(parse_day(path.parent.name)) for path in paths]


def test_the_wall_clock_jumps_an_hour_and_ten_years_both_ways_also_over_restarts(start, tmp_path, seed):
    shim = Shim(tmp_path / "shim", tmp_path / "data")
    shim.set_clock(ahead_s=-TEN_YEARS_S)
    daemon = start(*QUICK, env=shim.env)
    storm = Storm(daemon, seed=seed, load=SMALL)
    with storm.blowing():
        for ahead_s in (0, HOUR_S, -HOUR_S, TEN_YEARS_S, -TEN_YEARS_S, 0):
            storm.wait_for_rows()
            shim.set_clock(ahead_s=ahead_s)
            storm.wait_for_rows()
            if abs(ahead_s) != HOUR_S:
                assert daemon.stop() == 0
                daemon.start()
        storm.wait_for_rows()
        assert read(daemon) > 0
    finish(storm, 0)

    for source in SOURCES:
        seen = days(daemon.data, source)
        assert seen == sorted(seen)
        # Three times: ten years ago, these days, and in ten years.
        assert len({day[:3] for day in seen}) == 3
