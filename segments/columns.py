"""Values of one column -> one Arrow array, exactly, or a reason for each value that does not fit.

Each conversion has two speeds and one meaning: when every value of a column is of the plain kind, Arrow converts them
in one call; otherwise each value is judged alone. Nothing is rounded, cut or guessed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from segments.column_type import ColumnType
from segments.conversions import DoesNotFit, convert
from segments.plain_columns import plain_column


@dataclass(frozen=True, slots=True)
class Fitted:
    """A column's array, with a null in place of each value in `errors` (index -> reason)."""

    array: pa.Array
    errors: dict[int, str]


def fit_column(kind: ColumnType, values: Sequence[Any]) -> Fitted:
    """Convert JSON values (as orjson gives them, or `Number`) to `kind`."""
    plain = plain_column(kind, values)
    return Fitted(plain, {}) if plain is not None else _fit_around(kind, values) or fit_values(kind, values)


def _fit_around(kind: ColumnType, values: Sequence[Any]) -> Fitted | None:
    """The column when all its values are plain but a few of other Python types, and none of those fits; else None."""
    kinds = Counter(map(type, values))
    nulls = kinds.pop(type(None), 0)
    if not kinds or (len(kinds) == 1 and not nulls):
        return None
    usual, _ = kinds.most_common(1)[0]
    fine = {usual, type(None)} if kind.nullable else {usual}
    odd = [index for index, value in enumerate(values) if type(value) not in fine]
    if not odd:
        return None
    errors = fit_values(kind, [values[index] for index in odd]).errors
    if len(errors) < len(odd):
        return None
    rest = list(values)
    for index in odd:
        rest[index] = None
    plain = plain_column(replace(kind, nullable=True), rest)
    return None if plain is None else Fitted(plain, {odd[place]: reason for place, reason in errors.items()})


def fit_values(kind: ColumnType, values: Sequence[Any]) -> Fitted:
    """What `fit_column` means: each value judged alone."""
    converted: list[Any] = []
    errors: dict[int, str] = {}
    for index, value in enumerate(values):
        try:
            converted.append(convert(kind, value))
        except DoesNotFit as reason:
            converted.append(None)
            errors[index] = str(reason)
    return Fitted(pa.array(converted, kind.arrow), errors)
