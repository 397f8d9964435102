"""Telling a torn tail from corruption: the whole log in, a prefix or a named damage out, never a wrong row."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segments.batches import row_batches
from segments.disk import Disk
from segments.errors import StorageError
from segments.filenames import Lsn, WalName
from segments.frame import BadBytes, FileHeader, encode_frame, encode_header
from segments.recovery import recover
from segments.snapshot import open_snapshot
from segments.wal_reader import Log, assemble, open_files, read_file
from tests.stored import NOW, SCHEMA, Stored, body, commit, rows_of


@pytest.fixture(scope="module")
def wal(tmp_path_factory):
    """One WAL file with five group commits of one to three rows and a mark at its end: (name, bytes)."""
    stored = Stored(tmp_path_factory.mktemp("data")).create()
    log = stored.open()
    for ids in ((1,), (2, 3), (4,), (5, 6, 7), (8,)):
        commit(log, body(*ids))
    log.mark()
    (path,) = stored.source.wal.iterdir()
    return WalName.parse(path.name), path, path.read_bytes()


def judge(wal, data: bytes) -> Log:
    name, path, _ = wal
    return assemble([read_file(path, name, memoryview(data))], Lsn(0))


def ids(log: Log) -> list[int]:
    return [n for file in log.files if file.frames for batch in row_batches(file) for n in batch["id"].to_pylist()]


def test_an_undamaged_log_gives_all_rows(wal):
    log = judge(wal, wal[2])

    assert ids(log) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert not log.damage
    assert not log.torn


def test_any_truncation_gives_a_prefix_of_whole_groups(wal):
    whole = [[], [1], [1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7, 8]]
    for size in range(len(wal[2])):
        log = judge(wal, wal[2][:size])
        assert ids(log) in whole, size
        assert log.damage or ids(log) == whole[-1] or log.torn or size % 512 == 0, size


def test_any_flipped_bit_is_noticed_and_names_what_is_lost(wal):
    """With the mark at the end, every row is vouched for, so no flip can pass as a torn tail."""
    marks_at = judge(wal, wal[2]).files[0].size - 512
    for position in range(len(wal[2]) * 8):
        data = bytearray(wal[2])
        data[position // 8] ^= 1 << (position % 8)
        log = judge(wal, bytes(data))
        found = ids(log)
        assert set(found) <= set(range(1, 9))
        assert found == sorted(set(found))
        if position // 8 < marks_at:
            assert len(found) < 8
            assert log.damage, position
            assert "LSNs" in str(log.damage[0])
        else:
            assert len(found) == 8


@settings(max_examples=300)
@given(st.data())
def test_any_smear_gives_only_rows_that_were_written(wal, data):
    """Bytes overwritten, doubled, cut out or zeroed anywhere: rows come back whole or not at all."""
    start = data.draw(st.integers(0, len(wal[2]) - 1))
    end = data.draw(st.integers(start, min(len(wal[2]), start + 1500)))
    filler = data.draw(st.one_of(st.binary(max_size=700), st.just(b"\0" * (end - start)), st.just(wal[2][512:1536])))
    log = judge(wal, wal[2][:start] + filler + wal[2][end:])

    assert set(ids(log)) <= set(range(1, 9))
    assert len(set(ids(log))) == len(ids(log))


def test_a_bad_last_frame_that_nothing_vouches_for_is_a_torn_tail(wal):
    without_mark = wal[2][: len(wal[2]) - 512]
    log = judge(wal, without_mark[:-100] + b"\xff" * 100)

    assert ids(log) == [1, 2, 3, 4, 5, 6, 7]
    assert not log.damage
    assert isinstance(log.torn[0][1], BadBytes)


def test_a_later_epoch_voids_what_an_earlier_one_holds_from_there_on(tmp_path):
    """After a failed sync the next epoch starts at the first LSN that is not durable, and the old bytes are void."""
    stored = Stored(tmp_path).create()
    log = stored.open()
    commit(log, body(1, 2))
    commit(log, body(3), durably=False)
    stale = stored.open()
    stale.appended_lsn = stale.durable_lsn = Lsn(2)
    commit(stale, body(30, 40))

    assert stored.ids() == [1, 2, 30, 40]
    assert stored.open().appended_lsn == 4


def test_a_mark_that_was_never_synced_may_be_lost_from_a_file_that_another_follows(tmp_path):
    """A power cut, or a failed sync of somebody else's, may leave zeros where the last mark of a sealed file was."""
    stored = Stored(tmp_path).create()
    log = stored.open()
    commit(log, body(1, 2))
    log.mark()
    log.seal()
    commit(log, body(3))
    first = min(stored.source.wal.iterdir())
    first.write_bytes(first.read_bytes()[:-512] + bytes(512))

    recovered = recover(stored.disk, stored.source, now=NOW)
    assert not recovered.log.damage
    assert [path for path, _ in recovered.torn] == [first]
    commit(recovered.log, body(4))
    assert stored.ids() == [1, 2, 3, 4]


def test_a_missing_wal_file_is_corruption(tmp_path):
    stored = Stored(tmp_path).create()
    log = stored.open()
    for n in (1, 2, 3):
        commit(log, body(n))
        log.seal()
    sorted(stored.source.wal.iterdir())[1].unlink()

    snapshot = stored.snapshot()
    assert stored.ids() == [1, 3]
    assert "LSNs 2 to 2 are missing" in str(snapshot.damage[0])


def test_a_file_with_another_files_name_is_corruption(tmp_path):
    stored = Stored(tmp_path).create()
    commit(stored.open(), body(1))
    (path,) = stored.source.wal.iterdir()
    path.rename(path.with_name("0000000009-00000000000000000001.wal"))

    log = assemble(open_files(stored.disk, stored.source), Lsn(0))
    assert "name does not match" in str(log.damage[0])


def test_bytes_that_a_client_made_look_like_a_frame_are_never_believed(tmp_path):
    """A row that holds, at a sector's start, a whole frame that vouches for LSNs far ahead; then its own frame is torn."""
    forged, _ = encode_frame(
        nonce=bytes(16), first_lsn=Lsn(2), count=0, durable_lsn=Lsn(1 << 40), previous_crc=0, sections=(b"", b"", b"")
    )
    nonce = b"known to no one!"
    header, crc = encode_header(FileHeader(1, Lsn(1), b"0123456789abcdef", nonce, NOW.date(), SCHEMA.arrow))
    frame, _ = encode_frame(
        nonce=nonce,
        first_lsn=Lsn(1),
        count=1,
        durable_lsn=Lsn(0),
        previous_crc=crc,
        sections=(bytes(512 - 64) + forged, b"", b""),
    )
    assert (header + frame).index(forged) % 512 == 0
    torn = bytearray(header + frame)
    torn[-1] ^= 1
    name = WalName(1, Lsn(1))
    log = assemble([read_file(tmp_path / str(name), name, memoryview(torn))], Lsn(0))

    assert (log.damage, log.last_lsn, [file.frames for file in log.files]) == ((), 0, [()])
    assert len(log.torn) == 1


class Unsyncable(Disk):
    """A disk that syncs for no reader."""

    def __init__(self, code: int) -> None:
        self._code = code

    def map_synced(self, path: Path) -> memoryview:
        raise OSError(self._code, os.strerror(self._code))


@pytest.mark.parametrize("code", [errno.EROFS, errno.EIO, errno.ENOSPC])
def test_where_nothing_can_be_synced_what_the_log_vouches_for_is_shown_and_nothing_else(tmp_path, code):
    """Each commit says how far the one before was durable; the last is vouched for by its mark."""
    stored = Stored(tmp_path).create()
    log = stored.open()

    def shown() -> tuple[list[int], int]:
        snapshot = open_snapshot(Unsyncable(code), stored.source, to_show=True)
        assert all("can't be synced" in str(damage) for damage in snapshot.damage)
        return [row["id"] for row in rows_of(snapshot, "rows")], len(snapshot.damage)

    commit(log, body(1))
    assert shown() == ([], 1)
    commit(log, body(2, 3))
    assert shown() == ([1], 1)
    commit(log, body(4), durably=False)
    assert shown() == ([1, 2, 3], 1)
    commit(log, body(5), durably=False)
    assert shown() == ([1, 2, 3], 1)
    log.sync()
    assert shown() == ([1, 2, 3], 1)
    log.mark()
    assert shown() == ([1, 2, 3, 4, 5], 0)
    log.seal()
    commit(log, body(6))
    assert shown() == ([1, 2, 3, 4, 5], 1)


def test_who_writes_on_after_a_log_or_sends_its_rows_in_again_has_to_have_synced_it(tmp_path):
    stored = Stored(tmp_path).create()
    log = stored.open()
    commit(log, body(1))
    log.mark()
    log.seal()

    with pytest.raises(OSError, match="Read-only"):
        open_files(Unsyncable(errno.EROFS), stored.source)
    with pytest.raises(StorageError, match="Read-only"):
        open_snapshot(Unsyncable(errno.EROFS), stored.source)
    with pytest.raises(StorageError, match="Too many open files"):
        open_snapshot(Unsyncable(errno.EMFILE), stored.source, to_show=True)
