"""What a data source is to those who use it, in plain Python: groups of events in order, what was taken away, the keys.

After a failure or a crash more than one state may be right; `Model.worlds` has them all, and what is found must be one.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from segments.alteration import conform_rows
from segments.datafile import parse_datafile
from segments.disk import Disk
from segments.filenames import SourceDir
from segments.inventory import take_stock
from segments.keys import KEPT_S, Key
from segments.schema import Schema
from segments.segment_file import open_segment, read_schema
from segments.snapshot import open_snapshot
from segments.source_log import SourceLog

KEYS_MAX = 6
"""Few enough that runs reach it; the machine sets it for the product too."""
ID_BITS = {16: 0, 32: 1 << 20, 64: 1 << 40}


class Peek(Disk):
    """For looking without making anything durable."""

    def map_synced(self, path: Path) -> memoryview:
        return self.map(path)


@dataclass(frozen=True, slots=True)
class Shape:
    """A schema: how wide the id is, and how many columns were added."""

    bits: int = 16
    added: int = 0

    @property
    def text(self) -> str:
        columns = [f"`id` Int{self.bits} `json:$.id`", "`text` String `json:$.text`"]
        columns += [f"`extra{n}` Int64 `json:$.extra{n}` DEFAULT {n}" for n in range(self.added)]
        return f'SCHEMA >\n    {", ".join(columns)}\n\nENGINE "MergeTree"\nENGINE_SORTING_KEY "id"\n'

    @property
    def schema(self) -> Schema:
        return parse_datafile(self.text).schema


@dataclass(frozen=True, slots=True)
class Event:
    """One line; `kind` is the narrowest id column, in bits, that it fits into, or says why it never will."""

    number: int
    kind: int | str

    @property
    def raw(self) -> bytes:
        if self.kind == "junk":
            return b"junk %d" % self.number
        event: dict[str, Any] = {"id": self.id, "text": f"event {self.number * 2654435761 % 1000003}"}
        if self.number % 2:
            event["extra0"] = self.number + 100
        return orjson.dumps(event)

    @property
    def id(self) -> int | str:
        return ID_BITS[self.kind] + self.number if isinstance(self.kind, int) else "never"

    def fits(self, shape: Shape) -> bool:
        return isinstance(self.kind, int) and self.kind <= shape.bits

    def row(self, written: Shape, now: Shape) -> tuple[Any, ...]:
        """The row as it reads now; a column that was added later has its default."""
        event = orjson.loads(self.raw)
        extra = [event.get(f"extra{n}", n) if n < written.added else n for n in range(now.added)]
        return (event["id"], event["text"], *extra)


@dataclass(frozen=True, slots=True)
class Group:
    """Events that came in as one, from LSN `first` on, under one schema."""

    first: int
    events: tuple[Event, ...]
    shape: Shape
    keys: tuple[Key, ...] = ()
    replays: frozenset[int] = frozenset()

    @property
    def last(self) -> int:
        return self.first + len(self.events) - 1


@dataclass(frozen=True, slots=True)
class Floors:
    """Good rows, and quarantined ones, up to here were taken away; that may only be where LSN `needs` is."""

    rows: int = 0
    quarantine: int = 0
    needs: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """What a reader finds."""

    rows: tuple[tuple[Any, ...], ...]
    quarantine: dict[int, bytes]
    columns: int
    bits: int


@dataclass(frozen=True, slots=True)
class World:
    groups: tuple[Group, ...]
    floors: Floors
    shape: Shape

    @property
    def last(self) -> int:
        return self.groups[-1].last if self.groups else 0

    @property
    def quarantined(self) -> dict[int, Event]:
        replayed = frozenset[int]().union(*(group.replays for group in self.groups))
        return {
            lsn: event
            for group in self.groups
            for lsn, event in enumerate(group.events, group.first)
            if not event.fits(group.shape) and lsn > self.floors.quarantine and lsn not in replayed
        }

    @property
    def view(self) -> View:
        rows = [
            event.row(group.shape, self.shape)
            for group in self.groups
            for lsn, event in enumerate(group.events, group.first)
            if event.fits(group.shape) and lsn > self.floors.rows
        ]
        quarantine = {lsn: event.raw for lsn, event in self.quarantined.items()}
        return View(tuple(sorted(rows)), quarantine, self.shape.added, self.shape.bits)

    def key_window(self, at_s: int) -> "OrderedDict[tuple[str, str], Key]":
        """The keys that may be remembered by then, oldest first; the last KEYS_MAX of them must be."""
        window: OrderedDict[tuple[str, str], Key] = OrderedDict()
        for key in (key for group in self.groups for key in group.keys):
            window.pop((key.scope, key.key), None)
            window[key.scope, key.key] = key
        return OrderedDict((name, key) for name, key in window.items() if key.at_s >= at_s - KEPT_S)


@dataclass
class Model:
    """A source: what it holds for now (`groups`), and for certain (so many of them as are `durable`, or were `shown` to a
    reader); `coming` is what a crash cut short, `limbo` what a failure may have left. The last of `floors` is the one that
    is seen. Keys that are `once_old` were too old to be remembered at some time, whatever the clock has said since."""

    log: SourceLog
    groups: tuple[Group, ...] = ()
    durable: int = 0
    shown: int = 0
    coming: tuple[Group, ...] = ()
    limbo: list[tuple[Group, ...]] = field(default_factory=list)
    floors: list[Floors] = field(default_factory=lambda: [Floors()])
    shapes: list[Shape] = field(default_factory=lambda: [Shape()])
    sent: dict[tuple[str, str], tuple[Event, ...]] = field(default_factory=dict)
    once_old: set[Key] = field(default_factory=set)

    @property
    def now(self) -> World:
        """As the writer sees it."""
        return World(self.groups, self.floors[-1], self.shape)

    @property
    def shape(self) -> Shape:
        return next(shape for shape in self.shapes if shape.schema == self.log.schema)

    def worlds(self, *, cut: bool = False) -> Iterator[World]:
        """All that may be found, when the power was cut or was not."""
        at_least = max(self.durable, self.shown) if cut else len(self.groups)
        for whole in ((*self.groups, *self.coming), *self.limbo):
            for count in range(len(whole), min(at_least, len(whole)) - 1, -1):
                for floors in self.floors:
                    if not floors.needs or (count and whole[count - 1].last >= floors.needs):
                        yield from (World(whole[:count], floors, shape) for shape in self.shapes)

    def done(self, coming: Sequence[Group], change: Callable[[Floors], Floors] | None, shape: Shape | None) -> None:
        """What was asked for was done."""
        if coming or change:
            self.limbo.clear()
        self.groups = (*self.groups, *coming)
        if change:
            self.floors = list(dict.fromkeys(map(change, self.floors)))
        if shape:
            self.shapes = [shape]
        self.note_durable()

    def failed(self, coming: Sequence[Group], change: Callable[[Floors], Floors] | None, shape: Shape | None) -> None:
        """It was not, or in part: the writer's LSNs say which rows it still stands for."""
        asked = (*self.groups, *coming)
        kept = tuple(group for group in asked if group.last <= self.log.appended_lsn)
        if len(kept) > len(self.groups):
            self.limbo.clear()
        if len(kept) < len(asked):
            self.limbo.append(asked)
        self.groups = kept
        # A failed sync takes back even what readers have seen, as an answer 202 allows.
        self.shown = min(self.shown, len(kept))
        self.doubt(change, shape)
        self.note_durable()

    def doubt(self, change: Callable[[Floors], Floors] | None, shape: Shape | None) -> None:
        """Floors and schema may be what was asked for, or not."""
        if change:
            self.floors = list(dict.fromkeys([*self.floors, *map(change, self.floors)]))
        if shape and shape not in self.shapes:
            self.shapes.append(shape)

    def note_time(self, at_s: int) -> None:
        """The clock has moved."""
        there = (group for whole in (self.groups, self.coming, *self.limbo) for group in whole)
        self.once_old.update(key for group in there for key in group.keys if key.at_s < at_s - KEPT_S)

    def saw(self, view: View) -> None:
        """A reader has told which floors are in force for now."""
        seen = {world.floors for world in self.worlds() if world.view == view}
        self.floors.sort(key=seen.__contains__)

    def note_durable(self) -> None:
        """What the writer calls durable must be found from now on, whatever happens."""
        last = self.groups[-1].last if self.groups else 0
        assert self.log.appended_lsn == last, (self.log.appended_lsn, last)
        durable = sum(group.last <= self.log.durable_lsn for group in self.groups)
        assert durable >= self.durable, "what was durable is no longer called so"
        self.durable = durable

    def settle(self, world: World) -> None:
        """After a start there is one world again."""
        self.groups, self.coming, self.limbo = world.groups, (), []
        self.durable = self.shown = len(world.groups)
        self.floors, self.shapes = [replace(world.floors, needs=0)], [world.shape]


def look(disk: Disk, source: SourceDir) -> View:
    """What a reader finds now; it must be whole, and so must its counts."""
    snapshot = open_snapshot(disk, source)
    assert snapshot.damage == (), [str(damage) for damage in snapshot.damage]
    rows = snapshot.rows.tail.to_pylist()
    for ref in snapshot.rows.segments:
        written = snapshot.rows.older.get(ref.path, snapshot.schema)
        assert written == read_schema(disk, ref), "the segment would be read under another schema than its own"
        batches = open_segment(disk, ref).read().combine_chunks().to_batches()
        rows += [row for batch in batches for row in conform_rows(batch, snapshot.schema).to_pylist()]
    replayed = set(snapshot.replayed.to_pylist())
    bad = [row for ref in snapshot.quarantine.segments for row in open_segment(disk, ref).read().to_pylist()]
    bad = [row for row in bad if row["c__lsn"] not in replayed] + snapshot.quarantine.tail.to_pylist()
    quarantine = {row["c__lsn"]: row["c__row"].encode() for row in bad}
    assert len(quarantine) == len(bad), "a quarantined row is there twice"
    stock = take_stock(disk, source)
    assert (stock.rows, stock.quarantined_rows) == (len(rows), len(bad))
    (bits,) = {column.type.arrow.bit_width for column in snapshot.schema.columns if column.name == "id"}
    return View(tuple(sorted(tuple(row.values()) for row in rows)), quarantine, len(snapshot.schema.columns) - 2, bits)
