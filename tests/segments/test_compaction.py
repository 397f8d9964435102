"""From the WAL to Parquet and back to the reader, without a gap or a double at any moment."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from segments.compaction import compact
from segments.datafile import parse_datafile
from segments.disk import Disk
from segments.errors import Corruption, WriteFailed
from segments.group import Write
from segments.lines import parse_body
from segments.manifest import read_applied, read_manifest
from segments.segment_file import read_facts
from segments.snapshot import open_snapshot
from segments.source_log import SourceLog
from segments.verify import verify_source
from tests.faults.faulty_disk import Died, FaultyDisk
from tests.stored import NOW, SCHEMA, Stored, body, commit, flip, key, rows_of


def test_rows_move_to_one_segment_and_the_wal_goes(stored):
    log = stored.open()
    commit(log, body(3, 1))
    commit(log, body(2, -7))
    done = stored.compact(log)

    assert (done.published, done.lsns, len(done.segments)) == (4, 4, 1)
    assert list(stored.source.wal.iterdir()) == []
    assert stored.ids() == [1, 2, 3]
    assert [row["id"] for row in stored.quarantined()] == ["bad"]
    facts = read_facts(stored.disk, done.segments[0])
    assert (facts.rows, facts.quarantined_rows) == (3, 1)
    assert read_applied(stored.disk, stored.source).applied_lsn == 4


def test_a_plain_glob_reads_the_rows(stored):
    log = stored.open()
    commit(log, body(1, 2, -3))
    stored.compact(log)

    glob = f"{stored.path}/sources/events/rows/**/*.parquet"
    assert sorted(duckdb.execute(f"SELECT id, text FROM '{glob}'").fetchall()) == [(1, "event 1"), (2, "event 2")]


def test_a_segment_is_sorted_by_the_sorting_key_and_says_its_schema(tmp_path):
    text = "SCHEMA >\n    `id` Nullable(Int64) `json:$.id`\n\nENGINE_SORTING_KEY id\n"
    stored = Stored(tmp_path).create(text)
    log = stored.open()
    commit(log, body(3, 1), body(2))
    (ref,) = stored.compact(log).segments

    assert pq.ParquetFile(ref.path).read()["id"].to_pylist() == [1, 2, 3]
    assert parse_datafile(pq.read_metadata(ref.path).metadata[b"siltstone.datafile"].decode()).schema == log.schema
    assert log.schema != SCHEMA


def test_a_range_of_quarantined_rows_only_still_has_its_rows_segment(stored):
    """Else its LSNs would look like a missing file."""
    log = stored.open()
    commit(log, body(-1, -2))
    stored.compact(log)
    commit(log, body(3))
    stored.compact(log)

    assert not stored.snapshot().damage
    assert stored.ids() == [3]
    assert len(stored.quarantined()) == 2


def test_rows_beyond_the_sealed_files_stay_in_the_wal(stored):
    log = stored.open()
    commit(log, body(1))
    log.seal()
    commit(log, body(2))
    compact(stored.disk, stored.source, through=log.sealed_lsn, now=NOW)

    assert [ref.name.last_lsn for ref in stored.snapshot().rows.segments] == [1]
    assert stored.ids() == [1, 2]
    commit(log, body(3))
    assert stored.ids() == [1, 2, 3]


def test_what_a_dead_file_holds_beyond_the_durable_rows_is_never_published(stored):
    """Its failed group may lie there whole; the epoch that voids it is still being written, so it is not looked at."""
    log = stored.open()
    commit(log, body(1))
    log._disk = log._writer._disk = FaultyDisk(2)
    with pytest.raises(WriteFailed):
        commit(log, body(2))
    log._disk = stored.disk
    commit(log, body(30, 40))
    done = compact(stored.disk, stored.source, through=log.sealed_lsn, now=NOW)

    assert done.published == log.sealed_lsn == 1
    assert stored.ids() == [1, 30, 40]
    stored.compact(log)
    assert stored.ids() == [1, 30, 40]
    assert not stored.snapshot().damage


def test_at_every_operation_a_reader_sees_every_row_once(tmp_path):
    """The compactor dies before each of its operations in turn; a reader looks; another compaction ends it well."""
    at = 0
    while True:
        at += 1
        stored = Stored(tmp_path / str(at))
        log = stored.create().open()
        commit(log, body(1, 2, -3))
        log.seal()
        commit(log, body(4, -5))
        log.seal()
        disk = FaultyDisk(at, fault="die")
        try:
            compact(disk, stored.source, through=log.sealed_lsn, now=NOW)
        except Died:
            pass
        assert stored.ids() == [1, 2, 4], (at, disk.operations)
        assert len(stored.quarantined()) == 2, (at, disk.operations)
        assert not stored.snapshot().damage
        stored.compact(log)
        assert stored.ids() == [1, 2, 4]
        assert len(stored.quarantined()) == 2
        assert verify_source(stored.disk, stored.source).problems == ()
        assert not read_manifest(stored.disk, stored.source).leftovers
        if len(disk.operations) < at:
            break
    assert at > 15


def test_a_reader_that_opened_the_wal_before_a_compaction_misses_nothing(stored):
    log = stored.open()
    commit(log, body(1, 2))
    before = stored.snapshot()
    stored.compact(log)

    assert before.rows.tail["id"].to_pylist() == [1, 2]


class Interrupted(Disk):
    """A reader's disk: something else happens right before the n-th thing that it looks at."""

    def __init__(self, at: int, happens: Callable[[], object]) -> None:
        self._at = at
        self._happens = happens
        self.looked = 0

    def _look(self) -> None:
        self.looked += 1
        if self.looked == self._at:
            self._happens()

    def listdir(self, path: Path) -> list[str]:
        self._look()
        return super().listdir(path)

    def read(self, path: Path) -> bytes:
        self._look()
        return super().read(path)

    def map_synced(self, path: Path) -> memoryview:
        self._look()
        return super().map_synced(path)


def test_a_compaction_between_any_two_steps_of_a_reader_hides_nothing(tmp_path):
    at = 0
    while True:
        at += 1
        stored = Stored(tmp_path / str(at))
        log = stored.create().open()
        commit(log, body(1, -2))
        stored.compact(log)
        commit(log, body(3))
        log.seal()
        commit(log, body(4, -5))

        def write_and_compact(stored: Stored = stored, log: SourceLog = log) -> None:
            stored.compact(log)
            commit(log, body(6))

        disk = Interrupted(at, write_and_compact)
        snapshot = open_snapshot(disk, stored.source)
        assert not snapshot.damage, at
        ids = sorted(row["id"] for row in rows_of(snapshot, "rows"))
        assert ids in ([1, 3, 4], [1, 3, 4, 6]), at
        assert {2, 5} == {row["c__lsn"] for row in rows_of(snapshot, "quarantine")}, at
        if disk.looked < at:
            break
    assert at > 8


@pytest.mark.parametrize("damage", ["flip", "cut", "delete", "rename"])
def test_a_damaged_segment_is_named_by_verify(stored, damage):
    log = stored.open()
    commit(log, body(1, 2))
    (ref,) = stored.compact(log).segments
    if damage == "flip":
        flip(ref.path, 100)
    elif damage == "cut":
        ref.path.write_bytes(ref.path.read_bytes()[:-10])
    elif damage == "rename":
        ref.path.rename(ref.path.with_name(ref.path.name.replace("-0000000000000000000", "-1000000000000000000", 1)))
    else:
        ref.path.unlink()

    verdict = verify_source(stored.disk, stored.source)
    assert verdict.problems
    assert "LSNs" in verdict.problems[0]


def test_damage_in_the_wal_stops_compaction_before_it_changes_anything(stored):
    log = stored.open()
    commit(log, body(1))
    commit(log, body(2))
    log.seal()
    (path,) = stored.source.wal.iterdir()
    flip(path, -600)
    damaged = path.read_bytes()

    with pytest.raises(Corruption, match="LSNs 1 to 1"):
        compact(stored.disk, stored.source, through=log.sealed_lsn, now=NOW)
    assert path.read_bytes() == damaged
    assert not list(stored.source.kind("rows").iterdir())
    assert stored.ids() == [2]


def test_a_quarantine_segment_that_is_gone_is_missed(stored):
    log = stored.open()
    commit(log, body(1, -2))
    stored.compact(log)
    (path,) = stored.source.kind("quarantine").rglob("*.parquet")
    path.unlink()

    (problem,) = verify_source(stored.disk, stored.source).problems
    assert "1 quarantined rows of LSNs 1 to 2 are missing" in problem


@pytest.mark.parametrize("name", ["rows", "quarantine", "keys", "wal"])
def test_a_directory_that_is_gone_is_damage_and_not_a_race(stored, name):
    commit(stored.open(), body(1))
    shutil.rmtree(stored.source.path / name)

    assert any(name in problem for problem in verify_source(stored.disk, stored.source).problems)


def test_stray_names_are_passed_over(stored):
    log = stored.open()
    commit(log, body(1, -2))
    stored.compact(log)
    (stored.source.kind("rows") / "ingested=2024-13-45").mkdir()
    (stored.source.wal / "notes.txt").write_text("mine")

    assert stored.ids() == [1]
    assert stored.open().appended_lsn == 2


def test_keys_have_segments_of_their_own_which_go_when_no_one_remembers_them(stored):
    log = stored.open()
    write = Write(parse_body(body(1)), key("a", body(1)))
    log.commit([write], NOW, durably=True)
    stored.compact(log)
    assert len(list(stored.source.kind("keys").rglob("*.parquet"))) == 1
    assert b"siltstone.keys" in pq.read_metadata(stored.snapshot().rows.paths[0]).metadata

    compact(stored.disk, stored.source, through=log.sealed_lsn, now=NOW + timedelta(days=2))
    assert not list(stored.source.kind("keys").rglob("*.parquet"))
    assert verify_source(stored.disk, stored.source).problems == ()
