"""Which writes may go past the page cache (open(2), O_DIRECT), and the memory that they are made from.

A page of the cache that nobody had before costs several times the copy into it, above all on a virtual machine; and what is
on its way to the device at once leaves less for the sync to wait for.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    import pyarrow as pa

DIRECT_BYTES = 256 * 1024
"""Less than this costs as much either way."""
_MEMORY_ALIGNMENT = 4096
_FILE_ALIGNMENT = 512
"""What most devices take; where they want more, the kernel says so."""

Data = bytes | memoryview
"""What is written; a view is one of aligned memory."""
Piece = Union[bytes, "pa.Buffer"]


def may_be_direct(data: Data, offset: int) -> bool:
    """Whether it is worth asking the kernel to write it at `offset` past the page cache."""
    return len(data) >= DIRECT_BYTES and not (len(data) % _FILE_ALIGNMENT or offset % _FILE_ALIGNMENT)


def joined(pieces: Sequence[Piece]) -> Data:
    """The pieces as one, in aligned memory if they are large."""
    size = sum(map(len, pieces))
    if size < DIRECT_BYTES:
        return b"".join(pieces)
    import pyarrow as pa  # noqa: PLC0415 -- pieces this large are Arrow's

    # From Arrow's pool, which keeps memory that was used before.
    memory = pa.allocate_buffer(size + _MEMORY_ALIGNMENT)
    start = -memory.address % _MEMORY_ALIGNMENT
    view = memoryview(memory).cast("B")[start : start + size]
    end = 0
    for piece in pieces:
        begin, end = end, end + len(piece)
        view[begin:end] = memoryview(piece).cast("B")
    return view
