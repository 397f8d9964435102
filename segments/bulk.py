"""The way of large bodies: lines that all fit go from bytes to Arrow without becoming Python objects.

Machine code reads them (`line_reader`), but for lines that it does not take. Where it takes few, or is not loaded yet, `pyarrow.json`
reads a part of a body (`bulk_schema`). Whatever both refuse, or might read otherwise than `decode` does, goes line by line. So a
body has one meaning, whichever way it took; property tests compare them.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property
from threading import Lock

import orjson
import pyarrow as pa

from segments.bulk_schema import BulkSchema
from segments.decode import BadRow, Decoded, decode, join_decoded, misfit
from segments.elements import BLANKS, array_elements
from segments.line_reader import LineReader, Lines, Refused
from segments.lines import BOM, SLICE_BYTES, line_slices, parse_lines, parse_slice, parse_slices
from segments.plain_lines import count_objects
from segments.schema import Schema

PART_BYTES = 1 << 20
"""What one thread decodes at a time: small enough that the last part of a body is soon done."""
FEW_OF = 8
"""One line in so many may be refused by the machine code and read by itself; of more, pyarrow may take all at once."""


class BulkDecoder:
    """Fits a large body into the reader's schema, part by part; parts may be decoded at once in several threads.

    `now` is naive UTC, for defaults; `check_rows` is told how many rows there are so far, before they are decoded, and what
    it raises passes through.
    """

    def __init__(self, reader: LineReader, now: datetime, check_rows: Callable[[int], None]) -> None:
        self.schema = reader.schema
        self._reader = reader
        self._now = now
        self._check_rows = check_rows
        self._rows = 0
        self._counting = Lock()

    @cached_property
    def _bulk(self) -> BulkSchema:
        return BulkSchema(self.schema)

    def decode_part(self, part: bytes) -> Decoded:
        """The rows of whole lines; what is no object in them is a bad row."""
        lines = self._reader.read(part)
        if lines is not None and sum(not line.odd for line in lines.refused) * FEW_OF <= lines.events:
            self._count(lines.events)
            return self._with_refused(part, lines)
        counted = 0
        if self._bulk.is_readable:
            counted = count_objects(part)
            self._count(counted)
            decoded = self._bulk.decode(part, counted)
            if decoded is not None:
                return decoded
        if lines is not None:
            self._count(max(0, lines.events - counted))
            return self._with_refused(part, lines)
        pieces = []
        for piece in line_slices(part, SLICE_BYTES):
            events = parse_slice(piece)
            self._count(max(0, len(events) - counted))
            counted = max(0, counted - len(events))
            pieces.append(decode(self.schema, events, self._now))
        return join_decoded(self.schema, pieces)

    def _with_refused(self, part: bytes, lines: Lines) -> Decoded:
        """The rows that the machine code has read, and those that it has not, in the order of their lines."""
        bad: list[BadRow] = []
        others: list[Refused] = []
        known: dict[tuple[int, bytes], tuple[str, str] | None] = {}
        for line in lines.refused:
            row = self._bad_row(part, line, known) if line.odd else None
            if row is None:
                others.append(line)
            else:
                bad.append(row)
        if not others:
            return Decoded(self.schema, lines.batch, tuple(bad), lines.events, {})
        late = decode(self.schema, parse_lines(_raw(part, line) for line in others), self._now)
        kept = {row.number for row in late.bad}
        bad = sorted((*bad, *(row.at(others[row.number].number) for row in late.bad)), key=lambda row: row.number)
        places = [line.number for index, line in enumerate(others) if index not in kept]
        good = _merged(lines.batch, late.good, places, [row.number for row in bad]) if places else lines.batch
        return Decoded(self.schema, good, tuple(bad), lines.events, late.unknown)

    def _bad_row(
        self, part: bytes, line: Refused, known: dict[tuple[int, bytes], tuple[str, str] | None]
    ) -> BadRow | None:
        """None when the line must be looked at as a whole: one of its odd values fits, or is no JSON.

        `known` are errors that were found before: the same values are wrong over and over.
        """
        errors = []
        for slot, begin, end in sorted(line.odd):
            odd = slot, part[begin:end]
            if odd not in known:
                try:
                    known[odd] = self._error(*odd)
                except orjson.JSONDecodeError:
                    return None
            error = known[odd]
            if error is None:
                return None
            errors.append(error)
        return BadRow(line.number, _raw(part, line), is_object=True, errors=tuple(errors))

    def _error(self, slot: int, value: bytes) -> tuple[str, str] | None:
        column = self.schema.columns[slot]
        reason = misfit(column, value)
        return None if reason is None else (column.name, reason)

    def join(self, parts: Sequence[Decoded], size_bytes: int) -> Decoded | None:
        """The parts as one body of so many bytes; None when its first line is no object, and it may be an object over several
        lines."""
        group = join_decoded(self.schema, parts)
        starts_with_object = not group.bad or group.bad[0].number > 0 or group.bad[0].is_object
        has_object = group.good.num_rows or any(row.is_object for row in group.bad)
        return group if starts_with_object or (has_object and size_bytes > SLICE_BYTES) else None

    def decode_whole(self, body: bytes) -> Decoded:
        """All of a body in one go, lines or not. Raises BodyRejected."""
        body = body.removeprefix(BOM)
        if array_elements(body) is None:
            group = self.join([self.decode_part(part) for part in line_slices(body, PART_BYTES)], len(body))
            if group is not None:
                return group
        self._rows = 0
        parts = []
        for events in parse_slices(body):
            self._count(len(events))
            parts.append(decode(self.schema, events, self._now))
        return join_decoded(self.schema, parts)

    def _count(self, rows: int) -> None:
        with self._counting:
            self._rows += rows
            self._check_rows(self._rows)


def decode_bulk(schema: Schema, body: bytes, now: datetime, *, check_rows: Callable[[int], None]) -> Decoded:
    """Fit a whole body into the schema, as `BulkDecoder` does. Raises BodyRejected, and what `check_rows` raises."""
    return BulkDecoder(LineReader(schema), now, check_rows).decode_whole(body)


def _raw(part: bytes, line: Refused) -> bytes:
    return part[line.begin : line.end].rstrip(BLANKS)


def _merged(batch: pa.RecordBatch, late: pa.RecordBatch, places: Sequence[int], bad: Sequence[int]) -> pa.RecordBatch:
    """Both as one; the rows of `late` are those of the lines `places`, and the lines `bad` are of neither."""
    order: list[int] = []
    before = 0
    for number, place in enumerate(places):
        until = place - number - bisect_left(bad, place)
        order += range(before, until)
        order.append(batch.num_rows + number)
        before = until
    order += range(before, batch.num_rows)
    return pa.concat_batches([batch, late]).take(pa.array(order, pa.int64()))
