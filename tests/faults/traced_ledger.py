"""What the clients of a traced daemon knew at each point of its trace, and what may be found of their sources then."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.faults.row_ledger import Found, RowLedger, Violation
from tests.faults.traced_story import Exchange

NARROW = ("id", "v")
WIDE = (*NARROW, "extra")
"""Columns before and after the alteration."""


@dataclass(frozen=True)
class Began:
    """The daemon had received this request."""

    exchange: Exchange


@dataclass(frozen=True)
class Ended:
    """The daemon began to answer this request, with success."""

    exchange: Exchange


@dataclass(frozen=True)
class Recovered:
    """A source after a start on what a crash left; `keys` are the numbers of the requests whose keys it remembers."""

    rows: Found
    columns: tuple[str, ...]
    keys: frozenset[int]


@dataclass
class Sent:
    """A post that has begun. `after`: those that were answered with 202 before it began, and not known durable then."""

    ids: frozenset[str]
    is_keyed: bool
    after: frozenset[int]
    is_touched: bool = False


@dataclass
class SourceLedger:
    """One data source, by whatever name. A post that is sent again counts once."""

    names: set[str]
    rows: RowLedger = field(default_factory=RowLedger)
    sent: dict[int, Sent] = field(default_factory=dict)
    numbers: dict[frozenset[str], int] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)
    together: list[frozenset[str]] = field(default_factory=list)
    columns: set[tuple[str, ...]] = field(default_factory=lambda: {NARROW})
    is_there: bool = False

    def began(self, exchange: Exchange) -> None:
        match exchange.what:
            case "post":
                ids = frozenset(exchange.ids)
                if ids not in self.numbers:
                    self.numbers[ids] = exchange.number
                    self.sent[exchange.number] = Sent(ids, exchange.key is not None, frozenset(self.taken))
                    self.rows.sent(ids)
            case "alter":
                self.columns.add(WIDE)
            case "rename":
                self.names.add(exchange.name)
            case "truncate":
                self.together.append(frozenset(self.rows.here))
                self.rows.truncating()
                self.taken.clear()
                for post in self.sent.values():
                    post.is_touched = True

    def ended(self, exchange: Exchange) -> None:
        self.is_there = True
        match exchange.what:
            case "post":
                number = self.numbers[frozenset(exchange.ids)]
                if exchange.status == 202:
                    self.taken.add(number)
                elif not self.sent[number].is_touched:
                    # What came before it in the log is in the file that was synced, or in one that was before.
                    for one in (number, *self.sent[number].after):
                        self.rows.stored(self.sent[one].ids)
                        self.taken.discard(one)
            case "alter":
                self.columns = {WIDE}
            case "rename":
                self.names = {exchange.name}
            case "truncate":
                self.rows.truncated()

    def check(self, found: Mapping[str, Recovered]) -> None:
        """`found`: the sources that there are, by name. Raises Violation."""
        mine = [found[name] for name in self.names if name in found]
        if not mine and self.is_there:
            raise Violation(f"there is no data source {' or '.join(sorted(self.names))}")
        if len(mine) > 1:
            raise Violation(f"a data source has two names: {sorted(self.names)}")
        for source in mine:
            self.rows.check(source.rows)
            if source.columns not in self.columns:
                raise Violation(f"its columns are {source.columns}, not {self.columns}")
            self._check_requests(source)

    def _check_requests(self, source: Recovered) -> None:
        ids = {*source.rows.good, *source.rows.quarantined}
        untouched = {number: post for number, post in self.sent.items() if not post.is_touched}
        there = {number for number, post in untouched.items() if post.ids <= ids}
        wholes = [*(post.ids for post in untouched.values()), *self.together]
        keyed = [number for number, post in untouched.items() if post.is_keyed]
        problems: dict[str, list[object]] = {
            "in part": [sorted(whole) for whole in wholes if 0 < len(whole & ids) < len(whole)],
            "without an earlier one": [(number, gone) for number in there for gone in untouched[number].after - there],
            "with a key that does not agree": [
                number for number in keyed if (number in there) != (number in source.keys)
            ],
        }
        found = [f"requests that are there {how}: {which[:5]}" for how, which in problems.items() if which]
        if found:
            raise Violation("; ".join(found))


class Ledgers:
    """Of all sources; told what went by as the trace goes on."""

    def __init__(self) -> None:
        self._sources: dict[str, SourceLedger] = {}

    def take(self, mark: object) -> None:
        match mark:
            case Began(exchange):
                self._sources.setdefault(exchange.source, SourceLedger({exchange.source})).began(exchange)
            case Ended(exchange):
                self._sources[exchange.source].ended(exchange)

    def check(self, found: Mapping[str, Recovered]) -> None:
        """Raises Violation."""
        for name, ledger in self._sources.items():
            try:
                ledger.check(found)
            except Violation as violation:
                raise Violation(f"source {name}: {violation}") from violation
        known = {name for ledger in self._sources.values() for name in ledger.names}
        if strange := found.keys() - known:
            raise Violation(f"data sources that nobody asked for: {sorted(strange)}")
