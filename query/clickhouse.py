"""ClickHouse's spelling of types, and of values in text formats."""

from collections.abc import Callable

import orjson
import pyarrow as pa

from query.texts import as_text
from query.values import CLICKHOUSE, plain_values

NULL = r"\N"
_SIMPLE = {
    pa.bool_(): "Bool",
    pa.int8(): "Int8",
    pa.int16(): "Int16",
    pa.int32(): "Int32",
    pa.int64(): "Int64",
    pa.uint8(): "UInt8",
    pa.uint16(): "UInt16",
    pa.uint32(): "UInt32",
    pa.uint64(): "UInt64",
    pa.float32(): "Float32",
    pa.float64(): "Float64",
    pa.date32(): "Date",
    pa.null(): "Nothing",
}
_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_INT128_DIGITS = 38
_ESCAPES = {
    ord("\b"): r"\b",
    ord("\f"): r"\f",
    ord("\r"): r"\r",
    ord("\n"): r"\n",
    ord("\t"): r"\t",
    ord("\0"): r"\0",
    ord("'"): r"\'",
    ord("\\"): r"\\",
}
Text = Callable[[object], str]


def type_name(kind: pa.DataType) -> str:
    """ClickHouse's name of an Arrow type. The engine can't tell which columns never hold null, so all may."""
    if pa.types.is_map(kind):
        return f"Map({_never_null(kind.key_type)}, {type_name(kind.item_type)})"
    if pa.types.is_struct(kind):
        fields = ", ".join(f"{_field_name(field.name)} {type_name(field.type)}" for field in kind)
        return f"Tuple({fields})"
    if _is_list(kind):
        return f"Array({type_name(kind.value_type)})"
    return f"Nullable({_never_null(kind)})"


def _never_null(kind: pa.DataType) -> str:
    simple = _SIMPLE.get(kind)
    if simple is not None:
        return simple
    if pa.types.is_timestamp(kind):
        zone = ", 'UTC'" if kind.tz is not None else ""
        digits = _DIGITS[kind.unit]
        return f"DateTime64({digits}{zone})" if digits else "DateTime" + (f"({zone[2:]})" if zone else "")
    if pa.types.is_time(kind):
        return f"Time64({_DIGITS[kind.unit]})"
    if pa.types.is_decimal(kind):
        whole = kind.scale == 0 and kind.precision == _INT128_DIGITS
        return "Int128" if whole else f"Decimal({kind.precision}, {kind.scale})"
    return "String"


def _field_name(name: str) -> str:
    return name if name.isidentifier() else "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def tsv_cells(column: pa.Array) -> list[str]:
    """The cells of a column in TSV: control characters, quotes and backslashes escaped."""
    return _cells(column, lambda text: text.translate(_ESCAPES), lambda text: text)


def csv_cells(column: pa.Array) -> list[str]:
    """The cells of a column in CSV: everything quoted but numbers and booleans."""
    return _cells(column, _csv_quoted, _csv_quoted)


def _csv_quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _cells(column: pa.Array, escape: Callable[[str], str], wrap: Callable[[str], str]) -> list[str]:
    """`escape` is for text, `wrap` for arrays, tuples and maps, in which text is escaped already."""
    spell = _bare(column.type)
    if spell is None:
        inner = _nested(column.type)
        spell = (lambda value: escape(as_text(value))) if inner is None else (lambda value: wrap(inner(value)))
    return [NULL if value is None else spell(value) for value in plain_values(column, CLICKHOUSE)]


def _bare(kind: pa.DataType) -> Text | None:
    """How a type is written that is never quoted or escaped; None for the others."""
    if pa.types.is_boolean(kind):
        return lambda value: "true" if value else "false"
    if pa.types.is_integer(kind):
        return str
    if pa.types.is_floating(kind):
        return lambda value: repr(value).removesuffix(".0")
    if pa.types.is_decimal(kind):
        return lambda value: orjson.dumps(value).decode()
    if pa.types.is_dictionary(kind):
        return _bare(kind.value_type)
    return None


def _nested(kind: pa.DataType) -> Text | None:
    """How arrays, tuples and maps are written, as literals; None for other types."""
    if pa.types.is_map(kind):
        key, item = _literal(kind.key_type), _literal(kind.item_type)
        return lambda value: "{" + ",".join(f"{key(k)}:{item(v)}" for k, v in _items(value)) + "}"
    if pa.types.is_struct(kind):
        parts = [_literal(field.type) for field in kind]
        return lambda value: "(" + ",".join(p(v) for p, (_, v) in zip(parts, _items(value), strict=True)) + ")"
    if _is_list(kind):
        element = _literal(kind.value_type)
        return lambda value: "[" + ",".join(element(v) for v in _elements(value)) + "]"
    return None


def _literal(kind: pa.DataType) -> Text:
    spell = _bare(kind) or _nested(kind) or (lambda value: "'" + as_text(value).translate(_ESCAPES) + "'")
    return lambda value: "NULL" if value is None else spell(value)


def _items(value: object) -> list[tuple[object, object]]:
    assert isinstance(value, dict)
    return list(value.items())


def _elements(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


def _is_list(kind: pa.DataType) -> bool:
    checks = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view)
    return any(check(kind) for check in checks)
