"""Commits that threads of machine code write and sync: what they share with those of Python's threads, and what fails alone."""

import ctypes
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import trio

from daemon.inbox import ActorFailed, Ticket
from daemon.ingest import Ingest
from daemon.writer_threads import WriterThreads, writer_threads
from segments.compiled.load import MachineCode, loaded
from segments.compiled.places import PLACES_MAX, Place
from segments.disk import Disk
from segments.errors import WriteFailed
from segments.group import Committed, Write
from segments.lines import parse_body
from tests.stored import Stored, body


class Slow:
    """Does what the machine code does, but waits at its gate first, and fails where it is told to."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.met = threading.Event()
        self.made = 0
        self._failures: dict[int, tuple[bool, int]] = {}
        self._turn = threading.Lock()

    def fail_at(self, number: int, *, is_written: bool, error: int) -> None:
        """The n-th from now on; its write, or, if `is_written`, its sync."""
        self._failures[self.made + number] = (is_written, error)

    def append(self, begun: int, ended: int, places: int, _: int) -> int:
        disk, memory = Disk(), (Place * PLACES_MAX).from_address(places)
        while number := os.read(begun, 1):
            place = memory[number[0]]
            with self._turn:
                self.made += 1
                is_written, error = self._failures.pop(self.made, (True, 0))
            self.met.set()
            assert self.gate.wait(60)
            if is_written:
                (data,) = (ctypes.c_void_p * 1).from_address(ctypes.addressof(place) + Place.data.offset)
                disk.pwrite(place.descriptor, ctypes.string_at(data or 0, place.size), place.offset)
            if place.wants_sync and not error:
                disk.sync(place.descriptor)
            place.is_written, place.errno = is_written, error
            os.write(ended, number)
        return 0


@dataclass
class Round:
    """Running actors of so many sources, whose files are there already."""

    stored: list[Stored]
    threads: WriterThreads
    slow: Slow
    actors: list[Ingest]
    tickets: list[Ticket] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    async def supervise(self, actor: Ingest) -> None:
        try:
            await actor.run()
        except Exception as error:  # noqa: BLE001 -- judged by the test
            self.failures.append(error)

    def send(self, number: int, *, durably: bool = True) -> None:
        """A row for each source; their commits begin together."""
        with self.threads.together:
            for actor in self.actors:
                write = Write(parse_body(body(number)))
                self.tickets.append(actor.enqueue(write, size_bytes=10, durably=durably, tell=lambda _: None))
                actor.begin()

    async def outcomes(self) -> list[type]:
        """Of all that was sent since the last time."""
        await until(lambda: all(ticket.outcome is not None for ticket in self.tickets))
        outcomes = [type(ticket.outcome) for ticket in self.tickets]
        self.tickets.clear()
        return outcomes


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not condition():
            await trio.lowlevel.checkpoint()


@asynccontextmanager
async def running(path: Path, sources: int, *, code: MachineCode | None = None) -> AsyncIterator[Round]:
    stored = [Stored(path / str(number)).create() for number in range(sources)]
    slow = Slow()
    async with writer_threads() as threads, trio.open_nursery() as nursery:
        actors = [Ingest(one.open(), threads, sync_interval_s=60, idle_after_s=600) for one in stored]
        made = Round(stored, threads, slow, actors)
        for actor in actors:
            nursery.start_soon(made.supervise, actor)
        made.send(0)
        assert await made.outcomes() == [Committed] * sources
        threads.use(code or replace(loaded(), append=slow.append))
        try:
            yield made
        finally:
            slow.gate.set()
            for actor in actors:
                actor.close()


async def test_rows_are_stored_and_numbered_as_by_others(tmp_path):
    async with running(tmp_path, 40, code=loaded()) as together:
        for number in range(1, 21):
            together.send(number, durably=number % 3 > 0)
            together.send(-number)
            assert await together.outcomes() == [Committed] * 80

    for stored in together.stored:
        assert stored.ids() == list(range(21))
    assert [actor.log.durable_lsn for actor in together.actors] == [41] * 40


async def test_a_commit_that_is_one_write_and_one_sync_goes_there_and_no_other(tmp_path):
    async with running(tmp_path, 3) as together:
        together.send(1)
        await together.outcomes()
        assert together.slow.made == 3
        together.send(2, durably=False)
        await together.outcomes()
        assert together.slow.made == 6
        for actor in together.actors:
            await actor.seal()
        together.send(3)  # begins a file
        await together.outcomes()
        assert together.slow.made == 6


@pytest.mark.parametrize(("is_written", "error"), [(False, errno.ENOSPC), (True, errno.EIO)], ids=["a write", "a sync"])
async def test_what_fails_for_one_source_is_answered_to_its_requests_only(tmp_path, is_written, error):
    async with running(tmp_path, 3) as together:
        together.slow.fail_at(2, is_written=is_written, error=error)
        together.send(1)
        outcomes = await together.outcomes()
        assert sorted(kind.__name__ for kind in outcomes) == ["Committed", "Committed", "WriteFailed"]
        failed = outcomes.index(WriteFailed)
        assert together.actors[failed].log.epoch == 2
        together.send(2)
        assert await together.outcomes() == [Committed] * 3

    for number, stored in enumerate(together.stored):
        assert stored.ids() == ([0, 2] if number == failed else [0, 1, 2])


@pytest.mark.parametrize("is_written", [False, True], ids=["a write", "a sync"])
async def test_rows_answered_before_they_were_durable_are_saved_where_a_write_fails(tmp_path, is_written):
    """A failed sync takes them along, and nobody may ask for another."""
    async with running(tmp_path, 1) as together:
        together.send(1, durably=False)
        assert await together.outcomes() == [Committed]
        together.slow.fail_at(1, is_written=is_written, error=errno.EIO)
        together.send(2)
        assert await together.outcomes() == [WriteFailed]
        together.send(3)
        assert await together.outcomes() == [Committed]

    assert together.stored[0].ids() == ([0, 3] if is_written else [0, 1, 3])


async def test_an_actor_that_breaks_takes_no_other_with_it(tmp_path, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    async with running(tmp_path, 3) as together:
        monkeypatch.setattr(together.actors[1].log, "end", broken)
        together.send(1)
        outcomes = await together.outcomes()
        await together.actors[1].finished.wait()
        assert [actor.finished.is_set() for actor in together.actors] == [False, True, False]

    assert outcomes == [Committed, ActorFailed, Committed]
    assert [type(failure) for failure in together.failures] == [ZeroDivisionError]


@pytest.mark.parametrize("by", ["machine code", "others"])
def test_a_mistake_where_commits_land_ends_the_daemon_and_the_others_land_before(tmp_path, by):
    tickets: list[Ticket] = []

    def broken(_: object) -> None:
        raise ZeroDivisionError

    async def scenario() -> None:
        async with running(tmp_path, 3) as together:
            if by == "others":
                together.threads._appends = None
            with together.threads.together:
                for actor in together.actors:
                    write = Write(parse_body(body(1)))
                    tickets.append(actor.enqueue(write, size_bytes=10, durably=True, tell=broken))
                    actor.begin()
            await trio.sleep_forever()

    with pytest.raises(trio.TrioInternalError):
        trio.run(scenario)
    assert [type(ticket.outcome) for ticket in tickets] == [Committed] * 3


def test_a_mistake_where_they_are_taken_up_ends_the_daemon_and_leaves_no_actor_waiting(tmp_path, monkeypatch):
    tickets: list[Ticket] = []

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async def scenario() -> None:
        with trio.fail_after(60):
            async with running(tmp_path, 3) as together:
                monkeypatch.setattr(WriterThreads, "_land", broken)
                together.send(1)
                tickets.extend(together.tickets)
                await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as raised:
        trio.run(scenario)
    assert raised.value.subgroup(ZeroDivisionError)
    assert not raised.value.subgroup(trio.TooSlowError)
    assert [type(ticket.outcome) for ticket in tickets] == [ActorFailed] * 3


@pytest.mark.parametrize("how", ["closed", "cancelled"])
async def test_what_is_under_way_is_waited_for(tmp_path, how):
    outcomes: list[type] = []
    with trio.CancelScope() as scope:
        async with running(tmp_path, 3) as together:
            together.slow.gate.clear()
            together.send(1)
            await trio.to_thread.run_sync(together.slow.met.wait)
            for actor in together.actors:
                actor.close()
            if how == "cancelled":
                scope.cancel()
            with trio.CancelScope(shield=True):
                # Their turn to end, if they were to end without it.
                for _ in range(20):
                    await trio.lowlevel.checkpoint()
                assert not any(actor.finished.is_set() for actor in together.actors)
                together.slow.gate.set()
                for actor in together.actors:
                    await actor.finished.wait()
                outcomes = await together.outcomes()

    assert outcomes == [Committed] * 3
    assert [stored.ids() for stored in together.stored] == [[0, 1]] * 3


async def test_more_commits_than_there_are_places_all_land(tmp_path, monkeypatch):
    async with running(tmp_path, 4) as together:
        appends = together.threads._appends
        assert appends is not None
        del appends._free[2:]
        together.send(1)
        assert await together.outcomes() == [Committed] * 4
        assert together.slow.made == 2

    assert [stored.ids() for stored in together.stored] == [[0, 1]] * 4
