import random

import pytest

from tests.e2e.conftest import daemon, eventually, start  # noqa: F401


@pytest.fixture
def seed() -> int:
    """Another for each run; pytest shows it when the test fails."""
    chosen = random.randrange(1 << 32)
    print("seed", chosen)
    return chosen
