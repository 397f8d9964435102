"""Build what a power cut may leave at points all over the trace of a real daemon, start on it, and judge."""

from dataclasses import dataclass

from tests.faults.crash_states import crash_states
from tests.faults.memory_disk import Mark, MemoryDisk, Tree
from tests.faults.recording import Recording
from tests.faults.row_ledger import Violation
from tests.faults.source_start import SourceReader, sources_after_start
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
    starts = Starts(exchanges, recording.token_id)
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

    def __init__(self, exchanges: list[Exchange], token_id: str) -> None:
        self._reader = SourceReader(exchanges, token_id)
        self._known: dict[int, Recovered] = {}

    @property
    def recoveries(self) -> int:
        return len(self._known)

    def on(self, tree: Tree) -> dict[str, Recovered]:
        """The sources that there are after a start, by name. Raises Violation."""
        disk = MemoryDisk(tree)
        found = {}
        for source in sources_after_start(disk, DATA):
            files = hash((source.name, tuple(disk.cache.walk(disk.inode(source.path)))))
            if files not in self._known:
                self._known[files] = self._reader.recover(disk, source)
            found[source.name] = self._known[files]
        return found
