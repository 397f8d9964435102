"""Real daemons for a test, with their logs shown when it fails and nothing left of them afterwards."""

import time
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.daemons import Daemon

Starts = Callable[..., Daemon]


@pytest.fixture
def start(tmp_path) -> Iterator[Starts]:
    """Start a daemon on `tmp_path/data` with these options."""
    started: list[Daemon] = []

    def start_one(*options: str, prefix: tuple[str, ...] = (), env: Mapping[str, str] | None = None) -> Daemon:
        daemon = Daemon(tmp_path / "data", *options, prefix=prefix, env=env)
        started.append(daemon)
        return daemon.start()

    try:
        yield start_one
    finally:
        for daemon in started:
            daemon.end()
            log = daemon.log.read_text()
            print(log[-5000:])
            assert "exc_info" not in log
            assert '"exception"' not in log


@pytest.fixture
def daemon(start: Starts) -> Daemon:
    return start()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Wait until something is so; fail when it is not so within a minute."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "waited a minute in vain"
            time.sleep(0.05)

    return wait
