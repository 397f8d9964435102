"""One JSON value -> the number that stands for it in a cell; compiled.

Each function takes the bytes and where the value begins, and gives where it ends, and the cell. An end of -1 is a value that
has to be looked at in another way: it is wrong, or rare. What is taken here means what `segments.conversions` says.
"""

from segments.compiled.characters import digit_at, is_null, read_text, text_cell
from segments.compiled.days import NO_DAY, read_day, read_moment
from segments.compiled.decimals import POINT_MAX, float_bits
from segments.compiled.functions import BYTES, INT, INTS, PAIR, UNSIGNED, Bytes, Ints, compiled
from segments.compiled.plan import BOOL, FRACTION, LATE, LATE_INTS, LATE_ROOM, MOMENT, TEXT, WHOLE

_DIGITS_MAX = 19
"""Of a number in 64 bits without a sign; one less with it."""
_WHOLE_DIGITS_MAX = 15
"""Of a float: more may be a whole number that it can't hold."""
_SIGN = -(1 << 63)
_NESTED_MAX = 40
"""With as many around it as a path has keys a value is never deeper than any way of reading takes."""
_NUMBER_BYTES_MAX, _EXPONENT_DIGITS_MAX = 200, 2
"""Larger numbers may be beyond what a float holds, and are no JSON to orjson."""
_LINE_FEED, _QUOTE, _LEFT, _RIGHT, _OPENING, _CLOSING, _PLUS, _MINUS, _DOT, _ZERO = map(ord, '\n"[]{}+-.0')
_LETTER_A, _LETTER_E, _LETTER_F, _LETTER_L, _LETTER_R, _LETTER_S, _LETTER_T, _LETTER_U, _UPPER_E = map(ord, "aeflrstuE")


@compiled(PAIR(BYTES, INT, INT, INT))
def _whole(text: Bytes, at: int, low: int, high: int) -> tuple[int, int]:
    is_negative = text[at] == _MINUS
    if is_negative:
        at += 1
    begin = at
    value = INT(0)
    digit = digit_at(text, at)
    while digit >= 0:
        value = value * 10 + digit
        at += 1
        digit = digit_at(text, at)
    digits = at - begin
    if digits == 0 or digits >= _DIGITS_MAX or (digits > 1 and text[begin] == _ZERO) or (is_negative and value == 0):
        return -1, 0
    if text[at] == _DOT or text[at] == _LETTER_E or text[at] == _UPPER_E:
        return -1, 0
    if is_negative:
        value = -value
    return (at, value) if low <= value <= high else (-1, 0)


@compiled(PAIR(INTS, INT, INT, INT))
def _leave(work: Ints, cell: int, begin: int, end: int) -> tuple[int, int]:
    """To Python, as long as there is room to say so."""
    count = work[LATE]
    if count == work[LATE_ROOM]:
        return -1, 0
    work[LATE] = count + 1
    place = LATE + 1 + LATE_INTS * count
    work[place], work[place + 1], work[place + 2] = cell, begin, end
    return end, 0


@compiled(PAIR(BYTES, INT))
def _boolean(text: Bytes, at: int) -> tuple[int, int]:
    if text[at] == _LETTER_T and text[at + 1] == _LETTER_R and text[at + 2] == _LETTER_U and text[at + 3] == _LETTER_E:
        return at + 4, 1
    if (
        text[at] == _LETTER_F and text[at + 1] == _LETTER_A and text[at + 2] == _LETTER_L
        and text[at + 3] == _LETTER_S and text[at + 4] == _LETTER_E
    ):  # fmt: skip
        return at + 5, 0
    return -1, 0


@compiled(INT(BYTES, INT))
def _digits_end(text: Bytes, at: int) -> int:
    """-1 when there is no digit."""
    begin = at
    while digit_at(text, at) >= 0:
        at += 1
    return at if at > begin else -1


@compiled(INT(BYTES, INT))
def _number_end(text: Bytes, at: int) -> int:
    """-1 when it is no number, or may be too large for one, or one whose text is not kept as it was sent."""
    first = at
    is_negative = text[at] == _MINUS
    if is_negative:
        at += 1
    begin = at
    at = _digits_end(text, at)
    if at < 0 or (at - begin > 1 and text[begin] == _ZERO):
        return -1
    is_whole = True
    if text[at] == _DOT:
        is_whole = False
        at = _digits_end(text, at + 1)
        if at < 0:
            return -1
    if text[at] == _LETTER_E or text[at] == _UPPER_E:
        is_whole = False
        at += 1
        is_small = text[at] == _MINUS
        if text[at] == _PLUS or is_small:
            at += 1
        exponent = at
        at = _digits_end(text, at)
        if not is_small and at - exponent > _EXPONENT_DIGITS_MAX:
            return -1
    if at - first > _NUMBER_BYTES_MAX:
        return -1
    return -1 if is_negative and is_whole and text[begin] == _ZERO else at


@compiled(PAIR(BYTES, INT, INTS, INT))
def _float(text: Bytes, at: int, work: Ints, cell: int) -> tuple[int, int]:
    """The bits of the nearest float. With an exponent, or more digits than are read here, it is left to Python.

    `digits` are those from the first that is not 0 on; `point` are those behind the point, or -1 when some were left out.
    """
    begin = at
    is_negative = text[at] == _MINUS
    if is_negative:
        at += 1
    end = _digits_end(text, at)
    if end < 0 or end - at > _WHOLE_DIGITS_MAX or (end - at > 1 and text[at] == _ZERO):
        return -1, 0
    value, point, digits = INT(0), INT(0), INT(0)
    while at < end:
        value = value * 10 + digit_at(text, at)
        digits += value != 0
        at += 1
    if text[at] == _DOT:
        end = _digits_end(text, at + 1)
        if end < 0:
            return -1, 0
        at += 1
        while at < end and digits < _DIGITS_MAX and point < POINT_MAX:
            value = value * 10 + digit_at(text, at)
            digits += value != 0
            point += 1
            at += 1
    elif is_negative and value == 0:
        return -1, 0
    if at < end:
        at = end
        point = -1
    if text[at] == _LETTER_E or text[at] == _UPPER_E:
        end = _number_end(text, begin)
        return _leave(work, cell, begin, end) if text[at + 1] == _MINUS and end >= 0 else (-1, 0)
    if point < 0:
        return _leave(work, cell, begin, at)
    bits = float_bits(UNSIGNED(value), point)
    return at, bits | _SIGN if is_negative else bits


@compiled(INT(BYTES, INT))
def _nested_end(text: Bytes, at: int) -> int:
    """Behind the bracket that closes the one at `at`, whatever is in between; -1 when there is none, or it is very deep."""
    depth = 0
    while True:
        character = text[at]
        if character == _QUOTE:
            at, _ = read_text(text, at + 1)
            if at < 0:
                return -1
            continue
        at += 1
        if character == _LEFT or character == _OPENING:
            depth += 1
            if depth > _NESTED_MAX:
                return -1
        elif character == _RIGHT or character == _CLOSING:
            depth -= 1
            if depth == 0:
                return at
        elif character == _LINE_FEED:
            return -1


@compiled(PAIR(BYTES, INT, INTS, INT))
def _as_text(text: Bytes, at: int, work: Ints, cell: int) -> tuple[int, int]:
    """A value that is no text, in a column of texts, which holds it as JSON."""
    if text[at] == _LEFT or text[at] == _OPENING:
        end = _nested_end(text, at)
        return _leave(work, cell, at, end) if end >= 0 else (-1, 0)
    end, _ = _boolean(text, at)
    if end < 0:
        end = _number_end(text, at)
    return (end, text_cell(at, end)) if end >= 0 else (-1, 0)


@compiled(INT(BYTES, INT))
def value_end(text: Bytes, at: int) -> int:
    """Behind a value of any kind; -1 when there is none, or Python has to say so. What stands in brackets is not looked at."""
    if text[at] == _QUOTE:
        end, _ = read_text(text, at + 1)
        return end
    if text[at] == _LEFT or text[at] == _OPENING:
        return _nested_end(text, at)
    if is_null(text, at):
        return at + 4
    end, _ = _boolean(text, at)
    return end if end >= 0 else _number_end(text, at)


@compiled(PAIR(BYTES, INT, INT, INT, INT, INTS, INT))
def read_value(text: Bytes, at: int, kind: int, low: int, high: int, work: Ints, cell: int) -> tuple[int, int]:
    if kind == WHOLE:
        return _whole(text, at, low, high)
    if kind == FRACTION:
        return _float(text, at, work, cell)
    if kind == BOOL:
        return _boolean(text, at)
    if text[at] != _QUOTE:
        return _as_text(text, at, work, cell) if kind == TEXT else (-1, 0)
    at += 1
    if kind == TEXT:
        return read_text(text, at)
    if kind == MOMENT:
        return read_moment(text, at, low, high)
    day = read_day(text, at)
    if day == NO_DAY or text[at + 10] != _QUOTE:
        return -1, 0
    return at + 11, day
