"""Keys that events have and no column takes: they are ignored, counted, and offered as columns to add."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from segments.column_type import ColumnType
from segments.infer import guess_type
from segments.schema import Path, Schema

KEYS_MAX = 1000
_NUMBERS = frozenset({"Int64", "UInt64", "Float64"})
_NOTHING: tuple[Any, ...] = (None, [], {})


@dataclass(frozen=True, slots=True)
class Unknown:
    """How often a key had a value, and the type that holds what was seen."""

    count: int
    type: ColumnType

    def joined(self, other: "Unknown") -> "Unknown":
        """Both together."""
        kind = self.type
        if other.type != kind:
            both_numbers = {kind.name, other.type.name} <= _NUMBERS
            kind = ColumnType("Float64" if both_numbers else "String", nullable=True)
        return Unknown(self.count + other.count, kind)


UnknownKeys = dict[Path, Unknown]


def unknown_keys(schema: Schema, objects: Iterable[dict[str, Any] | None]) -> UnknownKeys:
    """What the events have beside the keys that columns take."""
    found: UnknownKeys = {}
    known = schema.known_keys
    if known.takes_all:
        return found
    for event in objects:
        if event is not None and (known.has_nested or not event.keys() <= known.top):
            for path, value in _walk(known.tree, event, ()):
                note(found, path, Unknown(1, guess_type(value)))
    return found


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
