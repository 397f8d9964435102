"""One commit of one source, from the actor through a thread and back."""

from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from daemon.inbox import ActorFailed, Errand, Group
from segments.errors import StorageError
from segments.group import Outcome, Outcomes
from segments.prepare import Prepared
from segments.source_log import SourceLog
from segments.wal_append import Append, Appended

_log = structlog.get_logger("ingest")


class Commit:
    """What the actor has written: a group, and then an errand if there is one. Without rows it is a sync or a mark.

    `landed` is called when it is through, with what went wrong if that was no fault of the disk's.
    """

    __slots__ = (
        "_append",
        "_landed",
        "_outcomes",
        "_prepared",
        "_source_log",
        "began",
        "durably",
        "errand",
        "failure",
        "group",
        "mark",
    )

    def __init__(
        self, log: SourceLog, group: Group, errand: Errand | None, landed: Callable[["Commit"], None], *, began: float
    ) -> None:
        self._source_log = log
        self._landed = landed
        self._prepared: Prepared | None = None
        self._append: Append | None = None
        self._outcomes: tuple[Outcome | Outcomes, ...] = ()
        self.group = group
        self.errand = errand
        self.durably = False
        self.mark = False
        self.began = began
        self.failure: BaseException | None = None

    @property
    def is_quick(self) -> bool:
        """Whether it is one write and one sync, for which others may wait."""
        return self.errand is None and self._prepared is not None and self._source_log.is_one_append(self._prepared)

    def prepare(self) -> None:
        """Make the group into what its frame holds. When that is refused every request has its outcome."""
        try:
            self._prepared = self._source_log.prepare(
                [ticket.write for ticket in self.group.tickets], datetime.now(UTC)
            )
        except StorageError as error:
            self._refuse(error)

    def as_append(self) -> Append | None:
        """The one write and perhaps one sync that this is, for who has the disk do them and then calls `end`; None when it is
        more."""
        if self._prepared is None or self.errand is not None:
            return None
        self._append = self._source_log.begin(self._prepared)
        return self._append

    def end(self, appended: Appended) -> None:
        """Go by what the disk has said. In a thread if that was an error."""
        assert self._prepared is not None
        assert self._append is not None
        try:
            outcomes = self._source_log.end(self._prepared, self._append, appended)
        except StorageError as error:
            self._refuse(error)
        else:
            for ticket, outcome in zip(self.group.tickets, outcomes, strict=True):
                ticket.outcome = outcome

    def write(self) -> None:
        """In a thread: hand the rows to the kernel."""
        tickets = self.group.tickets
        if tickets and tickets[0].outcome is None:
            if self._prepared is None:
                self.prepare()
            if self._prepared is not None:
                try:
                    self._outcomes = self._source_log.write(self._prepared, durably=False)
                except StorageError as error:
                    self._refuse(error)

    def finish(self) -> None:
        """In the same thread, after `write`: all that waits for the device."""
        try:
            if self.durably:
                self._source_log.sync()
            if self.mark:
                self._source_log.mark()
        except StorageError as error:
            self._refuse(error)
        else:
            # None when they were refused before.
            for ticket, outcome in zip(self.group.tickets, self._outcomes, strict=False):
                ticket.outcome = outcome
        if self.errand is not None:
            try:
                self.errand.result = self.errand.work(self._source_log)
            except (StorageError, OSError) as error:
                self.errand.error = error

    def land(self) -> None:
        """In Trio's thread: the actor goes on."""
        self._landed(self)

    def tell(self) -> None:
        """In Trio's thread, after `land`: answer the requests, unless the actor has failed, whose end answers them."""
        if self.failure is None:
            # Each has its outcome; were one left out by a mistake, its sender must not wait for ever.
            self.group.resolve(ActorFailed())

    def _refuse(self, error: StorageError) -> None:
        _log.error("rows could not be stored", source=self._source_log.source.name, reason=str(error))
        # Without their frames, which lead back to the group and its rows: nobody would free such a ring for long.
        error.with_traceback(None)
        if error.__cause__ is not None:
            error.__cause__.with_traceback(None)
        for ticket in self.group.tickets:
            if ticket.outcome is None:
                ticket.outcome = error
