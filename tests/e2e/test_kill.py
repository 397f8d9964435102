"""kill -9 under load: every acknowledged row is there exactly once, and none that was not sent."""

import http.client
import random
import threading
from collections import Counter
from dataclasses import dataclass, field

import orjson
import pyarrow.parquet as pq

from tests.daemons import TOKEN, query, segments, siltstone, wal_files

CLIENTS = 8
KILLS = 20


@dataclass
class Ledger:
    """What a client knows, written down before each request and after each answer."""

    requests: list[list[str]] = field(default_factory=list)
    stored: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)


class Client(threading.Thread):
    """Posts with wait=true until told to stop: one row or fifty, with or without a key; keyed requests are retried."""

    def __init__(self, number: int, port: int, stop: threading.Event) -> None:
        super().__init__()
        self.ledger = Ledger()
        self._number = number
        self._port = port
        self._halt = stop
        self._dice = random.Random(number)

    def run(self) -> None:
        request = 0
        connection = None
        while not self._halt.is_set():
            request += 1
            ids = [f"{self._number}-{request}-{row}" for row in range(self._dice.choice([1, 1, 50]))]
            body = b"\n".join(orjson.dumps({"id": one, "n": request}) for one in ids)
            key = f"{self._number}-{request}" if request % 2 else None
            self.ledger.requests.append(ids)
            while True:
                try:
                    connection = connection or http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
                    status = self._post(connection, body, key)
                except (OSError, http.client.HTTPException):
                    if connection is not None:
                        connection.close()
                    connection = None
                    status = 0
                self.ledger.statuses[status] += 1
                if status == 200:
                    self.ledger.stored.update(ids)
                    break
                if key is None or self._halt.is_set():
                    break
                self._halt.wait(0.02)
        if connection is not None:
            connection.close()

    @staticmethod
    def _post(connection: http.client.HTTPConnection, body: bytes, key: str | None) -> int:
        headers = {"Authorization": f"Bearer {TOKEN}"} | ({"Idempotency-Key": key} if key else {})
        connection.request("POST", "/v0/events?name=t&wait=true", body, headers)
        response = connection.getresponse()
        response.read()
        return response.status


def test_twenty_kills_under_load_lose_nothing_and_double_nothing(start, eventually):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    daemon = start("--compact-interval", "0.3")
    stop = threading.Event()
    clients = [Client(number, daemon.port, stop) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        for _ in range(KILLS):
            stop.wait(dice.uniform(0.05, 1.2))
            daemon.kill()
            daemon.start()
    finally:
        stop.set()
        for client in clients:
            client.join()

    stored = set().union(*(client.ledger.stored for client in clients))
    requests = [ids for client in clients for ids in client.ledger.requests]
    statuses = sum((client.ledger.statuses for client in clients), Counter[int]())
    print(f"{sum(map(len, requests))} rows sent, {len(stored)} acknowledged; answers, 0 for none: {statuses}")
    assert len(stored) > 1000
    assert set(statuses) <= {0, 200, 503}

    def check(ids: list[str]) -> None:
        times = Counter(ids)
        assert not [one for one in stored if times[one] != 1]
        assert not [one for one, count in times.items() if count > 1]
        assert set(times) <= {one for ids in requests for one in ids}
        # Also one that was never answered is there whole or not at all.
        assert not [ids for ids in requests if len({one in times for one in ids}) > 1]

    check([row["id"] for row in query(daemon.data, "SELECT id FROM t")])
    eventually(lambda: not wal_files(daemon.data, "t"))
    check([one for path in segments(daemon.data, "t") for one in pq.ParquetFile(path).read()["id"].to_pylist()])
    assert siltstone(daemon.data, "verify").returncode == 0
