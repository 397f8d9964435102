"""A query's result -> bytes, in the format that was asked for, a bounded piece at a time."""

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO

import pyarrow as pa
from pyarrow import csv, ipc, parquet

from query.plain import PlainRows
from query.plain_output import write_json, write_ndjson
from query.table import TABLE_ROWS_MAX, Shown, draw_table
from query.texts import as_text, unique_names
from query.values import PLAIN_SCALES, plain_values

SLICE_ROWS = 4_096
"""Rows that are Python objects at one time; a batch of the engine has over 100,000."""
ROW_GROUP_ROWS = 122_880
ROW_GROUP_BYTES = 64 << 20


def _write_table(reader: pa.RecordBatchReader, out: BinaryIO) -> None:
    """The first TABLE_ROWS_MAX rows, and how many there are."""
    kept: list[pa.RecordBatch] = []
    total = 0
    for batch in reader:
        if total < TABLE_ROWS_MAX:
            kept.append(batch.slice(0, TABLE_ROWS_MAX - total))
        total += batch.num_rows
    rows = [row for batch in kept for row in _rows(batch)]
    draw_table(Shown(unique_names(reader.schema.names), _numbers(reader.schema), rows, total), out)


def _plainly(write: Callable[[PlainRows, BinaryIO], None]) -> Callable[[pa.RecordBatchReader, BinaryIO], None]:
    def write_reader(reader: pa.RecordBatchReader, out: BinaryIO) -> None:
        pieces = (list(_rows(piece)) for piece in _slices(reader))
        write(PlainRows(unique_names(reader.schema.names), _numbers(reader.schema), pieces), out)

    return write_reader


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[object, ...]]:
    return zip(*(plain_values(column) for column in batch.columns), strict=True)


def _numbers(schema: pa.Schema) -> list[bool]:
    checks = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return [any(check(kind) for check in checks) for kind in schema.types]


def _slices(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    for batch in reader:
        for start in range(0, batch.num_rows, SLICE_ROWS):
            yield batch.slice(start, SLICE_ROWS)


def _write_csv(reader: pa.RecordBatchReader, out: BinaryIO) -> None:
    names = unique_names(reader.schema.names)
    native = [_csv_writes(kind) for kind in reader.schema.types]
    schema = pa.schema(
        (name, kind if keeps else pa.string())
        for name, kind, keeps in zip(names, reader.schema.types, native, strict=True)
    )
    options = csv.WriteOptions(quoting_style="needed")
    with csv.CSVWriter(out, schema, write_options=options) as writer:
        for piece in _slices(reader):
            columns = [column if keeps else _texts(column) for column, keeps in zip(piece.columns, native, strict=True)]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))


def _csv_writes(kind: pa.DataType) -> bool:
    """Whether pyarrow's own text of the type is the one promised here."""
    if pa.types.is_decimal(kind):
        return kind.scale in PLAIN_SCALES
    return kind in {pa.bool_(), pa.float32(), pa.float64(), pa.string()} or bool(pa.types.is_integer(kind))


def _texts(column: pa.Array) -> pa.Array:
    return pa.array([None if value is None else as_text(value) for value in plain_values(column)], pa.string())


def _write_parquet(reader: pa.RecordBatchReader, out: BinaryIO) -> None:
    """Types that Parquet doesn't have (intervals, unions) are written as text."""
    names = unique_names(reader.schema.names)
    storable = [_parquet_stores(kind) for kind in reader.schema.types]
    schema = pa.schema(
        (name, kind if keeps else pa.string())
        for name, kind, keeps in zip(names, reader.schema.types, storable, strict=True)
    )
    sink = _CuttableSink(out)
    writer = parquet.ParquetWriter(sink, schema, compression="zstd")
    try:
        for group in _row_groups(reader):
            columns = [
                column if keeps else pa.chunked_array([_texts(chunk) for chunk in column.chunks], pa.string())
                for column, keeps in zip(group.columns, storable, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=group.num_rows)
    except BaseException:
        sink.cut()
        raise
    finally:
        writer.close()


def _row_groups(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    batches: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in reader:
        batches.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
            yield pa.Table.from_batches(batches)
            batches, rows, size = [], 0, 0
    if rows:
        yield pa.Table.from_batches(batches)


def _parquet_stores(kind: pa.DataType) -> bool:
    try:
        parquet.ParquetWriter(io.BytesIO(), pa.schema([("column", kind)])).close()
    except pa.ArrowNotImplementedError:
        return False
    return True


class _CuttableSink(io.RawIOBase):
    """A stream that can be cut, because a Parquet writer can't be stopped from ending its file with a valid footer.

    Without it a query that fails half-way leaves a file that looks whole and lacks rows.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out: BinaryIO | None = out

    def cut(self) -> None:
        self._out = None

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]  # pyarrow hands over bytes or one of its buffers
        if self._out is not None:
            self._out.write(view)
        return view.nbytes


def _write_arrow(reader: pa.RecordBatchReader, out: BinaryIO) -> None:
    names = unique_names(reader.schema.names)
    fields = [field.with_name(name) for field, name in zip(reader.schema, names, strict=True)]
    schema = pa.schema(fields, reader.schema.metadata)
    writer = ipc.new_stream(out, schema)
    for batch in reader:
        writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
    # not a `with` block: the end mark says that all rows are there
    writer.close()


FORMATS: dict[str, Callable[[pa.RecordBatchReader, BinaryIO], None]] = {
    "table": _write_table,
    "json": _plainly(write_json),
    "ndjson": _plainly(write_ndjson),
    "csv": _write_csv,
    "parquet": _write_parquet,
    "arrow": _write_arrow,
}
