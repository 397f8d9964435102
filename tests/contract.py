"""Statements about the HTTP interface, each beside the test that shows it; docs/http-api.md is made of them."""

from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])


def states(*sentences: str) -> Callable[[F], F]:
    """Mark a test as the proof of each sentence. `scripts/http-api` reads the marks from the source."""
    assert sentences

    def mark(test: F) -> F:
        return test

    return mark
