"""Check every byte of a source that can be checked, and say of each damaged part what it held."""

from contextlib import suppress
from dataclasses import dataclass

from segments.batches import frame_notes, quarantine_batches, row_batches
from segments.checked_json import decode
from segments.disk import Disk
from segments.errors import Corruption, StorageError
from segments.filenames import DataDir, SourceDir
from segments.manifest import Manifest, SegmentRef
from segments.segment_check import check_segment
from segments.segment_file import missing_quarantined, read_facts
from segments.snapshot import REPLACED_MAX, is_gone, read_consistently
from segments.source_files import load_altered_lsn, load_identity, load_schema
from segments.wal_reader import WalFile


@dataclass(frozen=True, slots=True)
class Verdict:
    """`problems` are damage. `notes` are what a crash leaves and recovery steps over; nothing is lost by them."""

    segments: int
    wal_files: int
    rows: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def verify_source(disk: Disk, source: SourceDir) -> Verdict:
    """Read everything; never raises for damage. Safe beside a running daemon."""
    for _ in range(REPLACED_MAX):
        with suppress(_Replaced):
            return _verify(disk, source)
    return Verdict(0, 0, 0, ("the segments change faster than they can be read",), ())


class _Replaced(Exception):
    """A segment is not there any more: it was merged with others, or truncated."""


def _verify(disk: Disk, source: SourceDir) -> Verdict:
    problems: list[str] = []
    for load in (load_identity, load_schema, load_altered_lsn):
        try:
            load(disk, source)
        except StorageError as error:
            problems.append(str(error))
    try:
        log, manifest = read_consistently(disk, source, to_show=True)
    except StorageError as error:
        return Verdict(0, 0, 0, (*problems, str(error)), ())
    problems += [str(damage) for damage in (*manifest.damage, *log.damage, *log.unsure)]
    rows = 0
    lost: list[str] = []
    for ref in (*manifest.rows, *manifest.quarantine, *manifest.keys, *manifest.replays):
        try:
            check_segment(disk, ref)
            facts = read_facts(disk, ref)
        except StorageError as error:
            if is_gone(disk, error):
                raise _Replaced from error
            problems.append(f"{error}: LSNs {ref.name.first_lsn} to {ref.name.last_lsn} are affected")
            continue
        if facts.lost:
            span = f"LSNs {ref.name.first_lsn} to {ref.name.last_lsn}"
            lost.append(f"{facts.lost} rows of {span} were lost to damage, which a repair set aside in damaged/")
        if ref in manifest.rows:
            rows += facts.rows + facts.quarantined_rows
            problems += _check_companions(disk, manifest, ref)
    for file in log.files:
        problems += _check_payloads(file)
        rows += sum(frame.count for frame in file.frames)
    notes = lost + [
        f"{path.name}: a torn tail at byte {bad.offset} ({bad.reason}), never acknowledged" for path, bad in log.torn
    ]
    notes += [f"{path.name}: left over from a cut-short publication" for path in manifest.leftovers]
    segments = len(manifest.rows) + len(manifest.quarantine)
    return Verdict(segments, len(log.files), rows, tuple(problems), tuple(notes))


def tokens_damage(disk: Disk, data: DataDir) -> Corruption | None:
    """What is wrong with the tokens' file. Raises OSError when it can't be read."""
    if not disk.exists(data.tokens):
        return None
    try:
        decode(disk.read(data.tokens))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Corruption(f"the tokens can't be read: {error}", path=data.tokens)
    return None


def _check_companions(disk: Disk, manifest: Manifest, ref: SegmentRef) -> list[str]:
    """A rows segment knows how many quarantined rows were published with it; a missing file shows by that alone."""
    try:
        missing = missing_quarantined(disk, manifest, ref)
    except StorageError:
        # The segment of them is damaged, which is a problem of its own.
        return []
    span = f"LSNs {ref.name.first_lsn} to {ref.name.last_lsn}"
    return [f"{missing} quarantined rows of {span} are missing ({ref.path})"] if missing else []


def _check_payloads(file: WalFile) -> list[str]:
    """A frame whose checksum is right and whose content is not would be a bug of the writer: say so too."""
    if not file.frames:
        return []
    try:
        count = sum(batch.num_rows for batch in row_batches(file))
        count += sum(batch.num_rows for batch in quarantine_batches(file))
        frame_notes(file.frames)
    except (ValueError, KeyError, TypeError, OSError) as error:
        return [f"the rows of {file.path} can't be decoded: {error}"]
    expected = sum(frame.count for frame in file.frames)
    return [] if count == expected else [f"{file.path} holds {count} rows where its frames say {expected}"]
