"""Types of DuckDB's that become plain values without Arrow: what DuckDB is asked for in place of such a column, and what is made of
what it says."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

import orjson

from query.moment_text import date_text, moment_text

AS_IT_IS = "{0}"
# DuckDB's own values for Python know no infinity, no year 10000, and no zone without one more library.
_MICROSECONDS = (
    "CASE WHEN {0} IS NULL OR isfinite({0}) THEN epoch_us({0}) "
    "WHEN {0} > TIMESTAMP 'epoch' THEN 9223372036854775807 ELSE -9223372036854775807 END"
)
_DAYS = "{0} - DATE 'epoch'"


@dataclass(frozen=True, slots=True)
class Kind:
    """`asked` is SQL with a place for the column's name. `spell` is not called for NULL, and not at all where it is None: the value
    is plain already."""

    is_number: bool = False
    asked: str = AS_IT_IS
    spell: Callable[..., object] | None = None


def _digits(value: int) -> orjson.Fragment:
    """orjson does not write integers of 128 bits."""
    return orjson.Fragment(str(value))


def _decimal(value: Decimal) -> orjson.Fragment:
    return orjson.Fragment(format(value, "f"))


def _at_zone(microseconds: int) -> str:
    text = moment_text(microseconds, "us")
    return text if text.endswith("infinity") else f"{text}+00:00"


_INTEGERS = ("tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint")
KINDS: dict[str, Kind] = {
    **dict.fromkeys((*_INTEGERS, "double"), Kind(is_number=True)),
    **dict.fromkeys(("boolean", "varchar"), Kind()),
    "hugeint": Kind(is_number=True, spell=_digits),
    "decimal": Kind(is_number=True, spell=_decimal),
    "date": Kind(asked=_DAYS, spell=date_text),
    "timestamp": Kind(asked=_MICROSECONDS, spell=partial(moment_text, unit="us")),
    "timestamp_ms": Kind(asked=_MICROSECONDS, spell=partial(moment_text, unit="ms")),
    "timestamp_s": Kind(asked=_MICROSECONDS, spell=partial(moment_text, unit="s")),
    "timestamp with time zone": Kind(asked=_MICROSECONDS, spell=_at_zone),
}
"""By DuckDB's names in lower case."""
_DECIMAL = re.compile(r"decimal\(\d+,\d+\)")


def kind_of(name: str) -> Kind | None:
    """The kind of a type that DuckDB calls so; None for one that takes Arrow."""
    name = name.lower()
    return KINDS.get("decimal" if _DECIMAL.fullmatch(name) else name)
