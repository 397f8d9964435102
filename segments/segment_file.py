"""One Parquet segment: encoded in memory, checked, published through the seam."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import google_crc32c
import pyarrow as pa
import pyarrow.parquet as pq

from segments.datafile import parse_datafile
from segments.datafile_print import print_schema
from segments.disk import Disk, publish
from segments.errors import Corruption, SchemaError
from segments.filenames import Kind, Lsn, SegmentName, SourceDir
from segments.keys import Key
from segments.manifest import Manifest, SegmentRef, companions
from segments.schema import Schema
from segments.segment_check import check_segment

REPLAYS_SCHEMA = pa.schema([pa.field("lsn", pa.uint64())])
ROW_GROUP_ROWS = 128 * 1024


@dataclass(frozen=True, slots=True)
class Facts:
    """What a segment's metadata says beside its schema."""

    rows: int
    quarantined_rows: int
    keys: int
    lost: int = 0
    arrow_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """What a segment covers: LSNs, both ends included, of one day and one schema.

    `quarantined_rows` is how many of them are in quarantine, and `keys` how many idempotency keys they came with; `lost`
    are those that a repair could not find.
    """

    day: date
    schema: Schema
    first_lsn: Lsn
    last_lsn: Lsn
    quarantined_rows: int
    keys: int
    lost: int = 0


def encode_segment(table: pa.Table, span: Span) -> tuple[SegmentName, bytes]:
    """The file of a segment, and its name."""
    facts = {
        "siltstone.datafile": print_schema(span.schema),
        "siltstone.first_lsn": str(span.first_lsn),
        "siltstone.last_lsn": str(span.last_lsn),
        "siltstone.quarantined_rows": str(span.quarantined_rows),
        "siltstone.keys": str(span.keys),
        "siltstone.lost": str(span.lost),
        "siltstone.arrow_bytes": str(table.nbytes),
    }
    sink = pa.BufferOutputStream()
    # pyarrow never syncs a path it writes and removes it on failure, so it only gets memory to write to.
    pq.write_table(
        table.replace_schema_metadata(facts),
        sink,
        compression="zstd",
        row_group_size=ROW_GROUP_ROWS,
        write_page_checksum=True,
        version="2.6",
        store_schema=True,
    )
    data = sink.getvalue().to_pybytes()
    assert pq.read_metadata(pa.BufferReader(data)).num_rows == table.num_rows
    return SegmentName(span.first_lsn, span.last_lsn, google_crc32c.value(data)), data


def write_segment(disk: Disk, source: SourceDir, kind: Kind, table: pa.Table, span: Span) -> SegmentRef:
    """Publish `table` as the segment of `span`; durable, and in the directory, when this returns."""
    name, data = encode_segment(table, span)
    directory = source.day(kind, span.day)
    if not disk.exists(directory):
        disk.mkdir(directory)
    # Also when it is there: an earlier call may have made it and failed to sync its name.
    disk.sync_dir(directory.parent)
    ref = SegmentRef(directory / str(name), name, span.day)
    publish(disk, ref.path, data)
    return ref


def open_segment(disk: Disk, ref: SegmentRef) -> pq.ParquetFile:
    """The segment, memory-mapped and unread. Raises OSError or pa.ArrowException."""
    return pq.ParquetFile(pa.BufferReader(pa.py_buffer(disk.map(ref.path))))


@lru_cache(maxsize=100_000)
def read_facts(disk: Disk, ref: SegmentRef) -> Facts:
    """The footer of a segment. Raises Corruption when there is none that can be read."""
    try:
        metadata = open_segment(disk, ref).metadata
        pairs = metadata.metadata
        said = int(pairs[b"siltstone.first_lsn"]), int(pairs[b"siltstone.last_lsn"])
        if said != (ref.name.first_lsn, ref.name.last_lsn):
            raise Corruption(f"the segment holds LSNs {said[0]} to {said[1]}, its name says others", path=ref.path)
        counts = (int(pairs[b"siltstone.quarantined_rows"]), int(pairs[b"siltstone.keys"]))
        others = (int(pairs.get(b"siltstone.lost", 0)), int(pairs.get(b"siltstone.arrow_bytes", 0)))
        return Facts(metadata.num_rows, *counts, *others)
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise Corruption(f"the segment's footer can't be read: {error}", path=ref.path) from error


def missing_quarantined(disk: Disk, manifest: Manifest, ref: SegmentRef) -> int:
    """How many of the quarantined rows that a rows segment knows of are in no segment. Raises Corruption."""
    if ref.name.last_lsn <= manifest.applied.quarantine_floor_lsn:
        return 0
    there = [read_facts(disk, other) for other in companions(manifest, ref)]
    return max(0, read_facts(disk, ref).quarantined_rows - sum(facts.rows + facts.lost for facts in there))


@lru_cache(maxsize=10_000)
def read_schema(disk: Disk, ref: SegmentRef) -> Schema:
    """The schema under which a segment was written. Raises Corruption."""
    try:
        return parse_datafile(open_segment(disk, ref).metadata.metadata[b"siltstone.datafile"].decode()).schema
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, SchemaError) as error:
        raise Corruption(f"the segment's footer can't be read: {error}", path=ref.path) from error


def read_keys(disk: Disk, ref: SegmentRef) -> tuple[Key, ...]:
    """The idempotency keys in a segment of keys. Raises Corruption."""
    check_segment(disk, ref)
    return tuple(Key(**row) for row in open_segment(disk, ref).read().to_pylist())


def read_replays(disk: Disk, refs: Iterable[SegmentRef]) -> pa.Array:
    """The LSNs of quarantined rows that are good rows by now. Raises Corruption."""
    tables = []
    for ref in refs:
        check_segment(disk, ref)
        tables.append(open_segment(disk, ref).read().cast(REPLAYS_SCHEMA))
    return pa.concat_tables([*tables, REPLAYS_SCHEMA.empty_table()])["lsn"].combine_chunks()


def replays_table(lsns: Sequence[int]) -> pa.Table:
    """The rows of a segment of replays."""
    return pa.table({"lsn": pa.array(lsns, pa.uint64())}, REPLAYS_SCHEMA)
