"""Days that are over become few files, and no reader sees a row twice, or misses one, at any moment."""

import errno
import threading
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from segments import merge
from segments.alteration import alter
from segments.datafile import parse_datafile
from segments.disk import Disk
from segments.errors import Corruption, SwapRefused
from segments.filenames import MergingName, RowKind
from segments.group import Write
from segments.inventory import take_stock
from segments.lines import parse_body
from segments.manifest import read_applied
from segments.merge import is_merge_due, merge_next, settle_merging
from segments.repair import repair_source
from segments.segment_file import read_facts
from segments.truncation import truncate
from segments.verify import verify_source
from tests.faults.faulty_disk import Died, FaultyDisk
from tests.stored import NOW, Stored, body, commit, flip, key

TOMORROW = NOW + timedelta(days=1)
SORTED = "SCHEMA >\n    `id` Nullable(Int64) `json:$.id`\n\nENGINE_SORTING_KEY id\n"


def merge_all(stored: Stored, *, now=TOMORROW) -> list[Path]:
    """The merged segments."""
    merged = []
    while (ref := merge_next(stored.disk, stored.source, now=now)) is not None:
        merged.append(ref.path)
    return merged


def files(stored: Stored, kind: RowKind = "rows") -> list[str]:
    return sorted(path.name[19:41].lstrip("0") for path in stored.source.kind(kind).rglob("*.parquet"))


def test_a_day_that_is_over_becomes_one_sorted_segment(tmp_path):
    stored = Stored(tmp_path).create(SORTED)
    log = stored.open()
    for ids in ((3, -1), (2,), (1, -4, -5)):
        stored.publish(log, *ids)
    (rows, quarantine) = merge_all(stored)

    assert pq.ParquetFile(rows).read()["id"].to_pylist() == [1, 2, 3]
    assert pq.ParquetFile(quarantine).read()["c__lsn"].to_pylist() == [2, 5, 6]
    (ref,) = stored.snapshot().rows.segments
    facts = read_facts(stored.disk, ref)
    assert (ref.name.first_lsn, ref.name.last_lsn) == (1, 6)
    assert (facts.rows, facts.quarantined_rows, facts.lost) == (3, 3, 0)
    assert stored.ids() == [1, 2, 3]
    assert len(stored.quarantined()) == 3
    assert verify_source(stored.disk, stored.source).problems == ()
    assert not is_merge_due(stored.disk, stored.source, now=TOMORROW)


def test_today_is_not_merged(stored):
    log = stored.open()
    stored.publish(log, 1)
    stored.publish(log, 2)

    assert not is_merge_due(stored.disk, stored.source, now=NOW)
    assert merge_all(stored, now=NOW) == []
    assert is_merge_due(stored.disk, stored.source, now=TOMORROW)


def test_a_day_of_which_the_log_may_hold_more_is_not_merged(stored):
    log = stored.open()
    stored.publish(log, 1)
    stored.publish(log, 2)
    commit(log, body(3))

    assert merge_all(stored) == []
    stored.compact(log)
    assert len(merge_all(stored)) == 1
    assert stored.ids() == [1, 2, 3]


def test_days_stay_apart_also_when_the_clock_was_set_back_before_a_start(stored):
    """Then the day stays what it was, so that the files of a day are neighbours."""
    for number, day in enumerate((0, 0, 1, 1, 0, 0, 1), 1):
        log = stored.open()
        now = NOW + timedelta(days=day)
        stored.publish(log, number, now=now)
    assert len(merge_all(stored, now=NOW + timedelta(days=3))) == 2

    spans = [(ref.name.first_lsn, ref.name.last_lsn) for ref in stored.snapshot().rows.segments]
    assert spans == [(1, 2), (3, 7)]
    assert stored.ids() == [1, 2, 3, 4, 5, 6, 7]


def test_segments_of_different_schemas_stay_apart(stored):
    log = stored.open()
    stored.publish(log, 1)
    stored.publish(log, 2)
    text = "SCHEMA >\n    `id` Nullable(Int64) `json:$.id`, `text` Nullable(String) `json:$.text`, `n` Int8 DEFAULT 7\n"
    alter(stored.disk, log, parse_datafile(text), NOW)
    stored.publish(log, 3)
    stored.publish(log, 4)
    merge_all(stored)

    snapshot = stored.snapshot()
    assert [(ref.name.first_lsn, ref.name.last_lsn) for ref in snapshot.rows.segments] == [(1, 2), (3, 4)]
    assert list(snapshot.rows.older) == [snapshot.rows.paths[0]]


def test_segments_grow_to_the_target_and_are_let_alone_then(stored, monkeypatch):
    log = stored.open()
    for number in range(10, 30):
        stored.publish(log, *range(number * 10, number * 10 + 10))
    refs = stored.snapshot().rows.segments
    (in_memory,) = {read_facts(stored.disk, ref).arrow_bytes for ref in refs}
    on_disk = max(ref.path.stat().st_size for ref in refs)
    with monkeypatch.context() as patch:
        patch.setattr(merge, "TARGET_BYTES", on_disk)
        assert not is_merge_due(stored.disk, stored.source, now=TOMORROW)
    monkeypatch.setattr(merge, "ARROW_BYTES_MAX", 4 * in_memory)
    merge_all(stored)

    spans = [ref.name.last_lsn - ref.name.first_lsn + 1 for ref in stored.snapshot().rows.segments]
    assert spans == [40] * 5
    assert stored.ids() == list(range(100, 300))


def test_rows_that_were_truncated_do_not_come_back(stored):
    log = stored.open()
    stored.publish(log, 1, -1)
    stored.publish(log, 2, -2)
    merge_all(stored)
    stored.publish(log, 3, -3)
    truncate(stored.disk, log, "rows", NOW)
    assert stored.ids() == []
    stored.publish(log, 4, -4)
    stored.publish(log, 5, -5)
    merge_all(stored)

    assert stored.ids() == [4, 5]
    assert len(stored.quarantined()) == 2
    assert read_applied(stored.disk, stored.source).floor_lsn == 6
    assert files(stored) == files(stored, "quarantine") == ["7-00000000000000000010"]


def test_segments_on_two_sides_of_the_floor_of_the_quarantine_stay_apart(stored):
    log = stored.open()
    stored.publish(log, 1, -1)
    stored.publish(log, 2, -2)
    truncate(stored.disk, log, "quarantine", NOW)
    stored.publish(log, 3, -3)
    stored.publish(log, 4, -4)
    merge_all(stored)

    assert len(files(stored)) == 2
    assert len(files(stored, "quarantine")) == 1
    assert stored.ids() == [1, 2, 3, 4]
    assert len(stored.quarantined()) == 2
    assert verify_source(stored.disk, stored.source).problems == ()


def test_keys_are_remembered_and_strange_files_stay(stored):
    log = stored.open()
    write = Write(parse_body(body(1)), key("a", body(1)))
    log.commit([write], NOW, durably=True)
    stored.compact(log)
    stored.publish(log, 2)
    day = stored.snapshot().rows.paths[0].parent
    (day / "notes.txt").write_text("mine")
    merge_all(stored)

    assert (day / "notes.txt").read_text() == "mine"
    (again,) = stored.open().commit([write], NOW, durably=True)
    assert again.is_repeat


def test_what_was_replaced_stays_for_a_while(stored):
    log = stored.open()
    stored.publish(log, 1)
    stored.publish(log, 2)
    merge_all(stored)
    (kept,) = stored.source.merging.iterdir()
    assert len(list(kept.iterdir())) == 2
    settle_merging(stored.disk, stored.source, now=TOMORROW + timedelta(minutes=9))
    assert kept.exists()
    assert is_merge_due(stored.disk, stored.source, now=TOMORROW + timedelta(minutes=11))
    assert merge_next(stored.disk, stored.source, now=TOMORROW + timedelta(minutes=11)) is None

    assert list(stored.source.merging.iterdir()) == []
    assert stored.ids() == [1, 2]


def test_a_name_in_merging_is_read_as_it_was_written(stored):
    log = stored.open()
    stored.publish(log, 1)
    stored.publish(log, 2)
    merge_all(stored)
    (kept,) = stored.source.merging.iterdir()

    assert str(MergingName.parse(kept.name)) == kept.name
    assert [MergingName.parse(name) for name in ("x", "0000000001-keys-1", kept.name[1:])] == [None, None, None]


def test_at_every_operation_a_reader_sees_every_row_once(tmp_path):
    """The merge dies before each of its operations in turn; a reader looks; a start and another merge end it well."""
    at = 0
    while True:
        at += 1
        stored = Stored(tmp_path / str(at))
        log = stored.create().open()
        for ids in ((1, -1), (2,), (3, -2, -3)):
            stored.publish(log, *ids)
        disk = FaultyDisk(at, fault="die")
        try:
            while merge_next(disk, stored.source, now=TOMORROW):
                pass
        except Died:
            pass
        for _ in range(2):
            assert (stored.ids(), len(stored.quarantined())) == ([1, 2, 3], 3), (at, disk.operations)
            assert verify_source(stored.disk, stored.source).problems == (), (at, disk.operations)
            stored.open(now=TOMORROW + timedelta(hours=1))
            merge_all(stored, now=TOMORROW + timedelta(hours=1))
        assert (files(stored), files(stored, "quarantine")) == (["1-00000000000000000006"],) * 2
        if len(disk.operations) < at:
            break
    assert at > 25


def test_a_disk_that_refuses_is_not_littered_and_the_next_merge_succeeds(tmp_path):
    at = refused = 0
    while True:
        at += 1
        stored = Stored(tmp_path / str(at))
        log = stored.create().open()
        stored.publish(log, 1, -1)
        stored.publish(log, 2, -2)
        disk = FaultyDisk(at, code=errno.ENOSPC)
        try:
            while merge_next(disk, stored.source, now=TOMORROW):
                pass
        except OSError:
            refused += 1
        assert (stored.ids(), len(stored.quarantined())) == ([1, 2], 2), (at, disk.operations)
        merge_all(stored)
        assert (files(stored), files(stored, "quarantine")) == (["1-00000000000000000004"],) * 2
        if len(disk.operations) < at:
            break
    assert refused > 20


class WithoutSwap(Disk):
    def exchange(self, one: Path, other: Path) -> None:
        raise OSError(errno.EINVAL, "no such thing here")


def test_a_file_system_that_can_not_swap_keeps_its_small_files(stored):
    log = stored.open()
    stored.publish(log, 1)
    stored.publish(log, 2)
    with pytest.raises(SwapRefused):
        merge_next(WithoutSwap(), stored.source, now=TOMORROW)

    assert list(stored.source.merging.iterdir()) == []
    assert len(files(stored)) == 2
    assert stored.ids() == [1, 2]


@pytest.mark.parametrize("kind", ["rows", "quarantine"])
def test_damage_is_not_merged_into_what_checks(stored, kind):
    log = stored.open()
    stored.publish(log, 1, -1)
    stored.publish(log, 2, -2)
    (path, _) = sorted(stored.source.kind(kind).rglob("*.parquet"))
    flip(path, 60)
    before = verify_source(stored.disk, stored.source).problems
    with pytest.raises(Corruption):
        merge_all(stored)

    assert verify_source(stored.disk, stored.source).problems == before != ()


def test_quarantined_rows_that_are_missing_are_still_missed_after_a_merge(stored):
    log = stored.open()
    for number in range(1, 4):
        stored.publish(log, number, -number)
    (first, *_) = sorted(stored.source.kind("quarantine").rglob("*.parquet"))
    first.unlink()
    with pytest.raises(Corruption, match="missing"):
        merge_next(stored.disk, stored.source, now=TOMORROW)
    assert "1 quarantined rows of LSNs 1 to 2" in verify_source(stored.disk, stored.source).problems[0]


@pytest.mark.parametrize("when", ["between the two swaps", "after both"])
@pytest.mark.parametrize("kind", ["rows", "quarantine"])
def test_a_merged_segment_that_is_damaged_is_repaired(stored, kind, when):
    log = stored.open()
    for number in range(1, 4):
        stored.publish(log, number, -number)
    merge_next(stored.disk, stored.source, now=TOMORROW)
    if when == "after both":
        merge_all(stored)
    path = min(stored.source.kind(kind).rglob("*.parquet"))
    flip(path, 60)
    assert verify_source(stored.disk, stored.source).problems
    repair_source(stored.disk, stored.source, now=TOMORROW)

    assert verify_source(stored.disk, stored.source).problems == ()
    lost = 2 if kind == "quarantine" and when == "between the two swaps" else 0
    assert stored.ids() == ([] if kind == "rows" else [1, 2, 3])
    assert len(stored.quarantined()) == (3 if kind == "rows" else lost)
    merge_all(stored, now=TOMORROW + timedelta(hours=1))
    assert verify_source(stored.disk, stored.source).problems == ()
    assert len(stored.quarantined()) == (3 if kind == "rows" else lost)


def test_no_tool_that_reads_rows_looks_into_what_is_being_built(stored):
    """Before and after the swap there are two directories with the same rows, one of them out of every glob's way."""
    log = stored.open()
    stored.publish(log, 1)
    stored.publish(log, 2)
    merge_all(stored)

    assert len(list(stored.source.merging.rglob("*.parquet"))) == 2
    rows = stored.source.kind("rows")
    assert duckdb.execute(f"SELECT sum(id) FROM '{rows}/**/*.parquet'").fetchall() == [(3,)]
    assert pq.read_table(rows)["id"].to_pylist() == [1, 2]
    assert sum(ds.dataset(rows, partitioning="hive").to_table()["id"].to_pylist()) == 3


def test_globs_and_readers_see_every_row_once_while_days_are_swapped(stored, monkeypatch):
    """One day, swapped again and again, as its segments grow two by two.

    A name that went away is an error, and no answer; but DuckDB leaves out, silently, what goes away between its listing a
    directory and its looking at each name. So a glob's answer must be whole if no swap came in between; no row is ever
    there twice.
    """
    log = stored.open()
    for number in range(100, 132):
        stored.publish(log, number, -number)
    (in_memory,) = {read_facts(stored.disk, ref).arrow_bytes for ref in stored.snapshot().quarantine.segments}
    glob = f"{stored.source.kind('rows')}/**/*.parquet"
    swaps: list[Path] = []

    def merge_on_and_on() -> None:
        for factor in (2, 4, 8, 16, 32):
            monkeypatch.setattr(merge, "ARROW_BYTES_MAX", 2 * factor * in_memory)
            swaps.extend(merge_all(stored))

    merging = threading.Thread(target=merge_on_and_on)
    merging.start()
    seen = set()
    answers = 0
    with duckdb.connect() as connection:
        while merging.is_alive() or answers == 0:
            stock = take_stock(stored.disk, stored.source)
            assert (stock.rows, stock.quarantined_rows) == (32, 32)
            assert verify_source(stored.disk, stored.source).problems == ()
            before = files(stored)
            try:
                query = f"SELECT count(*), count(DISTINCT id), coalesce(sum(id), 0) FROM '{glob}'"
                ((count, distinct, total),) = connection.execute(query).fetchall()
            except duckdb.IOException:
                continue
            assert count == distinct <= 32
            if files(stored) == before:
                assert (count, total) == (32, sum(range(100, 132)))
                answers += 1
            seen.add(stock.segments)
    merging.join()

    assert files(stored) == files(stored, "quarantine") == ["1-00000000000000000064"]
    assert len(swaps) > 20
    assert len(seen) > 3
