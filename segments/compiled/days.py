"""Dates and date-times as they are written -> days and ticks since 1970; compiled."""

from segments.compiled.characters import digit_at
from segments.compiled.functions import BYTES, INT, PAIR, Bytes, compiled

NO_DAY = -(1 << 40)
_DAYS_TO_1970 = 719_468
"""From 0000-03-01, the first day of a year that ends with its leap day."""
_DAY_S = 86_400
_NANOSECONDS = 10**9
_NANOSECOND_DAYS = 106_750
"""So far from 1970 64 bits of nanoseconds surely reach."""
_SPACE, _QUOTE, _COLON, _MINUS, _DOT, _UPPER_T, _UPPER_Z = map(ord, ' ":-.TZ')


@compiled(INT(BYTES, INT))
def _two_digits(text: Bytes, at: int) -> int:
    """-1 when they are none."""
    tens = digit_at(text, at)
    if tens < 0:
        return -1
    ones = digit_at(text, at + 1)
    return -1 if ones < 0 else 10 * tens + ones


@compiled(INT(INT, INT))
def _days_of(year: int, month: int) -> int:
    if month == 2:
        return 29 if (year % 4 == 0 and year % 100 != 0) or year % 400 == 0 else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


@compiled(INT(BYTES, INT))
def read_day(text: Bytes, at: int) -> int:
    """Days since 1970, of the years 1 to 9999."""
    century = _two_digits(text, at)
    if century < 0:
        return NO_DAY
    in_century = _two_digits(text, at + 2)
    if in_century < 0 or text[at + 4] != _MINUS:
        return NO_DAY
    month = _two_digits(text, at + 5)
    if month < 1 or month > 12 or text[at + 7] != _MINUS:
        return NO_DAY
    day = _two_digits(text, at + 8)
    year = 100 * century + in_century
    if year == 0 or day < 1 or day > _days_of(year, month):
        return NO_DAY
    if month <= 2:
        year -= 1
        month += 12
    # Five months from March on have 153 days, over and over.
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 1 - _DAYS_TO_1970


@compiled(PAIR(BYTES, INT, INT, INT))
def read_moment(text: Bytes, at: int, precision: int, ticks_per_s: int) -> tuple[int, int]:
    """`YYYY-MM-DD hh:mm:ss`, or with a `T`, with a fraction of so many digits at most, and a `Z` or none."""
    day = read_day(text, at)
    if day == NO_DAY or (text[at + 10] != _SPACE and text[at + 10] != _UPPER_T):
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
        digit = digit_at(text, at)
        while at - point < precision and digit >= 0:
            fraction = fraction * 10 + digit
            scale //= 10
            at += 1
            digit = digit_at(text, at)
        if at == point:
            return -1, 0
        fraction *= scale
    if text[at] == _UPPER_Z:
        at += 1
    if text[at] != _QUOTE:
        return -1, 0
    return at + 1, (day * _DAY_S + hour * 3600 + minute * 60 + second) * ticks_per_s + fraction
