"""One JSON value -> the number that stands for it in a cell; compiled.

Each function takes the bytes and where the value begins, and gives where it ends, and the cell. An end of -1 is a value that
has to be looked at in another way: it is wrong, or rare. What is taken here means what `segments.conversions` says.
"""

from segments.compiled.machine_code import BOOLEAN, BYTES, FLOAT, INT, INTS, PAIR, Bytes, Ints, bits_of, compiled
from segments.compiled.plan import (
    BOOL,
    DAY,
    FRACTION,
    LONG_FLOAT_INTS,
    LONG_FLOATS,
    LONG_FLOATS_MAX,
    MOMENT,
    TEXT,
    WHOLE,
)

ESCAPED = 1
"""The lowest bit of a text's cell; above it 31 bits of length, and from there on where it begins."""
_DIGITS_MAX = 18
_WHOLE_DIGITS_MAX = 15
_EXACT_MAX = 1 << 53
# A float64 holds these exactly, so that one division rounds once, as reading the decimal does.
_POWERS = tuple(10.0**power for power in range(_DIGITS_MAX + 1))
_NO_DAY = -(1 << 40)
_DAYS_TO_1970 = 719_468
"""From 0000-03-01, the first day of a year that ends with its leap day."""
_DAY_S = 86_400
_NANOSECONDS = 10**9
_NANOSECOND_DAYS = 106_750
"""So far from 1970 64 bits of nanoseconds surely reach."""
_TAB, _CR, _SPACE, _QUOTE, _BACKSLASH, _COLON, _MINUS, _DOT, _ZERO = map(ord, '\t\r "\\:-.0')
_LETTER_A, _LETTER_E, _LETTER_F, _LETTER_L, _LETTER_N, _LETTER_R, _LETTER_S, _LETTER_T, _LETTER_U = map(
    ord, "aeflnrstu"
)
_SLASH, _LETTER_B, _UPPER_A, _UPPER_E, _UPPER_F, _UPPER_T, _UPPER_Z, _NINE = map(ord, "/bAEFTZ9")


@compiled(INT(BYTES, INT))
def skip_blanks(text: Bytes, at: int) -> int:
    while text[at] == _SPACE or text[at] == _TAB or text[at] == _CR:
        at += 1
    return at


@compiled(BOOLEAN(BYTES, INT))
def is_null(text: Bytes, at: int) -> bool:
    return (
        text[at] == _LETTER_N and text[at + 1] == _LETTER_U and text[at + 2] == _LETTER_L and text[at + 3] == _LETTER_L
    )


@compiled(INT(BYTES, INT))
def _digit(text: Bytes, at: int) -> int:
    """-1 when there is none."""
    digit = INT(text[at]) - _ZERO
    return digit if 0 <= digit <= 9 else -1


@compiled(PAIR(BYTES, INT, INT, INT))
def _whole(text: Bytes, at: int, low: int, high: int) -> tuple[int, int]:
    is_negative = text[at] == _MINUS
    if is_negative:
        at += 1
    begin = at
    value = INT(0)
    digit = _digit(text, at)
    while digit >= 0:
        value = value * 10 + digit
        at += 1
        digit = _digit(text, at)
    digits = at - begin
    if digits == 0 or digits > _DIGITS_MAX or (digits > 1 and text[begin] == _ZERO) or (is_negative and value == 0):
        return -1, 0
    if text[at] == _DOT or text[at] == _LETTER_E or text[at] == _UPPER_E:
        return -1, 0
    if is_negative:
        value = -value
    return (at, value) if low <= value <= high else (-1, 0)


@compiled(PAIR(BYTES, INT, INTS, INT))
def _float(text: Bytes, at: int, work: Ints, cell: int) -> tuple[int, int]:
    start = at
    is_negative = text[at] == _MINUS
    if is_negative:
        at += 1
    begin = at
    value = INT(0)
    digit = _digit(text, at)
    while digit >= 0:
        value = value * 10 + digit
        at += 1
        digit = _digit(text, at)
    digits, fraction = at - begin, INT(0)
    if digits == 0 or digits > _WHOLE_DIGITS_MAX or (digits > 1 and text[begin] == _ZERO):
        return -1, 0
    if text[at] == _DOT:
        at += 1
        point = at
        digit = _digit(text, at)
        while digit >= 0:
            if at - point + digits < _DIGITS_MAX:
                value = value * 10 + digit
            at += 1
            digit = _digit(text, at)
        fraction = at - point
        if fraction == 0:
            return -1, 0
    elif is_negative and value == 0:
        return -1, 0
    if text[at] == _LETTER_E or text[at] == _UPPER_E:
        return -1, 0
    if digits + fraction <= _DIGITS_MAX and value <= _EXACT_MAX:
        number = FLOAT(value) / _POWERS[fraction]
        return at, bits_of(-number if is_negative else number)
    count = work[LONG_FLOATS]
    if count == LONG_FLOATS_MAX:
        return -1, 0
    work[LONG_FLOATS] = count + 1
    place = LONG_FLOATS + 1 + LONG_FLOAT_INTS * count
    work[place], work[place + 1], work[place + 2] = cell, start, at
    return at, 0


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
def four_hex_digits(text: Bytes, at: int) -> int:
    """-1 when they are none."""
    value: int = INT(0)
    for place in range(at, at + 4):
        character = INT(text[place])
        if _ZERO <= character <= _NINE:
            digit = character - _ZERO
        elif _LETTER_A <= character <= _LETTER_F:
            digit = character - _LETTER_A + 10
        elif _UPPER_A <= character <= _UPPER_F:
            digit = character - _UPPER_A + 10
        else:
            return -1
        value = value * 16 + digit
    return value


@compiled(BOOLEAN(BYTES, INT))
def _is_character(text: Bytes, at: int) -> bool:
    """Whether four hexadecimal digits name one, and not the half of one."""
    value = four_hex_digits(text, at)
    return value >= 0 and not 0xD800 <= value < 0xE000


@compiled(PAIR(BYTES, INT))
def _text(text: Bytes, at: int) -> tuple[int, int]:
    """`at` is behind the quote. The cell says where the text is, and whether anything in it is escaped."""
    begin = at
    escaped = INT(0)
    while True:
        character = text[at]
        if character == _QUOTE:
            return at + 1, begin << 32 | (at - begin) << 1 | escaped
        if character < _SPACE:
            return -1, 0
        if character != _BACKSLASH:
            at += 1
            continue
        escaped = ESCAPED
        character = text[at + 1]
        if character == _LETTER_U:
            if not _is_character(text, at + 2):
                return -1, 0
            at += 6
        elif (
            character == _QUOTE or character == _BACKSLASH or character == _SLASH or character == _LETTER_B
            or character == _LETTER_F or character == _LETTER_N or character == _LETTER_R or character == _LETTER_T
        ):  # fmt: skip
            at += 2
        else:
            return -1, 0


@compiled(INT(BYTES, INT))
def _two_digits(text: Bytes, at: int) -> int:
    """-1 when they are none."""
    tens = _digit(text, at)
    if tens < 0:
        return -1
    ones = _digit(text, at + 1)
    return -1 if ones < 0 else 10 * tens + ones


@compiled(INT(INT, INT))
def _days_of(year: int, month: int) -> int:
    if month == 2:
        return 29 if (year % 4 == 0 and year % 100 != 0) or year % 400 == 0 else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


@compiled(INT(BYTES, INT))
def _day(text: Bytes, at: int) -> int:
    """Days since 1970, of the years 1 to 9999."""
    century = _two_digits(text, at)
    if century < 0:
        return _NO_DAY
    in_century = _two_digits(text, at + 2)
    if in_century < 0 or text[at + 4] != _MINUS:
        return _NO_DAY
    month = _two_digits(text, at + 5)
    if month < 1 or month > 12 or text[at + 7] != _MINUS:
        return _NO_DAY
    day = _two_digits(text, at + 8)
    year = 100 * century + in_century
    if year == 0 or day < 1 or day > _days_of(year, month):
        return _NO_DAY
    if month <= 2:
        year -= 1
        month += 12
    # Five months from March on have 153 days, over and over.
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 1 - _DAYS_TO_1970


@compiled(PAIR(BYTES, INT, INT, INT))
def _moment(text: Bytes, at: int, precision: int, ticks_per_s: int) -> tuple[int, int]:
    """`YYYY-MM-DD hh:mm:ss`, or with a `T`, with a fraction of so many digits at most, and a `Z` or none."""
    day = _day(text, at)
    if day == _NO_DAY or (text[at + 10] != _SPACE and text[at + 10] != _UPPER_T):
        return -1, 0
    if ticks_per_s == _NANOSECONDS and abs(day) > _NANOSECOND_DAYS:
        return -1, 0
    hour = _two_digits(text, at + 11)
    if hour < 0 or hour > 23 or text[at + 13] != _COLON:
        return -1, 0
    minute = _two_digits(text, at + 14)
    if minute < 0 or minute > 59 or text[at + 16] != _COLON:
        return -1, 0
    second = _two_digits(text, at + 17)
    if second < 0 or second > 59:
        return -1, 0
    at += 19
    fraction = INT(0)
    if text[at] == _DOT:
        at += 1
        point, scale = at, ticks_per_s
        digit = _digit(text, at)
        while at - point < precision and digit >= 0:
            fraction = fraction * 10 + digit
            scale //= 10
            at += 1
            digit = _digit(text, at)
        if at == point:
            return -1, 0
        fraction *= scale
    if text[at] == _UPPER_Z:
        at += 1
    if text[at] != _QUOTE:
        return -1, 0
    return at + 1, (day * _DAY_S + hour * 3600 + minute * 60 + second) * ticks_per_s + fraction


@compiled(PAIR(BYTES, INT, INT, INT, INT, INTS, INT))
def read_value(text: Bytes, at: int, kind: int, low: int, high: int, work: Ints, cell: int) -> tuple[int, int]:
    if kind == WHOLE:
        return _whole(text, at, low, high)
    if kind == FRACTION:
        return _float(text, at, work, cell)
    if kind == BOOL:
        return _boolean(text, at)
    if text[at] != _QUOTE:
        return -1, 0
    at += 1
    if kind == TEXT:
        return _text(text, at)
    if kind == MOMENT:
        return _moment(text, at, low, high)
    assert kind == DAY
    day = _day(text, at)
    if day == _NO_DAY or text[at + 10] != _QUOTE:
        return -1, 0
    return at + 11, day
