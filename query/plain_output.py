"""Rows of plain values -> bytes, in the formats that need nothing else."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

import orjson

from query.plain import PlainRows, Row
from query.table import TABLE_ROWS_MAX, Shown, draw_table


def write_ndjson(rows: PlainRows, out: BinaryIO) -> None:
    for lines in _json_objects(rows, orjson.OPT_APPEND_NEWLINE):
        out.write(b"".join(lines))


def write_json(rows: PlainRows, out: BinaryIO) -> None:
    before, after = b"[", b"[]\n"
    for objects in _json_objects(rows, 0):
        out.write(before + b"\n" + b",\n".join(objects))
        before, after = b",", b"\n]\n"
    out.write(after)


def _json_objects(rows: PlainRows, option: int) -> Iterator[list[bytes]]:
    for piece in rows.pieces:
        yield [orjson.dumps(dict(zip(rows.names, row, strict=True)), option=option) for row in piece]


def write_table(rows: PlainRows, out: BinaryIO) -> None:
    shown: list[Row] = []
    total = 0
    for piece in rows.pieces:
        shown += piece[: TABLE_ROWS_MAX - len(shown)]
        total += len(piece)
    draw_table(Shown(rows.names, rows.numbers, shown, total), out)


FORMATS: dict[str, Callable[[PlainRows, BinaryIO], None]] = {
    "table": write_table,
    "json": write_json,
    "ndjson": write_ndjson,
}
