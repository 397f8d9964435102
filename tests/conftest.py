"""Property tests are judged by what they find, not by how long a shared machine takes."""

import os

import pytest
from hypothesis import settings

LONGEST_FIRST = ("faults", "e2e", "tests")

settings.register_profile("siltstone", deadline=None)
settings.load_profile("siltstone")


def pytest_xdist_auto_num_workers() -> int:
    """More than there are cores: most tests wait for daemons most of the time."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that of several processes none is left alone with them in the end."""
    items.sort(key=lambda item: LONGEST_FIRST.index(next(one for one in LONGEST_FIRST if one in item.path.parts)))
