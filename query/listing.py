"""What `siltstone ls` and `siltstone files` print, and the progress bar of `append`. No DuckDB here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from segments.disk import Disk
from segments.errors import StorageError
from segments.filenames import DataDir, SourceDir, name_problem
from segments.inventory import take_stock
from segments.segment_file import read_facts
from segments.snapshot import open_snapshot, while_files_last

_PLAIN_WIDTH = 200


def source_names(disk: Disk, data: DataDir) -> list[str]:
    """All sources of a data directory."""
    if not disk.exists(data.sources):
        return []
    return [name for name in disk.listdir(data.sources) if name_problem(name) is None]


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


@contextmanager
def progress_of(paths: tuple[str, ...], stream: TextIO) -> Iterator[Callable[[int], None]]:
    """A progress bar over the bytes of `paths` on a terminal, nothing elsewhere."""
    if not stream.isatty():
        yield lambda _: None
        return
    total = None if "-" in paths else sum(Path(path).stat().st_size for path in paths if Path(path).exists())
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(file=stream)) as progress:
        task = progress.add_task("appending", total=total)
        yield lambda done: progress.update(task, completed=done)


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="left" if name in ("name", "file") else "right", no_wrap=True)
    return table


def _print(table: Table, stream: TextIO) -> None:
    console = Console(file=stream) if stream.isatty() else Console(file=stream, width=_PLAIN_WIDTH)
    console.print(table)
