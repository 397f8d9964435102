"""Whatever a crash or a power cut leaves: what was acknowledged is there once, and nothing that was not sent.

`scripts/torture crash` does the same for longer.
"""

from tests.faults.crash_runs import plan, run_all


def test_two_hundred_thousand_crash_states_lose_nothing_and_double_nothing():
    tally = run_all(plan(made_up_stories=8, one_in=400, every=16))

    print(tally)
    assert tally.checks >= 200_000
    assert tally.states >= 5_000
    assert tally.again >= 500
