"""What clients do to a daemon that is traced: several data sources at a time, each through all that a source goes through."""

import itertools
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from urllib.parse import quote

from tests.daemons import Daemon, wal_files
from tests.faults.fault_sweep import ALTERED
from tests.faults.row_ledger import event
from tests.http_client import Answer

AT_ONCE = 3
"""Clients of one source."""
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Exchange:
    """One request and how it was answered; status 0: not yet. `source` is the name that its data source had first.

    `ids` are the rows of a post; `name` is the source's name from a rename on.
    """

    number: int
    source: str
    what: str
    ids: tuple[str, ...]
    key: str | None
    name: str
    status: int
    request_id: str

    @property
    def body(self) -> bytes:
        return b"\n".join(map(event, self.ids))


class TracedStory:
    """Tells a story that differs with its seed, and keeps every exchange."""

    def __init__(self, daemon: Daemon, *, sources: int, bursts: int, seed: int) -> None:
        self._daemon = daemon
        self._sources = sources
        self._bursts = bursts
        self._seed = seed
        self._numbers = itertools.count(1)
        self.exchanges: list[Exchange] = []

    def tell(self) -> None:
        """When this returns all rows are in segments, and nothing goes on any more."""
        with ThreadPoolExecutor(self._sources) as pool:
            lives = [Life(self, f"s{n}", random.Random(f"{self._seed} {n}")) for n in range(self._sources)]
            for done in [pool.submit(life.live, self._bursts) for life in lives]:
                done.result()
            for life in lives:
                life.wait_for_compaction()

    def exchange(
        self, method: str, target: str, life: "Life", what: str, ids: Sequence[str] = (), key: str | None = None
    ) -> Answer:
        number = next(self._numbers)
        headers = {"X_Exchange": str(number)} | ({"Idempotency_Key": key} if key else {})
        told = Exchange(number, life.first_name, what, tuple(ids), key, life.name, 0, "")
        self.began(told)
        answer = self._daemon.call(method, target, told.body, **headers)
        assert answer.status in (200, 202), answer
        self.ended(replace(told, status=answer.status, request_id=answer.headers["x-request-id"]))
        return answer

    def began(self, exchange: Exchange) -> None:
        """Called before a request is sent, by any thread."""

    def ended(self, exchange: Exchange) -> None:
        """Called when it is answered."""
        self.exchanges.append(exchange)

    def has_log(self, name: str) -> bool:
        return bool(wal_files(self._daemon.data, name))


class Life:
    """One data source and its clients."""

    def __init__(self, story: TracedStory, name: str, dice: random.Random) -> None:
        self.first_name = self.name = name
        self._story = story
        self._dice = dice
        self._rows = itertools.count(1)

    def live(self, bursts: int) -> None:
        """The first rows decide the schema, so they are good and come alone."""
        first = self._ids(2, 0)
        self._post(first, wait=True, key=f"{self.name}-first")
        self._burst(bursts)
        self._post(first, wait=True, key=f"{self.name}-first")
        self._change("alter", "POST", f"{self.name}/alter?schema={quote(ALTERED)}")
        self._burst(bursts)
        self.wait_for_compaction()
        self._burst(bursts)
        self._change("truncate", "POST", f"{self.name}/truncate")
        self._burst(bursts)
        old, self.name = self.name, f"{self.name}_renamed"
        self._change("rename", "PUT", f"{old}?name={self.name}")
        last = self._ids(1, 1)
        self._post(last, wait=True, key=f"{self.name}-last")
        self._burst(bursts)
        self._post(last, wait=False, key=f"{self.name}-last")
        self.wait_for_compaction()
        self._burst(bursts)

    def wait_for_compaction(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while self._story.has_log(self.name):
            assert time.monotonic() < deadline, f"no compaction of {self.name} comes"
            time.sleep(0.1)

    def _burst(self, posts: int) -> None:
        """Posts of every kind, some at a time: waiting or not, with keys and without, one row or many, some that do not fit."""
        plans = []
        for _ in range(posts):
            ids = self._ids(self._dice.choice((0, 1, 1, 1, 2, 2, 3, 25)), self._dice.choice((0, 0, 1, 2)))
            ids = ids or self._ids(1, 0)
            key = f"{self.name}-{ids[0]}" if self._dice.random() < 0.3 else None
            plans.append((ids, self._dice.random() < 0.6, key))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for done in [pool.submit(self._post, ids, wait=wait, key=key) for ids, wait, key in plans]:
                done.result()

    def _ids(self, good: int, bad: int) -> list[str]:
        ids = [f"{self.first_name}-{next(self._rows)}" for _ in range(good)]
        return ids + [f"{self.first_name}-{next(self._rows)}!" for _ in range(bad)]

    def _post(self, ids: Sequence[str], *, wait: bool, key: str | None) -> None:
        target = f"/v0/events?name={self.name}&wait={'true' if wait else 'false'}"
        answer = self._story.exchange("POST", target, self, "post", ids, key)
        told = answer.json()
        assert told["successful_rows"] + told["quarantined_rows"] == len(ids), answer

    def _change(self, what: str, method: str, target: str) -> None:
        self._story.exchange(method, f"/v0/datasources/{target}", self, what)
