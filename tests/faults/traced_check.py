"""Build what a power cut may leave at points all over the trace of a real daemon, start on it, and judge."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from segments.errors import KeyReused, StorageError
from segments.filenames import SourceDir
from segments.format_version import check_format
from segments.keys import Key
from segments.recovery import recover, remove_unborn
from segments.segment_file import read_facts, read_schema
from segments.source_log import SourceLog
from tests.faults.crash_states import crash_states
from tests.faults.memory_disk import Mark, MemoryDisk, Tree
from tests.faults.recording import Recording
from tests.faults.row_ledger import Violation, read_source
from tests.faults.story import DATA
from tests.faults.traced_ledger import Ledgers, Recovered
from tests.faults.traced_run import TracedRun, born
from tests.faults.traced_story import Exchange


@dataclass
class Tally:
    """Checks made, states of the whole data directory that differ, and recoveries of one source from what differs."""

    checks: int = 0
    states: int = 0
    recoveries: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.checks + other.checks, self.states + other.states, self.recoveries + other.recoveries)

    def __str__(self) -> str:
        return f"{self.checks} checks of {self.states} states, for which a source was recovered {self.recoveries} times"


def check_recording(recording: Recording, *, seed: int = 0, one_in: int = 1) -> Tally:
    """Judge every state, or one in so many. Raises Violation, which says how to see it again."""
    exchanges = recording.exchanges()
    run = TracedRun(recording.events(), exchanges)
    starts = Starts([one for one in exchanges if one.key], recording.token_id)
    ledgers = Ledgers()
    tally, states, judged, taken = Tally(), set[int](), set[int](), 0
    for state in crash_states(born(), run.log, seed, one_in=one_in):
        for operation in run.log[taken : state.at]:
            if isinstance(operation, Mark):
                ledgers.take(operation.what)
                judged.clear()
        taken = state.at
        files = hash(tuple(state.tree.walk()))
        states.add(files)
        if files in judged:
            # Clients have learnt nothing since it was.
            continue
        judged.add(files)
        tally.checks += 1
        try:
            ledgers.check(starts.on(state.tree))
        except Violation as violation:
            again = f"scripts/torture traced --recording {recording.directory} --seed {seed} --one-in {one_in}"
            here = f"before operation {state.at} of the trace, choice {state.choice}"
            raise Violation(f"{here}: {violation}\nagain: {again}") from violation
    tally.states, tally.recoveries = len(states), starts.recoveries
    return tally


class Starts:
    """Starts on what crashes left. A source that is as it was in an earlier state comes up as it did then."""

    def __init__(self, keyed: list[Exchange], token_id: str) -> None:
        self._now = datetime.now(UTC)
        self._keys = {one.number: self._key(one, token_id) for one in keyed}
        self._known: dict[int, Recovered] = {}

    @property
    def recoveries(self) -> int:
        return len(self._known)

    def _key(self, exchange: Exchange, token_id: str) -> Key:
        assert exchange.key is not None
        fingerprint = hashlib.sha256(exchange.body).hexdigest()
        return Key(token_id, exchange.key, fingerprint, int(self._now.timestamp()))

    def on(self, tree: Tree) -> dict[str, Recovered]:
        """The sources that there are after a start, by name. Raises Violation."""
        disk = MemoryDisk(tree)
        if not disk.exists(DATA.sources):
            return {}
        try:
            check_format(disk, DATA)
            remove_unborn(disk, DATA)
        except StorageError as error:
            raise Violation(f"there is no start on this data directory: {error}") from error
        found = {}
        for name in disk.listdir(DATA.sources):
            source = DATA.source(name)
            files = hash((name, tuple(disk.cache.walk(disk.inode(source.path)))))
            if files not in self._known:
                self._known[files] = self._recover(disk, source)
            found[name] = self._known[files]
        return found

    def _recover(self, disk: MemoryDisk, source: SourceDir) -> Recovered:
        # Footers are remembered by disk and path, and the disks of a run are many.
        read_facts.cache_clear()
        read_schema.cache_clear()
        try:
            log = recover(disk, source, now=self._now).log
        except StorageError as error:
            raise Violation(f"source {source.name} does not come up: {error}") from error
        if log.damage:
            raise Violation(f"a crash is taken for corruption of {source.name}: {[*map(str, log.damage)]}")
        keys = frozenset(number for number, key in self._keys.items() if _remembers(log, key))
        return Recovered(read_source(disk, source), tuple(column.name for column in log.schema.columns), keys)


def _remembers(log: SourceLog, key: Key) -> bool:
    try:
        return log.keys.find(key) is not None
    except KeyReused as error:
        raise Violation(f"the key {key.key} is remembered with another body") from error
