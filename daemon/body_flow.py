"""How a body comes in: how slowly it may, how much of it, and who is told meanwhile. And how slowly an answer may go out."""

from typing import Protocol

import trio

from daemon.admission import NEVER, Watched
from daemon.config import ANSWER_BYTES_PER_S, BODY_BYTES_PER_S, BODY_GRACE_S, BODY_STALL_S, SEND_TIMEOUT_S


class BodyTooLarge(Exception):
    """More body than allowed has been announced or has come; `seen` bytes."""

    def __init__(self, seen: int) -> None:
        super().__init__(seen)
        self.seen = seen


class Progress(Protocol):
    """Told how much of a body has come; refuses more by raising."""

    def hold(self, count: int) -> None:
        """`count` bytes of the body are held now."""


class Sink(Protocol):
    """Where the bytes of a body go as they come, instead of to whoever reads it."""

    def room(self) -> memoryview:
        """Where the next ones may be put."""

    def came(self, count: int) -> None:
        """So many have been put there."""


class _NoProgress:
    def hold(self, count: int) -> None:
        pass


NO_PROGRESS = _NoProgress()


class Pace:
    """The deadline of a body under way: a minimum speed after a grace, and no long pause whatever has come before."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._deadline = trio.current_time() + BODY_GRACE_S
        watched.idle = False

    def wait_for_more(self) -> None:
        """More is waited for from now on."""
        self._deadline = min(self._deadline, trio.current_time() + BODY_STALL_S)
        self._watched.wait_until(self._deadline)

    def came(self, count: int) -> None:
        """So many bytes have come."""
        self._deadline += count / BODY_BYTES_PER_S

    def end(self) -> None:
        """All of it is there."""
        self._watched.deadline = NEVER
        self._watched.idle = True


class AnswerPace:
    """The deadline of a long answer under way: a minimum speed, and no long pause however much has been read before."""

    def __init__(self) -> None:
        self._deadline = trio.current_time() + SEND_TIMEOUT_S

    def deadline(self, count: int) -> float:
        """By when the client must have taken the next so many bytes."""
        self._deadline += count / ANSWER_BYTES_PER_S
        return min(self._deadline, trio.current_time() + SEND_TIMEOUT_S)
