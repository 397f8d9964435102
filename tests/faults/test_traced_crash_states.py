"""Power cuts at every operation that strace saw of a real daemon, and its one seam to the file system shown to be the only.

Exempt are the file LOCK, which has no bytes, and the directory sql, where the SQL worker puts down what it is working on:
no promise rests on either. `scripts/torture traced` does the same for longer.
"""

import re
from collections import Counter
from pathlib import PurePosixPath

import pytest

from tests.faults.memory_disk import Entry, Operation, Sync, Write
from tests.faults.recording import Recording
from tests.faults.row_ledger import Found, Violation
from tests.faults.traced_changes import Change, Unmodelled, disagreements, read_events
from tests.faults.traced_check import check_recording
from tests.faults.traced_ledger import NARROW, WIDE, Began, Ended, Ledgers, Recovered
from tests.faults.traced_run import TracedRun
from tests.faults.traced_story import Exchange
from tests.strace import OPTIONS, can_trace, hexadecimal

ROOT = PurePosixPath("/d")
ONE_IN = 2
"""Of all states that a power cut may leave at every operation so many are judged, spread over the trace."""
needs_strace = pytest.mark.skipif(
    not can_trace(*OPTIONS),
    reason="strace is not installed, too old, or may not trace here: NOTHING shows that the daemon's system calls are "
    "those of the crash model",
)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return Recording.make(tmp_path_factory.mktemp("traced"), sources=6, bursts=2)


@needs_strace
def test_ten_thousand_power_cuts_in_the_trace_of_a_real_daemon_lose_nothing_and_double_nothing(recording):
    tally = check_recording(recording, one_in=ONE_IN)

    print(tally)
    assert tally.states >= 10_000
    assert tally.recoveries >= 2_000


@needs_strace
def test_power_cuts_where_machine_code_writes_and_syncs_lose_nothing_and_double_nothing(tmp_path):
    tally = check_recording(Recording.make(tmp_path / "traced", sources=4, bursts=2, machine_code=True), one_in=ONE_IN)

    print(tally)
    assert tally.states >= 3_000
    assert tally.recoveries >= 500


@needs_strace
def test_all_that_the_daemon_does_to_its_data_goes_through_the_seam(recording):
    events = recording.events()
    changes = Counter(event.what for event in events if isinstance(event, Change))

    print(dict(changes))
    assert recording.disagreements(events) == []
    assert changes.keys() == {"create", "write", "sync", "rename", "unlink", "mkdir"}
    assert changes.total() > 800


@needs_strace
def test_the_trace_is_the_whole_story(recording):
    """Every file that the daemon left has the bytes that the trace says, and there are no others."""
    run = TracedRun(recording.events(), recording.exchanges())
    traced = {path.removeprefix("/data/"): content for path, content in run.tree.walk() if path != "/data"}
    left = {str(path.relative_to(recording.data)): path for path in recording.data.rglob("*")}
    left = {name: path for name, path in left.items() if name.split("/")[0] not in ("LOCK", "sql")}

    assert traced == {name: None if path.is_dir() else path.read_bytes() for name, path in left.items()}
    assert any(sync.missed for sync in run.log if isinstance(sync, Sync))


@needs_strace
@pytest.mark.parametrize("unsynced", [r"\.wal$", "/wal$", "/ingested=[^/]*$", "/sources$"])
def test_a_daemon_that_does_not_sync_is_caught(tmp_path, unsynced):
    recording = Recording.make(tmp_path / "traced", sources=2, bursts=2, unsynced=unsynced)

    with pytest.raises(Violation, match="again: scripts/torture traced --recording") as caught:
        check_recording(recording)
    print(caught.value)
    assert recording.disagreements(recording.events()) != []


@needs_strace
def test_a_removal_that_goes_round_the_seam_is_caught(tmp_path):
    recording = Recording.make(tmp_path / "traced", sources=1, bursts=1, secret="unlink")

    found = recording.disagreements(recording.events())
    assert found
    assert all("the trace has unlink" in one for one in found)


def traced(*calls: str) -> list[str]:
    """Lines as strace writes them, from readable ones."""
    return [re.sub(r'(?<=")[^"]+(?=", |"\))|(?<=\d<|T<)[^>]+(?=>)', lambda m: hexadecimal(m[0]), one) for one in calls]


BORN = (
    '7 openat(AT_FDCWD</>, "/d/f", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0640) = 3</d/f>',
    "7 fsync(4</d>) = 0",
)


def run(*calls: str) -> list[Operation]:
    return TracedRun(read_events(traced(*BORN, *calls), ROOT), []).log[2:]


def test_a_sync_covers_what_had_returned_before_it_began():
    early, late, later = Write(2, 0, b"aa"), Write(2, 2, b"bb"), Write(2, 4, b"cc")

    assert run(
        '7 pwrite64(3</d/f>, "aa", 2, 0) = 2',
        '8 pwrite64(3</d/f>, "bb", 2, 2 <unfinished ...>',
        "7 fdatasync(3</d/f> <unfinished ...>",
        "8 <... pwrite64 resumed>) = 2",
        '8 pwrite64(3</d/f>, "cc", 2, 4) = 2',
        "7 <... fdatasync resumed>) = 0",
        '7 pwrite64(3</d/f>, "dd", 2, 6) = -1 EIO (Input/output error)',
    ) == [early, late, later, Sync(2, missed=(late, later))]


def test_names_are_made_and_moved_and_lost():
    assert run(
        '7 mkdir("/d/x", 0750) = 0',
        '7 mkdir("/d/x", 0750) = -1 EEXIST (File exists)',
        '7 rename("/d/f", "/d/g") = 0',
        '7 pwrite64(3</d/g>, "ab", 2, 1) = 1',
        '7 unlinkat(AT_FDCWD</>, "/d/g", 0) = 0',
        '7 rmdir("/d/x") = 0',
    ) == [
        Entry(1, "x", 3, is_directory=True),
        Entry(1, "g", 2, "f"),
        Write(2, 1, b"a"),
        Entry(1, gone="g"),
        Entry(1, gone="x"),
    ]


@pytest.mark.parametrize(
    "call",
    [
        '7 write(3</d/f>, "aa", 2) = 2',
        "7 ftruncate(3</d/f>, 0) = 0",
        "7 fallocate(3</d/f>, 0, 0, 4096) = 0",
        "7 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3</d/f>, 0) = 0x7f0000000000",
        "7 sendfile(3</d/f>, 5</e>, NULL, 4096) = 4096",
        "7 copy_file_range(5</e>, NULL, 3</d/f>, NULL, 4096, 0) = 4096",
        '7 link("/d/f", "/d/g") = 0',
        '7 symlink("/e", "/d/g") = 0',
        '7 truncate("/d/f", 0) = 0',
        '7 rename("/e", "/d/g") = 0',
        '7 renameat2(AT_FDCWD</>, "/d/f", AT_FDCWD</>, "/d/g", RENAME_EXCHANGE) = 0',
        '7 openat(AT_FDCWD</>, "/d/f", O_WRONLY|O_TRUNC) = 3</d/f>',
        '7 openat(5</d>, "f", O_RDWR|O_CLOEXEC) = 3</d/f>',
        "7 ioctl(3</d/f>, BTRFS_IOC_CLONE or FICLONE, 5) = 0",
        "7 sync_file_range(3</d/f>, 0, 4096, SYNC_FILE_RANGE_WRITE) = 0",
        "7 io_uring_setup(8, {flags=0}) = 5<anon_inode:[io_uring]>",
        '7 pwrite64(3</d/f>, "aa", 2, 0 <unfinished ...>',
    ],
)
def test_a_call_that_the_model_does_not_know_fails_the_test(call):
    with pytest.raises(Unmodelled):
        run(call)


def test_what_changes_nothing_or_is_elsewhere_is_let_by():
    assert (
        run(
            '7 openat(AT_FDCWD</>, "/d/f", O_WRONLY|O_CLOEXEC) = 3</d/f>',
            "7 mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3</d/f>, 0) = 0x7f0000000000",
            '7 newfstatat(AT_FDCWD</>, "/d/f", {st_mode=S_IFREG|0640, st_size=2, ...}, 0) = 0',
            '7 openat(AT_FDCWD</>, "/d/LOCK", O_RDWR|O_CREAT|O_CLOEXEC, 0640) = 4</d/LOCK>',
            '7 openat(AT_FDCWD</>, "/d/sql", O_RDWR|O_TMPFILE, 0600) = 4</d/sql/1>',
            '7 write(6</e>, "/d/f", 4) = 4',
            "7 +++ exited with 0 +++",
        )
        == []
    )


def test_the_seam_and_the_trace_must_say_the_same_in_each_thread():
    events = read_events(traced(*BORN, '8 pwrite64(3</d/f>, "aa", 2, 0) = 2'), ROOT)
    said = ["8 write /d/f 0+2 078a19d7", "7 create /d/f ", "7 sync /d "]

    assert disagreements(events, said, ROOT) == []
    assert len(disagreements(events, said[1:], ROOT)) == 1
    assert len(disagreements(events, [*said, "9 sync /d "], ROOT)) == 1
    assert len(disagreements(events, [said[0], said[2], said[1]], ROOT)) == 1
    assert len(disagreements(events, ["8 write /d/f 0+2 00000000", *said[1:]], ROOT)) == 1


def told(number, what, *ids, status=200, key=None, name="s"):
    return Exchange(number, "s", what, ids, key, name, status, str(number))


A, B, C, D = (
    told(1, "post", "a", "b!", key="k"),
    told(2, "post", "c", status=202),
    told(3, "post", "d", status=202),
    told(4, "post", "e"),
)


def recovered(*ids, keys=(1,), columns=NARROW):
    good, bad = (Counter(one for one in ids if one.endswith("!") is is_bad) for is_bad in (False, True))
    return Recovered(Found(good, bad), columns, frozenset(keys))


MARKS = [Began(A), Ended(A), Began(B), Ended(B), Began(C), Ended(C)]


@pytest.mark.parametrize(
    ("marks", "found"),
    [
        (MARKS, {"s": recovered("a", "b!", "c", "d")}),
        (MARKS, {"s": recovered("a", "b!")}),
        (MARKS[:1], {}),
        ([*MARKS, Began(D), Ended(D)], {"s": recovered("a", "b!", "c", "d", "e")}),
        ([*MARKS, Began(told(9, "rename", name="n"))], {"n": recovered("a", "b!")}),
        ([*MARKS, Began(told(9, "alter"))], {"s": recovered("a", "b!", columns=WIDE)}),
        ([*MARKS, Began(told(9, "truncate"))], {"s": recovered("c")}),
        ([*MARKS, Began(told(9, "truncate")), Ended(told(9, "truncate"))], {"s": recovered()}),
    ],
)
def test_what_clients_know_allows(marks, found):
    ledgers = Ledgers()
    for mark in marks:
        ledgers.take(mark)
    ledgers.check(found)


@pytest.mark.parametrize(
    ("marks", "found", "complaint"),
    [
        (MARKS, {}, "there is no data source"),
        (MARKS, {"s": recovered("a")}, "lost"),
        (MARKS, {"s": recovered("a", "a", "b!")}, "doubled"),
        (MARKS, {"s": recovered("a", "b!", "x")}, "not sent"),
        (MARKS, {"s": recovered("a", "b!", "d")}, "without an earlier one"),
        (MARKS, {"s": recovered("a", "b!", keys=())}, "with a key that does not agree"),
        (MARKS[:1], {"s": recovered("a")}, "in part"),
        (MARKS[:1], {"s": recovered()}, "with a key that does not agree"),
        (MARKS, {"s": recovered("a", "b!"), "t": recovered()}, "nobody asked for"),
        ([*MARKS, Began(D), Ended(D)], {"s": recovered("a", "b!", "e")}, "lost"),
        ([*MARKS, Began(told(9, "rename", name="n"))], {"s": recovered("a", "b!"), "n": recovered()}, "two names"),
        ([*MARKS, Began(told(9, "alter")), Ended(told(9, "alter"))], {"s": recovered("a", "b!")}, "columns"),
        ([*MARKS, Began(told(9, "truncate"))], {"s": recovered("a")}, "in part"),
        ([*MARKS, Began(told(9, "truncate")), Ended(told(9, "truncate"))], {"s": recovered("a", "b!")}, "not sent"),
    ],
)
def test_what_clients_know_forbids(marks, found, complaint):
    ledgers = Ledgers()
    for mark in marks:
        ledgers.take(mark)
    with pytest.raises(Violation, match=complaint):
        ledgers.check(found)
