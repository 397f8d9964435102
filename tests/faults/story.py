"""What clients do to a source, step by step, with marks on the disk of what they know after each step."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import orjson

from segments.alteration import alter
from segments.compaction import compact
from segments.datafile import parse_datafile
from segments.disk import remove_tree
from segments.errors import StorageError, WriteFailed
from segments.filenames import DataDir, RowKind
from segments.group import Committed, Write
from segments.keys import Key
from segments.lines import parse_body
from segments.manifest import read_manifest
from segments.merge import merge_next
from segments.recovery import create_source, recover, remove_unborn, unname_source
from segments.replaying import replay
from segments.segment_check import check_segment
from segments.segment_file import read_schema
from segments.snapshot import open_snapshot
from segments.source_log import SourceLog
from segments.truncation import replace_rows, truncate
from tests.faults.faulty_disk import Died
from tests.faults.memory_disk import MemoryDisk
from tests.faults.read_once import open_segment

DATA = DataDir(Path("/data"))
SOURCE = DATA.source("events")
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NARROW, WIDE = (
    f"SCHEMA >\n    `id` Int64 `json:$.id`,\n    `n` {n} `json:$.n`,\n    `text` String `json:$.text`\n"
    for n in ("Int8", "Int32")
)


@dataclass(frozen=True)
class Request:
    """Rows by their ids; those in `bad` do not fit the narrow schema."""

    number: int
    good: tuple[int, ...]
    bad: tuple[int, ...] = ()
    key: str | None = None

    @property
    def ids(self) -> tuple[int, ...]:
        return (*self.good, *self.bad)

    @property
    def body(self) -> bytes:
        rows = [{"id": one, "n": 1, "text": text_of(one)} for one in self.good]
        rows += [{"id": one, "n": 300, "text": text_of(one)} for one in self.bad]
        return b"\n".join(map(orjson.dumps, rows))

    def write(self) -> Write:
        key = Key("token", self.key, self.body.hex(), int(NOW.timestamp())) if self.key else None
        return Write(parse_body(self.body), key)


def text_of(one: int) -> str:
    """What the row with this id says, so that a row's content shows whether it is the one that was sent."""
    return f"event {one * 2654435761 % 1000003}"


@dataclass(frozen=True)
class Sent:
    request: Request


@dataclass(frozen=True)
class Stored:
    """Answered with success: 200 if `durably`, else 202."""

    request: Request
    durably: bool
    last_lsn: int


@dataclass(frozen=True)
class Failed:
    """Nobody knows what became of the step; the rows that were only handed over so far may be gone."""


Step = Literal["truncate rows", "truncate quarantine", "replace", "replay", "alter", "drop"]


@dataclass(frozen=True)
class Begun:
    step: Step
    request: Request | None = None


@dataclass(frozen=True)
class Done:
    step: Step


@dataclass(frozen=True)
class Read:
    """A reader saw these rows, good and quarantined."""

    good: frozenset[int]
    quarantined: frozenset[int]


class Story:
    """Drives one source on a disk as the daemon does, marking what becomes known. Steps never raise for the disk's faults."""

    def __init__(self, disk: MemoryDisk, *, first_id: int = 1) -> None:
        self.disk = disk
        self.now = NOW
        self._next = first_id
        self.log: SourceLog | None = None
        self.unknown: list[Request] = []

    def request(self, good: int, bad: int = 0, *, key: bool = False) -> Request:
        ids = tuple(range(self._next, self._next + good + bad))
        self._next += good + bad
        return Request(ids[0], ids[:good], ids[good:], f"key-{ids[0]}" if key else None)

    def _try(self, step: Callable[[], None]) -> bool:
        """As the daemon's table from errors to answers has it: these are 503, anything else is a bug."""
        try:
            step()
        except (StorageError, OSError):
            self.disk.mark(Failed())
            return False
        except Died:
            # Nothing is lost that the kernel has; the next start finds it as the death left it.
            self.disk.mark(Failed())
            self.open()
            return False
        return True

    def create(self) -> None:
        self._try(lambda: create_source(self.disk, DATA, "events", NARROW, source_id=b"0123456789abcdef", now=NOW))

    def open(self) -> None:
        """Recover the source, as a start does, or the next request to an actor that is gone."""
        self.log = None

        def step() -> None:
            remove_unborn(self.disk, DATA)
            if self.disk.exists(SOURCE.path):
                self.log = recover(self.disk, SOURCE, now=self.now).log

        self._try(step)

    def commit(self, *requests: Request, durably: bool = True) -> None:
        for request in requests:
            self.disk.mark(Sent(request))

        def step() -> None:
            if self.log is None:
                raise WriteFailed("no source")
            done = self.log.commit([request.write() for request in requests], self.now, durably=durably)
            for request, one in zip(requests, done, strict=True):
                assert isinstance(one, Committed), one
                self.disk.mark(Stored(request, durably, one.last_lsn))

        if not self._try(step):
            self.unknown += [request for request in requests if request.key]

    def retry(self) -> None:
        """Clients send again what they got no answer to, with the same keys."""
        unknown, self.unknown = self.unknown, []
        for request in unknown:
            self.commit(request)

    def _on_log(self, work: Callable[[SourceLog], object]) -> bool:
        def step() -> None:
            if self.log is None:
                raise WriteFailed("no source")
            work(self.log)

        return self._try(step)

    def sync(self) -> None:
        self._on_log(SourceLog.sync)

    def mark(self) -> None:
        self._on_log(SourceLog.mark)

    def seal(self) -> None:
        self._on_log(SourceLog.seal)

    def compact(self) -> None:
        """Seal and move everything to segments; in the daemon the actor does the one and a child the other."""
        self.seal()

        def move(log: SourceLog) -> None:
            log.published = compact(self.disk, SOURCE, through=log.sealed_lsn, now=self.now).published

        self._on_log(move)

    def merge(self) -> None:
        """Merge the small segments of days that are over, as the daemon's child does it for one source."""

        def all_of_them(log: SourceLog) -> None:
            while not log.damage and merge_next(self.disk, SOURCE, now=self.now):
                pass

        self._on_log(all_of_them)

    def _change(self, step: Step, work: Callable[[SourceLog], object], request: Request | None = None) -> None:
        self.disk.mark(Begun(step, request))
        if self._on_log(work):
            self.disk.mark(Done(step))

    def truncate(self, kind: RowKind) -> None:
        step: Step = "truncate rows" if kind == "rows" else "truncate quarantine"
        self._change(step, lambda log: truncate(self.disk, log, kind, self.now))

    def replace(self, request: Request) -> None:
        self.disk.mark(Sent(request))
        self._change("replace", lambda log: replace_rows(self.disk, log, [request.write()], self.now), request)

    def alter(self) -> None:
        self._change("alter", lambda log: alter(self.disk, log, parse_datafile(WIDE), self.now))

    def replay(self) -> None:
        if self.log is not None and self.log.schema == parse_datafile(WIDE).schema:
            self._change("replay", lambda log: replay(self.disk, log, None, self.now))

    def drop(self) -> None:
        def work(log: SourceLog) -> None:
            log.seal()
            gone = unname_source(self.disk, DATA, SOURCE)
            self.log = None
            with suppress(OSError):
                remove_tree(self.disk, gone)

        self._change("drop", work)

    def read(self) -> None:
        """A reader in another process; what it saw must never be taken back."""

        def step() -> None:
            found = read_rows(self.disk)
            self.disk.mark(Read(frozenset(found.good), frozenset(found.quarantined)))

        self._try(step)

    def later(self, **time: int) -> None:
        self.now += timedelta(**time)


@dataclass(frozen=True)
class Rows:
    """Ids of what a reader finds, with doubles; `foreign` are rows that say what nobody sent."""

    good: Sequence[int]
    quarantined: Sequence[int]
    foreign: Sequence[object]
    damage: Sequence[object]
    last_lsn: int


def read_rows(disk: MemoryDisk) -> Rows:
    """Everything a snapshot of the source holds. Raises StorageError."""
    snapshot = open_snapshot(disk, SOURCE, to_show=True)
    for ref in (*snapshot.rows.segments, *snapshot.quarantine.segments, *snapshot.others):
        check_segment(disk, ref)
    good = [row for ref in snapshot.rows.segments for row in open_segment(disk, ref).rows]
    good += snapshot.rows.tail.to_pylist()
    replayed = set(snapshot.replayed.to_pylist())
    bad = [row for ref in snapshot.quarantine.segments for row in open_segment(disk, ref).rows]
    bad = [row for row in bad if row["c__lsn"] not in replayed] + snapshot.quarantine.tail.to_pylist()
    sent = [orjson.loads(row["c__row"]) for row in bad]
    foreign: list[object] = [row for row in (*good, *sent) if row["text"] != text_of(row["id"])]
    for ref in (*snapshot.rows.segments, *snapshot.quarantine.segments):
        if read_schema(disk, ref) != snapshot.rows.older.get(ref.path, snapshot.schema):
            foreign.append(f"{ref.name} would be read under another schema than its own")
    damage = (*snapshot.damage, *read_manifest(disk, SOURCE).damage)
    return Rows([row["id"] for row in good], [row["id"] for row in sent], foreign, damage, snapshot.last_lsn)
