"""What waits for an ingest actor: requests, in groups that share one commit, and errands; and how it is refused."""

from collections.abc import Callable
from dataclasses import dataclass

import trio

from segments.errors import StorageError
from segments.group import Committed, Outcomes, Unread, Write
from segments.source_log import SourceLog


class InboxFull(Exception):
    """The source has as many bytes waiting as it may; try again soon."""


class ActorClosing(Exception):
    """The actor takes no more requests; nothing of this one was stored."""


class ActorFailed(Exception):
    """The actor failed with the request in its hands; its rows may or may not be stored."""


Outcome = Committed | StorageError | ActorFailed


@dataclass(slots=True, eq=False)
class Ticket:
    """One request on its way to disk, or several, resolved exactly once: its outcome is set, then `tell` is called with it,
    which must not raise."""

    write: Write | Unread
    tell: Callable[[Outcome | Outcomes], None]
    outcome: Outcome | Outcomes | None = None


class Group:
    """The requests that share one commit."""

    __slots__ = ("durably", "size_bytes", "tickets")

    def __init__(self) -> None:
        self.durably = False
        self.tickets: list[Ticket] = []
        self.size_bytes = 0

    def resolve(self, otherwise: Outcome) -> None:
        """Tell the senders, once; `otherwise` is the outcome of those that have none yet."""
        tickets, self.tickets = self.tickets, []
        for ticket in tickets:
            if ticket.outcome is None:
                ticket.outcome = otherwise
            ticket.tell(ticket.outcome)


class Errand:
    """Work for the log between two groups, and what became of it once `done` is set."""

    __slots__ = ("done", "error", "result", "work")

    def __init__(self, work: Callable[[SourceLog], object]) -> None:
        self.work = work
        self.done = trio.Event()
        self.result: object = None
        self.error: Exception | None = None
