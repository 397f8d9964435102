"""The servers that are compared: each a real process with a small configuration, a directory of its own and its own log."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parent.parent.parent
TOKEN = "bench-token"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0


class NotStarted(Exception):
    """A server did not come up; the text is its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """One that runs and answers at `url`; `headers` let requests in."""

    name: str
    url: str
    process: "subprocess.Popen[str]"
    headers: Mapping[str, str] = field(default_factory=dict)

    def call(self, method: str, target: str, body: bytes = b"") -> bytes:
        """One request outside of what is measured; raises unless the answer is a success."""
        request = Request(self.url + target, method=method, data=body or None, headers=dict(self.headers))
        with urlopen(request, timeout=START_TIMEOUT_S) as answer:
            found = answer.read()
            assert isinstance(found, bytes)
            return found

    def rss_bytes(self) -> int:
        """Of the process itself, not of its children."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024


@contextmanager
def alone(server: Server, servers: Sequence[Server]) -> Iterator[None]:
    """The others stand still meanwhile: what they have yet to merge or flush is no part of this one's figure."""
    others = [other for other in servers if other is not server]
    try:
        for other in others:
            os.killpg(other.process.pid, signal.SIGSTOP)
        yield
    finally:
        for other in others:
            os.killpg(other.process.pid, signal.SIGCONT)


@contextmanager
def _process(
    command: Sequence[str], directory: Path, environment: Mapping[str, str]
) -> Iterator["subprocess.Popen[str]"]:
    """In a group of its own, which is gone however the block ends."""
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE if command[0] == sys.executable else log,
            stderr=log,
            text=True,
            env=os.environ | environment,
            cwd=ROOT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        try:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            print(f"{command[0]} did not end in {STOP_TIMEOUT_S:g} s and was killed", file=sys.stderr)
        finally:
            # Also after a second Ctrl-C, and for the children of a process that has ended itself.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _url_that_it_prints(process: "subprocess.Popen[str]", directory: Path) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise NotStarted((directory / "log").read_text())
    return line.split()[-1]


def _wait_until_it_answers(url: str, process: "subprocess.Popen[str]", directory: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(url, timeout=1):
                return
        except (URLError, OSError):
            time.sleep(0.05)
    raise NotStarted((directory / "log").read_text())


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def siltstoned(scratch: Path, *options: str) -> Iterator[Server]:
    """On `scratch`/siltstoned; a second start on the same scratch finds the data of the first."""
    directory = scratch / "siltstoned"
    directory.mkdir(exist_ok=True)
    with _siltstoned(directory, "daemon", "--data", str(directory / "data"), "--port", "0", *options) as server:
        yield server


@contextmanager
def one_front(scratch: Path) -> Iterator[Server]:
    """The same with one front process."""
    directory = scratch / "siltstoned"
    directory.mkdir(exist_ok=True)
    with _siltstoned(directory, "scripts.benchmarks.one_front", str(directory / "data")) as server:
        yield server


@contextmanager
def _siltstoned(directory: Path, *command: str) -> Iterator[Server]:
    with _process([sys.executable, "-m", *command], directory, {"SILTSTONED_ADMIN_TOKEN": TOKEN}) as process:
        url = _url_that_it_prints(process, directory)
        yield Server("siltstoned", url, process, {"Authorization": f"Bearer {TOKEN}"})


@contextmanager
def bare(scratch: Path) -> Iterator[Server]:
    directory = scratch / "bare"
    directory.mkdir(exist_ok=True)
    with _process([sys.executable, "-m", "scripts.benchmarks.bare_server"], directory, {}) as process:
        yield Server("bare", _url_that_it_prints(process, directory), process)


_INFLUXD = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{here}/meta"
[data]
  dir = "{here}/data"
  wal-dir = "{here}/wal"
  wal-fsync-delay = "0s"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{http}"
  log-enabled = false
[logging]
  level = "warn"
[continuous_queries]
  enabled = false
"""


@contextmanager
def influxd(scratch: Path) -> Iterator[Server]:
    """Every write is synced before it is answered, as with wait=true; nothing of it runs that the test does not need."""
    directory = scratch / "influxd"
    directory.mkdir(exist_ok=True)
    port = _free_port()
    config = directory / "influxdb.conf"
    config.write_text(_INFLUXD.format(here=directory, http=port, rpc=_free_port()))
    with _process(["influxd", "-config", str(config)], directory, {}) as process:
        server = Server("influxd", f"http://127.0.0.1:{port}", process)
        _wait_until_it_answers(f"{server.url}/ping", process, directory)
        server.call("POST", "/query?q=CREATE+DATABASE+bench", b" ")
        yield server


_CLICKHOUSE = """<yandex>
<logger><level>warning</level><console>1</console></logger>
<listen_host>127.0.0.1</listen_host><http_port>{http}</http_port><tcp_port>{tcp}</tcp_port>
<path>{here}/</path><tmp_path>{here}/tmp/</tmp_path><users_config>{here}/users.xml</users_config>
<default_profile>default</default_profile><default_database>default</default_database>
<mark_cache_size>268435456</mark_cache_size>
</yandex>
"""
_CLICKHOUSE_USERS = """<yandex>
<profiles><default><input_format_skip_unknown_fields>1</input_format_skip_unknown_fields></default></profiles>
<users><default><password></password><networks><ip>127.0.0.1</ip></networks>
<profile>default</profile><quota>default</quota></default></users>
<quotas><default></default></quotas>
</yandex>
"""


@contextmanager
def clickhouse(scratch: Path) -> Iterator[Server]:
    """With its defaults for MergeTree. It has no setting that syncs a part before it answers."""
    directory = scratch / "clickhouse"
    directory.mkdir(exist_ok=True)
    port = _free_port()
    config = directory / "config.xml"
    config.write_text(_CLICKHOUSE.format(here=directory, http=port, tcp=_free_port()))
    (directory / "users.xml").write_text(_CLICKHOUSE_USERS)
    with _process(["clickhouse-server", f"--config-file={config}"], directory, {}) as process:
        server = Server("clickhouse", f"http://127.0.0.1:{port}", process)
        _wait_until_it_answers(server.url, process, directory)
        yield server


PROGRAMS = {"influxd": "influxd", "clickhouse": "clickhouse-server"}


def missing(names: Sequence[str]) -> list[str]:
    """Those whose program is not on this machine."""
    return [name for name in names if name in PROGRAMS and shutil.which(PROGRAMS[name]) is None]


def insert_target(table: str) -> str:
    """Where ClickHouse takes rows of a table as JSON."""
    return f"/?query={quote(f'INSERT INTO {table} FORMAT JSONEachRow')}"
