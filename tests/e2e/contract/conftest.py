"""One daemon for each module: a statement about the interface needs no fresh disk, only a name of its own."""

import zlib

import pytest

from tests.daemons import Daemon


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("contract") / "data", "--compact-interval", "3600").start()
    try:
        yield daemon
        assert '"exception"' not in daemon.log.read_text()
    finally:
        daemon.end()


@pytest.fixture
def name(request):
    """A data source of the test's own."""
    plain = "".join(c if c.isalnum() else "_" for c in request.node.name)[:100]
    return f"{plain}_{zlib.crc32(request.node.name.encode())}"
