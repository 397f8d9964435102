"""A daemon that is ended again and again under load, by clients that write down what they know: what of it must be there?"""

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import orjson

from tests.daemons import TOKEN, Daemon, query, siltstone, wal_files
from tests.faults.row_ledger import Violation

CLIENTS = 8
SOURCES = ("t", "u", "v")
SIZES = (1, 1, 1, 50, 50, 2000)
PATIENCE_S = 60
ANSWERS = {0, 200, 202, 408, 503}
"""What a storm may be answered; 0 is none. 408 where a machine is so busy that a client has not sent its body in time."""


@dataclass
class Era:
    """A request counts as answered only if it began and ended in one era; what lies between two, nobody vouches for: on a
    file system that is cut off a key is still remembered whose rows a lying sync has lost."""

    number: int = 0
    is_over: bool = False

    def end(self) -> None:
        self.number += 1
        self.is_over = True

    def begin(self) -> None:
        self.is_over = False


@dataclass(frozen=True)
class Load:
    """What clients post: how many rows a request has, one of these; how many bytes each row has for ballast; and how long
    a client rests after a request."""

    sizes: tuple[int, ...] = SIZES
    ballast: int = 0
    rest_s: float = 0.0


STORM = Load()
LARGE_FRAMES = Load(sizes=(1, 50, 400), ballast=1500, rest_s=0.02)
"""Some are written past the page cache (`segments.direct`), between others that are not."""


@dataclass
class Ledger:
    """What one client knows, written down before each request and after each answer; ids of rows, by data source."""

    requests: list[tuple[str, list[str]]] = field(default_factory=list)
    stored: set[str] = field(default_factory=set)
    stored_at: list[tuple[float, set[str]]] = field(default_factory=list)
    """The same rows with the time, of the monotonic clock, at which the answer was there."""
    taken: set[str] = field(default_factory=set)
    """Answered with 202 and never with 200."""
    statuses: Counter[int] = field(default_factory=Counter)


class Client(threading.Thread):
    """Posts until told to stop, with wait=true or without; requests with a key are sent again until they are answered."""

    def __init__(self, number: int, port: int, halt: threading.Event, load: Load, era: Era) -> None:
        super().__init__()
        self.ledger = Ledger()
        self._load = load
        self._era = era
        self._number = number
        self._port = port
        self._halt = halt
        self._dice = random.Random(number)
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        request = 0
        while not self._halt.is_set():
            request += 1
            ids = [f"{self._number}-{request}-{row}" for row in range(self._dice.choice(self._load.sizes))]
            self._send(ids, request)
            self._halt.wait(self._load.rest_s)
        if self._connection is not None:
            self._connection.close()

    def _send(self, ids: list[str], request: int) -> None:
        source, waits = self._dice.choice(SOURCES), self._dice.random() < 0.75
        ballast = {"ballast": "x" * self._load.ballast} if self._load.ballast else {}
        body = b"\n".join(orjson.dumps({"id": one, "n": request} | ballast) for one in ids)
        key = f"{self._number}-{request}" if request % 2 else None
        self.ledger.requests.append((source, ids))
        while True:
            era, nobody_vouches = self._era.number, self._era.is_over
            status = self._post(f"/v0/events?name={source}&wait={'true' if waits else 'false'}", body, key)
            counts = era == self._era.number and not nobody_vouches
            self.ledger.statuses[status] += 1
            if counts and status == 200:
                self.ledger.stored.update(ids)
                self.ledger.stored_at.append((time.monotonic(), set(ids)))
            if counts and status == 202:
                self.ledger.taken.update(ids)
            if (counts and status in {200, 202}) or key is None or self._halt.is_set():
                return
            self._halt.wait(0.02)

    def _post(self, target: str, body: bytes, key: str | None) -> int:
        """0 when there was no answer."""
        headers = {"Authorization": f"Bearer {TOKEN}"} | ({"Idempotency-Key": key} if key else {})
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
            self._connection.request("POST", target, body, headers)
            response = self._connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            return 0
        return response.status


class Storm:
    """Clients, and a daemon that is ended under them and started again; what is there is held against what they know."""

    def __init__(self, daemon: Daemon, *, seed: int, load: Load = STORM) -> None:
        self._daemon = daemon
        self._dice = random.Random(seed)
        self._halt = threading.Event()
        self.era = Era()
        self._clients = [Client(number, daemon.port, self._halt, load, self.era) for number in range(CLIENTS)]

    @contextmanager
    def blowing(self) -> Iterator[None]:
        """All clients post until the end of the block. Once only."""
        for client in self._clients:
            client.start()
        try:
            yield
        finally:
            self._halt.set()
            for client in self._clients:
                client.join()

    def run(self, end: Callable[[], object], *, ends: int) -> None:
        """Under load, end the daemon and start it, so many times."""
        with self.blowing():
            for _ in range(ends):
                self._halt.wait(self._dice.uniform(0.05, 0.8))
                end()
                self._daemon.start()

    def pause(self, seconds: float) -> None:
        """Let it blow."""
        self._halt.wait(seconds)

    def wait_for_rows(self) -> None:
        """Until every client has had a row stored that it had not before."""
        before = [len(ledger.stored) for ledger in self._ledgers]
        self.wait_until(
            lambda: all(len(ledger.stored) > had for ledger, had in zip(self._ledgers, before, strict=True)),
            "rows are taken again",
        )

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Let it blow until something is so. Raises Violation when it does not come."""
        give_up_at = time.monotonic() + 2 * PATIENCE_S
        while not condition():
            if time.monotonic() > give_up_at:
                raise Violation(f"waited in vain until {what}; {self}")
            self._halt.wait(0.02)

    def check(self, *, keeps_taken: bool = False) -> None:
        """`keeps_taken`: rows answered with 202 must be there too. Raises Violation."""
        found = _rows(self._daemon)
        for ledger in self._ledgers:
            _check(ledger, found, must=ledger.stored | ledger.taken if keeps_taken else ledger.stored)
        sent = {one for ledger in self._ledgers for _, ids in ledger.requests for one in ids}
        if invented := {one for rows in found.values() for one, _ in rows if one not in sent}:
            raise Violation(f"never sent: {sorted(invented)[:5]}")

    def sees_a_loss(self, end: Callable[[], object], *, ends: int = 10) -> bool:
        """Whether the check fails after so many ends: on a slow machine hardly a sync may come to be a lie before one of them."""
        try:
            self.run(end, ends=ends)
            self.check()
        except (Violation, AssertionError):
            return True
        return False

    def settle(self, *, keeps_taken: bool = False) -> None:
        """The ledgers agree at once, and after a restart when all rows are in segments, of which all check."""
        self.check(keeps_taken=keeps_taken)
        # A start compacts at once what a fault had it put off for half a minute.
        assert self._daemon.stop() == 0
        self._daemon.start()
        give_up_at = time.monotonic() + 2 * PATIENCE_S
        while any(wal_files(self._daemon.data, source) for source in SOURCES):
            assert time.monotonic() < give_up_at, "the log is not compacted"
            time.sleep(0.05)
        self.check(keeps_taken=keeps_taken)
        done = siltstone(self._daemon.data, "verify")
        assert done.returncode == 0, done.stdout

    @property
    def _ledgers(self) -> list[Ledger]:
        return [client.ledger for client in self._clients]

    @property
    def stored(self) -> int:
        """Rows answered with 200."""
        return sum(len(ledger.stored) for ledger in self._ledgers)

    @property
    def taken(self) -> int:
        """Rows answered with 202."""
        return sum(len(ledger.taken) for ledger in self._ledgers)

    @property
    def statuses(self) -> Counter[int]:
        """Answers; 0 is none."""
        return sum((ledger.statuses for ledger in self._ledgers), Counter[int]())

    def __str__(self) -> str:
        requests = sum(len(ledger.requests) for ledger in self._ledgers)
        return f"{requests} requests, {self.stored} rows stored, {self.taken} taken; answers {dict(self.statuses)}"


def _rows(daemon: Daemon) -> dict[str, Counter[tuple[str, int]]]:
    """How often each row is there, by data source."""
    found: dict[str, Counter[tuple[str, int]]] = {source: Counter() for source in SOURCES}
    for row in query(
        daemon.data, " UNION ALL ".join(f"SELECT '{source}' AS t, id, n FROM {source}" for source in SOURCES)
    ):
        found[row["t"]][row["id"], row["n"]] += 1
    return found


def _check(ledger: Ledger, found: dict[str, Counter[tuple[str, int]]], must: set[str]) -> None:
    for number, (source, ids) in enumerate(ledger.requests, 1):
        times = [found[source][one, number] for one in ids]
        if len(set(times)) > 1:
            raise Violation(f"a request is there in part: {ids[0]} and following, {sum(times)} of {len(ids)} rows")
        if times[0] > 1:
            raise Violation(f"a request is there {times[0]} times: {ids[0]} and following")
        if not times[0] and ids[0] in must:
            raise Violation(f"an answered request is lost: {ids[0]} and following, {len(ids)} rows of {source}")
