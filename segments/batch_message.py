"""The head of an Arrow IPC message for batches of one schema, made from one that pyarrow has written.

It is the same for all batches of a schema, but for a few numbers at fixed places: how many rows, values and nulls there are,
and where each buffer is. The layout is that of Arrow's format specification ("Encapsulated message format", Message.fbs) and
of FlatBuffers' tables and vectors.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

ALIGNMENT = 8
"""Of every buffer of the body, and of the body itself."""
_PREFIX = 8
"""Before the metadata: the continuation marker and the length."""


@dataclass(frozen=True, slots=True)
class BatchMessage:
    """`nodes` and `buffers` numbers, of two each, are what a batch of the schema takes."""

    example: bytes
    nodes: struct.Struct
    buffers: struct.Struct
    rows_at: int
    nodes_at: int
    buffers_at: int
    body_at: int

    @classmethod
    def of(cls, schema: pa.Schema) -> Self:
        """For batches without dictionaries and compression."""
        # Of a row, even if it is no row of the schema: numbers that are 0 are not written.
        row = pa.RecordBatch.from_arrays([pa.nulls(1, kind) for kind in schema.types], schema=schema)
        example = row.serialize().to_pybytes()
        (length,) = struct.unpack_from("<i", example, 4)
        example = example[: _PREFIX + length]
        root = _PREFIX + _number(example, "<I", _PREFIX)
        batch = _followed(example, _field(example, root, 2))
        nodes, buffers = _followed(example, _field(example, batch, 1)), _followed(example, _field(example, batch, 2))
        return cls(
            example,
            struct.Struct("<" + "qq" * _number(example, "<I", nodes)),
            struct.Struct("<" + "qq" * _number(example, "<I", buffers)),
            _field(example, batch, 0),
            nodes + 4,
            buffers + 4,
            _field(example, root, 3),
        )

    def head(self, rows: int, nodes: Iterable[int], buffers: Iterable[int], body_bytes: int) -> bytearray:
        """What stands before a body: `nodes` are values and nulls, `buffers` begin and length in the body."""
        head = bytearray(self.example)
        struct.pack_into("<q", head, self.rows_at, rows)
        self.nodes.pack_into(head, self.nodes_at, *nodes)
        self.buffers.pack_into(head, self.buffers_at, *buffers)
        struct.pack_into("<q", head, self.body_at, body_bytes)
        return head


def _number(message: bytes, code: str, at: int) -> int:
    return int(struct.unpack_from(code, message, at)[0])


def _field(message: bytes, table: int, index: int) -> int:
    """Where a table has its field `index`, by its virtual table."""
    virtual = table - _number(message, "<i", table)
    return table + _number(message, "<H", virtual + 4 + 2 * index)


def _followed(message: bytes, at: int) -> int:
    """Where the offset at `at` leads."""
    return at + _number(message, "<I", at)
