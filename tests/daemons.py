"""A real siltstoned as a test drives it: a process of its own, on a free port, killed at the end whatever happens."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.http_client import TIMEOUT_S, Address, Answer, Client, connect, send_all_and_read

TOKEN = "the-admin-token-of-the-tests"


class Daemon:
    """One life of siltstoned after another, on one data directory."""

    def __init__(
        self, data: Path, *options: str, prefix: tuple[str, ...] = (), env: Mapping[str, str] | None = None
    ) -> None:
        self.data = data
        self.log = data.with_name(data.name + ".log")
        self._options = options
        self._prefix = prefix
        self._env = env or {}
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    def start(self) -> "Daemon":
        """Returns when requests are taken. A restart takes the port of the life before."""
        command = [*self._prefix, sys.executable, "-m", "daemon", "--data", str(self.data), "--port", str(self.port)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self._options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                env=os.environ | {"SILTSTONED_ADMIN_TOKEN": TOKEN} | dict(self._env),
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("siltstoned listening on http://"), self.log.read_text()
        self.url = line.split()[-1]
        self.port = urlsplit(self.url).port or 0
        return self

    @property
    def process(self) -> "subprocess.Popen[str]":
        assert self._process is not None
        return self._process

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(timeout=TIMEOUT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def end(self) -> None:
        """Leave nothing of it running."""
        if self._process is None:
            return
        try:
            # Also when the daemon itself is dead: its children are in the same group.
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def post(
        self, body: bytes, query: str = "name=t&wait=true", *, token: str | None = TOKEN, **headers: str
    ) -> Answer:
        """POST to /v0/events on a connection of its own; header names are given with underscores."""
        if token is not None:
            headers.setdefault("Authorization", f"Bearer {token}")
        with Client(self.address) as client:
            return client.request("POST", f"/v0/events?{query}", body, **headers)

    def call(self, method: str, target: str, body: bytes | None = None, token: str = TOKEN, **headers: str) -> Answer:
        """Any request, on a connection of its own; header names are given with underscores."""
        with Client(self.address) as client:
            return client.request(method, target, body, Authorization=f"Bearer {token}", **headers)

    def connect(self) -> socket.socket:
        return connect(self.address)

    def raw(self, *pieces: bytes) -> list[Answer]:
        """Send bytes as they are, a piece at a time, and read answers until the server closes or falls silent."""
        return send_all_and_read(self.address, *pieces)

    @property
    def address(self) -> Address:
        return ("127.0.0.1", self.port)

    @property
    def children(self) -> list[int]:
        """Processes that the daemon has started and not yet buried."""
        found: list[int] = []
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                found += map(int, (task / "children").read_text().split())
            except (FileNotFoundError, ProcessLookupError):
                # The thread has ended since it was listed.
                continue
        return found


def siltstone(data: Path, *arguments: str, url: str = "", stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """Run the CLI; the caller looks at its exit code."""
    environment = os.environ | {"SILTSTONE_DATA": str(data), "SILTSTONE_TOKEN": TOKEN, "SILTSTONE_URL": url}
    return subprocess.run(
        [sys.executable, "-m", "query", *arguments],
        capture_output=True,
        input=stdin,
        env=environment,
        check=False,
        timeout=300,
    )


def query(data: Path, sql: str) -> list[dict[str, Any]]:
    """The rows of a query by the CLI."""
    done = siltstone(data, "query", sql, "--format", "ndjson")
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def segments(data: Path, name: str, kind: str = "rows") -> list[Path]:
    return sorted((data / "sources" / name / kind).rglob("*.parquet"))


def wal_files(data: Path, name: str) -> list[Path]:
    return sorted((data / "sources" / name / "wal").glob("*.wal"))
