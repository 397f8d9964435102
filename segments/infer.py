"""A schema from the first events of a source.

The schema accepts the very events it was inferred from, whole: where a narrower type could not hold one of them
exactly, the wider one is taken.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from segments.column_type import ColumnType
from segments.errors import BodyRejected
from segments.filenames import NAME_MAX
from segments.lines import Events, Number, exact, may_hold_huge_integers
from segments.moments import parse_date, parse_datetime
from segments.schema import COLUMNS_MAX, RESERVED_NAMES, Column, Path, Schema

OBJECT_DEPTH_MAX = 8
KEYS_MAX = 2 * COLUMNS_MAX
"""Of one object, over all events; twice the columns, because keys with nulls only make none."""
_EXACT_IN_FLOAT = 1 << 53
_NANOSECONDS_YEARS = range(1678, 2262)


@dataclass(slots=True)
class _Seen:
    """What stood at one path, over all events."""

    kinds: set[str] = field(default_factory=set)
    children: dict[str, "_Seen"] = field(default_factory=dict)
    element: "_Seen | None" = None
    null: bool = False
    fraction_digits: int = 0


def infer(parts: Iterable[Events]) -> Schema:
    """The schema for a new source, from all of its first body.

    Raises BodyRejected when no event has a value to infer a column from.
    """
    root = _Seen()
    for events in parts:
        for raw, value in zip(events.raws, events.objects, strict=True):
            if value is not None:
                _look(root, exact(raw) if may_hold_huge_integers(raw) else value)
    columns: list[Column] = []
    _Columns(columns).collect(root, (), "")
    if not columns:
        raise BodyRejected(
            "no column can be inferred: no object in the body has a value other than null, {} or []; send one that has, "
            "or create the data source with a schema first"
        )
    times = [column.name for column in columns if column.type.name == "DateTime64"]
    return Schema(tuple(columns), tuple(times[:1]))


def _look(seen: _Seen, value: Any) -> None:
    match value:
        case None:
            seen.null = True
        case dict():
            seen.kinds.add("object")
            for key, child in value.items():
                known = seen.children.get(key)
                if known is None and len(seen.children) < KEYS_MAX:
                    known = seen.children[key] = _Seen()
                if known is not None:
                    _look(known, child)
        case list():
            seen.kinds.add("array")
            seen.element = seen.element or _Seen()
            for child in value:
                _look(seen.element, child)
        case _:
            seen.kinds.add(_scalar_kind(seen, value))


def _scalar_kind(seen: _Seen, value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case int():
            if value > (1 << 63) - 1:
                return "unsigned"
            if value < 0:
                seen.kinds.add("negative")
            return "integer" if abs(value) <= _EXACT_IN_FLOAT else "long"
        case float():
            return "fraction"
        case Number():
            return "beyond" if value.literal.lstrip("-").isdigit() else "fraction"
        case str():
            return _text_kind(seen, value)
    raise AssertionError(type(value))


def _text_kind(seen: _Seen, text: str) -> str:
    if parse_date(text) is not None:
        return "date"
    moment = parse_datetime(text)
    if moment is None:
        return "string"
    seen.fraction_digits = max(seen.fraction_digits, len(moment.fraction))
    if moment.instant.year not in _NANOSECONDS_YEARS:
        seen.kinds.add("far")
    return "datetime"


def _type_of(seen: _Seen) -> ColumnType | None:
    """The column type for what was seen, not yet Nullable; None when nothing was seen that tells."""
    kinds = seen.kinds - {"negative", "far"}
    if not kinds:
        return None
    if kinds == {"array"}:
        return _array_type(seen)
    if kinds <= {"integer", "long"}:
        return ColumnType("Int64")
    if kinds <= {"integer", "long", "unsigned"} and "negative" not in seen.kinds:
        return ColumnType("UInt64")
    if kinds <= {"integer", "fraction"}:
        return ColumnType("Float64")
    if kinds == {"bool"}:
        return ColumnType("Bool")
    if kinds == {"date"}:
        return ColumnType("Date")
    if kinds == {"datetime"} and not (seen.fraction_digits > 6 and "far" in seen.kinds):
        return ColumnType(
            "DateTime64", precision=3 if seen.fraction_digits <= 3 else 6 if seen.fraction_digits <= 6 else 9
        )
    return ColumnType("String")


def _array_type(seen: _Seen) -> ColumnType | None:
    assert seen.element is not None
    if seen.element.kinds & {"object", "array"}:
        return ColumnType("String")
    element = _type_of(seen.element)
    if element is None:
        return ColumnType("String") if seen.element.null else None
    return ColumnType("Array", element=replace(element, nullable=seen.element.null))


def guess_type(value: Any) -> ColumnType:
    """The type of a column that holds this value, which is not null."""
    seen = _Seen()
    _look(seen, value)
    kind = ColumnType("String") if "object" in seen.kinds else _type_of(seen)
    return replace(kind or ColumnType("String"), nullable=True)


class _Columns:
    """Names columns in order of first appearance, without two alike."""

    def __init__(self, columns: list[Column]) -> None:
        self._columns = columns
        self._taken = set(RESERVED_NAMES)

    def collect(self, seen: _Seen, path: Path, prefix: str) -> None:
        for key, child in seen.children.items():
            at, name = (*path, key), f"{prefix}{_clean(key)}"
            if child.kinds == {"object"} and child.children and len(at) < OBJECT_DEPTH_MAX:
                self.collect(child, at, f"{name}_")
                continue
            kind = ColumnType("String") if "object" in child.kinds else _type_of(child)
            if kind is not None:
                self._add(name, kind, at)

    def _add(self, name: str, kind: ColumnType, path: Path) -> None:
        if len(self._columns) == COLUMNS_MAX:
            return
        # SQL and the datafile take no name that starts with a digit.
        name = f"_{name}" if name[0].isdigit() else name
        unique, number = name, 1
        while unique.lower() in self._taken:
            number += 1
            unique = f"{name}_{number}"
        self._taken.add(unique.lower())
        self._columns.append(Column(unique, replace(kind, nullable=True), path))


def _clean(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", key)[:NAME_MAX] or "_"
