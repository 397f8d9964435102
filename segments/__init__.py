"""Siltstone's storage: plain synchronous code over files, without Trio, HTTP or tokens.

The words used here, each with one meaning:

event        one JSON object as the client sent it
row          one event after the schema; numbered by LSN
source       a named data source: one directory, one schema, one ingest actor
LSN          dense number of an event within its source, good and quarantined alike; orders everything
offset       byte position inside one file, nothing else
frame        what one group commit writes: header, CRC, rows
group commit one frame for all requests that were waiting, and one fdatasync if any of them asked for it
WAL file     `wal/<epoch>-<first-lsn>.wal`; active (the writer's) or sealed (never written again)
epoch        one life of the writer; a later epoch voids overlapping LSNs of an earlier one
segment      an immutable Parquet file that covers a range of LSNs
durable LSN  everything up to here survived an fdatasync
published    everything up to here is in segments; the WAL below it is no longer needed
snapshot     segments plus the WAL rows not yet in one, read at one moment
torn tail    what a crash leaves of a write nobody was told about: expected, stepped over
corruption   any other bytes that fail a check: named, never returned as data
quarantine   rows that do not fit the schema, kept as sent with the reason

The path of a row: `source_log` has `prepare` read the group's bodies (`lines` and `small_batch`, or `line_reader`, or `decode`), `frame` makes
bytes of them, `wal_append` or `append_threads` write and sync these; later `compaction` -> `segment_file`.
Reading: `snapshot` over `wal_reader` and the segment names. The bytes on disk are described in FORMAT.md.
"""

from segments.hidden_numpy import hide

# Before anything imports pyarrow.
hide()
