"""Declared columns: types, where in an event a value is found, and the Arrow schemas of both kinds of row.

Arrow is loaded by who asks for one of its schemas: reading stored rows by DuckDB alone needs none.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from segments.column_type import ColumnType
from segments.defaults import Default

if TYPE_CHECKING:
    import pyarrow as pa

Path = tuple[str, ...]

COLUMNS_MAX = 500
PARTITION_COLUMN = "ingested"
"""Taken by the directory level `ingested=YYYY-MM-DD`: tools that read the segments add a column of that name."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, its type, and the keys that lead to its value in an event.

    Without any key it holds the text of the whole event. The codec is kept for the datafile and has no effect.
    """

    name: str
    type: ColumnType
    path: Path
    default: Default | None = None
    codec: str = ""


@dataclass(frozen=True, slots=True)
class KnownKeys:
    """The keys that columns take their values from, as a tree: below a key that is taken whole stands None."""

    tree: dict[str, Any]
    top: frozenset[str]
    has_nested: bool
    takes_all: bool


@dataclass(frozen=True)
class Schema:
    """The columns of a source in order, and the names of the columns its segments are sorted by."""

    columns: tuple[Column, ...]
    sorting_key: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of good rows."""
        return tuple(column.name for column in self.columns)

    @property
    def quarantine_names(self) -> tuple[str, ...]:
        """The columns of `quarantine`."""
        return ("c__error_column", "c__error", "c__import_id", *self.names, "insertion_date", "c__row", "c__lsn")

    @cached_property
    def arrow(self) -> "pa.Schema":
        """The schema of good rows."""
        import pyarrow as pa  # noqa: PLC0415 -- see above

        return pa.schema([pa.field(c.name, c.type.arrow, nullable=c.type.nullable) for c in self.columns])

    @cached_property
    def known_keys(self) -> KnownKeys:
        tree: dict[str, Any] = {}
        for path in sorted((column.path for column in self.columns if column.path), key=len):
            node: dict[str, Any] | None = tree
            for key in path[:-1]:
                node = None if node is None else node.setdefault(key, {})
            if node is not None:
                node[path[-1]] = None
        has_nested = any(below is not None for below in tree.values())
        return KnownKeys(tree, frozenset(tree), has_nested, any(not column.path for column in self.columns))

    @cached_property
    def quarantine(self) -> "pa.Schema":
        """The schema of quarantined rows, and `c__lsn`, by which a row is replayed exactly once."""
        import pyarrow as pa  # noqa: PLC0415 -- see above

        texts = pa.list_(pa.string())
        return pa.schema(
            [
                pa.field("c__error_column", texts),
                pa.field("c__error", texts),
                pa.field("c__import_id", pa.string()),
                *(pa.field(c.name, pa.string()) for c in self.columns),
                pa.field("insertion_date", pa.timestamp("s")),
                pa.field("c__row", pa.string()),
                pa.field("c__lsn", pa.uint64()),
            ]
        )


RESERVED_NAMES = frozenset(
    {PARTITION_COLUMN, "c__error_column", "c__error", "c__import_id", "insertion_date", "c__row", "c__lsn"}
)
"""Column names that no source has, case aside: the partition column and the quarantine's own."""
