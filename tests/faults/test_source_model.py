"""Sources against a model in plain Python, over sequences of calls, faults, crashes and power cuts that Hypothesis makes up.

`scripts/torture model` does the same for longer.
"""

from tests.faults import source_machine


def test_sources_do_what_the_model_says_whatever_fails_or_crashes():
    source_machine.run(runs=200, steps=35)
