"""Every input in the fuzzer's corpus, and small changes of them; `scripts/torture fuzz` looks for new ones."""

import random

import pytest

from tests.faults.fuzz_targets import CORPUS, TARGETS

INPUTS = [path for target in sorted(TARGETS) for path in sorted((CORPUS / target).iterdir())]


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name[:16]}")
def test_no_input_breaks_a_promise(path):
    data = path.read_bytes()
    TARGETS[path.parent.name](data)
    dice = random.Random(path.name)
    for _ in range(20):
        changed = bytearray(data or b"\0")
        for _ in range(dice.randint(1, 4)):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        TARGETS[path.parent.name](bytes(changed))


def test_each_target_has_a_corpus():
    assert {path.parent.name for path in INPUTS} == set(TARGETS)
    assert len(INPUTS) > 30
