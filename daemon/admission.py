"""Who is let in: a budget of bytes for all bodies, a cap on connections, and deadlines for slow senders.

Deadlines are a number on each connection, checked by one task twice a second: a cancel scope for every read would cost
more than a small request does.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import trio

from daemon.config import SHUTDOWN_GRACE_S

TICK_S = 0.5
NEVER = float("inf")
DESCRIPTORS_KEPT = 128
"""Descriptors for files and pipes, beside those for connections."""


def connections_max() -> int:
    """As many as descriptors allow, after asking for as many as the system lets us have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(16, hard - DESCRIPTORS_KEPT)


class OverBudget(Exception):
    """There is no room for the body now."""


class Budget:
    """Bytes of request bodies in memory: arriving, decoded, or waiting for their commit."""

    def __init__(self, total_bytes: int) -> None:
        self._free = total_bytes

    def take(self, count: int) -> None:
        """Raises OverBudget."""
        if count > self._free:
            raise OverBudget
        self._free -= count

    def check_room(self, count: int) -> None:
        """Raises OverBudget if `count` bytes would not fit now; takes nothing."""
        if count > self._free:
            raise OverBudget

    def give_back(self, count: int) -> None:
        self._free += count

    def reserved(self) -> "Reservation":
        """An empty reservation for one request, to be entered, and given back at the end."""
        return Reservation(self)


class Reservation:
    """What one request holds of the budget; grows and shrinks with what the request has in memory."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shrink(0)

    def hold(self, count: int) -> None:
        """Hold at least `count` bytes from now on. Raises OverBudget."""
        if count > self._held:
            self._budget.take(count - self._held)
            self._held = count

    def shrink(self, count: int) -> None:
        """Hold `count` bytes at most from now on."""
        if count < self._held:
            self._budget.give_back(self._held - count)
            self._held = count


class Watched:
    """One connection as the watch sees it. `deadline` is when what it waits for must have come; NEVER while we work."""

    __slots__ = ("deadline", "idle", "latest", "scope", "timed_out")

    def __init__(self) -> None:
        self.deadline = NEVER
        self.latest = NEVER
        self.idle = True
        self.scope = trio.CancelScope()
        self.timed_out = False

    def wait_until(self, deadline: float) -> None:
        """Something must have come by `deadline`, or by the end of the grace when the daemon is stopping."""
        self.deadline = min(deadline, self.latest)

    def expire(self) -> None:
        self.timed_out = True
        self.deadline = NEVER
        self.scope.cancel()


class Watch:
    """All open connections, oldest first."""

    def __init__(self, connections_max: int) -> None:
        self._open: dict[Watched, None] = {}
        self._connections_max = connections_max
        self._latest = NEVER
        self.closing = False

    @contextmanager
    def watched(self) -> Iterator[Watched]:
        """A place for a new connection; when all are taken, the oldest one without a whole request goes."""
        if len(self._open) >= self._connections_max:
            oldest = next((one for one in self._open if one.deadline != NEVER), None)
            if oldest is not None:
                oldest.expire()
        connection = Watched()
        connection.latest = self._latest
        self._open[connection] = None
        try:
            yield connection
        finally:
            del self._open[connection]

    async def run(self) -> None:
        """Cut off the connections whose deadline has passed."""
        while True:
            await trio.sleep(TICK_S)
            now = trio.current_time()
            for connection in list(self._open):
                if connection.deadline < now:
                    connection.expire()

    def close(self) -> None:
        """Let nobody start another request; those under way have a grace to arrive."""
        self.closing = True
        latest = self._latest = trio.current_time() + SHUTDOWN_GRACE_S
        for connection in list(self._open):
            connection.latest = latest
            if connection.deadline == NEVER:
                continue
            if connection.idle:
                connection.expire()
            else:
                connection.wait_until(connection.deadline)
