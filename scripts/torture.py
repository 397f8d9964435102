"""Long runs of the fault tests; each command says what it does to the store and prints how to repeat what it finds."""

import sys

import click

from tests.faults.crash_check import Tally
from tests.faults.crash_runs import FAULTS, Job, plan, run_all


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


if __name__ == "__main__":
    sys.exit(main())
