"""A query's result as a table for people: it fits the terminal, and no stored byte can drive the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from query.texts import as_text, printable

TABLE_ROWS_MAX = 1_000
CELL_CHARACTERS_MAX = 1_000
NULL = "NULL"


@dataclass(frozen=True, slots=True)
class Shown:
    """The rows that are shown, at most TABLE_ROWS_MAX, as plain values; how many there are; which columns hold numbers."""

    names: Sequence[str]
    numbers: Sequence[bool]
    rows: Sequence[Sequence[object]]
    total: int


def draw_table(shown: Shown, out: BinaryIO) -> None:
    """A terminal gets what fits it; a file or pipe gets as many columns as it takes."""
    if out.isatty():
        # Slow to load, and only a terminal asks for folding and colours.
        from query.terminal import draw_on_terminal  # noqa: PLC0415

        draw_on_terminal(shown, out)
    else:
        lines = [*_boxed(shown), count_line(len(shown.rows), shown.total)]
        out.write("".join(f"{line}\n" for line in lines).encode())


def cell_text(value: object) -> str:
    if value is None:
        return NULL
    text = as_text(value)
    return printable(text if len(text) <= CELL_CHARACTERS_MAX else text[: CELL_CHARACTERS_MAX - 1] + "…")


def count_line(shown: int, total: int) -> str:
    if total > shown:
        return f"{shown:,} rows, and {total - shown:,} more that are not shown: another --format gives them all"
    return "1 row" if total == 1 else f"{total:,} rows"


def cells_wide(text: str) -> int:
    """How many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 -- slow to load

    return cell_len(text)


def _boxed(shown: Shown) -> list[str]:
    headings = [printable(name) for name in shown.names]
    rows = [[cell_text(value) for value in row] for row in shown.rows]
    widths = [max(map(cells_wide, column)) for column in zip(headings, *rows, strict=True)]
    bars = ["─" * (width + 2) for width in widths]

    def line(texts: Sequence[str]) -> str:
        padded = map(_padded, texts, widths, shown.numbers)
        return f"│ {' │ '.join(padded)} │"

    return [
        f"╭{'┬'.join(bars)}╮",
        line(headings),
        f"├{'┼'.join(bars)}┤",
        *map(line, rows),
        f"╰{'┴'.join(bars)}╯",
    ]


def _padded(text: str, width: int, is_number: bool) -> str:  # noqa: FBT001 -- mapped over columns
    blanks = " " * (width - cells_wide(text))
    return blanks + text if is_number else text + blanks
