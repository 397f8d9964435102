"""The way of large bodies: lines that all fit go from bytes to Arrow without becoming Python objects.

`pyarrow.json` reads a part of a body under the schema, without the interpreter lock and on all cores. It is believed only
where it can't differ from `decode`: whatever it refuses, or might read otherwise, goes line by line. So a body has one
meaning, whichever way it took; a property test compares the two.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from segments.column_type import ColumnType
from segments.decode import Decoded, decode, join_decoded, value_at
from segments.infer import guess_type
from segments.lines import (
    BOM,
    DEPTH_MAX,
    LINE_BYTES_MAX,
    SLICE_BYTES,
    Events,
    array_elements,
    line_slices,
    parse_slice,
    parse_slices,
)
from segments.plain_columns import plain_texts
from segments.schema import Path, Schema
from segments.unknown_keys import Unknown, UnknownKeys, note

PART_BYTES = 4 << 20
_READ = pj.ReadOptions(block_size=LINE_BYTES_MAX)
_AS_THEY_ARE = frozenset({"Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Bool", "String"})
_TEXTS = frozenset({"Date", "Date32", "DateTime", "DateTime64"})
# What pyarrow takes and a strict parser refuses, or may refuse: NaN and Infinity; the escape of half a character.
_SUSPECT = (b"NaN", b"Inf", b"\\ud", b"\\uD")
# In Float64 columns: integers that would be rounded, and a minus before zero.
_SUSPECT_IN_FLOATS = re.compile(rb"[0-9]{16}|-0(?![.0-9])")

BRACKETS_MAX = 200
"""Of one line that pyarrow is given."""
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{\n"))


class BulkSchema:
    """A schema as pyarrow's reader takes it; not every schema can be read so."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._tree: dict[str, Any] = {}
        self.is_readable = all(
            _is_readable(column.type) and column.default is None for column in schema.columns
        ) and all(self._place(column.path, column.type) for column in schema.columns)
        self._has_floats = any("Float64" in str(column.type) for column in schema.columns)
        self._options = pj.ParseOptions(
            explicit_schema=pa.schema(_fields(self._tree)), newlines_in_values=False, unexpected_field_behavior="infer"
        )

    def _place(self, path: Path, kind: ColumnType) -> bool:
        """Put a column's type at its path; False when another column has a part of the way for itself."""
        node = self._tree
        for key in path[:-1]:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                return False
        if not path or path[-1] in node:
            return False
        node[path[-1]] = _raw_type(kind)
        return True

    def decode(self, part: bytes) -> Decoded | None:
        """The rows of a part that holds whole lines; None when it must be read line by line."""
        lines = part.count(b"\n") + (not part.endswith(b"\n"))
        if not self._is_plain(part, lines):
            return None
        try:
            return self._read(part, lines)
        except (pa.ArrowException, UnicodeDecodeError):
            return None

    def _read(self, part: bytes, lines: int) -> Decoded | None:
        """Raises ArrowException, or UnicodeDecodeError, for what the reader does not take."""
        table = pj.read_json(pa.BufferReader(part), read_options=_READ, parse_options=self._options)
        types = table.schema.types
        if table.num_rows != lines or max(map(_depth, types)) >= DEPTH_MAX or any(map(_has_lists_of_null, types)):
            return None
        arrays = []
        for column in self.schema.columns:
            array = _conform(_at(table, column.path), column.type)
            if array is None or (array.null_count and not column.type.nullable):
                return None
            arrays.append(array)
        unknown = _unknown(self._tree, table, part)
        if unknown is None:
            return None
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.schema.arrow)
        return Decoded(batch, (), lines, unknown)

    def _is_plain(self, part: bytes, lines: int) -> bool:
        """One object a line, none too long, without what the two ways may read differently."""
        # Between values only `}` stands before a line's end and `{` after it; so with as many rows as lines, each line is
        # one object.
        if part[:1] != b"{" or part.rstrip(b"\n")[-1:] != b"}" or part.count(b"}\n{") != lines - 1:
            return False
        if any(text in part for text in _SUSPECT):
            return False
        if self._has_floats and _SUSPECT_IN_FLOATS.search(part):
            return False
        return _has_short_lines(part) and _is_shallow(part) and _is_utf8(part)


def _is_utf8(part: bytes) -> bool:
    """pyarrow does not look, and would store what no text is."""
    if part.isascii():
        return True
    try:
        part.decode()
    except UnicodeDecodeError:
        return False
    return True


def _has_short_lines(part: bytes) -> bool:
    start = 0
    while start + LINE_BYTES_MAX < len(part):
        end = part.rfind(b"\n", start, start + LINE_BYTES_MAX + 1)
        if end < 0:
            return False
        start = end + 1
    return True


def _is_shallow(part: bytes) -> bool:
    """pyarrow recurses for each level, and 100,000 of them end the process; a line has no more levels than brackets."""
    return max(map(len, part.translate(None, _NO_BRACKETS).split(b"\n"))) < BRACKETS_MAX


def _depth(kind: pa.DataType) -> int:
    """How many levels a value of the type has."""
    return 1 + max((_depth(kind.field(number).type) for number in range(kind.num_fields)), default=0)


def _has_lists_of_null(kind: pa.DataType) -> bool:
    """Of a list of nothing but nulls the reader makes an array that is shorter than it says."""
    inner = [kind.field(number).type for number in range(kind.num_fields)]
    return (pa.types.is_list(kind) and pa.types.is_null(inner[0])) or any(map(_has_lists_of_null, inner))


def decode_bulk(schema: Schema, body: bytes, now: datetime, *, check_rows: Callable[[int], None]) -> Decoded:
    """Fit a whole body into the schema. `now` is naive UTC, for defaults; `check_rows` is told how many rows there are so
    far, before they are decoded.

    Raises BodyRejected, and what `check_rows` raises.
    """
    body = body.removeprefix(BOM)
    if array_elements(body) is None:
        group = join_decoded(schema, list(_decode_lines(schema, body, now, check_rows)))
        starts_with_object = not group.bad or group.bad[0].index > 0 or group.bad[0].is_object
        has_object = group.good.num_rows or any(row.is_object for row in group.bad)
        if starts_with_object or (has_object and len(body) > SLICE_BYTES):
            return group
    # An array; or the first line is no object: then the body may be one over several lines, or be refused.
    return join_decoded(schema, [decode(schema, events, now) for events in _counted(parse_slices(body), check_rows)])


def _decode_lines(schema: Schema, body: bytes, now: datetime, check_rows: Callable[[int], None]) -> Iterator[Decoded]:
    bulk = BulkSchema(schema)
    rows = 0
    for part in line_slices(body, PART_BYTES):
        decoded = None
        if bulk.is_readable:
            check_rows(rows + part.count(b"}\n{") + 1)
            decoded = bulk.decode(part)
        if decoded is not None:
            rows += decoded.count
            yield decoded
            continue
        for piece in line_slices(part, SLICE_BYTES):
            events = parse_slice(piece)
            rows += len(events)
            check_rows(rows)
            yield decode(schema, events, now)


def _counted(parts: Iterator[Events], check_rows: Callable[[int], None]) -> Iterator[Events]:
    rows = 0
    for part in parts:
        rows += len(part)
        check_rows(rows)
        yield part


def _is_readable(kind: ColumnType) -> bool:
    if kind.name == "Array":
        assert kind.element is not None
        return kind.element.name in _AS_THEY_ARE | {"Float64"}
    if kind.zone:
        return False
    return kind.name in _AS_THEY_ARE | _TEXTS | {"Float64"}


def _raw_type(kind: ColumnType) -> pa.DataType:
    return pa.string() if kind.name in _TEXTS else kind.arrow


def _fields(tree: dict[str, Any]) -> list[pa.Field]:
    return [pa.field(key, pa.struct(_fields(kind)) if isinstance(kind, dict) else kind) for key, kind in tree.items()]


def _at(table: pa.Table, path: Path) -> pa.Array:
    array = table[path[0]].combine_chunks()
    for key in path[1:]:
        array = pc.struct_field(array, key)
    return array


def _conform(array: pa.Array, kind: ColumnType) -> pa.Array | None:
    """The column's array from what was read; None when a value has to be looked at."""
    if kind.name in _TEXTS:
        return plain_texts(kind, array)
    if kind.element is not None and not kind.element.nullable and array.flatten().null_count:
        return None
    return array if array.type == kind.arrow else array.cast(kind.arrow)


def _unknown(tree: dict[str, Any], table: pa.Table, part: bytes) -> UnknownKeys | None:
    """The keys that the reader found beside the schema's, counted where they have a value; None when it can't be told."""
    beside = list(_beside(tree, table.column_names, (table[name].combine_chunks() for name in table.column_names), ()))
    if not beside:
        return {}
    lines = part.split(b"\n")
    found: UnknownKeys = {}
    for path, array in beside:
        if pa.types.is_struct(array.type):
            # An object without keys, which is no value, reads as one whose keys are all null.
            return None
        has_value = array.is_valid()
        if pa.types.is_list(array.type):
            has_value = pc.and_(has_value, pc.fill_null(pc.greater(pc.list_value_length(array), 0), fill_value=False))
        count = pc.sum(has_value).as_py()
        if count:
            first = value_at(path, orjson.loads(lines[pc.index(has_value, value=True).as_py()]))
            note(found, path, Unknown(count, guess_type(first)))
    return found


def _beside(
    tree: dict[str, Any], names: Iterable[str], arrays: Iterable[pa.Array], at: Path
) -> Iterator[tuple[Path, pa.Array]]:
    for name, array in zip(names, arrays, strict=True):
        if name not in tree:
            yield (*at, name), array
        elif isinstance(tree[name], dict):
            inner = [field.name for field in array.type]
            yield from _beside(tree[name], inner, [pc.struct_field(array, key) for key in inner], (*at, name))
