from tests.e2e.conftest import daemon, eventually, start  # noqa: F401
