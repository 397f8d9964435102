"""What may be found after a crash, given what clients knew before it; and what is found."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from segments.errors import KeyReused, StorageError
from segments.recovery import recover, remove_unborn
from segments.source_log import SourceLog
from tests.faults.memory_disk import MemoryDisk
from tests.faults.story import DATA, NOW, SOURCE, Begun, Done, Failed, Read, Request, Rows, Sent, Stored, read_rows

Place = Literal["good", "quarantined", "absent"]
SPARED: dict[str, set[Place]] = {"truncate quarantine": {"good"}, "replace": {"quarantined"}}
NOTHING = Rows((), (), (), (), 0)


class Violation(AssertionError):
    """A promise was broken."""


@dataclass(frozen=True)
class Found:
    """A source after recovery, or None for no source. `keys` are the requests whose keys are remembered."""

    rows: Rows
    exists: bool
    columns: tuple[str, ...]
    keys: frozenset[int]
    appended_lsn: int


def recovered(disk: MemoryDisk, requests: list[Request]) -> Found:
    """Start on what the crash left. Raises Violation when the source does not come up whole."""
    try:
        remove_unborn(disk, DATA)
        if not disk.exists(SOURCE.path):
            return Found(NOTHING, False, (), frozenset(), 0)
        log = recover(disk, SOURCE, now=NOW).log
        rows = read_rows(disk)
    except (StorageError, OSError) as error:
        raise Violation(f"the source can't be read: {error}") from error
    if log.damage or rows.damage:
        raise Violation(f"a crash is taken for corruption: {[*map(str, log.damage), *map(str, rows.damage)]}")
    known = frozenset(request.number for request in requests if request.key and _remembers(log, request))
    columns = tuple(str(column.type) for column in log.schema.columns)
    return Found(rows, True, columns, known, log.appended_lsn)


def _remembers(log: SourceLog, request: Request) -> bool:
    key = request.write().key
    assert key is not None
    try:
        return log.keys.find(key) is not None
    except KeyReused as error:
        raise Violation("a key is remembered with another body") from error


@dataclass
class Expectation:
    """What clients were told, mark by mark; `places` says for every row sent where it may be."""

    places: dict[int, set[Place]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    touched: set[int] = field(default_factory=set)
    unsynced: list[Request] = field(default_factory=list)
    together: list[frozenset[int]] = field(default_factory=list)
    instead: list[tuple[frozenset[int], Request]] = field(default_factory=list)
    begun: Begun | None = None
    widened: bool = False
    source: Literal["none", "may be", "is"] = "none"
    last_lsn: int = 0

    def take(self, mark: object) -> None:
        """One more mark has gone by."""
        match mark:
            case Sent(request):
                if request not in self.requests:
                    self.requests.append(request)
                for one in request.ids:
                    places = self.places.setdefault(one, {"absent"})
                    places |= (
                        {"good"}
                        if one in request.good
                        else {"good", "quarantined"}
                        if self.widened
                        else {"quarantined"}
                    )
                self.source = "may be" if self.source == "none" else self.source
            case Stored(request, durably, last_lsn):
                self._stored(request, durably=durably, last_lsn=last_lsn)
            case Failed():
                # Readers may have seen these rows already; the failed sync takes them back, as a 202 allows.
                for one in (one for request in self.unsynced for one in request.ids):
                    self.places[one].add("absent")
                self.unsynced.clear()
                self.begun = None
            case Begun():
                self._begin(mark)
            case Done(step):
                self._finish(step)
            case Read(good, quarantined):
                for one in good:
                    self.places[one] -= {"absent", "quarantined"}
                for one in quarantined:
                    # It may be good all the same, by a replay that nobody was told the end of.
                    self.places[one] -= {"absent"}
                self.source = "is" if good or quarantined else self.source

    def _stored(self, request: Request, *, durably: bool, last_lsn: int) -> None:
        self.source = "is"
        if durably:
            for earlier in (*self.unsynced, request):
                for one in self.untouched(earlier):
                    self.places[one].discard("absent")
            self.unsynced.clear()
            self.last_lsn = max(self.last_lsn, last_lsn)
        else:
            self.unsynced.append(request)

    def untouched(self, request: Request) -> set[int]:
        """Rows that nobody tried to take away. A retry of others is answered as before, and brings nothing back."""
        return set(request.ids) - self.touched

    def _begin(self, begun: Begun) -> None:
        self.begun = begun
        rows = {one for one in self.places if begun.request is None or one not in begun.request.ids}
        match begun.step:
            case "truncate rows" | "drop":
                taken = rows
            case "truncate quarantine":
                taken = {one for one in rows if "quarantined" in self.places[one]}
            case "replace":
                taken = {one for one in rows if "good" in self.places[one]}
            case "replay":
                for places in self.places.values():
                    places.update({"good"} if "quarantined" in places else ())
                return
            case "alter":
                self.widened = True
                return
        if begun.step == "drop":
            self.source, self.last_lsn = "may be", 0
        self.together = [ids for ids in self.together if not ids & taken]
        self.instead = [(old, request) for old, request in self.instead if not taken.intersection(request.ids)]
        self.unsynced = [request for request in self.unsynced if not taken.intersection(request.ids)]
        # Where only good ones go, or quarantined ones, one that may be either is not known to go with the others.
        sure: list[set[Place]] = [{"good"}, {"quarantined"}]
        sure += [] if begun.step in SPARED else [{"good", "quarantined"}]
        surely = frozenset(one for one in taken if self.places[one] in sure)
        self.together.append(surely)
        if begun.request is not None:
            self.instead.append((surely, begun.request))
        for one in taken:
            self.places[one].add("absent")
        self.touched |= taken

    def _finish(self, step: str) -> None:
        assert self.begun is not None
        taken = self.together[-1] if self.together else frozenset[int]()
        match step:
            case "truncate rows" | "drop" | "truncate quarantine" | "replace":
                for one in self.touched:
                    if step in ("truncate rows", "drop") or one in taken or self._is_unsure(one, step):
                        self.places[one] = {"absent", *(self.places[one] & SPARED.get(step, set()))}
                if self.begun.request is not None:
                    self._stored(self.begun.request, durably=True, last_lsn=0)
                if step == "drop":
                    self.source = "none"
            case "replay":
                for places in self.places.values():
                    places.difference_update({"quarantined"} if "good" in places else ())
        self.begun = None

    def _is_unsure(self, one: int, step: str) -> bool:
        """Whether nobody knew where this row was, which the finished step has settled."""
        return ("good" if step == "replace" else "quarantined") in self.places[one]

    def after(self, found: Found) -> "Expectation":
        """What is to be expected once a recovery has shown this: just this."""
        places: dict[int, set[Place]] = {one: {"absent"} for one in self.places}
        places |= {one: {"quarantined"} for one in found.rows.quarantined}
        places |= {one: {"good"} for one in found.rows.good}
        return Expectation(
            places,
            list(self.requests),
            set(self.touched),
            widened=self.widened,
            source="is" if found.exists else "none",
            last_lsn=found.appended_lsn,
        )

    def check(self, found: Found) -> None:
        """Raises Violation."""
        rows = found.rows
        where: dict[int, Place] = dict.fromkeys(self.places, "absent")
        where.update(dict.fromkeys(rows.quarantined, "quarantined"))
        where.update(dict.fromkeys(rows.good, "good"))
        doubled = [one for one, count in Counter([*rows.good, *rows.quarantined]).items() if count > 1]
        wrong = {one: place for one, place in where.items() if place not in self.places.get(one, set())}
        broken = {
            "rows that nobody sent": rows.foreign,
            "rows that are there twice": doubled,
            "rows that are where they can't be": [
                f"{n} {place}, not {self.places.get(n)}" for n, place in wrong.items()
            ],
            "requests that are there in part": [
                ids for ids in self._wholes() if len({where[one] == "absent" for one in ids}) > 1
            ],
            "a later row of a file without the earlier": self._gap(where),
            "old rows that went before the new ones came": [
                request.number
                for old, request in self.instead
                if any(where[one] == "absent" for one in old) and any(where[one] == "absent" for one in request.good)
            ],
            "keys forgotten or remembered against the rows": self._keys(found, where),
            "LSNs that would be given out again": [found.appended_lsn] if found.appended_lsn < self.last_lsn else [],
            "a source that should be": [] if found.exists or self.source != "is" else [str(SOURCE.path)],
        }
        problems = [f"{what}: {list(which)}" for what, which in broken.items() if which]
        if problems:
            raise Violation("; ".join(problems))

    def _wholes(self) -> list[frozenset[int]]:
        whole = [frozenset(request.ids) for request in self.requests if not self.touched.intersection(request.ids)]
        return [*whole, *self.together]

    def _gap(self, where: dict[int, Place]) -> list[int]:
        there = [all(where[one] != "absent" for one in request.ids) for request in self.unsynced]
        return [] if there == sorted(there, reverse=True) else [request.number for request in self.unsynced]

    def _keys(self, found: Found, where: dict[int, Place]) -> list[int]:
        return [
            request.number
            for request in self.requests
            if request.key
            and found.exists
            and not self.touched.intersection(request.ids)
            and (request.number in found.keys) != (where[request.ids[0]] != "absent")
        ]
