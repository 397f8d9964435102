"""Bytes that were decoded before are not decoded again: what a segment and a datafile say goes by their bytes alone.

Most states of a disk share most of their files, and decoding Parquet was most of what judging a state cost. Which file is
read, when, and whether it checks, is still asked of every state.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segments import batches, datafile, merge, replaying, segment_file, source_files
from segments.datafile import Datafile
from segments.disk import Disk
from segments.manifest import SegmentRef

REMEMBERED = 4096
parse = functools.lru_cache(REMEMBERED)(datafile.parse_datafile)


class Segment(pq.ParquetFile):  # type: ignore[misc]  # pyarrow ships no types
    """One file, whose rows are decoded once."""

    @functools.cached_property
    def whole(self) -> pa.Table:
        return super().read()

    def read(self, *args: Any, **kwargs: Any) -> pa.Table:
        return super().read(*args, **kwargs) if args or kwargs else self.whole

    @functools.cached_property
    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.whole.to_pylist()
        return rows


@functools.lru_cache(REMEMBERED)
def decode(data: bytes) -> Segment:
    return Segment(pa.BufferReader(pa.py_buffer(data)))


def open_segment(disk: Disk, ref: SegmentRef) -> Segment:
    return decode(disk.read(ref.path))


NAMES: dict[str, Callable[..., Segment | Datafile]] = {"open_segment": open_segment, "parse_datafile": parse}


@contextmanager
def reading_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (batches, merge, replaying, segment_file, source_files):
            for name in NAMES.keys() & vars(module).keys():
                patch.setattr(module, name, NAMES[name])
        yield
