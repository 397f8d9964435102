"""Moments -> their text, from how far from 1970 they are. Without Arrow, which formats most of those that it has itself, and the same
way."""

from datetime import date, datetime, timedelta

PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_DAYS_IN_400_YEARS = 146_097
_DAYS_BEFORE_1970 = 719_162
_INFINITE = {32: (1 << 31) - 1, 64: (1 << 63) - 1}
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 -- whether there is a zone is said behind the text


def moment_text(microseconds: int, unit: str) -> str:
    """A timestamp that is a number of whole `unit`s; a fraction has all digits of its unit, or none when it is zero."""
    try:
        moment = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        per_second = PER_SECOND[unit]
        is_infinite = abs(microseconds) == _INFINITE[64]
        return far_moment(microseconds if is_infinite else microseconds * per_second // PER_SECOND["us"], per_second)
    return moment.isoformat(" ", "milliseconds" if unit == "ms" and moment.microsecond else "auto")


def date_text(days: int) -> str:
    try:
        return date.fromordinal(days + _DAYS_BEFORE_1970 + 1).isoformat()
    except (OverflowError, ValueError):
        return far_moment(days, None)


def far_moment(count: int, per_second: int | None) -> str:
    """Days since 1970, or units of a second, beyond the years that others format.

    Such years are what milliseconds look like when taken for seconds, so people do meet them.
    """
    if abs(count) == _INFINITE[32 if per_second is None else 64]:
        return "infinity" if count > 0 else "-infinity"
    if per_second is None:
        return _far_date(count)
    seconds, fraction = divmod(count, per_second)
    days, second = divmod(seconds, 86_400)
    clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    digits = len(str(per_second)) - 1
    return f"{_far_date(days)} {clock}" + (f".{fraction:0{digits}}" if fraction else "")


def _far_date(days: int) -> str:
    cycles, day = divmod(days + _DAYS_BEFORE_1970, _DAYS_IN_400_YEARS)
    near = date.fromordinal(day + 1)
    year = near.year + 400 * cycles
    return f"{'-' if year < 0 else ''}{abs(year):04}-{near.month:02}-{near.day:02}"
