"""Sources that are altered, emptied, renamed and dropped while rows come in: every answer holds, and nobody hangs."""

import threading

import pytest

from tests.daemons import TOKEN, query, siltstone
from tests.http_client import Client

CLIENTS = 4


class Load:
    """Clients that send one request after the other until they are stopped, each of so many rows."""

    def __init__(self, daemon, target, *, rows=1):
        self._daemon, self._target, self._rows = daemon, target, rows
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.statuses: list[int] = []
        self.begun: set[int] = set()
        self.stored: set[int] = set()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(CLIENTS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number):
        with Client(self._daemon.address) as client:
            turn = number
            while not self._stop.is_set():
                turn += CLIENTS
                rows = range(turn * self._rows, (turn + 1) * self._rows)
                with self._lock:
                    self.begun.update(rows)
                body = b"\n".join(b'{"n":%d}' % row for row in rows)
                answer = client.request("POST", self._target, body, Authorization=f"Bearer {TOKEN}")
                with self._lock:
                    self.statuses.append(answer.status)
                    if answer.status == 200:
                        self.stored.update(rows)


def call(daemon, method, target, body=b""):
    with Client(daemon.address) as client:
        return client.request(method, target, body, Authorization=f"Bearer {TOKEN}").status


@pytest.fixture
def daemon(start):
    daemon = start("--compact-interval", "0.2", "--machine-code", "now")
    daemon.post(b'{"n":0}')
    return daemon


@pytest.mark.parametrize("rows", [1, 200])
def test_altering_loses_no_row(daemon, rows):
    """Also of requests whose rows are columns already when the schema changes before they are written."""
    columns = "`n`+Nullable(Int64)"
    with Load(daemon, "/v0/events?name=t&wait=true", rows=rows) as load:
        for number in range(8):
            columns += f",+`added_{number}`+Nullable(String)"
            assert call(daemon, "POST", f"/v0/datasources/t/alter?schema={columns}") == 200
    rows = [row["n"] for row in query(daemon.data, "SELECT n FROM t")]

    assert set(load.statuses) == {200}
    assert len(rows) == len(set(rows))
    assert set(rows) == load.stored | {0}
    assert siltstone(daemon.data, "verify").returncode == 0


def test_truncating_takes_what_was_there_and_not_what_comes(daemon):
    with Load(daemon, "/v0/events?name=t&wait=true") as load:
        for _ in range(8):
            assert call(daemon, "POST", "/v0/datasources/t/truncate") == 200
        before = set(load.begun)
    rows = [row["n"] for row in query(daemon.data, "SELECT n FROM t")]

    assert set(load.statuses) == {200}
    assert len(rows) == len(set(rows))
    assert load.stored - before <= set(rows) <= load.stored
    assert siltstone(daemon.data, "verify").returncode == 0


def test_a_reader_beside_replacements_sees_rows_of_one_or_both_and_never_none(daemon):
    rows = b"\n".join(b'{"n":%d}' % n for n in range(3000))
    assert call(daemon, "POST", "/v0/datasources?mode=replace&format=ndjson&name=t", rows) == 200
    counts: set[bytes] = set()
    statuses: set[int] = set()
    stop = threading.Event()

    def read():
        while not stop.is_set():
            answer = daemon.call("GET", "/v0/sql?q=SELECT+count()+FROM+t")
            statuses.add(answer.status)
            counts.add(answer.body)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(25):
        assert call(daemon, "POST", "/v0/datasources?mode=replace&format=ndjson&name=t", rows) == 200
    stop.set()
    reader.join()

    assert statuses == {200}
    assert b"3000\n" in counts
    assert counts <= {b"3000\n", b"6000\n"}


def test_dropping_and_renaming_leave_every_sender_with_an_answer(daemon):
    """A row that comes while its source goes finds a new one."""
    with Load(daemon, "/v0/events?name=t&wait=true") as load:
        for number in range(6):
            assert call(daemon, "DELETE", "/v0/datasources/t") in (204, 404)
            assert call(daemon, "PUT", f"/v0/datasources/t?name=kept_{number}") in (200, 404)
    assert set(load.statuses) == {200}
    rows = []
    for source in sorted(path.name for path in (daemon.data / "sources").iterdir()):
        rows += [row["n"] for row in query(daemon.data, f"SELECT n FROM {source}")]
    assert len(rows) == len(set(rows))
    assert set(rows) <= load.stored | {0}
    assert siltstone(daemon.data, "verify").returncode == 0
    assert daemon.stop() == 0


def test_replaced_and_replayed_rows_are_there_once_after_kills(daemon):
    assert call(daemon, "POST", "/v0/datasources?name=r&schema=n+Int8") == 200
    bad = b"\n".join(b'{"n":%d}' % n for n in range(1000, 1500))
    assert daemon.post(bad, "name=r&wait=true").json()["quarantined_rows"] == 500
    assert call(daemon, "POST", "/v0/datasources/r/alter?schema=n+Int64") == 200
    for _ in range(3):
        killer = threading.Timer(0.01, daemon.kill)
        killer.start()
        try:
            call(daemon, "POST", "/v0/datasources/r/replay")
        except (ConnectionError, OSError):
            pass
        killer.join()
        daemon.start()
    assert call(daemon, "POST", "/v0/datasources/r/replay") == 200

    rows = sorted(row["n"] for row in query(daemon.data, "SELECT n FROM r"))
    assert rows == list(range(1000, 1500))
    assert query(daemon.data, "SELECT count(*) AS n FROM r_quarantine") == [{"n": 0}]
