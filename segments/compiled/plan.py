"""A schema as numbers that machine code reads: for each object its keys, for each key what its value must be.

`numbers` begins with SLOTS, LISTS, REQUIRED (columns that take no null) and NODES; from NODE on there are, for each object,
where its first key stands in `numbers` and where its last ends. A key takes KEY_INTS numbers. The first object is the row.
"""

from dataclasses import dataclass
from typing import Any

from segments.column_type import ColumnType
from segments.moments import UTC_NAMES
from segments.schema import Path, Schema

SLOTS, LISTS, REQUIRED, NODES, NODE = range(5)
"""Of `numbers`."""
WORD = 8
"""Bytes that are looked at together; behind a text, and behind the keys, there are so many more that may be looked at."""
KEY_INTS = 9
KEY_AT, KEY_BYTES, KIND, SLOT, NULLABLE, LOW, HIGH, LIST, ELEMENT = range(KEY_INTS)
"""Of a key: its text in `keys`, with the quotes; what its value is; the column, or the object that it leads to; the range of
integers, or digits and ticks of a date-time. A list's ELEMENT is its elements' kind, plus NULL_ELEMENTS."""
WHOLE, FRACTION, BOOL, TEXT, MOMENT, DAY, ARRAY, OBJECT = range(8)
"""Kinds."""
NULL_ELEMENTS = 8
COLUMN_INTS = 4
COLUMN_KIND, COLUMN_BYTES, COLUMN_LIST, ELEMENT_KIND = range(COLUMN_INTS)
"""Of `columns`: as above, and how many bytes a value, or an element, has; COLUMN_LIST is -1 where there is none."""
LISTS_MAX, NODES_MAX, DEPTH_MAX = 16, 64, 16
"""Larger schemas are read otherwise."""

LATE_INTS = 3
"""Of a value that Python has to read: its cell, where it begins and ends. It is a float of many digits, or, for a column of
texts, an array or an object."""
ODD_INTS = 3
"""Of a value that its column may not take: the column, and where the value begins and ends."""
ROOM, LIST_ROOM, LATE_ROOM, ODD_ROOM, LINE_BYTES, EVENTS, REFUSED, ODD = range(8)
"""Of `work`: how large the arrays are and how long a line may be; and what is told: events, how many are refused, and how many
odd values there are."""
FILLED = 8
"""From here on of each list how many elements it has; then (SAVED) as many as before the row; of each object (SEEN) the last event
that had it; and (STACK) the objects around the one that is read, two numbers each."""
SAVED = FILLED + LISTS_MAX
SEEN = SAVED + LISTS_MAX
STACK = SEEN + NODES_MAX
LATE = STACK + 2 * NODES_MAX
"""How many late values there are, and then, up to LATE_ROOM of them, the values. Behind them are the odd ones."""
REFUSED_INTS = 3
"""Of a line that is refused: where it begins and ends, and its number among the events; from bit ODD_BITS on how many odd
values it has, when it has nothing else that is wrong."""
ODD_BITS = 32
MARK_NOTHING, MARK_VALUE, MARK_NULL = range(3)
"""Whether a cell holds something."""
_INTEGERS = {f"{sign}Int{bits}": (bits, sign) for bits in (8, 16, 32, 64) for sign in ("", "U")}
_TEXT_MIN = 0x20


@dataclass(frozen=True, slots=True)
class LinePlan:
    """A schema's `keys`, the texts of all its keys; `numbers` and `columns`, as above."""

    keys: bytes
    numbers: tuple[int, ...]
    columns: tuple[int, ...]

    @classmethod
    def of(cls, schema: Schema) -> "LinePlan | None":
        """None for a schema with columns of other kinds, or with defaults, which no line brings along."""
        places = _Places()
        for slot, column in enumerate(schema.columns):
            if column.default is not None or not places.put(column.path, slot, column.type):
                return None
        return places.plan(schema)


@dataclass(frozen=True, slots=True)
class _Value:
    kind: int
    size: int
    low: int
    high: int


def _value(kind: ColumnType) -> _Value | None:
    if kind.name in _INTEGERS:
        bits, sign = _INTEGERS[kind.name]
        low, high = (0, (1 << bits) - 1) if sign else (-(1 << bits - 1), (1 << bits - 1) - 1)
        return _Value(WHOLE, bits // 8, low, min(high, (1 << 63) - 1))
    match kind.name:
        case "Float64":
            return _Value(FRACTION, 8, 0, 0)
        case "Bool":
            return _Value(BOOL, 0, 0, 0)
        case "String":
            return _Value(TEXT, 0, 0, 0)
        case "Date" | "Date32":
            return _Value(DAY, 4, 0, 0)
        case "DateTime" | "DateTime64" if kind.zone in UTC_NAMES:
            return _Value(MOMENT, 8, kind.precision, kind.ticks_per_s)
    return None


class _Places:
    """The columns as a tree of objects, and from there as numbers."""

    def __init__(self) -> None:
        self._root: dict[str, Any] = {}
        self._lists = 0
        self._columns: list[int] = []

    def put(self, path: Path, slot: int, kind: ColumnType) -> bool:
        """False when the column can't be told where its value is, or what it is."""
        node = self._root
        if not path or len(path) > DEPTH_MAX or not all(map(_is_plain, path)):
            return False
        for key in path[:-1]:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                return False
        value = _value(kind if kind.element is None else kind.element)
        if value is None or path[-1] in node or kind.name == "Map":
            return False
        number = -1
        if kind.element is None:
            node[path[-1]] = [value.kind, slot, int(kind.nullable), value.low, value.high, 0, 0]
        else:
            number, self._lists = self._lists, self._lists + 1
            element = value.kind + NULL_ELEMENTS * kind.element.nullable
            node[path[-1]] = [ARRAY, slot, int(kind.nullable), value.low, value.high, number, element]
        self._columns += [value.kind if number < 0 else ARRAY, value.size, number, value.kind]
        return self._lists <= LISTS_MAX

    def plan(self, schema: Schema) -> LinePlan | None:
        nodes = [self._root]
        for node in nodes:
            nodes += [child for child in node.values() if isinstance(child, dict)]
        if len(nodes) > NODES_MAX:
            return None
        table: list[int] = []
        entries: list[int] = []
        texts = bytearray()
        base = NODE + 2 * len(nodes)
        child = 1
        for node in nodes:
            table.append(base + len(entries))
            for key, what in node.items():
                text = f'"{key}"'.encode()
                entries += [len(texts), len(text)]
                if isinstance(what, dict):
                    entries += [OBJECT, child, 0, 0, 0, 0, 0]
                    child += 1
                else:
                    entries += what
                texts += text
            table.append(base + len(entries))
        required = sum(not column.type.nullable for column in schema.columns)
        numbers = (len(schema.columns), self._lists, required, len(nodes), *table, *entries)
        return LinePlan(bytes(texts) + bytes(WORD), numbers, tuple(self._columns))


def _is_plain(key: str) -> bool:
    """Whether JSON has but one way to write the key that is worth looking for, which holds no line feed."""
    return all(ord(character) >= _TEXT_MIN and character not in '"\\' for character in key) and key.isprintable()
