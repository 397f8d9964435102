"""The rows inside frames, read back as Arrow batches without copying."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from segments.datafile import parse_datafile
from segments.filenames import Lsn
from segments.frame import Frame
from segments.keys import Notes, decode_notes
from segments.schema import Schema
from segments.wal_reader import WalFile

DATAFILE_KEY = b"siltstone.datafile"


def declared_schema(file: WalFile) -> Schema:
    """The schema under which the file's rows were written."""
    assert file.header is not None
    return parse_datafile(file.header.schema.metadata[DATAFILE_KEY].decode()).schema


def row_batches(file: WalFile) -> Iterator[pa.RecordBatch]:
    """The good rows of the file's frames. Buffers are views into the mapped file."""
    assert file.header is not None
    schema = file.header.schema.remove_metadata()
    for frame in file.frames:
        if frame.rows:
            yield pa.ipc.read_record_batch(pa.py_buffer(frame.rows), schema)


def quarantine_batches(file: WalFile) -> Iterator[pa.RecordBatch]:
    """The quarantined rows of the file's frames."""
    schema = declared_schema(file).quarantine
    for frame in file.frames:
        if frame.quarantine:
            yield pa.ipc.read_record_batch(pa.py_buffer(frame.quarantine), schema)


def remaining(quarantine: pa.Table, floor: Lsn, replayed: pa.Array) -> pa.Table:
    """The quarantined rows that were neither truncated nor replayed."""
    if not quarantine.num_rows or not (floor or len(replayed)):
        return quarantine
    lsns = quarantine["c__lsn"]
    gone = pc.or_(pc.less_equal(lsns, pa.scalar(floor, pa.uint64())), pc.is_in(lsns, replayed))
    return quarantine.filter(pc.invert(gone))


def frame_notes(frames: Iterable[Frame]) -> Notes:
    """What all the frames carry beside their rows."""
    notes = [decode_notes(frame.notes) for frame in frames]
    return Notes(tuple(key for one in notes for key in one.keys), tuple(lsn for one in notes for lsn in one.replays))
