"""Lines of JSON -> cells, column by column; compiled. A line that does not fit at a glance is noted, and left out.

`keys` and `numbers` are a `LinePlan`. `cells` and `marks` have `work[ROOM]` places for each column, one for each row, and
behind them `work[LIST_ROOM]` for each list's elements. A list's cell is where its elements end.
"""

from segments.compiled.characters import ESCAPED, is_null, read_text, skip_blanks
from segments.compiled.functions import BOOLEAN, BYTES, INT, INTS, UNSIGNED, Bytes, Ints, compiled, entry, load_word
from segments.compiled.plan import (
    ARRAY,
    ELEMENT,
    EVENTS,
    FILLED,
    HIGH,
    KEY_AT,
    KEY_BYTES,
    KEY_INTS,
    KIND,
    LATE,
    LATE_INTS,
    LATE_ROOM,
    LINE_BYTES,
    LIST,
    LIST_ROOM,
    LISTS,
    LOW,
    MARK_NOTHING,
    MARK_NULL,
    MARK_VALUE,
    NODE,
    NODES,
    NULL_ELEMENTS,
    NULLABLE,
    OBJECT,
    ODD,
    ODD_BITS,
    ODD_INTS,
    ODD_ROOM,
    REFUSED,
    REFUSED_INTS,
    REQUIRED,
    ROOM,
    SAVED,
    SEEN,
    SLOT,
    SLOTS,
    STACK,
    WORD,
)
from segments.compiled.values import read_value, value_end

_LINE_FEED, _QUOTE, _COMMA, _COLON, _LEFT, _RIGHT, _OPENING, _CLOSING, _LETTER_N = map(ord, '\n",:[]{}n')


@compiled(BOOLEAN(BYTES, INT, BYTES, INT, INT))
def _stands(text: Bytes, at: int, keys: Bytes, key: int, size: int) -> bool:
    place = 0
    while place + WORD <= size:
        if load_word(text, at + place) != load_word(keys, key + place):
            return False
        place += WORD
    if place == size:
        return True
    differing = load_word(text, at + place) ^ load_word(keys, key + place)
    # What stands behind the key is shifted out.
    is_same: bool = differing << UNSIGNED(8 * (WORD - (size - place))) == 0
    return is_same


@compiled(INT(BYTES, INT, BYTES, INTS, INT, INT))
def _find_key(text: Bytes, at: int, keys: Bytes, numbers: Ints, node: int, expected: int) -> int:
    """Where in `numbers` the key is that stands at `at`; -1 when the object has none such. Most come in the same order."""
    end = numbers[NODE + 2 * node + 1]
    if expected < end and _stands(text, at, keys, numbers[expected + KEY_AT], numbers[expected + KEY_BYTES]):
        return expected
    for key in range(numbers[NODE + 2 * node], end, KEY_INTS):
        if _stands(text, at, keys, numbers[key + KEY_AT], numbers[key + KEY_BYTES]):
            return key
    return -1


@compiled(INT(BYTES, INT))
def _behind_null(text: Bytes, at: int) -> int:
    """-1 when something else stands there."""
    return at + 4 if is_null(text, at) else -1


@compiled(INT(BYTES, INT))
def _behind_colon(text: Bytes, at: int) -> int:
    """Where the value begins whose key ends at `at`; -1 when there is none."""
    at = skip_blanks(text, at)
    return skip_blanks(text, at + 1) if text[at] == _COLON else -1


@compiled(INT(BYTES, INT))
def _skip_nothing(text: Bytes, at: int) -> int:
    """Behind a key that no column takes, and its value, when that is null or empty; -1 else: then it is counted, elsewhere."""
    if text[at] != _QUOTE:
        return -1
    at, cell = read_text(text, at + 1)
    if at < 0 or cell & ESCAPED:
        # What is escaped may be the key of a column, in other letters.
        return -1
    at = _behind_colon(text, at)
    if at < 0:
        return -1
    if text[at] != _LEFT and text[at] != _OPENING:
        return _behind_null(text, at)
    closing = _RIGHT if text[at] == _LEFT else _CLOSING
    at = skip_blanks(text, at + 1)
    return at + 1 if text[at] == closing else -1


@compiled(INT(BYTES, INT, INTS, INT, INTS, INTS, BYTES))
def _read_list(text: Bytes, at: int, numbers: Ints, key: int, work: Ints, cells: Ints, marks: Bytes) -> int:
    """Where the list ends; -1 when it is refused."""
    number, kind = numbers[key + LIST], numbers[key + ELEMENT] % NULL_ELEMENTS
    first = numbers[SLOTS] * work[ROOM] + number * work[LIST_ROOM]
    count = work[FILLED + number]
    at = skip_blanks(text, at + 1)
    if text[at] == _RIGHT:
        return at + 1
    while True:
        cell = first + count
        if text[at] == _LETTER_N:
            if numbers[key + ELEMENT] < NULL_ELEMENTS or not is_null(text, at):
                return -1
            marks[cell] = MARK_NULL
            at += 4
        else:
            at, value = read_value(text, at, kind, numbers[key + LOW], numbers[key + HIGH], work, cell)
            if at < 0:
                return -1
            marks[cell] = MARK_VALUE
            cells[cell] = value
        count += 1
        at = skip_blanks(text, at)
        if text[at] == _RIGHT:
            work[FILLED + number] = count
            return at + 1
        if text[at] != _COMMA:
            return -1
        at = skip_blanks(text, at + 1)


@compiled(INT(BYTES, INT, INT, INTS))
def _note_odd(text: Bytes, at: int, slot: int, work: Ints) -> int:
    """Behind a value that the column may not take, as long as there is room to say so; the row is refused for it at its end."""
    end = value_end(text, at)
    number = work[ODD]
    if end < 0 or number == work[ODD_ROOM]:
        return -1
    work[ODD] = number + 1
    place = LATE + 1 + LATE_INTS * work[LATE_ROOM] + ODD_INTS * number
    work[place], work[place + 1], work[place + 2] = slot, at, end
    return end


@compiled(INT(BYTES, INT, INTS, INT, INTS, INTS, BYTES, INT))
def _read_column(text: Bytes, at: int, numbers: Ints, key: int, work: Ints, cells: Ints, marks: Bytes, row: int) -> int:
    """Where the value ends; -1 when it is refused."""
    cell = numbers[key + SLOT] * work[ROOM] + row
    if marks[cell] != MARK_NOTHING:
        # The key stood before; of the two the last counts.
        return -1
    if text[at] == _LETTER_N and numbers[key + NULLABLE]:
        marks[cell] = MARK_NULL
        return _behind_null(text, at)
    marks[cell] = MARK_VALUE
    if numbers[key + KIND] == ARRAY:
        at = _read_list(text, at, numbers, key, work, cells, marks) if text[at] == _LEFT else -1
        cells[cell] = work[FILLED + numbers[key + LIST]]
        return at
    begin = at
    at, cells[cell] = read_value(text, at, numbers[key + KIND], numbers[key + LOW], numbers[key + HIGH], work, cell)
    return at if at >= 0 else _note_odd(text, begin, numbers[key + SLOT], work)


@compiled(INT(BYTES, INT, INT, INTS))
def _end_row(text: Bytes, at: int, got: int, numbers: Ints) -> int:
    """Where the line ends; -1 when there is more on it, or when the row lacks a value that it must have."""
    at = skip_blanks(text, at)
    return at if text[at] == _LINE_FEED and got == numbers[REQUIRED] else -1


@compiled(INT(BYTES, INT, BYTES, INTS, INTS, INTS, BYTES, INT))
def _read_row(text: Bytes, at: int, keys: Bytes, numbers: Ints, work: Ints, cells: Ints, marks: Bytes, row: int) -> int:
    """Where the line ends; -1 when it is refused."""
    if text[at] != _OPENING:
        return -1
    at = skip_blanks(text, at + 1)
    depth, node, got, key = 0, 0, 0, numbers[NODE] - KEY_INTS
    if text[at] == _CLOSING:
        return _end_row(text, at + 1, got, numbers)
    while True:
        found = _find_key(text, at, keys, numbers, node, key + KEY_INTS)
        if found < 0:
            at = _skip_nothing(text, at)
        else:
            key = found
            at = _behind_colon(text, at + numbers[key + KEY_BYTES])
            if at >= 0 and numbers[key + KIND] != OBJECT:
                at = _read_column(text, at, numbers, key, work, cells, marks, row)
                got += 1 - numbers[key + NULLABLE]
            elif at >= 0:
                inner = numbers[key + SLOT]
                if work[SEEN + inner] == work[EVENTS]:
                    return -1
                work[SEEN + inner] = work[EVENTS]
                if text[at] != _OPENING:
                    at = _behind_null(text, at)
                else:
                    at = skip_blanks(text, at + 1)
                    if text[at] != _CLOSING:
                        work[STACK + 2 * depth], work[STACK + 2 * depth + 1] = node, key
                        depth, node, key = depth + 1, inner, numbers[NODE + 2 * inner] - KEY_INTS
                        continue
                    at += 1
        if at < 0:
            return -1
        at = skip_blanks(text, at)
        while text[at] == _CLOSING:
            if depth == 0:
                return _end_row(text, at + 1, got, numbers)
            depth -= 1
            node, key = work[STACK + 2 * depth], work[STACK + 2 * depth + 1]
            at = skip_blanks(text, at + 1)
        if text[at] != _COMMA:
            return -1
        at = skip_blanks(text, at + 1)


@entry(INT(BYTES, INT, BYTES, INTS, INTS, INTS, BYTES, INTS))
def scan(
    text: Bytes, size: int, keys: Bytes, numbers: Ints, work: Ints, cells: Ints, marks: Bytes, refused: Ints
) -> int:
    """How many rows there are, of `size` bytes of whole lines and WORD more; `refused` are the other lines, REFUSED_INTS for each."""
    for node in range(numbers[NODES]):
        work[SEEN + node] = -1
    work[EVENTS] = work[REFUSED] = work[LATE] = work[ODD] = 0
    for number in range(numbers[LISTS]):
        work[FILLED + number] = 0
    at, row = 0, 0
    while at < size:
        at = skip_blanks(text, at)
        if text[at] == _LINE_FEED:
            at += 1
            continue
        for slot in range(numbers[SLOTS]):
            marks[slot * work[ROOM] + row] = MARK_NOTHING
        for number in range(numbers[LISTS]):
            work[SAVED + number] = work[FILLED + number]
        late, odd = work[LATE], work[ODD]
        end = _read_row(text, at, keys, numbers, work, cells, marks, row)
        is_read = end >= 0 and end - at <= work[LINE_BYTES]
        if work[ODD] > odd and work[LATE] > late:
            # Python would look at the odd values alone, and nobody at the late ones, which may be no JSON.
            is_read = False
        if is_read and work[ODD] == odd:
            row += 1
        else:
            if not is_read:
                work[ODD] = odd
                end = at
                while text[end] != _LINE_FEED:
                    end += 1
            work[LATE] = late
            for number in range(numbers[LISTS]):
                work[FILLED + number] = work[SAVED + number]
            place = REFUSED_INTS * work[REFUSED]
            refused[place], refused[place + 1] = at, end
            refused[place + 2] = work[EVENTS] | (work[ODD] - odd) << ODD_BITS
            work[REFUSED] += 1
        work[EVENTS] += 1
        at = end + 1
    return row


@entry(INT(BYTES, INT, INT))
def count(text: Bytes, size: int, byte: int) -> int:
    """How often the byte is there."""
    found: int = INT(0)
    for at in range(size):
        found += text[at] == byte
    return found
