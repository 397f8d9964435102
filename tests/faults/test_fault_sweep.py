"""Real faults on the real process, at every n."""

import errno

import pytest

from tests.daemons import query
from tests.faults.fault_sweep import SHARED_SWEEPS, SWEEPS, FaultSweep, Outcome, Sweep
from tests.faults.row_ledger import Violation, event
from tests.faults.shim import Fault, Kind, Shim

QUICK = ("--compact-interval", "0.1")
BY_MACHINE_CODE = [sweep for sweep in SWEEPS if sweep.kinds & (Kind.WRITE | Kind.SYNC)]
"""Faults of what machine code does; without it each is met once only."""


@pytest.fixture
def swept(start, tmp_path, code):
    """A daemon that can be swept; with machine code from the start on, or without any."""
    shim = Shim(tmp_path / "shim", tmp_path / "data", volatile=True)
    return FaultSweep(start(*QUICK, "--machine-code", code, env=shim.env), shim, tmp_path / "scratch")


@pytest.mark.parametrize("code", ["never"])
def test_every_fault_at_every_n_costs_its_request_and_nothing_else(swept):
    total = Outcome()
    once = [sweep for sweep in SWEEPS if sweep not in BY_MACHINE_CODE or not sweep.onwards]
    for sweep, outcome in swept.run_all(once):
        total += outcome
        print(f"{sweep}: {outcome}")
    for sweep in SHARED_SWEEPS:
        total += swept.run(sweep)
    print(total)
    swept.end(total)

    assert total.trials > 450
    assert total.statuses[503] > 350


@pytest.mark.parametrize("code", ["now"])
def test_every_fault_of_a_write_or_sync_costs_no_more_where_machine_code_makes_them(swept):
    total = Outcome()
    for sweep, outcome in swept.run_all(BY_MACHINE_CODE):
        total += outcome
        print(f"{sweep}: {outcome}")
    print(total)
    swept.end(total)

    assert total.trials > 250
    assert total.statuses[503] > 200


@pytest.mark.parametrize("code", ["now", "never"])
@pytest.mark.parametrize(("kind", "n"), [(Kind.SYNC, 1), (Kind.SYNC, 9), (Kind.SYNC_DIR, 1), (Kind.WRITE, 9)])
def test_a_disk_that_lies_is_caught(swept, kind, n):
    """What the sweep is worth: a daemon that never synced, or never made names durable, would look like this."""
    with pytest.raises(Violation, match="after a power cut"):
        swept.run_one(Sweep(kind, Fault.LIE, onwards=True), n)


def test_a_source_is_where_its_directory_is_when_its_new_name_could_not_be_synced(start, tmp_path):
    shim = Shim(tmp_path / "shim", tmp_path / "data")
    daemon = start(env=shim.env)
    daemon.post(event("a"), "name=old&wait=true")
    shim.arm(Kind.SYNC_DIR, Fault.FAIL, scope="/sources$")

    assert daemon.call("PUT", "/v0/datasources/old?name=new").status == 503
    assert daemon.post(event("b"), "name=new&wait=true").status == 200
    assert [row["id"] for row in query(daemon.data, "SELECT id FROM new ORDER BY id")] == ["a", "b"]


def test_a_source_is_gone_when_only_its_end_could_not_be_synced(start, tmp_path):
    shim = Shim(tmp_path / "shim", tmp_path / "data")
    daemon = start(env=shim.env)
    daemon.post(event("a"), "name=t&wait=true")
    shim.arm(Kind.SYNC_DIR, Fault.FAIL, scope="/sources$", error=errno.ENOSPC)

    assert daemon.call("DELETE", "/v0/datasources/t").status == 503
    assert daemon.call("DELETE", "/v0/datasources/t").status == 404
    assert daemon.post(event("b"), "name=t&wait=true").status == 200
    assert [row["id"] for row in query(daemon.data, "SELECT id FROM t")] == ["b"]
