"""Group commits: what is promised when they return, and when they fail."""

import errno
from datetime import timedelta
from functools import partial

import pytest

from segments import keys, source_log
from segments.compaction import compact
from segments.decode import Counts
from segments.errors import KeyReused, SourceDamaged, WriteFailed
from segments.filenames import Lsn
from segments.group import Committed, Write
from segments.lines import parse_body
from tests.faults.faulty_disk import Died, FaultyDisk
from tests.stored import NOW, Stored, body, commit, key


def test_each_request_of_a_group_gets_its_own_counts_and_lsn(stored):
    log = stored.open()
    done = commit(log, body(1, -2, 3), body(4), body(-5))

    assert done == [Committed(Counts(2, 1), Lsn(3)), Committed(Counts(1, 0), Lsn(4)), Committed(Counts(0, 1), Lsn(5))]
    assert stored.ids() == [1, 3, 4]


def test_quarantined_rows_carry_their_reason_their_text_and_their_lsn(stored):
    commit(stored.open(), body(1, -2))

    (row,) = stored.quarantined()
    assert row["c__error_column"] == ["id"]
    assert row["c__error"] == ["string 'bad' does not fit Int64"]
    assert (row["id"], row["text"], row["c__lsn"]) == ("bad", "event -2", 2)
    assert row["c__row"] == body(-2).decode()
    assert row["insertion_date"] == NOW.replace(tzinfo=None)


def test_rows_are_there_after_the_writer_is_gone_without_a_word(stored):
    commit(stored.open(), body(1, 2))
    commit(stored.open(), body(3))

    assert stored.ids() == [1, 2, 3]
    assert stored.open().appended_lsn == 3


def test_a_new_day_starts_a_new_file_and_a_clock_that_goes_back_does_not(stored):
    log = stored.open()
    commit(log, body(1), now=NOW)
    commit(log, body(2), now=NOW + timedelta(days=1))
    commit(log, body(3), now=NOW)
    stored.compact(log)

    days = sorted(path.parent.name for path in stored.source.kind("rows").rglob("*.parquet"))
    assert days == ["ingested=2026-11-23", "ingested=2026-11-24"]
    assert stored.ids() == [1, 2, 3]


@pytest.mark.parametrize("compacts", [True, False])
def test_a_clock_that_has_gone_back_at_a_start_does_not_go_back_to_an_older_day(stored, compacts):
    log = stored.open()
    commit(log, body(1), now=NOW + timedelta(days=1))
    if compacts:
        stored.compact(log)
    log = stored.open()
    commit(log, body(2), now=NOW)
    stored.compact(log)

    assert {path.parent.name for path in stored.source.kind("rows").rglob("*.parquet")} == {"ingested=2026-11-24"}
    assert stored.ids() == [1, 2]


def test_a_full_file_is_sealed_and_another_started(stored, monkeypatch):
    monkeypatch.setattr(source_log, "SEAL_BYTES", 2048)
    log = stored.open()
    for n in range(10):
        commit(log, body(n))

    assert len(list(stored.source.wal.iterdir())) > 2
    assert stored.ids() == list(range(10))


def test_the_same_key_and_body_get_the_first_answer_and_add_nothing(stored):
    log = stored.open()
    sent = body(1, -2)
    write = Write(parse_body(sent), key("a", sent))
    first = log.commit([write], NOW, durably=True)
    other_life = stored.open()
    again = other_life.commit([write, write], NOW, durably=True)

    assert again == first * 2
    assert stored.ids() == [1]


def test_keys_survive_compaction_and_restart(stored):
    log = stored.open()
    sent = body(1)
    write = Write(parse_body(sent), key("a", sent))
    first = log.commit([write], NOW, durably=True)
    stored.compact(log)

    assert stored.open().commit([write], NOW, durably=True) == first
    assert stored.ids() == [1]


def test_a_key_twice_in_one_group_is_stored_once(stored):
    sent = body(1)
    write = Write(parse_body(sent), key("a", sent))
    done = stored.open().commit([write, write], NOW, durably=True)

    assert done[0] == done[1] == Committed(Counts(1, 0), Lsn(1))
    assert stored.ids() == [1]


def test_a_key_with_another_body_is_refused_and_the_rest_of_the_group_is_not(stored):
    log = stored.open()
    log.commit([Write(parse_body(body(1)), key("a", body(1)))], NOW, durably=True)
    refused, stays = log.commit(
        [Write(parse_body(body(2)), key("a", body(2))), Write(parse_body(body(3)))], NOW, durably=True
    )

    assert isinstance(refused, KeyReused)
    assert stays == Committed(Counts(1, 0), Lsn(2))
    assert stored.ids() == [1, 3]


def test_a_key_is_forgotten_after_a_day(stored):
    log = stored.open()
    log.commit([Write(parse_body(body(1)), key("a", body(1)))], NOW, durably=True)
    tomorrow = NOW + timedelta(days=1, seconds=1)
    later = key("a", body(1), at_s=int(tomorrow.timestamp()))
    log.commit([Write(parse_body(body(1)), later)], tomorrow, durably=True)

    assert stored.ids() == [1, 1]


def keyed(name, *ids, at=NOW):
    sent = body(*ids)
    return Write(parse_body(sent), key(name, sent, at_s=int(at.timestamp())))


def test_a_request_without_rows_leaves_no_key_behind(stored):
    """Else the next request with that key would be answered with its nought, and its rows would be nowhere."""
    empty = keyed("a")
    assert stored.open().commit([empty, keyed("a", 1), empty], NOW, durably=True)[:2] == (
        Committed.none(),
        Committed(Counts(1, 0), Lsn(1)),
    )
    assert stored.ids() == [1]


def test_a_request_without_rows_does_not_keep_the_keys_of_a_failed_group(stored):
    log = stored.open()
    commit(log, body(1))
    log._writer._disk = FaultyDisk(2)
    with pytest.raises(WriteFailed):
        log.commit([keyed("a", 2), keyed("b")], NOW, durably=True)

    (again,) = log.commit([keyed("a", 2)], NOW, durably=True)
    assert not again.is_repeat
    assert stored.ids() == [1, 2]


def test_a_key_that_the_group_itself_pushes_out_is_still_answered(stored, monkeypatch):
    monkeypatch.setattr(keys, "KEYS_MAX", 2)
    log = stored.open()
    first = log.commit([keyed("a", 1), keyed("b", 2)], NOW, durably=True)

    assert log.commit([keyed("c", 3), keyed("a", 1), keyed("b", 2)], NOW, durably=True)[1:] == first
    assert stored.ids() == [1, 2, 3]


def test_keys_that_a_failed_write_would_have_pushed_out_stay(stored, monkeypatch):
    """As many as are promised; a start would find them too."""
    monkeypatch.setattr(keys, "KEYS_MAX", 2)
    log = stored.open()
    first = log.commit([keyed("a", 1), keyed("b", 2)], NOW, durably=True)
    log._writer._disk = FaultyDisk(2)
    with pytest.raises(WriteFailed):
        log.commit([keyed("c", 3)], NOW, durably=True)

    assert log.commit([keyed("a", 1), keyed("b", 2)], NOW, durably=True) == first


def test_a_key_used_again_after_a_day_is_as_old_as_its_last_use_after_a_start(stored, monkeypatch):
    monkeypatch.setattr(keys, "KEYS_MAX", 2)
    later = NOW + timedelta(hours=25)
    log = stored.open()
    log.commit([keyed("a", 1)], NOW, durably=True)
    log.commit([keyed("b", 2)], NOW + timedelta(hours=24), durably=True)
    (again,) = log.commit([keyed("a", 3, at=later)], later, durably=True)
    log = stored.open(now=later)
    log.commit([keyed("c", 4, at=later)], later, durably=True)

    assert log.commit([keyed("a", 3, at=later)], later, durably=True) == (again,)
    assert stored.ids() == [1, 2, 3, 4]


def test_a_failed_write_voids_its_group_and_its_keys_and_the_next_commit_works(stored):
    """Retried with the same key the rows are stored then, and once."""
    healthy = stored.open()
    commit(healthy, body(1))
    healthy.seal()
    sent = body(2)
    for at in range(1, 8):
        log = stored.open()
        log._disk = FaultyDisk(at, code=errno.ENOSPC)
        write = Write(parse_body(sent), key(f"key {at}", sent))
        try:
            log.commit([write], NOW, durably=True)
        except WriteFailed:
            assert log.appended_lsn == log.durable_lsn
            log.commit([write], NOW, durably=True)
        assert stored.ids() == [1] + [2] * at


def test_rows_not_synced_are_voided_together_with_a_failed_sync(stored):
    log = stored.open()
    commit(log, body(1))
    sent = body(2)
    log.commit([Write(parse_body(sent), key("a", sent))], NOW, durably=False)
    log._disk = FaultyDisk(1)
    log._writer._disk = log._disk
    with pytest.raises(WriteFailed):
        log.sync()
    log._disk = stored.disk
    log.commit([Write(parse_body(sent), key("a", sent))], NOW, durably=True)

    assert stored.ids() == [1, 2]


def test_a_commit_that_needs_a_file_of_its_own_is_more_than_one_append(stored):
    log = stored.open()
    rows = [Write(parse_body(body(1)))]
    assert not log.is_one_append(log.prepare(rows, NOW))
    commit(log, body(0))
    for hours, is_one in ((0, True), (24, False)):
        prepared = log.prepare(rows, NOW + timedelta(hours=hours))
        assert log.is_one_append(prepared) is is_one
        assert (log.begin(prepared) is not None) is is_one


def test_a_close_that_reports_an_error_has_closed_and_costs_nothing(stored):
    log = stored.open()
    commit(log, body(1))
    log._writer._disk = FaultyDisk(1)
    log.seal()
    assert log._writer is None
    commit(log, body(2))

    assert stored.ids() == [1, 2]


@pytest.mark.parametrize("operation", ["append", "mark", "new file"])
def test_rows_not_yet_synced_survive_a_later_write_that_fails(stored, operation, monkeypatch):
    """They were answered with 202, and the write that failed was not theirs."""
    log = stored.open()
    commit(log, body(1))
    commit(log, body(2), durably=False)
    disk = FaultyDisk(1, code=errno.ENOSPC)
    log._writer._disk = disk
    if operation == "new file":
        # Sealing syncs, which works; making the next file does not.
        monkeypatch.setattr(source_log, "SEAL_BYTES", 1)
        log._disk, log._writer._disk = disk, stored.disk
    write = log.mark if operation == "mark" else partial(commit, log, body(3))
    with pytest.raises(WriteFailed):
        write()
    log._disk = stored.disk
    commit(log, body(4))

    assert stored.ids() == [1, 2, 4]
    assert not stored.snapshot().damage
    assert stored.open().appended_lsn == 3


def test_rows_that_a_failed_sync_loses_are_named(stored):
    log = stored.open()
    commit(log, body(1))
    commit(log, body(2, 3), durably=False)
    log._writer._disk = FaultyDisk(1, fault="fail on")
    with pytest.raises(WriteFailed, match="LSNs 2 to 3, answered before they were durable, are lost"):
        commit(log, body(4))


@pytest.mark.parametrize("fault", ["fail once", "fail on", "die"])
def test_whatever_operation_fails_or_is_the_last_acknowledged_rows_are_there_once(tmp_path, fault):
    """Every operation of a life with commits, marks, seals and a compaction, each in turn."""
    at = 0
    while True:
        at += 1
        stored = Stored(tmp_path / str(at))
        stored.create()
        disk = FaultyDisk(at, fault=fault)
        acknowledged, sent = _live(stored, disk)
        stored.disk = type(disk)()
        log = stored.open()
        assert not log.damage, (at, disk.operations)
        found = stored.ids()
        assert len(found) == len(set(found)), (at, disk.operations)
        assert acknowledged <= set(found) <= sent, (at, disk.operations)
        commit(log, body(100))
        stored.compact(log)
        assert stored.ids() == sorted([*found, 100]), (at, disk.operations)
        if len(disk.operations) < at:
            break
    assert at > 40


def _live(stored: Stored, disk: FaultyDisk) -> tuple[set[int], set[int]]:
    acknowledged: set[int] = set()
    sent: set[int] = set()
    stored.disk = disk
    try:
        log = stored.open()
        for n in range(10):
            sent.add(n)
            try:
                commit(log, body(n), durably=n not in (2, 6))
                if n not in (2, 6):
                    acknowledged.add(n)
                if n in (4, 9):
                    log.mark()
                    stored.compact(log)
                elif log.sealed_lsn > log.published:
                    # As the daemon does it: the file that is being written stays.
                    log.published = compact(disk, stored.source, through=log.sealed_lsn, now=NOW).published
            except (WriteFailed, OSError):
                continue
    except (Died, OSError):
        pass
    return acknowledged, sent


def test_a_damaged_source_takes_no_writes_and_says_what_to_do(stored):
    log = stored.open()
    commit(log, body(1))
    commit(log, body(2))
    (path,) = stored.source.wal.iterdir()
    data = bytearray(path.read_bytes())
    data[-1500] ^= 1
    path.write_bytes(bytes(data))

    damaged = stored.open()
    with pytest.raises(SourceDamaged, match="siltstone verify events"):
        commit(damaged, body(3))


def test_a_key_sent_again_in_its_own_group_is_answered_from_the_group_even_when_the_clock_has_jumped_a_week(tmp_path):
    """The later one's clock is far ahead, so that the window would hold the first for expired; and the next is answered right."""
    stored = Stored(tmp_path).create()
    log = stored.open()
    first, other = body(1, 2), body(3)
    late = int((NOW + timedelta(days=7)).timestamp())
    group = [
        Write(parse_body(first), key("k", first)),
        Write(parse_body(first), key("k", first, at_s=late)),
        Write(parse_body(other), key("l", other, at_s=late)),
    ]
    done = log.commit(group, NOW, durably=True)

    assert [(one.last_lsn, one.is_repeat) for one in done if isinstance(one, Committed)] == [
        (2, False),
        (2, True),
        (3, False),
    ]
    assert stored.ids() == [1, 2, 3]
