"""Connections at rest, and the requests that need no task's turn: from the socket to the inbox, and from there back.

Waking a connection's task twice costs more than all else that a small request needs. So one task waits for all
connections that are between two requests. A request that comes in one piece (or its head in one and its body in the
next), under a known head, for rows that `known_appends` takes, goes into the inbox with all others of its head that came
in the same round, and is answered when their group is told; the connection's own task never hears of it. Any other bytes
wake that task, which goes on with them as if it had read them itself.
"""

import select
from collections.abc import Sequence
from functools import partial
from typing import Protocol

import outcome
import trio

from daemon.admission import NEVER, Watch, Watched
from daemon.batch import Batch, Reply
from daemon.config import HEAD_TIMEOUT_S, IDLE_TIMEOUT_S, SEND_TIMEOUT_S
from daemon.head_cache import Heads, KnownHead
from daemon.http_connection import CLOSE, HEAD_READ_BYTES
from daemon.transport import Transport

READY_AT_ONCE = 128
"""So many connections get their turn, and then other tasks theirs."""


class Appends(Protocol):
    """Who takes the rows of requests under known heads."""

    def append(self, batch: Batch) -> None:
        """Take the rows, to be stored after `commit`."""

    def commit(self) -> None:
        """Store what was taken since the last time."""


class _Resting:
    """A connection whose task waits here. `arrived`: the present request, or its head, when its body is still to come.
    `ahead`: what came before the present request was answered, nothing being the end."""

    __slots__ = (
        "ahead", "arrived", "body_at", "is_asked", "is_heard", "kernel", "number", "request_id", "task", "transport", "watched",
    )  # fmt: skip

    def __init__(self, transport: Transport, watched: Watched, task: trio.lowlevel.Task) -> None:
        self.transport = transport
        self.kernel = transport.kernel
        self.number = transport.kernel.fileno()
        self.watched = watched
        self.task: trio.lowlevel.Task | None = task
        self.is_asked = False
        self.request_id = 0
        self.arrived = b""
        self.body_at = 0
        self.ahead: bytes | None = None
        self.is_heard = False


class _Unsent(Exception):
    """The kernel does not take the whole answer now; the connection's task sends the rest, and goes on with `ahead`."""

    def __init__(self, data: bytes, ahead: bytes | None) -> None:
        super().__init__()
        self.data = data
        self.ahead = ahead


class FastPath:
    """One for the daemon. `run` in one task for as long as there are connections."""

    def __init__(self, heads: Heads, appends: Appends, watch: Watch, *, body_bytes_max: int = HEAD_READ_BYTES) -> None:
        """A body of more than `body_bytes_max`, or of nothing, is for the connection's task: it must not hold up others under its
        head."""
        self._heads = heads
        self._appends = appends
        self._watch = watch
        self._body_bytes_max = body_bytes_max
        self._epoll = select.epoll()
        self._resting: dict[int, _Resting] = {}
        self._asked: dict[KnownHead, list[_Resting]] = {}

    async def run(self) -> None:
        """Serve the connections that are between two requests, for ever."""
        with self._epoll:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for number, _ in self._epoll.poll(0, READY_AT_ONCE):
                    resting = self._resting[number]
                    try:
                        self._read(resting)
                    except Exception as error:  # noqa: BLE001 -- a bug must cost one connection, whose task says so
                        self._wake(resting, outcome.Error(error))
                self._append()

    async def next_bytes(self, transport: Transport, watched: Watched, _kept: bytes = b"") -> bytes:
        """The next bytes of a connection that are not of a request answered here; none at its end.

        Raises trio.BrokenResourceError when the client is gone.
        """
        while True:
            if self._watch.closing:
                # Connections that came with the signal: there is no one to cut off who is not here yet.
                return b""
            resting = _Resting(transport, watched, trio.lowlevel.current_task())
            watched.wait_until(trio.current_time() + IDLE_TIMEOUT_S)
            self._hear(resting)
            try:
                arrived: bytes = await trio.lowlevel.wait_task_rescheduled(partial(self._abort, resting))
            except _Unsent as answer:
                watched.wait_until(trio.current_time() + SEND_TIMEOUT_S)
                await transport.send_all(answer.data)
                if answer.ahead is not None and not self._watch.closing:
                    watched.idle = True
                    return answer.ahead
            else:
                watched.idle = True
                return arrived

    def _read(self, resting: _Resting) -> None:
        try:
            data = resting.kernel.recv(HEAD_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            # As at the end: the task's next call says what it is.
            data = b""
        if resting.is_asked:
            resting.ahead = data
            self._unhear(resting)
            return
        waited_for = resting.arrived
        data = waited_for + data
        found = self._heads.requests.find(data, 0)
        if found is None:
            self._wake(resting, outcome.Value(data))
            return
        known, body_length, start = found
        end = start + body_length
        is_ordinary = 0 < body_length <= self._body_bytes_max
        if is_ordinary and len(data) < end <= HEAD_READ_BYTES and not waited_for:
            resting.arrived = data
            resting.watched.idle = False
            resting.watched.wait_until(trio.current_time() + HEAD_TIMEOUT_S)
            return
        if not is_ordinary or len(data) != end:
            self._wake(resting, outcome.Value(data))
            return
        resting.arrived, resting.body_at = data, start
        resting.request_id = next(self._heads.request_ids)
        resting.is_asked = True
        resting.watched.idle = True
        resting.watched.deadline = NEVER
        self._asked.setdefault(known, []).append(resting)

    def _append(self) -> None:
        asked, self._asked = self._asked, {}
        for known, resting in asked.items():
            bodies = [one.arrived[one.body_at :] for one in resting]
            self._appends.append(
                Batch(known, [one.request_id for one in resting], bodies, partial(self._answer, resting))
            )
        self._appends.commit()

    def _answer(self, asked: Sequence[_Resting], replies: Sequence[Reply | None]) -> None:
        rests_until = trio.current_time() + IDLE_TIMEOUT_S
        for resting, reply in zip(asked, replies, strict=True):
            try:
                self._send_answer(resting, reply, rests_until)
            except Exception as error:  # noqa: BLE001 -- raised in the connection's task; the other answers go on
                self._wake(resting, outcome.Error(error))

    def _send_answer(self, resting: _Resting, reply: Reply | None, rests_until: float) -> None:
        resting.is_asked = False
        if reply is None:
            self._wake(resting, outcome.Value(resting.arrived + (resting.ahead or b"")))
            return
        resting.arrived = b""
        status, fields, body = reply
        request_id = b"%x" % resting.request_id
        is_last = self._watch.closing
        if is_last:
            fields = (*fields, CLOSE)
        data = self._heads.responses.serialise(status, fields, len(body), request_id) + body
        try:
            sent = resting.kernel.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise trio.BrokenResourceError from error
        if sent < len(data):
            raise _Unsent(data[sent:], resting.ahead)
        if is_last or resting.ahead is not None:
            self._wake(resting, outcome.Value(b"" if is_last else resting.ahead))
            return
        resting.watched.wait_until(rests_until)

    def _wake(self, resting: _Resting, how: "outcome.Outcome[bytes | None]") -> None:
        """Give the connection back to its task, if that is still there."""
        self._unhear(resting)
        task, resting.task = resting.task, None
        if task is not None:
            trio.lowlevel.reschedule(task, how)

    def _abort(self, resting: _Resting, _: object) -> trio.lowlevel.Abort:
        self._unhear(resting)
        resting.transport.unread = resting.arrived
        resting.task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _hear(self, resting: _Resting) -> None:
        self._epoll.register(resting.number, select.EPOLLIN)
        self._resting[resting.number] = resting
        resting.is_heard = True

    def _unhear(self, resting: _Resting) -> None:
        if resting.is_heard:
            resting.is_heard = False
            del self._resting[resting.number]
            self._epoll.unregister(resting.number)
