"""The child process that turns a Parquet file into events, within limits: its pages may unfold without end.

Standard input: a line of JSON, `{column name in lower case: path}`, then the file. Standard output: an event a line; on
failure nothing, the reason on standard error, and exit code 1.
"""

import math
import resource
import sys
from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from query.values import plain_values

MEMORY_BYTES_MAX = 1 << 30
OUTPUT_BYTES_MAX = 64 << 20
ROWS_AT_ONCE = 256


def main() -> None:
    """Convert one file."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    paths: dict[str, list[str]] = orjson.loads(sys.stdin.buffer.readline())
    try:
        events = _events(sys.stdin.buffer.read(), paths)
    except MemoryError:
        sys.exit("the Parquet file takes too much memory; send it in parts")
    except (pa.ArrowException, OSError, orjson.JSONEncodeError, ValueError, OverflowError) as error:
        # Arrow says in its own words when it gets no memory.
        sys.exit(f"the body is not a Parquet file that can be read: {error}")
    sys.stdout.buffer.write(events)


def _events(file: bytes, paths: dict[str, list[str]]) -> bytes:
    joined = bytearray()
    for batch in pq.ParquetFile(pa.BufferReader(file)).iter_batches(batch_size=ROWS_AT_ONCE):
        for event in _rows(batch, paths):
            joined += orjson.dumps(event)
            joined += b"\n"
            if len(joined) > OUTPUT_BYTES_MAX:
                sys.exit(f"the file's rows are more than {OUTPUT_BYTES_MAX} bytes as JSON; send it in parts")
    return bytes(joined)


def _rows(batch: pa.RecordBatch, paths: dict[str, list[str]]) -> Iterator[dict[str, Any]]:
    names = [paths.get(name.lower(), [name]) for name in batch.schema.names]
    columns = [_values(column) for column in batch.columns]
    for row in zip(*columns, strict=True):
        event: dict[str, Any] = {}
        for path, value in zip(names, row, strict=True):
            place = event
            for step in path[:-1]:
                place = place.setdefault(step, {})
                if not isinstance(place, dict):
                    sys.exit(f"the columns at {'.'.join(path)} and above it can't both come from one row of Parquet")
            if value is not None:
                place[path[-1]] = value
        yield event


def _values(column: pa.Array) -> list[object]:
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        # Many writers do not say that their bytes are text; what is none makes this raise.
        column = column.cast(pa.string())
    if pa.types.is_float32(column.type):
        # As its shortest text, which is what a Float32 column takes back.
        return [None if text is None else _number(text) for text in column.cast(pa.string()).to_pylist()]
    values = plain_values(column)
    if pa.types.is_floating(column.type):
        # JSON has no text for these; as a string they are told in the quarantine.
        return [str(v) if isinstance(v, float) and not math.isfinite(v) else v for v in values]
    return values


def _number(text: str) -> object:
    return orjson.Fragment(text) if math.isfinite(float(text)) else text


if __name__ == "__main__":
    main()
