"""Long runs of the fault tests; each command says what it does to the store and prints how to repeat what it finds."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from tests.daemons import Daemon
from tests.faults import source_machine
from tests.faults.block_check import BlockCheck
from tests.faults.block_check import Tally as BlockTally
from tests.faults.block_run import BlockRun, record
from tests.faults.crash_check import Tally
from tests.faults.crash_runs import FAULTS, Job, plan, run_all
from tests.faults.fault_sweep import EVERY_SWEEP, SHARED_SWEEPS, FaultSweep, Outcome
from tests.faults.file_systems import FileSystem, FsKind
from tests.faults.fuzz_targets import TARGETS
from tests.faults.kill_storm import Load, Storm
from tests.faults.mounted_storm import cut_power
from tests.faults.recording import Recording
from tests.faults.shim import Shim
from tests.faults.traced_check import Tally as TracedTally
from tests.faults.traced_check import check_recording

FILE_SYSTEMS = click.Choice(list(FsKind), case_sensitive=False)
"""click knows members of an enum by their names, which are in capitals."""


@click.group(help=__doc__)
def main() -> None:
    pass


@main.command()
@click.option("--checks", default=2_000_000, show_default=True, help="go on until so many were made")
@click.option("--seed", default=0, show_default=True)
@click.option("--story", help="one story only, by its name or number")
@click.option("--fault", type=click.Choice(list(FAULTS)), default="none", show_default=True, help="with --story")
@click.option("--one-in", default=30, show_default=True, help="check one state in so many")
def crash(checks: int, seed: int, story: str | None, fault: str, one_in: int) -> None:
    """Crash the storage code at every operation, with every choice of what was not synced, in memory."""
    if story is not None:
        print(Job(story, fault, one_in, seed).run())
        return
    tally = Tally()
    while tally.checks < checks:
        tally += run_all(plan(made_up_stories=20, one_in=one_in, seed=seed))
        seed += 1
        print(f"{tally}; next seed {seed}", flush=True)


@main.command()
def faults() -> None:
    """Meet every fault, with every error it can have, at every n-th file operation of a real daemon, and pull the plug."""
    with tempfile.TemporaryDirectory(prefix="siltstone-") as scratch:
        shim = Shim(Path(scratch) / "shim", Path(scratch) / "data", volatile=True)
        daemon = Daemon(shim.data, "--compact-interval", "0.1", env=shim.env)
        try:
            swept = FaultSweep(daemon.start(), shim, Path(scratch) / "scratch")
            total = Outcome()
            for sweep, outcome in swept.run_all(EVERY_SWEEP):
                total += outcome
                print(f"{sweep}: {outcome}", flush=True)
            for sweep in SHARED_SWEEPS:
                total += swept.run(sweep)
            swept.end(total)
            print(total)
        finally:
            daemon.end()


@main.command()
@click.option("--runs", default=20_000, show_default=True)
@click.option("--steps", default=40, show_default=True, help="of one run, at most")
@click.option("--seed", default=0, show_default=True)
def model(runs: int, steps: int, seed: int) -> None:
    """Hold sources against a model through made-up calls, faults, crashes and power cuts, on real files."""
    for done in range(0, runs, 1000):
        tally = source_machine.run(runs=min(1000, runs - done), steps=steps, with_seed=seed)
        print(f"{done + min(1000, runs - done)} runs: {tally}; next seed {(seed := seed + 1)}", flush=True)


@main.command()
@click.option("--ends", default=500, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--how", type=click.Choice(["kill", "power", "stop"]), default="kill", show_default=True)
def storm(ends: int, seed: int, how: str) -> None:
    """End a daemon under load, by SIGKILL, with the power, or by SIGTERM and the power after it; compare with the clients."""
    with tempfile.TemporaryDirectory(prefix="siltstone-") as scratch:
        shim = Shim(Path(scratch) / "shim", Path(scratch) / "data", volatile=how != "kill")
        daemon = Daemon(shim.data, "--compact-interval", "0.3", env=shim.env if how != "kill" else {})

        def end() -> None:
            if how == "stop":
                daemon.stop()
            daemon.kill() if how == "kill" else shim.cut_power(daemon)

        try:
            clients = Storm(daemon.start(), seed=seed)
            clients.run(end, ends=ends)
            clients.check(keeps_taken=how != "power")
            print(f"{ends} ends; {clients}")
        finally:
            daemon.end()


@main.command()
@click.option("--states", default=200_000, show_default=True, help="go on until so many were judged")
@click.option("--seed", default=0, show_default=True)
@click.option("--one-in", default=1, show_default=True, help="judge one state in so many")
@click.option(
    "--recording",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="one recording only, as a failure names it",
)
def traced(states: int, seed: int, one_in: int, recording: Path | None) -> None:
    """Trace a real daemon's system calls, and build and judge what a power cut may leave at each of them."""
    if recording is not None:
        print(check_recording(Recording(recording), seed=seed, one_in=one_in))
        return
    tally = TracedTally()
    while tally.states < states:
        # Kept when something is found, which can't be seen again without it.
        scratch = Path(tempfile.mkdtemp(prefix="siltstone-traced-"))
        made = Recording.make(scratch, sources=5, bursts=4, seed=seed)
        if differences := made.disagreements(made.events()):
            sys.exit("\n".join(differences))
        tally += check_recording(made, seed=seed, one_in=one_in)
        shutil.rmtree(scratch)
        seed += 1
        print(f"{tally}; next seed {seed}", flush=True)


@main.command()
@click.option("--rounds", default=500, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--fs", type=FILE_SYSTEMS, default=FsKind.EXT4, show_default=True)
def powercut(rounds: int, seed: int, fs: FsKind) -> None:
    """Cut off a real file system under load, mount it again, and compare with the clients. Needs root."""
    for first in range(0, rounds, 50):
        # A file system of their own for each fifty, or it would be full one day.
        count = min(50, rounds - first)
        with tempfile.TemporaryDirectory(prefix="siltstone-") as scratch:
            _cut_power(Path(scratch), fs, count, seed)
        seed += 1
        print(f"{first + count} power cuts on {fs}; next seed {seed}", flush=True)


def _cut_power(scratch: Path, fs: FsKind, rounds: int, seed: int) -> None:
    with FileSystem(fs, scratch / "image", scratch / "data").made() as mounted:
        daemon = Daemon(scratch / "data", "--compact-interval", "0.3")
        try:
            clients = Storm(daemon.start(), seed=seed, load=Load(sizes=(1, 1, 50, 500)))
            clients.run(lambda: cut_power(clients, daemon, mounted), ends=rounds)
            clients.settle()
            print(clients)
        finally:
            daemon.end()


@main.command()
@click.option("--cuts", default=2000, show_default=True, help="go on until so many were judged")
@click.option("--per-run", default=200, show_default=True, help="of one recording")
@click.option("--recoveries", default=20, show_default=True, help="of one recording, each cut five times")
@click.option("--seed", default=0, show_default=True)
@click.option("--fs", type=FILE_SYSTEMS, default=FsKind.EXT4, show_default=True)
@click.option(
    "--recording",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="one recording only, as a failure names it",
)
def blocks(cuts: int, per_run: int, recoveries: int, seed: int, fs: FsKind, recording: Path | None) -> None:
    """Cut the power between any two blocks that a file system under a real daemon writes. Needs root and FUSE."""
    if recording is not None:
        print(BlockCheck(BlockRun.load(recording), seed).check(cuts=per_run, recoveries=recoveries))
        return
    tally = BlockTally()
    while tally.states < cuts:
        # Kept when something is found, which can't be seen again without it.
        scratch = Path(tempfile.mkdtemp(prefix="siltstone-blocks-"))
        run = record(fs, scratch, sources=3, bursts=4, seed=seed)
        tally += BlockCheck(run, seed).check(cuts=per_run, recoveries=recoveries)
        shutil.rmtree(scratch)
        seed += 1
        print(f"{fs}: {tally}; next seed {seed}", flush=True)


@main.command()
@click.argument("target", type=click.Choice(sorted(TARGETS)))
@click.option("--seconds", default=600, show_default=True)
def fuzz(target: str, seconds: int) -> None:
    """Look with atheris for bytes that break a promise of the log's reader, the datafile parser or the row decoders."""
    with tempfile.TemporaryDirectory(prefix="siltstone-fuzz-") as found:
        options = [f"-max_total_time={seconds}", f"-artifact_prefix={Path.cwd()}/", "-rss_limit_mb=4096", found]
        sys.exit(subprocess.run([sys.executable, "-m", "tests.faults.fuzz", target, *options], check=False).returncode)


if __name__ == "__main__":
    sys.exit(main())
