"""Whole lines of JSON -> a record batch, by machine code. What does not fit at a glance is left to whoever asked.

The machine code is loaded by whoever has lines to read, because it takes memory, and making it the first time takes several
seconds. Until it is there lines are read otherwise, and mean the same.
"""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import NamedTuple

import orjson
import pyarrow as pa

from segments.batch_message import BatchMessage
from segments.compiled.load import MachineCode
from segments.compiled.plan import (
    ARRAY,
    COLUMN_INTS,
    EVENTS,
    FILLED,
    LATE,
    LATE_INTS,
    LATE_ROOM,
    LINE_BYTES,
    LIST_ROOM,
    LISTS,
    ODD,
    ODD_BITS,
    ODD_INTS,
    ODD_ROOM,
    REFUSED,
    REFUSED_INTS,
    ROOM,
    TEXT,
    WORD,
    LinePlan,
)
from segments.decode import Decoded
from segments.lines import LINE_BYTES_MAX, exact, has_float, json_text
from segments.plain_lines import is_utf8
from segments.schema import Schema

SCRATCH_PER_BYTE = 4
"""Of memory for each byte of lines, while they are read: rows of few bytes for their columns are read otherwise, because each
column takes nine for each row, sent or not."""
_SCRATCH_MIN = 1 << 16
LATE_MAX = 8192
"""Of one text, values that Python has to read, with the interpreter lock; lines with more of them are refused."""
_LATE_MIN, _LATE_BYTES = 16, 16
"""There is room for so many, and one more in so many bytes."""
_ODD_MIN, _ODD_BYTES = 16, 64
"""As above, for values that do not fit."""
_NESTED = b"[{"
_BEHIND = b"\n" * WORD
_NUMBER_MASK = (1 << ODD_BITS) - 1
_INT_BYTES = 8
_OFFSET_BYTES = 4
_COLUMN_EXTRA = 64
"""More than the ends of a column's buffers take, when all are rounded up."""
_machine_code: MachineCode | None = None


def use(code: MachineCode) -> None:
    """From now on lines are read by this machine code, unless there is some already."""
    global _machine_code  # noqa: PLW0603 -- code is one for the process, as modules are
    if _machine_code is None:
        _machine_code = code


Odd = tuple[int, int, int]
"""A value that a column may not take: the column's number, and where the value begins and ends in the text."""


class Refused(NamedTuple):
    """A line that has to be looked at otherwise: its place in the text, and its number among the events.

    When it has odd values it is an object in which everything else fits, and has no keys that no column takes. What is in
    the brackets of an odd value may not be JSON; of no other it has been left to Python to tell.
    """

    begin: int
    end: int
    number: int
    odd: tuple[Odd, ...] = ()


@dataclass(frozen=True, slots=True)
class Lines:
    """`events` lines that were not blank: the rows of those that fit, in order, and the others."""

    batch: pa.RecordBatch
    events: int
    refused: tuple[Refused, ...]


class LineReader:
    """For one schema; in any thread. Costs nothing until there is something to read."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    @cached_property
    def _layout(self) -> "_Layout | None":
        """None for a schema that is read otherwise."""
        plan = LinePlan.of(self.schema)
        return None if plan is None else _Layout(self.schema, plan)

    def read(self, text: bytes) -> Lines | None:
        """None when the machine code is not there, or not for such lines."""
        code, layout = _machine_code, self._layout
        if code is None or layout is None or not is_utf8(text):
            return None
        if not text.endswith(b"\n"):
            text += b"\n"
        scratch = layout.scratch(code, text)
        return None if scratch is None else layout.read(code, text, scratch)

    def decode(self, body: bytes) -> Decoded | None:
        """The rows of a body that fit all of them; None when it has to be looked at otherwise."""
        lines = self.read(body)
        if lines is None or lines.refused or not lines.events:
            return None
        return Decoded(self.schema, lines.batch, (), lines.events, {})


@dataclass(frozen=True, slots=True)
class _Scratch:
    """Memory for what is found in a text, which is there as long as `memory` is."""

    memory: pa.Buffer
    work: "ctypes.Array[ctypes.c_int64]"
    cells: int
    refused: int
    marks: int


class _Layout:
    """A plan, and what the batches of its schema look like."""

    def __init__(self, schema: Schema, plan: LinePlan) -> None:
        self._arrow = schema.arrow
        self._message = BatchMessage.of(schema.arrow)
        self._keys = plan.keys
        self._numbers = (ctypes.c_int64 * len(plan.numbers))(*plan.numbers)
        self._columns = (ctypes.c_int64 * len(plan.columns))(*plan.columns)
        self._slots = len(schema.columns)
        self._lists = plan.numbers[LISTS]
        self._extra_bytes = _COLUMN_EXTRA * (len(plan.columns) // COLUMN_INTS + self._lists)
        columns = [plan.columns[at : at + COLUMN_INTS] for at in range(0, len(plan.columns), COLUMN_INTS)]
        # A byte for each bit, of validity too; a text, and a list, has four for its offset.
        self._row_bytes = sum(
            1 + (_OFFSET_BYTES if kind in {TEXT, ARRAY} else size or 1) for kind, size, _, _ in columns
        )
        self._element_bytes = [
            1 + (_OFFSET_BYTES if element == TEXT else size or 1) for kind, size, _, element in columns if kind == ARRAY
        ]

    def scratch(self, code: MachineCode, text: bytes) -> _Scratch | None:
        """None when the rows would take too much of it."""
        room = code.count(text, len(text), ord("\n"))
        list_room = code.count(text, len(text), ord(",")) + room if self._lists else 0
        late_room = min(LATE_MAX, _LATE_MIN + len(text) // _LATE_BYTES)
        odd_room = _ODD_MIN + len(text) // _ODD_BYTES
        work_ints = LATE + 1 + LATE_INTS * late_room + ODD_INTS * odd_room
        cells = self._slots * room + self._lists * list_room
        size = (_INT_BYTES + 1) * cells + _INT_BYTES * (REFUSED_INTS * room + work_ints)
        if size > SCRATCH_PER_BYTE * len(text) + _SCRATCH_MIN:
            return None
        memory = pa.allocate_buffer(size)
        work = (ctypes.c_int64 * work_ints).from_address(memory.address)
        work[ROOM], work[LIST_ROOM], work[LATE_ROOM], work[ODD_ROOM] = room, list_room, late_room, odd_room
        work[LINE_BYTES] = LINE_BYTES_MAX
        cells_at = memory.address + _INT_BYTES * work_ints
        refused_at = cells_at + _INT_BYTES * cells
        return _Scratch(memory, work, cells_at, refused_at, refused_at + _INT_BYTES * REFUSED_INTS * room)

    def read(self, code: MachineCode, text: bytes, scratch: _Scratch) -> Lines | None:
        """None when Python says of a value that it is none."""
        work = scratch.work
        rows = code.scan(
            text + _BEHIND, len(text), self._keys, self._numbers, work, scratch.cells, scratch.marks, scratch.refused
        )
        if work[LATE]:
            try:
                text = _with_late(text, scratch)
            except orjson.JSONDecodeError:
                return None
        return Lines(self._batch(code, text, scratch, rows), work[EVENTS], tuple(_refused(scratch)))

    def _batch(self, code: MachineCode, text: bytes, scratch: _Scratch, rows: int) -> pa.RecordBatch:
        head, work = self._message, scratch.work
        head_bytes = len(head.example)
        body_max = len(text) + rows * self._row_bytes + self._extra_bytes
        for number, size in enumerate(self._element_bytes):
            body_max += work[FILLED + number] * size
        message = pa.allocate_buffer(head_bytes + body_max)
        at = message.address
        ctypes.memmove(at, head.example, head_bytes)
        out = at + head_bytes
        places = (out, out, out, out, at + head.nodes_at, at + head.buffers_at)
        size = code.pack(text, self._numbers, self._columns, work, scratch.cells, scratch.marks, rows, *places)
        ctypes.c_int64.from_address(at + head.rows_at).value = rows
        ctypes.c_int64.from_address(at + head.body_at).value = size
        return pa.ipc.read_record_batch(message.slice(0, head_bytes + size), self._arrow)


def _refused(scratch: _Scratch) -> Iterator[Refused]:
    work = scratch.work
    found = (ctypes.c_int64 * (REFUSED_INTS * work[REFUSED])).from_address(scratch.refused)[:]
    odd_at = LATE + 1 + LATE_INTS * work[LATE_ROOM]
    values = iter(work[odd_at : odd_at + ODD_INTS * work[ODD]])
    odd = zip(values, values, values, strict=True)
    lines = iter(found)
    for begin, end, number in zip(lines, lines, lines, strict=True):
        count = number >> ODD_BITS
        yield Refused(begin, end, number & _NUMBER_MASK, (next(odd),) if count == 1 else tuple(islice(odd, count)))


def _with_late(text: bytes, scratch: _Scratch) -> bytes:
    """Put the late values into their cells; what becomes a text stands behind the others. Raises JSONDecodeError."""
    found = scratch.work[LATE + 1 : LATE + 1 + LATE_INTS * scratch.work[LATE]]
    texts: list[bytes] = []
    end = len(text)
    for place in range(0, len(found), LATE_INTS):
        number, begin, behind = found[place : place + LATE_INTS]
        raw = text[begin:behind]
        cell = scratch.cells + _INT_BYTES * number
        if raw[0] in _NESTED:
            value = orjson.loads(raw)
            texts.append(json_text(exact(raw) if has_float(value) else value).encode())
            ctypes.c_int64.from_address(cell).value = end << 32 | len(texts[-1]) << 1
            end += len(texts[-1])
        else:
            ctypes.c_double.from_address(cell).value = float(raw)
    return b"".join((text, *texts))
