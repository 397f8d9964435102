"""Hypothesis drives sources on real files through calls, faults, crashes and power cuts, against `source_model`."""

import shutil
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from segments import compaction, keys, merge, source_log
from segments.alteration import alter
from segments.compaction import compact
from segments.datafile import parse_datafile
from segments.decode import Counts, decode
from segments.disk import remove_tree
from segments.errors import KeyReused, SchemaChanged
from segments.filenames import Lsn
from segments.group import Committed, Outcome, Write
from segments.keys import Key
from segments.lines import parse_body
from segments.merge import merge_next
from segments.recovery import rename_source, unname_source
from segments.replaying import Replayed, replay
from segments.truncation import replace_rows, truncate
from tests.faults.source_model import KEYS_MAX, Event, Floors, Group, Model, Shape, look
from tests.faults.source_store import Fault, ModelledSources
from tests.faults.volatile_disk import NOTHING_KEPT

NAMES = ("one", "two")
SPARE_NAMES = ("three", "four")


@dataclass(frozen=True)
class Request:
    kinds: tuple[int | str, ...]
    scope: str
    key: str | None
    again: bool
    form: str


cuts = st.one_of(st.none(), st.just(NOTHING_KEPT), st.integers(1, 1000))
kinds = st.sampled_from(["fail once", "die", "look"])
operations = st.one_of(st.integers(1, 6), st.integers(1, 6), st.integers(1, 40))
faults = st.one_of(st.none(), st.none(), st.builds(Fault, kinds, operations, cuts))
requests = st.builds(
    Request,
    st.lists(st.sampled_from([16, 16, 16, 32, 64, "never", "junk"]), max_size=4).map(
        # A body without any object is refused before it gets here.
        lambda kinds: (16, *kinds) if kinds and set(kinds) == {"junk"} else tuple(kinds)
    ),
    st.sampled_from(["t1", "t2"]),
    st.sampled_from([None, None, "a", "b", "c", "d"]),
    st.booleans(),
    st.sampled_from(["events", "events", "decoded", "stale"]),
)
groups = st.lists(requests, min_size=1, max_size=4)
places = st.integers(0, 3)


class SourceMachine(RuleBasedStateMachine):
    """Two sources that live through anything. Every step may meet a fault; after every step all must be as the model says."""

    tally: ClassVar[Counter[str]] = Counter()

    @initialize()
    def start(self) -> None:
        self.path = Path(mkdtemp(prefix="siltstone-model-"))
        self.store = ModelledSources(self.path, self.tally)
        self.number = 0
        self.tally["runs"] += 1
        for name in NAMES:
            self.store.create(name, None)

    def teardown(self) -> None:
        if hasattr(self, "path"):
            shutil.rmtree(self.path)

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        if hasattr(self, "store"):
            self.store.check()

    def pick(self, place: int) -> tuple[str, Model]:
        models = self.store.models
        return sorted(models.items())[place % len(models)]

    # Steps

    @rule(name=st.sampled_from(NAMES), fault=faults)
    def create(self, name: str, fault: Fault | None) -> None:
        if len(self.store.models) < len(NAMES) and name not in self.store.models:
            self.store.create(name, fault)

    @rule(place=places, group=groups, durably=st.booleans(), fault=faults)
    def commit(self, place: int, group: list[Request], durably: bool, fault: Fault | None) -> None:
        name, model = self.pick(place)
        writes, expected, coming = self.prepare(model, group)
        done = self.store.attempt(
            name, lambda: model.log.commit(writes, self.store.now, durably=durably), fault, coming
        )
        if done is not None:
            self.compare(done, expected)
            self.tally["repeats"] += sum(getattr(one, "is_repeat", False) for one in done)
            assert not durably or model.durable == len(model.groups)

    def prepare(self, model: Model, group: list[Request]) -> tuple[list[Write], list[object], list[Group]]:
        """The requests as the log takes them, what it must answer, and what comes in by them."""
        at_s = int(self.store.now.timestamp())
        window = model.now.key_window(at_s)
        first = lsn = model.now.last + 1
        writes: list[Write] = []
        expected: list[object] = []
        events: list[Event] = []
        new_keys: list[Key] = []
        for request in group:
            sent = self.events(model, request)
            key, name = None, (request.scope, request.key or "")
            if request.key is not None:
                body = b"\n".join(event.raw for event in sent)
                key = Key(*name, sha256(body).hexdigest(), at_s)
                model.sent[name] = sent
            writes.append(self.write(model, request, sent, key))
            known = self.known(model, window, key) if key is not None else None
            # However old the clock makes it, a key of this very group is known.
            known = next((one for one in new_keys if (one.scope, one.key) == name and key is not None), known)
            decoded = writes[-1].body
            if known is not None and key is not None:
                same = known.fingerprint == key.fingerprint
                answer = Committed(Counts(known.successful, known.quarantined), Lsn(known.last_lsn), is_repeat=True)
                expected.append(answer if same else KeyReused)
            elif request.form == "stale" and decoded.good.schema != model.log.schema.arrow:  # type: ignore[union-attr]
                expected.append(SchemaChanged)
            else:
                good = sum(event.fits(model.shape) for event in sent)
                lsn += len(sent)
                expected.append(Committed(Counts(good, len(sent) - good), Lsn(lsn - 1 if sent else 0)))
                events += sent
                if key is not None and sent:
                    window.pop(name, None)
                    window[name] = replace(key, successful=good, quarantined=len(sent) - good, last_lsn=lsn - 1)
                    new_keys.append(window[name])
        coming = [Group(first, tuple(events), model.shape, tuple(new_keys))] if events else []
        return writes, expected, coming

    def known(self, model: Model, window: OrderedDict[tuple[str, str], Key], key: Key) -> Key | None:
        """What must be remembered of the key. Beyond KEYS_MAX, or once the clock has been a day ahead of it, it may be forgotten."""
        name = (key.scope, key.key)
        may_be_gone = window.get(name) in model.once_old or name in list(window)[:-KEYS_MAX]
        if may_be_gone and name not in model.log.keys:
            return None
        return window.get(name)

    def events(self, model: Model, request: Request) -> tuple[Event, ...]:
        if request.again and request.key is not None and (request.scope, request.key) in model.sent:
            return model.sent[request.scope, request.key]
        numbers = range(self.number + 1, self.number + 1 + len(request.kinds))
        self.number += len(request.kinds)
        return tuple(map(Event, numbers, request.kinds))

    def write(self, model: Model, request: Request, sent: tuple[Event, ...], key: Key | None) -> Write:
        events = parse_body(b"\n".join(event.raw for event in sent))
        if request.form == "events":
            return Write(events, key)
        shape = Shape() if request.form == "stale" else model.shape
        return Write(decode(shape.schema, events, self.store.now.replace(tzinfo=None)), key)

    def compare(self, done: Sequence[Outcome], expected: list[object]) -> None:
        assert len(done) == len(expected)
        for one, answer in zip(done, expected, strict=True):
            if isinstance(answer, Committed):
                assert (one, getattr(one, "is_repeat", None)) == (answer, answer.is_repeat), (done, expected)
            else:
                assert type(one) is answer, (done, expected)

    @rule(place=places, fault=faults)
    def sync(self, place: int, fault: Fault | None) -> None:
        name, model = self.pick(place)
        self.store.attempt(name, model.log.sync, fault)

    @rule(place=places, fault=faults)
    def mark(self, place: int, fault: Fault | None) -> None:
        name, model = self.pick(place)
        if model.log.is_synced:
            self.store.attempt(name, model.log.mark, fault)

    @rule(place=places, fault=faults, meanwhile=st.one_of(st.none(), groups))
    def compact(self, place: int, fault: Fault | None, meanwhile: list[Request] | None) -> None:
        """As the daemon does it: the actor seals, and goes on writing while a child moves what is sealed."""
        name, model = self.pick(place)
        self.store.attempt(name, model.log.seal, None)
        through = model.log.sealed_lsn
        if meanwhile is not None:
            self.commit(place, meanwhile, durably=False, fault=None)
        source = self.store.source(name)
        done = self.store.attempt(
            name, lambda: compact(self.store.disk, source, through=through, now=self.store.now), fault
        )
        if done is not None:
            assert done.published == through
            model.log.published = done.published

    @rule(place=places, fault=faults, before=st.lists(groups, max_size=2))
    def merge(self, place: int, fault: Fault | None, before: list[list[Request]]) -> None:
        """When the day is over, with some more segments of it. Nobody can tell that it happened."""
        for group in before:
            self.commit(place, group, durably=True, fault=None)
            self.compact(place, fault=None, meanwhile=None)
        name, _ = self.pick(place)
        source, now = self.store.source(name), self.store.now + timedelta(days=1)
        merged = self.store.attempt(name, lambda: merge_next(self.store.disk, source, now=now), fault)
        self.tally["merges"] += merged is not None

    @rule(place=places, kind=st.sampled_from(["rows", "quarantine"]), fault=faults)
    def truncate(self, place: int, kind: Any, fault: Fault | None) -> None:
        name, model = self.pick(place)
        last = model.now.last

        def taken(floors: Floors) -> Floors:
            return replace(floors, rows=last if kind == "rows" else floors.rows, quarantine=last)

        self.store.attempt(
            name, lambda: truncate(self.store.disk, model.log, kind, self.store.now), fault, floors=taken
        )

    @rule(place=places, group=groups, fault=faults)
    def replace(self, place: int, group: list[Request], fault: Fault | None) -> None:
        name, model = self.pick(place)
        writes, expected, coming = self.prepare(model, [replace(request, key=None) for request in group])
        last = model.now.last

        def taken(floors: Floors) -> Floors:
            return replace(floors, rows=last, needs=coming[0].last)

        has_good = any(event.fits(model.shape) for group in coming for event in group.events)
        change = taken if has_good else None
        done = self.store.attempt(
            name, lambda: replace_rows(self.store.disk, model.log, writes, self.store.now), fault, coming, change
        )
        if done is not None:
            self.compare(done, expected)

    @rule(place=places, bits=st.sampled_from([16, 32, 64]), added=st.integers(0, 2), fault=faults)
    def alter(self, place: int, bits: int, added: int, fault: Fault | None) -> None:
        name, model = self.pick(place)
        shape = Shape(max(bits, model.shape.bits), max(added, model.shape.added))
        self.store.attempt(
            name,
            lambda: alter(self.store.disk, model.log, parse_datafile(shape.text), self.store.now),
            fault,
            shape=shape,
        )

    @rule(place=places, fault=faults)
    def replay(self, place: int, fault: Fault | None) -> None:
        name, model = self.pick(place)
        waiting = {lsn: event for lsn, event in model.now.quarantined.items() if event.kind != "junk"}
        fitting = [(lsn, event) for lsn, event in sorted(waiting.items()) if event.fits(model.shape)]
        staying = len(model.now.quarantined) - len(fitting)
        first = model.now.last + 1
        coming = [
            Group(number, (event,), model.shape, replays=frozenset({lsn}))
            for number, (lsn, event) in enumerate(fitting, first)
        ]
        done = self.store.attempt(name, lambda: replay(self.store.disk, model.log, None, self.store.now), fault, coming)
        assert done in (None, Replayed(len(fitting), staying))

    @rule(place=places, new=st.sampled_from(SPARE_NAMES + NAMES), fault=faults)
    def rename(self, place: int, new: str, fault: Fault | None) -> None:
        name, model = self.pick(place)
        if new in self.store.models:
            return
        self.store.attempt(name, model.log.seal, None)

        def work() -> None:
            rename_source(self.store.disk, self.store.data, self.store.source(name), new)

        self.store.change_name(name, new, work, fault)

    @rule(place=places, fault=faults)
    def drop(self, place: int, fault: Fault | None) -> None:
        name, model = self.pick(place)
        if len(self.store.models) == 1:
            return
        self.store.attempt(name, model.log.seal, None)

        def work() -> None:
            remove_tree(self.store.disk, unname_source(self.store.disk, self.store.data, self.store.source(name)))

        self.store.change_name(name, None, work, fault)

    @rule(place=places)
    def read(self, place: int) -> None:
        """What a reader was shown no power cut takes back, unless a failed sync did before."""
        name, model = self.pick(place)
        view = look(self.store.disk, self.store.source(name))
        assert view in [world.view for world in model.worlds()]
        model.shown = len(model.groups)

    @rule(hours=st.sampled_from([-25, -1, 0.001, 1, 13, 25]))
    def wait(self, hours: float) -> None:
        self.store.now += timedelta(hours=hours)
        for model in self.store.models.values():
            model.note_time(int(self.store.now.timestamp()))

    @rule(cut=cuts, fault=faults)
    def restart(self, cut: int | None, fault: Fault | None = None) -> None:
        self.store.crash(cut, fault=fault)


@contextmanager
def small_limits() -> Iterator[None]:
    """Limits that short runs reach."""
    before = keys.KEYS_MAX, source_log.SEAL_BYTES, compaction.RUN_BYTES_MAX, merge.ARROW_BYTES_MAX
    keys.KEYS_MAX, source_log.SEAL_BYTES, compaction.RUN_BYTES_MAX, merge.ARROW_BYTES_MAX = KEYS_MAX, 6000, 12000, 4000
    try:
        yield
    finally:
        keys.KEYS_MAX, source_log.SEAL_BYTES, compaction.RUN_BYTES_MAX, merge.ARROW_BYTES_MAX = before


def run(*, runs: int, steps: int = 40, with_seed: int | None = None) -> Counter[str]:
    """What was done. Raises what the first broken promise raises, and prints the shortest way to it."""

    class Machine(SourceMachine):
        tally: ClassVar[Counter[str]] = Counter()

    if with_seed is not None:
        seed(with_seed)(Machine)
    chosen = settings(
        max_examples=runs,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    with small_limits():
        run_state_machine_as_test(Machine, settings=chosen)
    return Machine.tally
