"""Appends by machine code: the same bytes and the same failures as through `Disk`."""

import errno
import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from resource import RLIMIT_FSIZE, getrlimit, setrlimit
from signal import SIG_IGN, SIGINT, SIGTERM, SIGXFSZ, signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segments.append_threads import THREADS, AppendThreads
from segments.compiled.load import MachineCode, loaded
from segments.compiled.places import PLACES_MAX
from segments.disk import Disk
from segments.wal_append import Append, Appended


@cache
def code() -> MachineCode:
    return loaded()


@contextmanager
def running() -> Iterator[AppendThreads]:
    threads = AppendThreads(code())
    try:
        yield threads
    finally:
        threads.close()


@contextmanager
def opened(path: Path, flags: int = os.O_WRONLY) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CREAT)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def append(descriptor: int, data: bytes, offset: int = 0) -> Append:
    return Append(descriptor, offset, data, 0, 1)


def until_ended(threads: AppendThreads, count: int) -> dict[int, Appended]:
    ended: dict[int, Appended] = {}
    while len(ended) < count:
        assert select.select([threads.ended], [], [], 60)[0]
        ended.update(threads.take())
    return ended


def made(threads: AppendThreads, *appends: Append, durably: bool = True) -> list[Appended]:
    """What became of each."""
    numbers = [threads.put(one, durably=durably) for one in appends]
    threads.start()
    ended = until_ended(threads, len(numbers))
    return [ended[number] for number in numbers]


@given(pieces=st.lists(st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=100), st.booleans()), max_size=20))
def test_the_files_are_as_a_disk_would_have_them(tmp_path_factory, pieces):
    ours, theirs = (tmp_path_factory.mktemp("appends") / name for name in ("ours", "theirs"))
    with running() as threads, opened(ours) as one, opened(theirs) as other:
        for offset, data, durably in pieces:
            expected = append(other, data, offset).make(Disk(), durably=durably)
            assert made(threads, append(one, data, offset), durably=durably) == [expected]
            assert expected == Appended(is_written=True, is_synced=durably)

    assert ours.read_bytes() == theirs.read_bytes()


def test_very_many_at_a_time_all_find_their_place(tmp_path):
    with running() as threads, opened(tmp_path / "file") as descriptor:
        data = [bytes([number]) * 5000 for number in range(PLACES_MAX)]
        for _ in range(3):
            ended = made(threads, *(append(descriptor, one, 5000 * at) for at, one in enumerate(data)))
            assert ended == [Appended(is_written=True, is_synced=True)] * PLACES_MAX
            assert threads.has_room

    assert (tmp_path / "file").read_bytes() == b"".join(data)


def test_nothing_more_is_put_than_there_is_room_for(tmp_path):
    with running() as threads, opened(tmp_path / "file") as descriptor:
        for _ in range(PLACES_MAX):
            assert threads.has_room
            threads.put(append(descriptor, b"x"), durably=False)
        assert not threads.has_room
        threads.start()
        until_ended(threads, PLACES_MAX)


def test_the_bytes_stay_where_they_are_until_they_are_written(tmp_path):
    """Nobody but the threads knows of them meanwhile."""
    with running() as threads, opened(tmp_path / "file") as descriptor:
        for at in range(PLACES_MAX):
            threads.put(append(descriptor, bytes([at]) * 4000, 4000 * at), durably=False)
        litter = [bytes([at ^ 255]) * 4000 for at in range(PLACES_MAX)]
        threads.start()
        until_ended(threads, PLACES_MAX)

    assert len(litter) == PLACES_MAX
    assert (tmp_path / "file").read_bytes() == b"".join(bytes([at]) * 4000 for at in range(PLACES_MAX))


def test_a_write_that_fails_is_not_synced_and_others_are_not_concerned(tmp_path):
    with running() as threads, opened(tmp_path / "good") as good, opened(tmp_path / "bad", os.O_RDONLY) as bad:
        failed, done = made(threads, append(bad, b"lost"), append(good, b"kept"))

    assert (failed.is_written, failed.is_synced) == (False, False)
    assert failed.error is not None
    assert failed.error.errno == errno.EBADF
    assert done == Appended(is_written=True, is_synced=True)
    assert (tmp_path / "good").read_bytes() == b"kept"


def test_a_sync_that_fails_says_that_the_write_did_not():
    with running() as threads, opened(Path("/dev/null")) as descriptor:
        (ended,) = made(threads, append(descriptor, b"gone"))

    assert (ended.is_written, ended.is_synced) == (True, False)
    assert ended.error is not None
    assert ended.error.errno == errno.EINVAL


def test_a_short_write_is_continued_and_then_the_kernel_says_why_it_takes_no_more(tmp_path):
    before, handler = getrlimit(RLIMIT_FSIZE), signal(SIGXFSZ, SIG_IGN)
    with running() as threads, opened(tmp_path / "file") as descriptor:
        setrlimit(RLIMIT_FSIZE, (1000, before[1]))
        try:
            (ended,) = made(threads, append(descriptor, b"x" * 1500))
        finally:
            setrlimit(RLIMIT_FSIZE, before)
            signal(SIGXFSZ, handler)

    assert not ended.is_written
    assert ended.error is not None
    assert ended.error.errno == errno.EFBIG
    assert (tmp_path / "file").read_bytes() == b"x" * 1000


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("threads", [0, THREADS - 1])
def test_fewer_threads_than_it_takes_are_given_back(monkeypatch, threads):
    """They would be the last that the process can have."""
    left = iter(range(threads))
    start = threading.Thread.start

    def start_if_any(thread: threading.Thread) -> None:
        if next(left, None) is None:
            raise RuntimeError("can't start new thread")
        start(thread)

    machine_code, before, open_before = code(), threading.active_count(), open_files()
    monkeypatch.setattr(threading.Thread, "start", start_if_any)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        AppendThreads(machine_code)

    assert threading.active_count() == before
    assert open_files() == open_before


def test_where_there_is_no_descriptor_for_the_second_pipe_the_first_is_closed(monkeypatch):
    pipes = iter([os.pipe()])

    def pipe() -> tuple[int, int]:
        for made in pipes:
            return made
        raise OSError(errno.EMFILE, "Too many open files")

    before = open_files()
    monkeypatch.setattr(os, "pipe", pipe)
    with pytest.raises(OSError, match="Too many open files"):
        AppendThreads(code())

    assert open_files() == before - 2


def test_no_signal_comes_to_the_threads():
    """They would interrupt a sync."""
    with running() as threads:
        statuses = [Path(f"/proc/self/task/{thread.native_id}/status").read_text() for thread in threads._threads]

    blocked = [int(status.split("SigBlk:")[1].split()[0], 16) for status in statuses]
    assert all(mask >> (SIGTERM - 1) & 1 and mask >> (SIGINT - 1) & 1 for mask in blocked)


def test_closing_ends_the_threads():
    before, open_before = threading.active_count(), open_files()
    threads = AppendThreads(code())
    assert threading.active_count() == before + THREADS
    threads.close()
    assert threading.active_count() == before
    assert open_files() == open_before
