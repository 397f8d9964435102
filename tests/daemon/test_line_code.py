"""The daemon goes on without machine code, whatever is wrong with what was kept of it."""

import pytest
import trio

from daemon import line_code
from daemon.line_code import LOADED_AFTER_BYTES, LineCode


@pytest.mark.parametrize("error", [EOFError("Ran out of input"), ImportError("no numba"), KeyError("index"), OSError(28, "full")])  # fmt: skip
def test_code_that_cannot_be_loaded_ends_nothing(monkeypatch, error):
    """A power cut may leave files of no bytes where numba keeps its code, and reading them raises EOFError."""
    asked = []

    def fail() -> None:
        asked.append(error)
        raise error

    monkeypatch.setattr(line_code, "load", fail)
    code = LineCode()
    code.saw(LOADED_AFTER_BYTES)
    trio.run(code.run)

    assert asked == [error]
