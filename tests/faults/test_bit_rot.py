"""Every byte of every file of a source, with one bit of it flipped: noticed, named, never returned, and mended."""

import shutil
from collections import Counter
from datetime import timedelta
from itertools import count

import pytest

from segments.errors import StorageError
from segments.group import Write
from segments.lines import parse_body
from segments.repair import repair_source
from segments.truncation import truncate
from segments.verify import verify_source
from tests.daemons import siltstone
from tests.faults.faulty_disk import Died, FaultyDisk
from tests.stored import NOW, Stored, body, commit, key

PAGE = 4096


def write_source(path) -> Stored:
    """Two segments with quarantine and keys, and three files of the log in two epochs, of which one is not sealed."""
    stored = Stored(path).create()
    log = stored.open()
    for number in range(8):
        rows = body(number * 10 + 1, -1 - number, number * 10 + 2)
        log.commit([Write(parse_body(rows), key(f"k{number}", rows))], NOW, durably=True)
        if number in (1, 3):
            stored.compact(log)
        if number == 5:
            log.seal()
        if number == 6:
            log = stored.open()
    log.mark()
    log.sync()
    return stored


def found(stored: Stored) -> tuple[Counter[int], Counter[str]]:
    """What readers get, of good rows and of quarantined ones; nothing from a source that can't be read."""
    try:
        return Counter(stored.ids()), Counter(row["c__row"] for row in stored.quarantined())
    except StorageError:
        return Counter(), Counter()


def is_noticed(stored: Stored) -> bool:
    return bool(verify_source(stored.disk, stored.source).problems)


def is_torn_mark(stored: Stored, everything) -> bool:
    """The last frame of the log's last file has no rows; without it, it looks like a write that nobody was told about."""
    return bool(verify_source(stored.disk, stored.source).notes) and found(stored) == everything


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Stored:
    return write_source(tmp_path_factory.mktemp("whole"))


def files_of(stored: Stored):
    return sorted(path for path in stored.source.path.rglob("*") if path.is_file())


def test_every_flipped_bit_is_noticed_and_the_log_returns_nothing_that_it_hit(whole):
    everything = found(whole)
    assert not is_noticed(whole)
    flips = 0
    for path in files_of(whole):
        content = path.read_bytes()
        # The checksum of a segment is over the whole file: one in so many bytes shows as much as all of them.
        for at in range(0, len(content), 23 if path.suffix == ".parquet" else 1):
            path.write_bytes(content[:at] + bytes([content[at] ^ (1 << at % 8)]) + content[at + 1 :])
            flips += 1
            assert is_noticed(whole) or is_torn_mark(whole, everything), f"{path.name}, byte {at}"
            if path.suffix != ".parquet" and not at % 4:
                rows, quarantine = found(whole)
                assert rows <= everything[0], f"{path}, {at}"
                assert quarantine <= everything[1], f"{path}, {at}"
        path.write_bytes(content)
    assert flips > 8000
    assert found(whole) == everything


def damages():
    """Ways to hurt a file."""
    yield (
        "flipped",
        lambda path, at: path.write_bytes((data := path.read_bytes())[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]),
    )
    yield (
        "zeros",
        lambda path, at: path.write_bytes(
            (data := path.read_bytes())[:at] + bytes(len(data[at : at + PAGE])) + data[at + PAGE :]
        ),
    )
    yield "cut", lambda path, at: path.write_bytes(path.read_bytes()[:at])
    yield "gone", lambda path, _: path.unlink()


@pytest.mark.parametrize(("how", "damage"), list(damages()))
def test_a_repair_keeps_all_that_checks_and_makes_the_source_take_rows_again(whole, tmp_path, how, damage):
    rows, quarantine = found(whole)
    repairs = 0
    for place, path in enumerate(files_of(whole)):
        size = path.stat().st_size
        for at in sorted({0, size // 3, size * 2 // 3, size - 1}):
            shutil.rmtree(tmp_path / "copy", ignore_errors=True)
            shutil.copytree(whole.path, tmp_path / "copy")
            stored = Stored(tmp_path / "copy")
            target = stored.path / path.relative_to(whole.path)
            damage(target, at)
            if not is_noticed(stored):
                torn = is_torn_mark(stored, (rows, quarantine))
                # Nothing vouches for what the log ends with when all of its last page is lost, the mark too.
                is_end = how == "zeros" and path == files_of(whole)[-1]
                is_same = how == "zeros" and target.read_bytes() == path.read_bytes()
                assert torn or is_end or is_same or how in ("cut", "gone"), f"{path.name}, {at}"
                continue
            done = repair_source(stored.disk, stored.source, now=NOW + timedelta(days=1))
            repairs += 1
            where = f"{how} {place} {path.name} at {at}: {done}"
            assert not is_noticed(stored), where
            left = found(stored)
            assert left[0] <= rows, where
            assert left[1] <= quarantine, where
            lost = sum(last - first + 1 for first, last in done.lost)
            if path.suffix == ".parquet" and "quarantine" in path.parts:
                lost += 2
            if not (path.suffix == ".wal" and at < size // 3):
                # A log file's header has the nonce without which none of its frames can be told from a client's bytes.
                assert left[0].total() + left[1].total() >= rows.total() + quarantine.total() - lost, where
            log = stored.open()
            assert not log.damage
            commit(log, body(1000))
            stored.compact(log)
            assert stored.ids() == sorted([*left[0].elements(), 1000]), where
            assert not is_noticed(stored), where
    assert repairs > 20


def test_rot_in_a_segment_of_replays_is_noticed_and_mended(tmp_path):
    """No row of the source can be read without it, so what is not noticed here could never be repaired."""
    stored = Stored(tmp_path).create()
    log = stored.open()
    commit(log, body(-1))
    stored.compact(log)
    log.commit([Write(parse_body(body(1)), replays=(1,))], NOW, durably=True)
    stored.compact(log)
    (path,) = stored.source.path.glob("replays/*/*")
    content = path.read_bytes()
    assert not is_noticed(stored)
    for at in range(0, len(content), 23):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert is_noticed(stored), at

    done = repair_source(stored.disk, stored.source, now=NOW)
    assert any("in quarantine again" in note for note in done.notes)
    assert not is_noticed(stored)
    assert stored.ids() == [1]
    assert len(stored.quarantined()) == 1


def test_a_repair_cut_short_goes_on(whole, tmp_path):
    """Killed at each of its operations, and run again."""
    for at in count(1):
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(whole.path, tmp_path / "copy")
        stored = Stored(tmp_path / "copy")
        for path in (*stored.source.path.glob("rows/*/*"), *sorted(stored.source.wal.iterdir())[:1]):
            data = path.read_bytes()
            middle = len(data) // 2
            path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        try:
            repair_source(FaultyDisk(at, fault="die"), stored.source, now=NOW)
        except Died:
            pass
        else:
            break
        repair_source(stored.disk, stored.source, now=NOW)
        assert not is_noticed(stored), at
        assert not stored.open().damage, at
    assert at > 20


def test_rows_that_were_truncated_do_not_come_back_with_a_repair(tmp_path):
    stored = write_source(tmp_path)
    log = stored.open()
    truncate(stored.disk, log, "rows", NOW)
    commit(log, body(5))
    stored.source.applied.write_bytes(b"rot")

    repair_source(stored.disk, stored.source, now=NOW)
    assert stored.ids() == [5]


def test_siltstone_repair_says_what_is_lost_and_where_the_rest_is(tmp_path):
    stored = write_source(tmp_path)
    path = min(stored.source.path.glob("rows/*/*"))
    path.write_bytes(b"PAR1")

    done = siltstone(tmp_path, "repair")
    assert done.returncode == 0, done.stderr
    assert b"events: LOST: 6 rows, LSNs 1 to 6\n" in done.stdout
    assert done.stdout.endswith(b"events: repaired\n")
    (aside,) = stored.source.path.glob("damaged/*/*")
    assert aside.read_bytes() == b"PAR1"
    assert siltstone(tmp_path, "repair").stdout == b"events: ok, nothing to repair\n"
    assert b"6 rows of LSNs 1 to 6 were lost" in siltstone(tmp_path, "verify").stdout
