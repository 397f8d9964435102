"""Dates and date-times as texts and numbers -> what Arrow stores of them."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from zoneinfo import ZoneInfo

from segments.column_type import ColumnType

_YEAR = r"(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_DAY = _YEAR + r"-[0-9]{2}-[0-9]{2}"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
DATE_TEXT = f"^{_DAY}$"
"""Years are 0001 to 9999: Arrow's own parser takes 0000, which the other readers of a segment refuse."""
_DATE = re.compile(_DAY)
_DATETIME = re.compile(rf"({_DAY})[ T]({_CLOCK})(?:\.([0-9]{{1,9}}))?(Z|[+-][0-9]{{2}}:?[0-9]{{2}})?")
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 -- Arrow's timestamps without a zone are UTC here
UTC_NAMES = frozenset({"", "UTC", "Etc/UTC"})
_DIGITS_MAX = 40
"""Of a number of seconds, before and behind the point: far more than any column holds."""
_EXACT = Context(prec=4 * _DIGITS_MAX)


class NotLocal(Exception):
    """A clock time that its zone skips, or has twice; the text says which."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A date-time as it was sent: to the second, and the digits of the fraction.

    `instant` is without tzinfo: UTC, or local time of no known zone when `is_local`.
    """

    instant: datetime
    fraction: str
    is_local: bool


def datetime_pattern(kind: ColumnType) -> str:
    """For the texts that Arrow, rid of a `Z` at their end, converts as `moment_ticks` would."""
    fraction = rf"(?:\.[0-9]{{1,{kind.precision}}})?" if kind.precision else ""
    return rf"^{_DAY}[ T]{_CLOCK}{fraction}Z{'?' if kind.zone in UTC_NAMES else ''}$"


def parse_date(text: str) -> date | None:
    """The day that `YYYY-MM-DD` names; None when it is not one."""
    if not _DATE.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def parse_datetime(text: str) -> Moment | None:
    """An ISO date with time; None when it is not one."""
    match = _DATETIME.fullmatch(text)
    if match is None:
        return None
    day, clock, fraction, zone = match.groups()
    try:
        instant = datetime.fromisoformat(f"{day}T{clock}")
        if zone and zone != "Z":
            hours, minutes = int(zone[1:3]), int(zone[-2:])
            if hours > 23 or minutes > 59:
                return None
            offset = timedelta(hours=hours, minutes=minutes)
            instant = instant - offset if zone[0] == "+" else instant + offset
    except (ValueError, OverflowError):
        return None
    return Moment(instant, fraction or "", is_local=not zone)


def moment_ticks(kind: ColumnType, moment: Moment) -> int | None:
    """Units of the column's since 1970; None where the fraction has more digits than the type.

    Raises NotLocal, or OverflowError when the local time is that close to the first or the last year.
    """
    digits = moment.fraction.rstrip("0")
    if len(digits) > kind.precision:
        return None
    instant = moment.instant
    if moment.is_local and kind.zone not in UTC_NAMES:
        instant = _utc(instant, kind.zone)
    per_second = kind.ticks_per_s
    seconds = (instant - _EPOCH) // timedelta(seconds=1)
    return seconds * per_second + int(digits.ljust(9, "0")) * per_second // 10**9


def _utc(local: datetime, zone_name: str) -> datetime:
    zone = ZoneInfo(zone_name)
    first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return first.replace(tzinfo=None)
    if first.astimezone(zone).replace(tzinfo=None) == local:
        raise NotLocal(f"the clocks of {zone_name} show this time twice")
    raise NotLocal(f"the clocks of {zone_name} skip this time")


def unix_ticks(kind: ColumnType, seconds: Decimal) -> int | None:
    """Units of the column's since 1970, from seconds; None where a digit would be lost."""
    if len(seconds.as_tuple().digits) > _DIGITS_MAX or (seconds and abs(seconds.adjusted()) > _DIGITS_MAX):
        return None
    if -int(seconds.normalize(_EXACT).as_tuple().exponent) > kind.precision:
        return None
    return int(seconds.scaleb(9, _EXACT)) * kind.ticks_per_s // 10**9


def tick_range(kind: ColumnType) -> tuple[int, int]:
    """The years 1 to 9999, or what 64 bits hold of them."""
    per_second = kind.ticks_per_s
    if per_second == 10**9:
        return -(1 << 63) + 1, (1 << 63) - 1
    return _FIRST_S * per_second, (_LAST_S + 1) * per_second - 1


_FIRST_S = (datetime.min - _EPOCH) // timedelta(seconds=1)  # noqa: DTZ901 -- as _EPOCH
_LAST_S = (datetime.max - _EPOCH) // timedelta(seconds=1)  # noqa: DTZ901 -- as _EPOCH
