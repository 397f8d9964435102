"""One frame on its way to the end of a WAL file: what the kernel is asked for, and what it said.

Apart from who asks: a thread of Python's through `Disk`, or machine code that does the same (`segments.append_threads`).
"""

from typing import NamedTuple

from segments.direct import Data
from segments.disk import Disk


class Appended(NamedTuple):
    """What became of it. With an error nothing is known of the frame: the write has failed, or, if `is_written`, the sync."""

    is_written: bool
    is_synced: bool = False
    error: OSError | None = None


class Append(NamedTuple):
    """`data` is the frame of so many `rows`, for the open file's `offset`; `crc` is its checksum."""

    descriptor: int
    offset: int
    data: Data
    crc: int
    rows: int

    def make(self, disk: Disk, *, durably: bool) -> Appended:
        """Write it, and sync the file if `durably`."""
        is_written = False
        try:
            disk.pwrite(self.descriptor, self.data, self.offset)
            is_written = True
            if durably:
                disk.sync(self.descriptor)
        except OSError as error:
            return Appended(is_written, error=error)
        return Appended(is_written, is_synced=durably)
