"""Sources whose commits begin together share a job: what they share, and that nothing else of one concerns another."""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from daemon.inbox import ActorFailed, Ticket
from daemon.ingest import PREPARED_HERE_BYTES_MAX, Ingest
from daemon.writer_threads import JOB_COMMITS_MAX, WriterThreads
from segments.direct import Data
from segments.group import Committed, Write
from segments.lines import parse_body
from tests.faults.faulty_disk import FaultyDisk
from tests.stored import Stored, body


class Noted(FaultyDisk):
    """Says in a list that it shares with others what was done, and to whom. A sync waits while its gate is shut."""

    def __init__(self, source: int, notes: list[tuple[str, int]]) -> None:
        super().__init__()
        self.open = threading.Event()
        self.open.set()
        self._source = source
        self._notes = notes

    def fail_at(self, operation: int) -> None:
        """The n-th from now on."""
        self._at = len(self.operations) + operation

    def pwrite(self, descriptor: int, data: Data, offset: int) -> None:
        self._notes.append(("pwrite", self._source))
        super().pwrite(descriptor, data, offset)

    def sync(self, descriptor: int) -> None:
        self._notes.append(("sync", self._source))
        assert self.open.wait(60)
        super().sync(descriptor)


@dataclass
class Round:
    """Running actors of so many sources, on one set of threads, each with a row already, so that its file is there."""

    stored: list[Stored]
    notes: list[tuple[str, int]] = field(default_factory=list)
    threads: WriterThreads = field(default_factory=WriterThreads)
    disks: list[Noted] = field(default_factory=list)
    actors: list[Ingest] = field(default_factory=list)
    tickets: list[Ticket] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    def open(self) -> None:
        for number, stored in enumerate(self.stored):
            disk = Noted(number, self.notes)
            stored.disk = disk
            self.disks.append(disk)
            self.actors.append(Ingest(stored.open(), self.threads, sync_interval_s=60, idle_after_s=600))

    async def supervise(self, actor: Ingest) -> None:
        try:
            await actor.run()
        except Exception as error:  # noqa: BLE001 -- judged by the test
            self.failures.append(error)

    async def first_rows(self) -> None:
        for actor in self.actors:
            assert isinstance(await actor.submit(Write(parse_body(body(0))), size_bytes=10, durably=True), Committed)
        self.notes.clear()

    def send(self, number: int, *, size_bytes: int = 10) -> None:
        """A row for each source; their commits begin together."""
        with self.threads.together:
            for actor in self.actors:
                write = Write(parse_body(body(number)))
                ticket = actor.enqueue(write, size_bytes=size_bytes, durably=True, tell=lambda _: None)
                self.tickets.append(ticket)
                actor.begin()

    async def outcomes(self) -> list[object]:
        """Of all that was sent since the last time."""
        await until(lambda: all(ticket.outcome is not None for ticket in self.tickets))
        outcomes = [ticket.outcome for ticket in self.tickets]
        self.tickets.clear()
        return list(outcomes)

    def committed(self, outcomes: list[object]) -> list[bool]:
        return [isinstance(outcome, Committed) for outcome in outcomes]


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not condition():
            await trio.lowlevel.checkpoint()


@asynccontextmanager
async def running(path: Path, sources: int) -> AsyncIterator[Round]:
    together = Round([Stored(path / str(number)).create() for number in range(sources)])
    together.open()
    try:
        async with trio.open_nursery() as nursery:
            for actor in together.actors:
                nursery.start_soon(together.supervise, actor)
            await together.first_rows()
            yield together
            for actor in together.actors:
                actor.close()
    finally:
        # A thread that waits for a gate would outlive the test.
        for disk in together.disks:
            disk.open.set()


async def test_all_write_before_any_syncs_and_each_gets_its_own_outcome(tmp_path):
    async with running(tmp_path, JOB_COMMITS_MAX) as together:
        together.send(1)
        outcomes = await together.outcomes()
        notes = list(together.notes)

    assert all(isinstance(one, Committed) and one.last_lsn == 2 for one in outcomes)
    assert [operation for operation, _ in notes] == ["pwrite"] * JOB_COMMITS_MAX + ["sync"] * JOB_COMMITS_MAX
    assert {source for _, source in notes} == set(range(JOB_COMMITS_MAX))
    assert [stored.ids() for stored in together.stored] == [[0, 1]] * JOB_COMMITS_MAX


@pytest.mark.parametrize("operation", [1, 2], ids=["write", "sync"])
async def test_what_fails_for_one_source_is_answered_to_its_requests_only(tmp_path, operation):
    async with running(tmp_path, 4) as together:
        together.disks[1].fail_at(operation)
        together.send(1)
        assert together.committed(await together.outcomes()) == [True, False, True, True]
        together.send(2)
        assert together.committed(await together.outcomes()) == [True] * 4

    assert [stored.ids() for stored in together.stored] == [[0, 1, 2], [0, 2], [0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize("half", ["write", "sync"])
async def test_an_actor_that_breaks_in_a_job_takes_no_other_with_it(tmp_path, monkeypatch, half):
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    async with running(tmp_path, 3) as together:
        monkeypatch.setattr(together.actors[1].log, half, broken)
        together.send(1)
        outcomes = await together.outcomes()
        await together.actors[1].finished.wait()
        assert [actor.finished.is_set() for actor in together.actors] == [False, True, False]

    assert [type(outcome) for outcome in outcomes] == [Committed, ActorFailed, Committed]
    assert [type(failure) for failure in together.failures] == [ZeroDivisionError]
    assert [stored.ids() for stored in (together.stored[0], together.stored[2])] == [[0, 1]] * 2


@pytest.mark.parametrize("how", ["closed", "cancelled"])
async def test_a_job_under_way_is_waited_for_by_all_its_actors(tmp_path, how):
    outcomes: list[object] = []
    with trio.CancelScope() as scope:
        async with running(tmp_path, 3) as together:
            together.disks[0].open.clear()
            together.send(1)
            await until(lambda: ("sync", 0) in together.notes)
            for actor in together.actors:
                actor.close()
            if how == "cancelled":
                scope.cancel()
            with trio.CancelScope(shield=True):
                # Their turn to end, if they were to end without it.
                for _ in range(20):
                    await trio.lowlevel.checkpoint()
                assert not any(actor.finished.is_set() for actor in together.actors)
                together.disks[0].open.set()
                for actor in together.actors:
                    await actor.finished.wait()
                outcomes = await together.outcomes()

    assert together.committed(outcomes) == [True] * 3
    assert [stored.ids() for stored in together.stored] == [[0, 1]] * 3


async def test_a_device_that_takes_its_time_for_one_source_holds_up_no_more_than_a_job(tmp_path):
    sources = 3 * JOB_COMMITS_MAX
    async with running(tmp_path, sources) as together:
        together.disks[0].open.clear()
        together.send(1)
        await until(lambda: sum(ticket.outcome is not None for ticket in together.tickets) >= 2 * JOB_COMMITS_MAX)
        assert together.tickets[0].outcome is None
        together.disks[0].open.set()
        assert together.committed(await together.outcomes()) == [True] * sources


async def test_a_group_too_large_for_the_loop_has_a_job_of_its_own(tmp_path):
    async with running(tmp_path, 2) as together:
        large, small = together.actors
        together.disks[0].open.clear()
        write = Write(parse_body(body(1)))
        with together.threads.together:
            waits = large.enqueue(write, size_bytes=PREPARED_HERE_BYTES_MAX, durably=True, tell=lambda _: None)
            goes = small.enqueue(write, size_bytes=10, durably=True, tell=lambda _: None)
            large.begin()
            small.begin()
        await until(lambda: goes.outcome is not None)
        assert waits.outcome is None
        together.disks[0].open.set()
        await until(lambda: waits.outcome is not None)

    assert together.committed([waits.outcome, goes.outcome]) == [True, True]


async def test_work_on_the_log_of_one_source_holds_up_no_other(tmp_path):
    """They begin together, when the job before has landed."""
    done = threading.Event()

    def long_work(_: object) -> None:
        assert done.wait(60)

    async with running(tmp_path, 2) as together, trio.open_nursery() as nursery:
        together.disks[0].open.clear()
        together.send(1)
        await until(lambda: ("sync", 0) in together.notes)
        worked, other = together.actors
        nursery.start_soon(worked.perform, long_work)
        # It is in the inbox after its first turn.
        await trio.lowlevel.checkpoint()
        rows = other.enqueue(Write(parse_body(body(2))), size_bytes=10, durably=True, tell=lambda _: None)
        other.begin()
        together.disks[0].open.set()
        try:
            await until(lambda: rows.outcome is not None)
        finally:
            done.set()

    assert isinstance(rows.outcome, Committed)
