"""Sources on a disk that fails and forgets, each beside the model of it; every way to do something to them goes through here."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from segments.errors import Unreadable, WriteFailed
from segments.filenames import DataDir, SourceDir
from segments.recovery import create_source, recover, remove_unborn
from segments.source_log import SourceLog
from segments.verify import verify_source
from tests.faults.faulty_disk import Died
from tests.faults.source_model import KEYS_MAX, Floors, Group, Model, Peek, Shape, View, World, look
from tests.faults.volatile_disk import BrittleDisk
from tests.stored import NOW

PEEK = Peek()
T = TypeVar("T")


@dataclass(frozen=True)
class Fault:
    """What happens at operation `at` of a step; after a death the power is cut too, unless `cut` is None."""

    kind: str
    at: int
    cut: int | None


class ModelledSources:
    """`models` has the sources that there must be. Broken promises raise AssertionError, or what the product raised."""

    def __init__(self, path: Path, tally: Counter[str]) -> None:
        self.tally = tally
        (path / "attic").mkdir()
        self.data = DataDir(path / "data")
        self.data.path.mkdir()
        self.disk = BrittleDisk(path / "attic")
        self.disk.mkdir(self.data.sources)
        self.disk.sync_dir(self.data.path)
        self.now = NOW
        self.models: dict[str, Model] = {}

    def source(self, name: str) -> SourceDir:
        return self.data.source(name)

    def create(self, name: str, fault: Fault | None) -> None:
        """When it fails, a start and another try must make the source."""
        make = partial(
            create_source, self.disk, self.data, name, Shape().text, source_id=name.encode().ljust(16), now=self.now
        )
        self.arm(fault)
        try:
            make()
        except (Died, OSError, Unreadable):
            self.crash(fault.cut if fault else None)
            make()
        self.disk.disarm()
        self.models[name] = Model(recover(self.disk, self.source(name), now=self.now).log)

    def attempt(
        self,
        name: str,
        work: Callable[[], T],
        fault: Fault | None,
        coming: Sequence[Group] = (),
        floors: Callable[[Floors], Floors] | None = None,
        shape: Shape | None = None,
    ) -> T | None:
        """Do one step, with what may happen in it. What `work` gives back; None when it failed."""
        model = self.models[name]
        seen: list[View] = []
        before = [world.view for world in model.worlds()]
        self.arm(fault, lambda: seen.append(look(PEEK, self.source(name))))
        result = None
        try:
            result = work()
        except Died:
            self.tally["deaths"] += 1
            model.doubt(floors, shape)
            model.coming = tuple(coming)
            self.crash(fault.cut if fault else None)
        except (WriteFailed, OSError) as error:
            if "injected" not in str(error):
                raise
            self.tally["failures"] += 1
            self.disk.disarm()
            model.failed(coming, floors, shape)
            model.saw(look(PEEK, self.source(name)))
        else:
            self.disk.disarm()
            if seen:
                meanwhile = replace(model, coming=tuple(coming), floors=list(model.floors), shapes=list(model.shapes))
                meanwhile.doubt(floors, shape)
                before += [world.view for world in meanwhile.worlds()]
            model.done(coming, floors, shape)
        self.tally["steps"] += 1
        self.tally["looks"] += len(seen)
        for view in seen:
            assert view in before, "a reader at that moment saw what never was"
        return result

    def arm(self, fault: Fault | None, reader: Callable[[], None] | None = None) -> None:
        if fault is not None:
            self.disk.arm(fault.kind, fault.at, reader if fault.kind == "look" else None)

    def crash(self, cut: int | None, fault: Fault | None = None) -> None:
        """The process is gone, with or without the machine's power, and started again; in the start a fault may wait."""
        self.stop(cut)
        self.begin(fault, was_cut=cut is not None)

    def stop(self, cut: int | None) -> None:
        self.disk.disarm()
        self.disk.die()
        if cut is not None:
            self.disk.cut(self.data.path, cut)
        self.tally["restarts" if cut is None else "power cuts"] += 1

    def begin(self, fault: Fault | None = None, *, was_cut: bool) -> None:
        self.arm(fault)
        try:
            logs = self.recovered()
        except (Died, OSError, Unreadable):
            assert fault is not None
            self.stop(fault.cut)
            was_cut = was_cut or fault.cut is not None
            logs = self.recovered()
        self.disk.disarm()
        for name, model in self.models.items():
            model.log = logs[name]
            self.settle(name, model, list(model.worlds(cut=was_cut)))

    def recovered(self) -> dict[str, SourceLog]:
        remove_unborn(self.disk, self.data)
        names = self.disk.listdir(self.data.sources)
        return {name: recover(self.disk, self.source(name), now=self.now).log for name in names}

    def settle(self, name: str, model: Model, worlds: list[World]) -> None:
        """What a start has found is one of the worlds that may be."""
        source = self.source(name)
        assert not model.log.damage, [str(damage) for damage in model.log.damage]
        view = look(PEEK, source)
        found = next((w for w in worlds if w.last == model.log.appended_lsn and w.view == view), None)
        assert found is not None, f"{name}: found {view} up to {model.log.appended_lsn}; may be {worlds}"
        model.settle(found)
        assert model.log.durable_lsn == found.last
        assert verify_source(PEEK, source).problems == ()

    def check(self) -> None:
        """All is as the models say."""
        for name, model in self.models.items():
            view = look(PEEK, self.source(name))
            worlds = model.worlds()
            assert any(world.view == view for world in worlds if world.shape == model.shape), (name, view)
            assert len(model.log.keys) <= KEYS_MAX or not model.log.is_synced

    def change_name(self, name: str, new: str | None, work: Callable[[], None], fault: Fault | None) -> None:
        """After a failure the daemon knows no more than the directory, so that it starts again."""
        self.arm(fault)
        failed = False
        try:
            work()
        except (Died, OSError, Unreadable):
            failed = True
        cut = fault.cut if fault is not None and failed else None
        self.stop(cut)
        model = self.models.pop(name)
        there = [one for one in (name, new) if one is not None and self.source(one).path.exists()]
        assert len(there) <= 1
        assert failed or there == ([] if new is None else [new])
        assert there or new is None, "neither name is there"
        for one in there:
            self.models[one] = model
        self.begin(was_cut=cut is not None)
