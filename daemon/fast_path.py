"""Connections at rest, and the requests that need no task's turn: from the socket to the inbox, and from there back.

Waking a connection's task twice costs more than all else that a small request needs. So one task waits for all
connections that are between two requests. A request that comes in one piece (or its head in one and its body in the
next), under a known head, for rows that `known_appends` takes, goes into the inbox at once, and is answered when its group
is told; the connection's own task never hears of it. Any other bytes wake that task, which goes on with them as if it
had read them itself.
"""

import select
from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

import outcome
import trio

from daemon.admission import NEVER, Watch, Watched
from daemon.config import HEAD_TIMEOUT_S, IDLE_TIMEOUT_S, SEND_TIMEOUT_S
from daemon.head_cache import Fields, Heads, KnownHead
from daemon.http_connection import CLOSE, HEAD_READ_BYTES
from daemon.transport import Transport

READY_AT_ONCE = 128
"""So many connections get their turn, and then other tasks theirs."""


class Reply(Protocol):
    """What a request is answered."""

    @property
    def status(self) -> int: ...

    @property
    def body(self) -> bytes: ...

    @property
    def fields(self) -> Fields: ...


A = TypeVar("A")


class Appends(Protocol[A]):
    """Who takes the rows of requests under known heads."""

    def begin(self, known: KnownHead, body: bytes, request_id: int, tell: Callable[[], None]) -> A | None:
        """Take the body's rows, to be stored after `commit`; `tell` is called once they have an outcome. None when the
        request is not for here."""

    def commit(self) -> None:
        """Store what was taken since the last time."""

    def finish(self, append: A) -> Reply | None:
        """What the request is answered; None when it turned out not to be for here, and nothing of it is stored."""


class _Resting(Generic[A]):
    """A connection whose task waits here. `arrived`: the present request, or its head, when its body is still to come.
    `ahead`: what came before the present request was answered, nothing being the end."""

    __slots__ = (
        "ahead", "append", "arrived", "is_heard", "kernel", "number", "request_id", "task", "transport", "watched",
    )  # fmt: skip

    def __init__(self, transport: Transport, watched: Watched, task: trio.lowlevel.Task) -> None:
        self.transport = transport
        self.kernel = transport.kernel
        self.number = transport.kernel.fileno()
        self.watched = watched
        self.task: trio.lowlevel.Task | None = task
        self.append: A | None = None
        self.request_id = 0
        self.arrived = b""
        self.ahead: bytes | None = None
        self.is_heard = False


class _Unsent(Exception):
    """The kernel does not take the whole answer now; the connection's task sends the rest, and goes on with `ahead`."""

    def __init__(self, data: bytes, ahead: bytes | None) -> None:
        super().__init__()
        self.data = data
        self.ahead = ahead


class FastPath(Generic[A]):
    """One for the daemon. `run` in one task for as long as there are connections."""

    def __init__(self, heads: Heads, appends: Appends[A], watch: Watch) -> None:
        self._heads = heads
        self._appends = appends
        self._watch = watch
        self._epoll = select.epoll()
        self._resting: dict[int, _Resting[A]] = {}

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
                self._appends.commit()

    async def next_bytes(self, transport: Transport, watched: Watched, _kept: bytes = b"") -> bytes:
        """The next bytes of a connection that are not of a request answered here; none at its end.

        Raises trio.BrokenResourceError when the client is gone.
        """
        while True:
            if self._watch.closing:
                # Connections that came with the signal: there is no one to cut off who is not here yet.
                return b""
            resting = _Resting[A](transport, watched, trio.lowlevel.current_task())
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

    def _read(self, resting: _Resting[A]) -> None:
        try:
            data = resting.kernel.recv(HEAD_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            # As at the end: the task's next call says what it is.
            data = b""
        if resting.append is not None:
            resting.ahead = data
            self._unhear(resting)
            return
        waited_for = resting.arrived
        data = waited_for + data
        found = self._heads.requests.find(data, 0)
        if found is None:
            self._wake(resting, outcome.Value(data))
            return
        known, start = found
        end = start + known.body_length
        if len(data) < end <= HEAD_READ_BYTES and not waited_for:
            resting.arrived = data
            resting.watched.idle = False
            resting.watched.wait_until(trio.current_time() + HEAD_TIMEOUT_S)
            return
        resting.arrived = data
        if len(data) == end:
            resting.request_id = next(self._heads.request_ids)
            resting.append = self._appends.begin(
                known, data[start:], resting.request_id, partial(self._answer, resting)
            )
        if resting.append is None:
            self._wake(resting, outcome.Value(data))
            return
        resting.watched.idle = True
        resting.watched.deadline = NEVER

    def _answer(self, resting: _Resting[A]) -> None:
        try:
            self._send_answer(resting)
        except Exception as error:  # noqa: BLE001 -- raised in the connection's task; the group's other answers go on
            self._wake(resting, outcome.Error(error))

    def _send_answer(self, resting: _Resting[A]) -> None:
        append, resting.append = resting.append, None
        assert append is not None
        answer = self._appends.finish(append)
        if answer is None:
            self._wake(resting, outcome.Value(resting.arrived + (resting.ahead or b"")))
            return
        resting.arrived = b""
        request_id = b"%x" % resting.request_id
        is_last = self._watch.closing
        fields = (*answer.fields, CLOSE) if is_last else answer.fields
        head = self._heads.responses.serialise(answer.status, fields, len(answer.body), request_id)
        data = head + answer.body
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
        resting.watched.wait_until(trio.current_time() + IDLE_TIMEOUT_S)

    def _wake(self, resting: _Resting[A], how: "outcome.Outcome[bytes | None]") -> None:
        """Give the connection back to its task, if that is still there."""
        self._unhear(resting)
        task, resting.task = resting.task, None
        if task is not None:
            trio.lowlevel.reschedule(task, how)

    def _abort(self, resting: _Resting[A], _: object) -> trio.lowlevel.Abort:
        self._unhear(resting)
        resting.transport.unread = resting.arrived
        resting.task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _hear(self, resting: _Resting[A]) -> None:
        self._epoll.register(resting.number, select.EPOLLIN)
        self._resting[resting.number] = resting
        resting.is_heard = True

    def _unhear(self, resting: _Resting[A]) -> None:
        if resting.is_heard:
            resting.is_heard = False
            del self._resting[resting.number]
            self._epoll.unregister(resting.number)
