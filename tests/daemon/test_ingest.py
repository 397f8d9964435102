"""The actor: groups, chores, sealing, and going away."""

import threading
from functools import partial

import pytest
import trio
import trio.testing

from daemon import ingest
from daemon.inbox import ActorClosing, ActorFailed, InboxFull
from daemon.ingest import MARK_AFTER_S, Ingest
from daemon.writer_threads import WriterThreads
from segments.decode import Counts
from segments.filenames import WalName
from segments.group import Committed, Write
from segments.lines import parse_body
from segments.wal_reader import read_file
from tests.faults.faulty_disk import FaultyDisk
from tests.stored import Stored, body


@pytest.fixture
def stored(tmp_path):
    return Stored(tmp_path).create()


def write(*ids: int) -> Write:
    return Write(parse_body(body(*ids)))


async def test_what_collects_while_a_group_is_written_is_the_next_group(stored):
    """One sync answers all of it."""
    disk = stored.disk = FaultyDisk()
    actor = Ingest(stored.open(), WriterThreads(), sync_interval_s=60, idle_after_s=600)
    outcomes: list[object] = []

    async def submit(number: int) -> None:
        outcomes.append(await actor.submit(write(number, -number), size_bytes=10, durably=True))

    async with trio.open_nursery() as nursery:
        for number in range(1, 101):
            nursery.start_soon(submit, number)
        await trio.testing.wait_all_tasks_blocked()
        disk.operations.clear()
        nursery.start_soon(actor.run)
        while len(outcomes) < 100:
            await trio.testing.wait_all_tasks_blocked()
        actor.close()

    assert all(isinstance(one, Committed) and one.counts == Counts(1, 1) for one in outcomes)
    assert disk.operations.count("pwrite") == 2  # the file's header, and one frame
    assert stored.ids() == list(range(1, 101))


async def test_sealing_twice_at_once_seals_once_and_the_actor_lives_on(stored):
    actor = Ingest(stored.open(), WriterThreads(), sync_interval_s=60, idle_after_s=600)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(actor.run)
        await actor.submit(write(1), size_bytes=10, durably=True)
        assert actor.log.sealed_lsn == 0
        async with trio.open_nursery() as sealers:
            sealers.start_soon(actor.seal)
            sealers.start_soon(actor.seal)
        assert actor.log.sealed_lsn == 1
        assert isinstance(await actor.submit(write(2), size_bytes=10, durably=True), Committed)
        actor.close()


async def test_closing_commits_what_is_queued_and_refuses_what_comes_later(stored):
    actor = Ingest(stored.open(), WriterThreads(), sync_interval_s=60, idle_after_s=600)
    outcomes: list[object] = []

    async def submit(number: int) -> None:
        outcomes.append(await actor.submit(write(number), size_bytes=10, durably=False))

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(submit, number)
        await trio.testing.wait_all_tasks_blocked()
        actor.close()
        with pytest.raises(ActorClosing):
            await actor.submit(write(99), size_bytes=10, durably=True)
        nursery.start_soon(actor.run)

    assert len(outcomes) == 50
    assert all(isinstance(one, Committed) for one in outcomes)
    assert actor.log.is_synced
    assert stored.ids() == list(range(50))


async def test_rows_without_a_waiting_sender_are_synced_by_themselves(stored):
    actor = Ingest(stored.open(), WriterThreads(), sync_interval_s=0.01, idle_after_s=600)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(actor.run)
        await actor.submit(write(1), size_bytes=10, durably=False)
        with trio.fail_after(30):
            while not actor.log.is_synced:
                await trio.lowlevel.checkpoint()
        actor.close()


async def test_an_idle_actor_goes_only_when_all_its_rows_are_in_segments(stored):
    actor = Ingest(stored.open(), WriterThreads(), sync_interval_s=0.01, idle_after_s=0.01)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(actor.run)
            await actor.submit(write(1), size_bytes=10, durably=True)
            await actor.seal()
            assert isinstance(await actor.submit(write(2), size_bytes=10, durably=True), Committed)
            await actor.seal()
            stored.compact(actor.log)

    with pytest.raises(ActorClosing):
        await actor.submit(write(3), size_bytes=10, durably=True)


async def test_a_failing_disk_fails_the_group_and_not_the_actor(stored):
    log = stored.open()
    log._disk = FaultyDisk(1)
    actor = Ingest(log, WriterThreads(), sync_interval_s=60, idle_after_s=600)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(actor.run)
        refused = await actor.submit(write(1), size_bytes=10, durably=True)
        stays = await actor.submit(write(2), size_bytes=10, durably=True)
        actor.close()

    assert "could not be written" in str(refused)
    assert isinstance(stays, Committed)
    assert stored.ids() == [2]


async def test_requests_that_are_large_in_memory_are_not_written_as_one_piece(stored, monkeypatch):
    """A frame is written, checked and read back whole, so it is bounded, and so is what waits for the disk."""
    monkeypatch.setattr(ingest, "GROUP_BYTES_MAX", 10_000)
    monkeypatch.setattr(ingest, "INBOX_BYTES_MAX", 30_000)
    disk = stored.disk = FaultyDisk()
    actor = Ingest(stored.open(), WriterThreads(), sync_interval_s=60, idle_after_s=600)
    outcomes: list[object] = []

    async def submit(number: int) -> None:
        try:
            outcomes.append(await actor.submit(write(number), size_bytes=4000, durably=True))
        except InboxFull as refusal:
            outcomes.append(refusal)

    async with trio.open_nursery() as nursery:
        for number in range(9):
            nursery.start_soon(submit, number)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(actor.run)
        while len(outcomes) < 9:
            await trio.testing.wait_all_tasks_blocked()
        actor.close()

    assert sum(isinstance(one, Committed) for one in outcomes) == 6
    assert disk.operations.count("pwrite") == 1 + 6  # the header; one frame each, as no two fit together
    assert len(stored.ids()) == 6
    assert not actor.is_full


async def test_a_mark_waits_for_a_late_sync_and_comes(stored, monkeypatch):
    """Also when rows are synced less often than marks are written."""
    monkeypatch.setattr(ingest, "MARK_AFTER_S", 0.001)
    actor = Ingest(stored.open(), WriterThreads(), sync_interval_s=0.05, idle_after_s=600)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(actor.run)
        await actor.submit(write(1), size_bytes=10, durably=False)
        with trio.fail_after(30):
            while not (frames := [f for file in stored.snapshot().wal for f in file.frames]) or actor._mark_at:
                await trio.lowlevel.checkpoint()
        actor.close()

    assert len(frames) == 1
    (path,) = stored.source.wal.iterdir()
    name = WalName.parse(path.name)
    assert name is not None
    assert read_file(path, name, memoryview(path.read_bytes())).frames[-1].durable_lsn == 1


async def test_an_actor_that_breaks_says_that_nothing_is_known_and_leaves_no_file_open(stored, monkeypatch):
    log = stored.open()
    actor = Ingest(log, WriterThreads(), sync_interval_s=60, idle_after_s=600)
    outcomes: list[object] = []

    async def submit() -> None:
        outcomes.append(await actor.submit(write(1), size_bytes=10, durably=True))

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(log, "sync", broken)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(submit)
        with pytest.raises(ZeroDivisionError):
            await actor.run()

    assert not log.has_active_file
    assert [type(one) for one in outcomes] == [ActorFailed]


async def test_a_chore_that_is_due_while_a_disk_takes_its_time_waits_for_it_and_does_not_spin(stored, mock_clock):
    disk = stored.disk = FaultyDisk()
    release, entered = threading.Event(), threading.Event()

    def slow(descriptor: int) -> None:
        entered.set()
        assert release.wait(60)

    actor = Ingest(stored.open(), WriterThreads(), sync_interval_s=60, idle_after_s=600)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(actor.run)
        await actor.submit(write(1), size_bytes=10, durably=True)
        object.__setattr__(disk, "sync", slow)
        nursery.start_soon(partial(actor.submit, write(2), size_bytes=10, durably=True))
        try:
            await trio.to_thread.run_sync(entered.wait)
            mock_clock.jump(MARK_AFTER_S + 1)
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            # It has had its turn, and is blocked until the disk is through.
            waits_for = actor._wake
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            assert actor._wake is waits_for
        finally:
            release.set()
        actor.close()
