"""The trace of a daemon as a run of the disk in memory: what it did to its files, with marks of what clients knew."""

from collections.abc import Iterable
from pathlib import PurePath

from tests.faults.memory_disk import ROOT, Entry, Mark, Operation, Sync, Tree, Write
from tests.faults.traced_changes import Answered, Change, Event, Received
from tests.faults.traced_ledger import Began, Ended
from tests.faults.traced_story import Exchange

DATA = 1


def born() -> Tree:
    """An empty data directory, as the daemon found it."""
    return Tree({ROOT: {"data": DATA}, DATA: {}})


class TracedRun:
    """`log` is what `crash_states` takes, for a run that began on `born()`."""

    def __init__(self, events: Iterable[Event], exchanges: Iterable[Exchange]) -> None:
        self.log: list[Operation] = []
        self.tree = born()
        """As the kernel has it, at the end of the trace."""
        self._returned: list[tuple[int, Entry | Write]] = []
        self._inodes = DATA
        exchanges = list(exchanges)
        self._by_number = {one.number: one for one in exchanges}
        self._unanswered = {one.request_id: one for one in exchanges}
        for event in events:
            self._take(event)
        assert not self._unanswered, f"answers that the trace has not: {sorted(self._unanswered)}"

    def _take(self, event: Event) -> None:
        match event:
            case Received(number):
                self.log.append(Mark(Began(self._by_number[number])))
            case Answered(number, request_id):
                exchange = self._unanswered.pop(request_id)
                assert exchange.number == number, "an answer went to another request than its own"
                self.log.append(Mark(Ended(exchange)))
            case Change(what="sync"):
                inode = self._find(event.path)
                # A sync vouches for what had returned before it began; what was under way then may have come too late.
                missed = tuple(one for returned, one in self._returned if returned > event.call.entered)
                self.log.append(Sync(inode, missed=missed))
            case Change():
                operation = self._operation(event)
                self.tree.apply(operation)
                self.log.append(operation)
                self._returned.append((event.call.returned, operation))

    def _operation(self, change: Change) -> Entry | Write:
        if change.what == "write":
            return Write(self._find(change.path), change.offset, change.data)
        parent, name = self._find(change.path.parent), change.path.name
        there = self.tree.directories[parent]
        if change.what in ("create", "mkdir"):
            assert name not in there, f"made twice: {change}"
            self._inodes += 1
            if change.what == "create":
                self.tree.files[self._inodes] = b""
            return Entry(parent, name, self._inodes, is_directory=change.what == "mkdir")
        inode = there[name]
        if change.new is None:
            return Entry(parent, gone=name)
        assert change.new.parent == change.path.parent, f"no one sync makes both names last: {change}"
        return Entry(parent, change.new.name, inode, name, inode in self.tree.directories)

    def _find(self, path: PurePath) -> int:
        inode = DATA
        for name in path.parts:
            inode = self.tree.directories[inode][name]
        return inode
