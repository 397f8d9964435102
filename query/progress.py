"""The progress bar of `siltstone append`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn


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
