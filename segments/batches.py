"""The rows inside frames, read back as Arrow batches without copying."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from segments.datafile import parse_datafile
from segments.filenames import Lsn
from segments.frame import Frame
from segments.keys import Key, decode_keys
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


def above(quarantine: pa.Table, floor: Lsn) -> pa.Table:
    """The quarantined rows that were not truncated."""
    if not floor or not quarantine.num_rows:
        return quarantine
    return quarantine.filter(pc.greater(quarantine["c__lsn"], pa.scalar(floor, pa.uint64())))


def frame_keys(frames: Iterable[Frame]) -> tuple[Key, ...]:
    """The idempotency keys that the frames carry."""
    return tuple(key for frame in frames for key in decode_keys(frame.notes))
