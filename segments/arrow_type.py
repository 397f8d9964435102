"""The Arrow type that holds a column's values."""

import pyarrow as pa

from segments.column_type import ColumnType

_SIMPLE = {
    "Int8": pa.int8(),
    "Int16": pa.int16(),
    "Int32": pa.int32(),
    "Int64": pa.int64(),
    "UInt8": pa.uint8(),
    "UInt16": pa.uint16(),
    "UInt32": pa.uint32(),
    "UInt64": pa.uint64(),
    "Float32": pa.float32(),
    "Float64": pa.float64(),
    "Bool": pa.bool_(),
    "String": pa.string(),
    "UUID": pa.string(),
    "Date": pa.date32(),
    "Date32": pa.date32(),
    "JSON": pa.string(),
}


def arrow_type(kind: ColumnType) -> pa.DataType:
    """What `ColumnType.arrow` gives."""
    match kind.name:
        case "FixedString":
            return pa.string()
        case "DateTime" | "DateTime64":
            return pa.timestamp(kind.unit)
        case "Decimal":
            return pa.decimal128(kind.precision, kind.scale)
        case "Array":
            assert kind.element is not None
            return pa.list_(pa.field("element", arrow_type(kind.element), nullable=kind.element.nullable))
        case "Map":
            assert kind.key is not None
            assert kind.element is not None
            value = pa.field("value", arrow_type(kind.element), nullable=kind.element.nullable)
            return pa.map_(pa.field("key", arrow_type(kind.key), nullable=False), value)
    return _SIMPLE[kind.name]
