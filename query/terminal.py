"""The table on a terminal: folded to its width, or each row a block of its own where columns would be slivers."""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from rich.box import ROUNDED
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from query.table import Shown, cell_text, count_line
from query.texts import printable

READABLE_CELLS = 12
"""A column narrower than its content and than this is a sliver; then each row gets a block of its own."""


@dataclass(frozen=True, slots=True)
class _Column:
    heading: Text
    cells: list[Text]
    numeric: bool

    def width(self) -> int:
        return max(cell_len(text.plain) for text in (self.heading, *self.cells))


def draw_on_terminal(shown: Shown, out: BinaryIO) -> None:
    columns = [
        _Column(Text(printable(name), style="bold"), [_cell(row[number]) for row in shown.rows], is_number)
        for number, (name, is_number) in enumerate(zip(shown.names, shown.numbers, strict=True))
    ]
    width = os.get_terminal_size(out.fileno()).columns or 80
    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=True, highlight=False)
    if sum(min(column.width(), READABLE_CELLS) + 3 for column in columns) + 1 <= width:
        console.print(_side_by_side(columns))
    else:
        console.print(_blocks(columns, len(shown.rows)))
    console.print(count_line(len(shown.rows), shown.total), style="dim")
    out.write(text.getvalue().encode())


def _cell(value: object) -> Text:
    return Text(cell_text(value), style="dim" if value is None else "")


def _side_by_side(columns: Sequence[_Column]) -> Table:
    table = Table(box=ROUNDED)
    for column in columns:
        table.add_column(column.heading, justify="right" if column.numeric else "left", overflow="fold")
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*row)
    return table


def _blocks(columns: Sequence[_Column], rows: int) -> Table:
    table = Table(box=ROUNDED, show_header=False)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for row in range(rows):
        for column in columns:
            table.add_row(column.heading, column.cells[row])
        table.add_section()
    return table
