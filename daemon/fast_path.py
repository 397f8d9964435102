"""Connections at rest, and the requests that need no task's turn: from the socket to the inbox, and from there back.

Waking a connection's task twice costs more than all else that a small request needs. So one task waits for all
connections that are between two requests. A request that comes in one piece (or its head in one and its body in the
next), under a known head, for rows that `known_appends` takes, goes into the inbox at once, and is answered when its group
is told; the connection's own task never hears of it. Any other bytes wake that task, which goes on with them as if it
had read them itself.
"""

import select
from functools import partial

import outcome
import trio

from daemon.admission import NEVER, Watch, Watched
from daemon.config import HEAD_TIMEOUT_S, IDLE_TIMEOUT_S, SEND_TIMEOUT_S
from daemon.head_cache import Heads
from daemon.http_connection import CLOSE, HEAD_READ_BYTES
from daemon.known_appends import Append, KnownAppends, Plan
from daemon.transport import Transport

READY_AT_ONCE = 128
"""So many connections get their turn, and then other tasks theirs."""


class _Resting:
    """A connection whose task waits here. `arrived`: the head of a request whose body is still to come. `ahead`: what came
    before the present request was answered, nothing being the end."""

    __slots__ = ("ahead", "append", "arrived", "is_heard", "kernel", "number", "task", "transport", "watched")

    def __init__(self, transport: Transport, watched: Watched, task: trio.lowlevel.Task) -> None:
        self.transport = transport
        self.kernel = transport.kernel
        self.number = transport.kernel.fileno()
        self.watched = watched
        self.task: trio.lowlevel.Task | None = task
        self.append: Append | None = None
        self.arrived = b""
        self.ahead: bytes | None = None
        self.is_heard = False


class _Unsent(Exception):
    """The kernel does not take the whole answer now; the connection's task sends the rest and waits for it."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data = data


class FastPath:
    """One for the daemon. `run` in one task for as long as there are connections."""

    def __init__(self, heads: Heads, appends: KnownAppends, watch: Watch) -> None:
        self._heads = heads
        self._appends = appends
        self._watch = watch
        self._epoll = select.epoll()
        self._resting: dict[int, _Resting] = {}

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

    async def next_bytes(self, transport: Transport, watched: Watched) -> bytes:
        """The next bytes of a connection that are not of a request answered here; none at its end.

        Raises trio.BrokenResourceError when the client is gone.
        """
        while True:
            resting = _Resting(transport, watched, trio.lowlevel.current_task())
            watched.wait_until(trio.current_time() + IDLE_TIMEOUT_S)
            self._hear(resting)
            try:
                arrived: bytes = await trio.lowlevel.wait_task_rescheduled(partial(self._abort, resting))
            except _Unsent as answer:
                watched.wait_until(trio.current_time() + SEND_TIMEOUT_S)
                await transport.send_all(answer.data)
                if self._watch.closing:
                    return b""
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
        plan = known.plan
        if not isinstance(plan, Plan) or not self._appends.is_valid(plan):
            plan = known.plan = self._appends.plan(known.head)
        if len(data) == end:
            resting.append = self._appends.begin(plan, data[start:], partial(self._answer, resting))
        if resting.append is None:
            self._wake(resting, outcome.Value(data))
            return
        resting.arrived = b""
        resting.watched.idle = True
        resting.watched.deadline = NEVER

    def _answer(self, resting: _Resting) -> None:
        try:
            self._send_answer(resting)
        except Exception as error:  # noqa: BLE001 -- raised in the connection's task; the group's other answers go on
            self._wake(resting, outcome.Error(error))

    def _send_answer(self, resting: _Resting) -> None:
        append, resting.append = resting.append, None
        assert append is not None
        request_id = b"%x" % next(self._heads.request_ids)
        answer = self._appends.finish(append, request_id)
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
            raise _Unsent(data[sent:])
        if is_last or resting.ahead is not None:
            self._wake(resting, outcome.Value(b"" if is_last else resting.ahead))
            return
        resting.watched.wait_until(trio.current_time() + IDLE_TIMEOUT_S)

    def _wake(self, resting: _Resting, how: "outcome.Outcome[bytes | None]") -> None:
        """Give the connection back to its task, if that is still there."""
        self._unhear(resting)
        task, resting.task = resting.task, None
        if task is not None:
            trio.lowlevel.reschedule(task, how)

    def _abort(self, resting: _Resting, _: object) -> trio.lowlevel.Abort:
        self._unhear(resting)
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
