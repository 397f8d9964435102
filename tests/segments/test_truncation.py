"""Rows that are taken away are gone at one step, whatever happens around it, and nothing else is."""

import pytest

from segments import snapshot
from segments.datafile import parse_datafile
from segments.decode import decode
from segments.disk import Disk
from segments.errors import SchemaChanged, SourceDamaged
from segments.frame import FileHeader, decode_header
from segments.group import Write
from segments.lines import parse_body
from segments.truncation import replace_rows, truncate
from segments.verify import verify_source
from tests.faults.faulty_disk import Died, FaultyDisk
from tests.stored import NOW, Stored, body, commit, key


def healthy(stored):
    return verify_source(Disk(), stored.source).problems == () and not stored.open().damage


@pytest.mark.parametrize("compacted", [False, True])
def test_all_rows_go_and_lsns_go_on(stored, compacted):
    log = stored.open()
    commit(log, body(1, -2, 3))
    if compacted:
        stored.compact(log)
    commit(log, body(4))
    truncate(stored.disk, log, "rows", NOW)

    assert (stored.ids(), stored.quarantined()) == ([], [])
    assert not list(stored.source.kind("rows").rglob("*.parquet"))
    (done,) = commit(log, body(5))
    assert done.last_lsn == 5
    assert stored.ids() == [5]
    assert healthy(stored)
    assert stored.open().appended_lsn == 5


@pytest.mark.parametrize("compacted", [False, True])
def test_the_quarantine_goes_alone(stored, compacted):
    log = stored.open()
    commit(log, body(1, -2))
    if compacted:
        stored.compact(log)
    truncate(stored.disk, log, "quarantine", NOW)
    commit(log, body(3, -4))

    for _ in range(2):
        assert stored.ids() == [1, 3]
        assert [row["c__lsn"] for row in stored.quarantined()] == [4]
        assert healthy(stored)
        stored.compact(log)


def test_replacing_leaves_the_new_rows_only(stored):
    log = stored.open()
    commit(log, body(1, 2))
    replace_rows(stored.disk, log, [Write(parse_body(body(3, 4)))], NOW)

    assert stored.ids() == [3, 4]
    assert healthy(stored)


def test_replacing_leaves_what_was_quarantined_before(stored):
    """It was never among the rows that are replaced, and nobody else has it."""
    log = stored.open()
    commit(log, body(1, -2))
    replace_rows(stored.disk, log, [Write(parse_body(body(3, -4)))], NOW)

    for _ in range(2):
        assert stored.ids() == [3]
        assert sorted(row["c__lsn"] for row in stored.quarantined()) == [2, 4]
        assert healthy(stored)
        stored.compact(log)


def test_replacing_with_rows_of_which_none_fits_or_of_an_old_schema_takes_nothing_away(stored):
    log = stored.open()
    commit(log, body(1, 2))
    stale = decode(
        parse_datafile("SCHEMA > other Int8 DEFAULT 1\n").schema, parse_body(body(3)), NOW.replace(tzinfo=None)
    )
    (outcome,) = replace_rows(stored.disk, log, [Write(stale)], NOW)
    assert isinstance(outcome, SchemaChanged)
    assert stored.ids() == [1, 2]
    replace_rows(stored.disk, log, [Write(parse_body(body(-3)))], NOW)

    assert stored.ids() == [1, 2]
    assert len(stored.quarantined()) == 1
    assert healthy(stored)


def test_keys_are_still_known_after_their_rows_were_taken_away(stored):
    """A request that was answered and is sent again must not come back as new."""
    log = stored.open()
    write = Write(parse_body(body(1)), key("a", body(1)))
    first = log.commit([write], NOW, durably=True)
    truncate(stored.disk, log, "rows", NOW)

    assert stored.open().commit([write], NOW, durably=True) == first
    assert stored.ids() == []


@pytest.mark.parametrize("kind", ["rows", "quarantine"])
def test_what_a_disk_denied_at_the_start_does_not_come_back_after_rows_were_taken_away(stored, kind):
    """A failed sync says nothing of what the disk has; whatever of it shows up later stands after the floor."""
    log = stored.open()
    commit(log, body(-1))
    log.seal()
    (path,) = stored.source.wal.iterdir()
    whole = path.read_bytes()
    header = decode_header(memoryview(whole))
    assert isinstance(header, FileHeader)
    path.write_bytes(whole[: header.length])
    truncate(stored.disk, stored.open(), kind, NOW)
    path.write_bytes(whole)

    assert (stored.ids(), stored.quarantined()) == ([], [])
    assert healthy(stored)
    commit(stored.open(), body(2))
    assert (stored.ids(), stored.quarantined()) == ([2], [])


def test_a_damaged_source_refuses_to_take_rows_away_and_stays_as_it_is(stored):
    """A new file would void what the damaged one held, and nobody would hear of it again."""
    log = stored.open()
    commit(log, body(1))
    log.seal()
    (path,) = stored.source.wal.iterdir()
    path.write_bytes(bytes(16) + path.read_bytes()[16:])

    with pytest.raises(SourceDamaged, match="siltstone verify"):
        truncate(stored.disk, stored.open(), "rows", NOW)
    assert list(stored.source.wal.iterdir()) == [path]
    assert stored.open().damage


def test_replayed_rows_leave_the_quarantine_with_the_commit_that_makes_them_rows(stored):
    log = stored.open()
    commit(log, body(1, -2, -3))
    log.commit([Write(parse_body(body(2)), replays=(2,))], NOW, durably=True)

    for _ in range(3):
        assert stored.ids() == [1, 2]
        assert [row["c__lsn"] for row in stored.quarantined()] == [3]
        assert healthy(stored)
        log = stored.open()
        stored.compact(log)


def test_rows_replayed_from_a_segment_are_no_longer_read_from_it(stored):
    log = stored.open()
    commit(log, body(1, -2, -3))
    stored.compact(log)
    log.commit([Write(parse_body(body(2)), replays=(2,))], NOW, durably=True)

    for _ in range(2):
        snapshot = stored.snapshot()
        assert snapshot.replayed.to_pylist() == [2]
        assert stored.ids() == [1, 2]
        stored.compact(log)
    assert healthy(stored)


@pytest.mark.parametrize("fault", ["die", "fail once"])
@pytest.mark.parametrize("kind", ["rows", "quarantine"])
def test_whatever_step_fails_or_is_the_last_all_rows_are_there_or_none(tmp_path, fault, kind):
    at = 0
    while True:
        at += 1
        stored = Stored(tmp_path / str(at))
        stored.create()
        log = stored.open()
        commit(log, body(1, -2))
        stored.compact(log)
        commit(log, body(3, -4))
        disk = FaultyDisk(at, fault=fault)
        assert log._writer is not None
        log._disk = log._writer._disk = disk
        try:
            truncate(disk, log, kind, NOW)
            is_done = True
        except (Died, OSError, Exception):  # noqa: BLE001 -- whatever the fault, what is on disk is judged
            is_done = False
        assert healthy(stored), (at, disk.operations)
        good, bad = stored.ids(), [row["c__lsn"] for row in stored.quarantined()]
        gone: tuple[list[int], list[int]] = ([], []) if kind == "rows" else ([1, 3], [])
        assert (good, bad) in [gone, *([] if is_done else [([1, 3], [2, 4])])], (at, disk.operations)
        reopened = stored.open()
        commit(reopened, body(5))
        assert stored.ids() == [*good, 5]
        if len(disk.operations) < at:
            break
    assert at > 10


@pytest.mark.parametrize("step", ["open_files", "read_manifest"])
def test_a_reader_that_is_overtaken_by_a_replacement_sees_the_rows_of_one_side(stored, step, monkeypatch):
    """Whichever of its steps the replacement comes after: never the rows from neither side."""
    log = stored.open()
    commit(log, body(1, 2, 3))
    real = getattr(snapshot, step)
    done: list[bool] = []

    def overtaken(*arguments, **options):
        found = real(*arguments, **options)
        if not done:
            done.append(True)
            replace_rows(stored.disk, log, [Write(parse_body(body(7, 8)))], NOW)
        return found

    monkeypatch.setattr(snapshot, step, overtaken)
    found = snapshot.open_snapshot(stored.disk, stored.source)
    monkeypatch.undo()

    assert not found.damage
    assert found.rows.tail["id"].to_pylist() == ([7, 8] if step == "open_files" else [1, 2, 3])
    assert stored.ids() == [7, 8]
