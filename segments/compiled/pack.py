"""Cells, column by column -> the body of an Arrow record batch; compiled.

The layout is that of Arrow's columnar format ("Physical memory layout"): for each column, and for each list's elements, a bitmap
of what is valid, left out when all is, offsets where lengths differ, and the values. Every buffer begins at a multiple of 8.
"""

from segments.compiled.characters import ESCAPED, escape_bytes, four_hex_digits
from segments.compiled.functions import BYTES, INT, INT16S, INT32S, INTS, Bytes, Ints, compiled, entry
from segments.compiled.plan import (
    ARRAY,
    BOOL,
    COLUMN_BYTES,
    COLUMN_INTS,
    COLUMN_KIND,
    COLUMN_LIST,
    ELEMENT_KIND,
    FILLED,
    LIST_ROOM,
    MARK_VALUE,
    ROOM,
    SLOTS,
    TEXT,
)

_LENGTH_MASK = (1 << 31) - 1
_ONE_ESCAPE = 6
_BACKSLASH, _LETTER_B, _LETTER_F, _LETTER_N, _LETTER_R, _LETTER_T, _LETTER_U = map(ord, "\\bfnrtu")


@compiled(INT(INT, BYTES, INT))
def _encode(value: int, out: Bytes, end: int) -> int:
    """The character as UTF-8; gives where it ends."""
    if value < 0x80:
        out[end] = value
        return end + 1
    if value < 0x800:
        out[end], out[end + 1] = 0xC0 | value >> 6, 0x80 | value & 63
        return end + 2
    if value < 0x10000:
        out[end], out[end + 1], out[end + 2] = 0xE0 | value >> 12, 0x80 | value >> 6 & 63, 0x80 | value & 63
        return end + 3
    out[end], out[end + 1] = 0xF0 | value >> 18, 0x80 | value >> 12 & 63
    out[end + 2], out[end + 3] = 0x80 | value >> 6 & 63, 0x80 | value & 63
    return end + 4


@compiled(INT(BYTES, INT, INT, BYTES, INT))
def _unescape(text: Bytes, at: int, size: int, out: Bytes, end: int) -> int:
    behind = at + size
    while at < behind:
        character = INT(text[at])
        at += 1
        if character == _BACKSLASH:
            character = INT(text[at])
            at += 1
            if character == _LETTER_U:
                size = escape_bytes(text, at - 2)
                value = four_hex_digits(text, at)
                if size > _ONE_ESCAPE:
                    value = 0x10000 + ((value & 0x3FF) << 10 | four_hex_digits(text, at + _ONE_ESCAPE) & 0x3FF)
                end = _encode(value, out, end)
                at += size - 2
                continue
            if character == _LETTER_B:
                character = 8
            elif character == _LETTER_F:
                character = 12
            elif character == _LETTER_N:
                character = 10
            elif character == _LETTER_R:
                character = 13
            elif character == _LETTER_T:
                character = 9
        out[end] = character
        end += 1
    return end


@compiled(INT(BYTES, INT))
def _pad(out: Bytes, end: int) -> int:
    while end & 7:
        out[end] = 0
        end += 1
    return end


@compiled(INT(INTS, INT, INT, INT))
def _note(buffers: Ints, buffer: int, begin: int, end: int) -> int:
    buffers[2 * buffer], buffers[2 * buffer + 1] = begin, end - begin
    return buffer + 1


@compiled(INT(BYTES, INT, INT, BYTES, INT, INTS, INT, INTS, INT))
def _pack_validity(
    marks: Bytes, first: int, count: int, out: Bytes, end: int, nodes: Ints, node: int, buffers: Ints, buffer: int
) -> int:
    nulls = INT(0)
    for place in range(first, first + count):
        nulls += marks[place] != MARK_VALUE
    nodes[2 * node], nodes[2 * node + 1] = count, nulls
    begin, bits = end, INT(0)
    if nulls:
        for place in range(count):
            bits |= INT(marks[first + place] == MARK_VALUE) << (place & 7)
            if place & 7 == 7 or place == count - 1:
                out[end] = bits
                end += 1
                bits = 0
    _note(buffers, buffer, begin, end)
    return _pad(out, end)


@compiled(INT(INTS, BYTES, INT, INT, INT, BYTES, INT16S, INT32S, INTS, INT))
def _pack_numbers(
    cells: Ints,
    marks: Bytes,
    first: int,
    count: int,
    size: int,
    out: Bytes,
    out16: Ints,
    out32: Ints,
    out64: Ints,
    end: int,
) -> int:
    """Of `size` bytes each; the pointers are all to the same place."""
    for place in range(count):
        value = cells[first + place] if marks[first + place] == MARK_VALUE else 0
        if size == 8:
            out64[end // 8 + place] = value
        elif size == 4:
            out32[end // 4 + place] = value
        elif size == 2:
            out16[end // 2 + place] = value
        else:
            out[end + place] = value
    return end + count * size


@compiled(INT(INTS, BYTES, INT, INT, BYTES, INT))
def _pack_bits(cells: Ints, marks: Bytes, first: int, count: int, out: Bytes, end: int) -> int:
    bits = INT(0)
    for place in range(count):
        if marks[first + place] == MARK_VALUE:
            bits |= cells[first + place] << (place & 7)
        if place & 7 == 7 or place == count - 1:
            out[end] = bits
            end += 1
            bits = 0
    return end


@compiled(INT(BYTES, INTS, BYTES, INT, INT, BYTES, INT32S, INT, INTS, INT))
def _pack_texts(
    text: Bytes,
    cells: Ints,
    marks: Bytes,
    first: int,
    count: int,
    out: Bytes,
    out32: Ints,
    end: int,
    buffers: Ints,
    buffer: int,
) -> int:
    offsets = end // 4
    begin = end
    end += 4 * (count + 1)
    buffer = _note(buffers, buffer, begin, end)
    begin = end = _pad(out, end)
    for place in range(count):
        out32[offsets + place] = end - begin
        if marks[first + place] == MARK_VALUE:
            cell = cells[first + place]
            at, size = cell >> 32, cell >> 1 & _LENGTH_MASK
            if cell & ESCAPED:
                end = _unescape(text, at, size, out, end)
            else:
                for byte in range(size):
                    out[end + byte] = text[at + byte]
                end += size
    out32[offsets + count] = end - begin
    _note(buffers, buffer, begin, end)
    return end


@compiled(INT(INTS, BYTES, INT, INT, INT32S, INT))
def _pack_ends(cells: Ints, marks: Bytes, first: int, count: int, out32: Ints, end: int) -> int:
    """The offsets of lists, from where each ends."""
    offset, place = INT(0), end // 4
    out32[place] = 0
    for row in range(count):
        if marks[first + row] == MARK_VALUE:
            offset = cells[first + row]
        out32[place + row + 1] = offset
    return end + 4 * (count + 1)


@entry(INT(BYTES, INTS, INTS, INTS, INTS, BYTES, INT, BYTES, INT16S, INT32S, INTS, INTS, INTS))
def pack(
    text: Bytes, numbers: Ints, columns: Ints, work: Ints, cells: Ints, marks: Bytes, rows: int,
    out: Bytes, out16: Ints, out32: Ints, out64: Ints, nodes: Ints, buffers: Ints,
) -> int:  # fmt: skip
    """How many bytes the batch's body has, from what `scan` found; `nodes` and `buffers` are those of its message."""
    end: int = INT(0)
    node = buffer = 0
    slots, room = numbers[SLOTS], work[ROOM]
    for slot in range(slots):
        column = COLUMN_INTS * slot
        kind, size, number = (
            columns[column + COLUMN_KIND],
            columns[column + COLUMN_BYTES],
            columns[column + COLUMN_LIST],
        )
        first, count = slot * room, rows
        end = _pack_validity(marks, first, count, out, end, nodes, node, buffers, buffer)
        node, buffer = node + 1, buffer + 1
        if kind == ARRAY:
            begin = end
            end = _pack_ends(cells, marks, first, count, out32, end)
            buffer = _note(buffers, buffer, begin, end)
            end = _pad(out, end)
            kind = columns[column + ELEMENT_KIND]
            first, count = slots * room + number * work[LIST_ROOM], work[FILLED + number]
            end = _pack_validity(marks, first, count, out, end, nodes, node, buffers, buffer)
            node, buffer = node + 1, buffer + 1
        begin = end
        if kind == TEXT:
            end = _pack_texts(text, cells, marks, first, count, out, out32, end, buffers, buffer)
            buffer += 2
        elif kind == BOOL:
            end = _pack_bits(cells, marks, first, count, out, end)
            buffer = _note(buffers, buffer, begin, end)
        else:
            end = _pack_numbers(cells, marks, first, count, size, out, out16, out32, out64, end)
            buffer = _note(buffers, buffer, begin, end)
        end = _pad(out, end)
    return end
