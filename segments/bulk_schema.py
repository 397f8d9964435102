"""A part of a body by `pyarrow.json`, which reads without the interpreter lock, and is believed only where it can't differ
from `decode`."""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from segments.column_type import ColumnType
from segments.decode import Decoded, value_at
from segments.infer import guess_type
from segments.lines import DEPTH_MAX, LINE_BYTES_MAX
from segments.plain_columns import plain_texts
from segments.plain_lines import are_plain
from segments.schema import Path, Schema
from segments.unknown_keys import Unknown, UnknownKeys, note

# One block, in the calling thread: parts are what is done at once, and the reader's own threads would cost a copy.
_READ = pj.ReadOptions(use_threads=False, block_size=2 * LINE_BYTES_MAX)
_AS_THEY_ARE = frozenset({"Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Bool", "String"})
_TEXTS = frozenset({"Date", "Date32", "DateTime", "DateTime64"})
# Below, an integer is the float that is made of it.
_EXACT_IN_FLOATS = float(1 << 53)
_MINUS_ZERO = pa.scalar(-(1 << 63), pa.int64())


class BulkSchema:
    """A schema as pyarrow's reader takes it; not every schema can be read so."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._tree: dict[str, Any] = {}
        self.is_readable = all(
            _is_readable(column.type) and column.default is None for column in schema.columns
        ) and all(self._place(column.path, column.type) for column in schema.columns)
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

    def decode(self, part: bytes, lines: int) -> Decoded | None:
        """The rows of a part that holds so many objects, a line each; None when it must be read line by line."""
        if not are_plain(part, lines):
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
            if not all(map(_are_as_sent, _floats(array))):
                return None
            arrays.append(array)
        unknown = _unknown(self._tree, table, part)
        if unknown is None:
            return None
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.schema.arrow)
        return Decoded(self.schema, batch, (), lines, unknown)


def _depth(kind: pa.DataType) -> int:
    """How many levels a value of the type has."""
    return 1 + max((_depth(kind.field(number).type) for number in range(kind.num_fields)), default=0)


def _has_lists_of_null(kind: pa.DataType) -> bool:
    """Of a list of nothing but nulls the reader makes an array that is shorter than it says."""
    inner = [kind.field(number).type for number in range(kind.num_fields)]
    return (pa.types.is_list(kind) and pa.types.is_null(inner[0])) or any(map(_has_lists_of_null, inner))


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


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array; putting chunks together copies even a single one."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _at(table: pa.Table, path: Path) -> pa.Array:
    array = _whole(table[path[0]])
    for key in path[1:]:
        array = pc.struct_field(array, key)
    return array


def _floats(array: pa.Array) -> Iterator[pa.Array]:
    """The floats in an array, however deep."""
    if pa.types.is_floating(array.type):
        yield array
    elif pa.types.is_list(array.type):
        yield from _floats(array.flatten())
    elif pa.types.is_struct(array.type):
        for child in array.flatten():
            yield from _floats(child)


def _are_finite(floats: pa.Array) -> bool:
    """pyarrow reads NaN and Infinity, which are no JSON, and numbers too large for a float, as floats."""
    return pc.all(pc.is_finite(floats)).as_py() is not False


def _are_as_sent(floats: pa.Array) -> bool:
    """Whether no digit was lost, in a column of floats: an integer may have been rounded, or a minus before zero be kept."""
    span = pc.min_max(floats).as_py()
    is_small = span["min"] is None or max(-span["min"], span["max"]) < _EXACT_IN_FLOATS
    return (
        is_small and _are_finite(floats) and pc.any(pc.equal(floats.view(pa.int64()), _MINUS_ZERO)).as_py() is not True
    )


def _conform(array: pa.Array, kind: ColumnType) -> pa.Array | None:
    """The column's array from what was read; None when a value has to be looked at."""
    if kind.name in _TEXTS:
        return plain_texts(kind, array)
    if kind.element is not None and not kind.element.nullable and array.flatten().null_count:
        return None
    return array if array.type == kind.arrow else array.cast(kind.arrow)


def _unknown(tree: dict[str, Any], table: pa.Table, part: bytes) -> UnknownKeys | None:
    """The keys that the reader found beside the schema's, counted where they have a value; None when it can't be told."""
    beside = list(_beside(tree, table.column_names, map(_whole, table.columns), ()))
    if not beside:
        return {}
    lines = part.split(b"\n")
    found: UnknownKeys = {}
    for path, array in beside:
        if pa.types.is_struct(array.type):
            # An object without keys, which is no value, reads as one whose keys are all null.
            return None
        if not all(map(_are_finite, _floats(array))):
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
