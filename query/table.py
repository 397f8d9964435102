"""A query's result as a table for people: it fits the terminal, and no stored byte can drive the terminal."""

import io
import os
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa
from rich.box import ROUNDED
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from query.values import as_text, plain_values, printable, unique_names

TABLE_ROWS_MAX = 1_000
CELL_CHARACTERS_MAX = 1_000
READABLE_CELLS = 12
"""A column narrower than its content and than this is a sliver; then each row gets a block of its own."""
UNLIMITED_WIDTH = 1_000_000


@dataclass(frozen=True, slots=True)
class _Column:
    heading: Text
    cells: list[Text]
    numeric: bool

    def width(self) -> int:
        return max(cell_len(text.plain) for text in (self.heading, *self.cells))


def write_table(reader: pa.RecordBatchReader, out: BinaryIO) -> None:
    """The first TABLE_ROWS_MAX rows, and how many there are; a file or pipe gets as many columns as it takes."""
    shown, total = _first_rows(reader)
    names = unique_names(reader.schema.names)
    columns = [
        _Column(
            Text(printable(name), style="bold"),
            [_cell(value) for value in plain_values(column)],
            _is_number(column.type),
        )
        for name, column in zip(names, shown.columns, strict=True)
    ]
    width = (os.get_terminal_size(out.fileno()).columns or 80) if out.isatty() else UNLIMITED_WIDTH
    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=out.isatty(), highlight=False)
    if sum(min(column.width(), READABLE_CELLS) + 3 for column in columns) + 1 <= width:
        console.print(_side_by_side(columns))
    else:
        console.print(_blocks(columns, shown.num_rows))
    console.print(_count_line(shown.num_rows, total), style="dim")
    out.write(text.getvalue().encode())


def _first_rows(reader: pa.RecordBatchReader) -> tuple[pa.RecordBatch, int]:
    kept: list[pa.RecordBatch] = []
    total = 0
    for batch in reader:
        if total < TABLE_ROWS_MAX:
            kept.append(batch.slice(0, TABLE_ROWS_MAX - total))
        total += batch.num_rows
    return pa.concat_batches(kept) if kept else pa.RecordBatch.from_pylist([], schema=reader.schema), total


def _cell(value: object) -> Text:
    if value is None:
        return Text("NULL", style="dim")
    text = as_text(value)
    if len(text) > CELL_CHARACTERS_MAX:
        text = text[: CELL_CHARACTERS_MAX - 1] + "…"
    return Text(printable(text))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _side_by_side(columns: list[_Column]) -> Table:
    table = Table(box=ROUNDED)
    for column in columns:
        table.add_column(column.heading, justify="right" if column.numeric else "left", overflow="fold")
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*row)
    return table


def _blocks(columns: list[_Column], rows: int) -> Table:
    table = Table(box=ROUNDED, show_header=False)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for row in range(rows):
        for column in columns:
            table.add_row(column.heading, column.cells[row])
        table.add_section()
    return table


def _count_line(shown: int, total: int) -> str:
    if total > shown:
        return f"{shown:,} rows, and {total - shown:,} more that are not shown: another --format gives them all"
    return "1 row" if total == 1 else f"{total:,} rows"
