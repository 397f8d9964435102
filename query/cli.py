"""`siltstone`: query, look around, append. Exit codes: 0 done, 1 the work failed, 2 the call was wrong."""

import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from query.admin_cli import alter, create, daemon_options, drop, replay, token
from segments.errors import StorageError, UnknownDirectory

if TYPE_CHECKING:
    from segments.filenames import SourceDir

# Imports stand in the commands that need them, so that --help answers at once, and ls without DuckDB.
# ruff: noqa: PLC0415

_FORMATS = ("table", "json", "ndjson", "csv", "parquet", "arrow")
_BINARY = ("parquet", "arrow")
_AGAIN = "trying again, for a minute at most; what was stored is not stored twice"
F = TypeVar("F", bound=Callable[..., Any])


class _Failed(click.ClickException):
    """One sentence on standard error, exit code 1."""

    exit_code = 1

    def show(self, file: Any = None) -> None:  # noqa: ARG002 -- click's signature
        click.echo(f"siltstone: {self.format_message()}", err=True)


class _Group(click.Group):
    """Turns what the packages raise on purpose into one sentence; anything else is a bug and keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            done = super().invoke(ctx)
            sys.stdout.flush()
            return done
        except BrokenPipeError:
            # The reader of our output had enough, as `head` does.
            sys.stderr.close()
            sys.exit(1)
        except (StorageError, OSError) as error:
            raise _Failed(str(error)) from error


def _check_data(_context: click.Context, _option: click.Parameter, data: Path) -> Path:
    from segments.disk import Disk
    from segments.filenames import DataDir
    from segments.format_version import check_format

    for path in (data, DataDir(data).format, DataDir(data).sources):
        needed = os.R_OK | (os.X_OK if path.is_dir() else 0)
        if os.access(path, os.F_OK) and not os.access(path, needed):
            raise click.UsageError(
                f"this user may not read {path}; run the command as the user that siltstoned runs as"
            )
    try:
        check_format(Disk(), DataDir(data))
    except UnknownDirectory as error:
        raise click.UsageError(str(error)) from error
    return data


def _data_option(command: F) -> F:
    return click.option(
        "--data",
        envvar="SILTSTONE_DATA",
        show_envvar=True,
        required=True,
        callback=_check_data,
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="The daemon's data directory, or SILTSTONE_DATA.",
    )(command)


def _known_source(data: Path, name: str) -> "SourceDir":
    from segments.filenames import DataDir, name_problem

    if name_problem(name) is not None or not DataDir(data).source(name).path.is_dir():
        raise _Failed(f"there is no data source '{name}' in {data}; siltstone ls shows what there is")
    return DataDir(data).source(name)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="siltstone")
def main() -> None:
    """Query, inspect and feed a Siltstone data directory."""


@main.command()
@click.argument("sql")
@click.option("--format", "format_name", type=click.Choice(_FORMATS), default="table", show_default=True)
@_data_option
def query(sql: str, format_name: str, data: Path) -> None:
    """Run SQL over everything stored; each data source is a view, NAME_quarantine its quarantined rows."""
    if format_name in _BINARY and sys.stdout.isatty():
        raise click.UsageError(f"{format_name} is not for a terminal; redirect the output to a file")
    from query.connection import Limits, Opening

    opening = Opening(Limits())
    # Loaded while DuckDB opens its database.
    from query import plain_output
    from query.engine import PlainResult, run_plainly, run_query
    from segments.disk import Disk
    from segments.filenames import DataDir

    # The engine holds the main thread, where Python's own handler would wait for it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    run = run_plainly if format_name in plain_output.FORMATS else run_query
    result = run(Disk(), DataDir(data), sql, opening)
    for corruption in result.damage:
        click.echo(f"siltstone: warning: rows are missing: {corruption}", err=True)
    if isinstance(result, PlainResult):
        plain_output.FORMATS[format_name](result.rows, sys.stdout.buffer)
        return
    from query.output import FORMATS

    FORMATS[format_name](result.reader, sys.stdout.buffer)


@main.command()
@_data_option
def ls(data: Path) -> None:
    """List the data sources with their rows and sizes."""
    from query.listing import list_sources
    from segments.disk import Disk
    from segments.filenames import DataDir

    list_sources(Disk(), DataDir(data), sys.stdout)


@main.command()
@click.argument("name")
@_data_option
def schema(name: str, data: Path) -> None:
    """Print a data source's schema as a datafile."""
    from segments.datafile_print import print_datafile
    from segments.disk import Disk
    from segments.source_files import load_datafile

    click.echo(print_datafile(load_datafile(Disk(), _known_source(data, name))), nl=False)


@main.command()
@click.argument("name")
@_data_option
def files(name: str, data: Path) -> None:
    """List the files of a data source: segments, then what is still in the write-ahead log."""
    from query.listing import list_files
    from segments.disk import Disk

    list_files(Disk(), _known_source(data, name), sys.stdout)


@main.command()
@click.argument("name", required=False)
@_data_option
def verify(name: str | None, data: Path) -> None:
    """Check every byte that can be checked; exits with 1 when something is damaged."""
    from query.names import source_names
    from segments.disk import Disk
    from segments.filenames import DataDir
    from segments.verify import tokens_damage, verify_source

    names = [name] if name is not None else source_names(Disk(), DataDir(data))
    damaged = 0
    tokens = None
    try:
        tokens = tokens_damage(Disk(), DataDir(data)) if name is None else None
    except PermissionError:
        click.echo("note: only the user that siltstoned runs as may read the tokens; they were not checked")
    if tokens is not None:
        click.echo(f"DAMAGED: {tokens}")
    for each in names:
        verdict = verify_source(Disk(), _known_source(data, each))
        for note in verdict.notes:
            click.echo(f"{each}: note: {note}")
        for problem in verdict.problems:
            click.echo(f"{each}: DAMAGED: {problem}")
        state = "damaged" if verdict.problems else "ok"
        click.echo(
            f"{each}: {state}: {verdict.rows} rows in {verdict.segments} segments and {verdict.wal_files} WAL files"
        )
        damaged += bool(verdict.problems)
    if tokens is not None and not damaged:
        raise _Failed("the tokens are damaged; siltstone repair sets them aside")
    if damaged:
        raise _Failed(
            f"{damaged} of {len(names)} data sources are damaged; what is lost is named above. "
            "Stop the daemon and run siltstone repair to set it aside and go on with the rest"
        )


@main.command()
@click.argument("name", required=False)
@_data_option
def repair(name: str | None, data: Path) -> None:
    """Set what is damaged aside and keep all that checks, so that the data source takes rows again.

    The daemon must not run. Nothing is deleted: damaged files are moved to damaged/ in the source's directory.
    """
    from query.names import source_names
    from segments.disk import Disk
    from segments.filenames import DataDir
    from segments.repair import repair_source, set_tokens_aside
    from segments.verify import tokens_damage, verify_source

    disk = Disk()
    disk.lock(DataDir(data).lock)
    if name is None and tokens_damage(disk, DataDir(data)) is not None:
        aside = set_tokens_aside(disk, DataDir(data), now=datetime.now(UTC))
        click.echo(f"LOST: all tokens; the next start makes a new admin token. Set aside: {aside}")
    for each in [name] if name is not None else source_names(disk, DataDir(data)):
        source = _known_source(data, each)
        if not verify_source(disk, source).problems:
            click.echo(f"{each}: ok, nothing to repair")
            continue
        repaired = repair_source(disk, source, now=datetime.now(UTC))
        for first, last in repaired.lost:
            click.echo(f"{each}: LOST: {last - first + 1} rows, LSNs {first} to {last}")
        for note in repaired.notes:
            click.echo(f"{each}: note: {note}")
        for path in repaired.aside:
            click.echo(f"{each}: set aside: {path}")
        for problem in verify_source(disk, source).problems:
            raise _Failed(f"{each}: still damaged: {problem}")
        click.echo(f"{each}: repaired")


@main.command()
@click.argument("name")
@click.argument("paths", nargs=-1, required=True, metavar="FILE...")
@daemon_options
@click.option("--run-id", default="", help="Any text; the same rows under another run id are stored again.")
def append(name: str, paths: tuple[str, ...], url: str, token: str, run_id: str) -> None:
    """Send NDJSON files (or - for standard input), plain, gzip or zstd, and wait until every row is durable.

    A cut-off append can be run again: what was stored the first time is not stored twice, for a day. To store
    the same rows once more on purpose, give the run a --run-id.
    """
    from query.append import AppendFailed, Patience
    from query.append import append as send
    from query.batches import UnreadableInput
    from query.progress import progress_of

    try:
        with progress_of(paths, sys.stderr) as on_progress:
            done = send(
                list(paths),
                url=url,
                token=token,
                name=name,
                on_progress=on_progress,
                run_id=run_id,
                patience=Patience(on_retry=lambda reason: click.echo(f"siltstone: {reason}; {_AGAIN}", err=True)),
            )
    except (AppendFailed, UnreadableInput) as error:
        raise _Failed(str(error)) from error
    notes = [f"{done.batches} {'batch' if done.batches == 1 else 'batches'}"]
    notes += [f"{done.retries} retries"] if done.retries else []
    notes += [f"{done.repeated_rows} rows were there from an earlier run"] if done.repeated_rows else []
    click.echo(
        f"{done.rows_sent} lines sent: {done.successful_rows} rows stored, {done.quarantined_rows} quarantined "
        f"({', '.join(notes)})"
    )
    if done.quarantined_rows:
        click.echo(f"siltstone: the reasons are in {name}_quarantine, columns c__error and c__row", err=True)


for command in (create, alter, drop, replay, token):
    main.add_command(command)
