"""Keys that events have and no column takes: they are ignored, counted, and offered as columns to add."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from segments.column_type import ColumnType
from segments.infer import guess_type
from segments.schema import Path, Schema

KEYS_MAX = 1000
_LONG = 1 << 63
_NUMBERS = frozenset({"Int64", "UInt64", "Float64"})
_NOTHING: tuple[Any, ...] = (None, [], {})


@dataclass(frozen=True, slots=True)
class Unknown:
    """How often a key had a value, and the type that holds what was seen."""

    count: int
    type: ColumnType

    def joined(self, other: "Unknown") -> "Unknown":
        """Both together."""
        return Unknown(self.count + other.count, _joined(self.type, other.type))


UnknownKeys = dict[Path, Unknown]


def _joined(one: ColumnType, other: ColumnType) -> ColumnType:
    if one == other:
        return one
    return ColumnType("Float64" if {one.name, other.name} <= _NUMBERS else "String", nullable=True)


def unknown_keys(schema: Schema, objects: Iterable[dict[str, Any] | None]) -> UnknownKeys:
    """What the events have beside the keys that columns take."""
    known = schema.known_keys
    if known.takes_all:
        return {}
    counts: Counter[Path] = Counter()
    types: dict[Path, ColumnType] = {}
    for event in objects:
        if event is not None and (known.has_nested or not event.keys() <= known.top):
            for path, value in _walk(known.tree, event, ()):
                kind = types.get(path)
                if kind is None and len(types) == KEYS_MAX:
                    continue
                counts[path] += 1
                if kind is None:
                    types[path] = guess_type(value)
                elif not _surely_holds(kind, value):
                    types[path] = _joined(kind, guess_type(value))
    return {path: Unknown(counts[path], kind) for path, kind in types.items()}


def _surely_holds(kind: ColumnType, value: Any) -> bool:
    """Whether the value changes nothing about the type, seen at a glance: there may be millions of them."""
    match kind.name:
        case "String":
            return True
        case "Array":
            element = kind.element
            return element is not None and type(value) is list and all(_is_held(element, inner) for inner in value)
        case "Int64" | "Float64" if type(value) is int:
            return -_LONG <= value < _LONG
        case "Float64":
            return type(value) is float
    return kind.name == "Bool" and type(value) is bool


def _is_held(element: ColumnType, value: Any) -> bool:
    return not isinstance(value, list | dict | None) and _surely_holds(element, value)


def note(found: UnknownKeys, path: Path, unknown: Unknown) -> None:
    """Count what was seen at `path`; beyond KEYS_MAX paths nothing new is kept."""
    known = found.get(path)
    if known is not None:
        found[path] = known.joined(unknown)
    elif len(found) < KEYS_MAX:
        found[path] = unknown


def _walk(tree: dict[str, Any], event: dict[str, Any], at: Path) -> Iterator[tuple[Path, Any]]:
    for key, value in event.items():
        if key in tree:
            inner = tree[key]
            if inner is not None and isinstance(value, dict):
                yield from _walk(inner, value, (*at, key))
        elif value not in _NOTHING:
            yield (*at, key), value
