"""A query's result -> bytes for HTTP, in ClickHouse's formats, a bounded piece at a time."""

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

import orjson
import pyarrow as pa
from rich.cells import cell_len

from query.clickhouse import csv_cells, tsv_cells, type_name
from query.engine import Result
from query.errors import ResultTooLarge
from query.output import FORMATS as OUR_FORMATS
from query.output import SLICE_ROWS
from query.texts import as_text, printable, unique_names
from query.values import CLICKHOUSE, Style, plain_values

PRETTY_ROWS_MAX = 1_000
PRETTY_CELL_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Written:
    """What an answer consists of; the bytes are where they were written to."""

    content_type: str
    rows: int


@dataclass(slots=True)
class _Answer:
    """One result on its way out."""

    result: Result
    out: BinaryIO
    started: float
    quote_64bit: bool
    rows: int = 0

    @property
    def names(self) -> list[str]:
        # What DuckDB calls `count_star()` was asked for as `count()`, and clients look it up by that.
        return unique_names(name.replace("count_star()", "count()") for name in self.result.reader.schema.names)

    def counted(self) -> pa.RecordBatchReader:
        schema = self.result.reader.schema
        fields = [field.with_name(name) for field, name in zip(schema, self.names, strict=True)]
        return pa.RecordBatchReader.from_batches(pa.schema(fields), self._batches(pa.schema(fields)))

    def slices(self) -> Iterator[pa.RecordBatch]:
        """Few rows at a time, because each value is a Python object on its way."""
        for batch in self._batches(self.result.reader.schema):
            for start in range(0, batch.num_rows, SLICE_ROWS):
                yield batch.slice(start, SLICE_ROWS)

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for batch in self.result.reader:
            self.rows += batch.num_rows
            yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)


class _Limited(io.RawIOBase):
    """Raises ResultTooLarge instead of writing more than so many bytes."""

    def __init__(self, out: BinaryIO, limit_bytes: int) -> None:
        self._out = out
        self._limit = limit_bytes
        self._left = limit_bytes

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]  # bytes, or one of pyarrow's buffers
        self._left -= view.nbytes
        if self._left < 0:
            raise ResultTooLarge(
                f"the answer is larger than {self._limit >> 20} MiB; ask for fewer columns or rows, or in parts by LIMIT"
            )
        self._out.write(view)
        return view.nbytes


def write_answer(
    result: Result, format_name: str, out: BinaryIO, *, started: float, quote_64bit: bool, limit_bytes: int
) -> Written:
    """Write the rows in the format of that name. Raises QueryFailed, ResultTooLarge; then `out` has a part of them.

    `started` is when the query began, by `time.monotonic`.
    """
    content_type, write = FORMATS[format_name]
    answer = _Answer(result, cast("BinaryIO", _Limited(out, limit_bytes)), started, quote_64bit)
    write(answer)
    return Written(content_type, answer.rows)


def _write_json(answer: _Answer) -> None:
    schema = answer.result.reader.schema
    meta = [{"name": name, "type": type_name(kind)} for name, kind in zip(answer.names, schema.types, strict=True)]
    answer.out.write(b'{"meta":' + orjson.dumps(meta) + b',"data":[')
    before = b"\n"
    for objects in _json_objects(answer, 0):
        answer.out.write(before + b",\n".join(objects))
        before = b",\n"
    scanned = answer.result.scanned()
    statistics = {
        "elapsed": round(time.monotonic() - answer.started, 9),
        "rows_read": scanned.rows,
        "bytes_read": scanned.bytes,
    }
    answer.out.write(b'\n],"rows":%d,"statistics":%b}\n' % (answer.rows, orjson.dumps(statistics)))


def _write_json_lines(answer: _Answer) -> None:
    for lines in _json_objects(answer, orjson.OPT_APPEND_NEWLINE):
        answer.out.write(b"".join(lines))


def _json_objects(answer: _Answer, option: int) -> Iterator[list[bytes]]:
    names, style = answer.names, Style(whole_fractions=True, quoted_64bit=answer.quote_64bit)
    for piece in answer.slices():
        rows = zip(*(plain_values(column, style) for column in piece.columns), strict=True)
        yield [orjson.dumps(dict(zip(names, row, strict=True)), option=option) for row in rows]


def _text_writer(
    cells: Callable[[pa.Array], list[str]], separator: str, *, with_names: bool
) -> Callable[[_Answer], None]:
    def write(answer: _Answer) -> None:
        if with_names:
            heading = (cells(pa.array([name]))[0] for name in answer.names)
            answer.out.write(separator.join(heading).encode() + b"\n")
        for piece in answer.slices():
            rows = zip(*(cells(column) for column in piece.columns), strict=True)
            answer.out.write("".join(separator.join(row) + "\n" for row in rows).encode())

    return write


def _write_pretty(answer: _Answer) -> None:
    """A box as wide as it must be, of the first PRETTY_ROWS_MAX rows."""
    kept: list[list[str]] = [[] for _ in answer.names]
    for piece in answer.slices():
        missing = PRETTY_ROWS_MAX - len(kept[0])
        for cells, column in zip(kept, piece.slice(0, missing).columns, strict=True):
            cells += [_pretty_cell(value) for value in plain_values(column, CLICKHOUSE)]
    if answer.rows == 0:
        return
    headings = [printable(name) for name in answer.names]
    widths = [max(map(cell_len, (name, *cells))) for name, cells in zip(headings, kept, strict=True)]
    rights = [_is_number(kind) for kind in answer.result.reader.schema.types]
    top = []
    for name, width, right in zip(headings, widths, rights, strict=True):
        line = "─" * (width - cell_len(name))
        top.append(f"─{line}{name}─" if right else f"─{name}{line}─")
    lines = ["┌" + "┬".join(top) + "┐"]
    for row in zip(*kept, strict=True):
        padded = (_padded(text, width, right=right) for text, width, right in zip(row, widths, rights, strict=True))
        lines.append("│ " + " │ ".join(padded) + " │")
    lines.append("└" + "┴".join("─" * (width + 2) for width in widths) + "┘")
    if answer.rows > len(kept[0]):
        lines.append(f"  Showed first {len(kept[0])} of {answer.rows} rows.")
    answer.out.write("\n".join(lines).encode() + b"\n")


def _padded(text: str, width: int, *, right: bool) -> str:
    blanks = " " * (width - cell_len(text))
    return blanks + text if right else text + blanks


def _pretty_cell(value: object) -> str:
    if value is None:
        return "ᴺᵁᴸᴸ"
    text = as_text(value)
    return printable(text if len(text) <= PRETTY_CELL_MAX else text[: PRETTY_CELL_MAX - 1] + "…")


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _reused(name: str) -> Callable[[_Answer], None]:
    def write(answer: _Answer) -> None:
        OUR_FORMATS[name](answer.counted(), answer.out)

    return write


FORMATS: dict[str, tuple[str, Callable[[_Answer], None]]] = {
    "JSON": ("application/json; charset=UTF-8", _write_json),
    "JSONEachRow": ("application/x-ndjson; charset=UTF-8", _write_json_lines),
    "CSV": ("text/csv; charset=UTF-8; header=absent", _text_writer(csv_cells, ",", with_names=False)),
    "CSVWithNames": ("text/csv; charset=UTF-8; header=present", _text_writer(csv_cells, ",", with_names=True)),
    "TSV": ("text/tab-separated-values; charset=UTF-8", _text_writer(tsv_cells, "\t", with_names=False)),
    "TSVWithNames": ("text/tab-separated-values; charset=UTF-8", _text_writer(tsv_cells, "\t", with_names=True)),
    "PrettyCompact": ("text/plain; charset=UTF-8", _write_pretty),
    "Parquet": ("application/octet-stream", _reused("parquet")),
    "Arrow": ("application/octet-stream", _reused("arrow")),
}
"""Content type and writer of each format, as ClickHouse sends them."""
