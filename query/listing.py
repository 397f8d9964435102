"""What `siltstone ls` and `siltstone files` print. No DuckDB here."""

from typing import TextIO

from rich.console import Console
from rich.table import Table

from query.names import source_names
from segments.disk import Disk
from segments.errors import StorageError
from segments.filenames import DataDir, SourceDir
from segments.inventory import take_stock
from segments.segment_file import read_facts
from segments.snapshot import open_snapshot, while_files_last

_PLAIN_WIDTH = 200


def list_sources(disk: Disk, data: DataDir, stream: TextIO) -> None:
    """One line a source."""
    table = _table("name", "rows", "quarantined", "in WAL", "segments", "bytes")
    damage: list[str] = []
    for name in source_names(disk, data):
        try:
            stock = take_stock(disk, data.source(name))
        except StorageError as error:
            table.add_row(name, "damaged")
            damage.append(f"{name}: DAMAGED: {error}")
            continue
        counts = (stock.rows, stock.quarantined_rows, stock.wal_rows, stock.segments, stock.bytes)
        table.add_row(name, *map(str, counts))
    _print(table, stream)
    for line in damage:
        stream.write(f"{line}\n")


def list_files(disk: Disk, source: SourceDir, stream: TextIO) -> None:
    """One line a file, oldest rows first."""
    _print(while_files_last(disk, lambda: _files_table(disk, source)), stream)


def _files_table(disk: Disk, source: SourceDir) -> Table:
    table = _table("file", "rows", "first LSN", "last LSN", "bytes")
    snapshot = open_snapshot(disk, source, to_show=True)
    for ref in (*snapshot.rows.segments, *snapshot.quarantine.segments, *snapshot.others):
        rows = read_facts(disk, ref).rows
        name = str(ref.path.relative_to(source.path))
        table.add_row(name, str(rows), str(ref.name.first_lsn), str(ref.name.last_lsn), str(disk.size(ref.path)))
    for file in snapshot.wal:
        count = sum(frame.count for frame in file.frames)
        last = file.bad_lsn - 1
        table.add_row(f"wal/{file.name}", str(count), str(file.name.first_lsn), str(last), str(file.size))
    return table


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="left" if name in ("name", "file") else "right", no_wrap=True)
    return table


def _print(table: Table, stream: TextIO) -> None:
    console = Console(file=stream) if stream.isatty() else Console(file=stream, width=_PLAIN_WIDTH)
    console.print(table)
