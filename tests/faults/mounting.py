"""What tests that mount file systems do where they may not."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.file_systems import CannotMount


@contextmanager
def skipped_where_nothing_can_be_mounted() -> Iterator[None]:
    """Says why."""
    try:
        yield
    except CannotMount as reason:
        pytest.skip(str(reason))
