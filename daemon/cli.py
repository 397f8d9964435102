"""`siltstoned`: options to a Config."""

import gc
import os
import sys
from contextlib import suppress
from pathlib import Path

import click
import trio

from daemon.config import Config
from daemon.logs import configure_logs
from daemon.server import serve
from daemon.warm_up import When
from segments.errors import StorageError

_MIB = 1024 * 1024
GC_ALLOCATIONS = 100_000


@click.command(
    context_settings={
        "auto_envvar_prefix": "SILTSTONED",
        "show_default": True,
        "help_option_names": ["-h", "--help"],
    }
)
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), required=True, help="The directory this daemon owns."
)
@click.option("--host", default="127.0.0.1", help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=7181, help="The port; 0 takes a free one.")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    metavar="N",
    help="Processes that take connections, beside the one that stores rows; 1 is that one alone.",
)
@click.option(
    "--compact-interval",
    type=click.FloatRange(min=0.1),
    default=300.0,
    metavar="S",
    help="Rows are in Parquet about this many seconds after they arrived.",
)
@click.option(
    "--sync-interval",
    type=click.FloatRange(min=0.0),
    default=1.0,
    metavar="S",
    help="Rows answered with 202 are synced within this many seconds.",
)
@click.option(
    "--max-body", type=click.IntRange(min=1024), default=10 * _MIB, metavar="BYTES", help="The largest body taken."
)
@click.option(
    "--memory",
    type=click.IntRange(min=32 * _MIB),
    default=256 * _MIB,
    metavar="BYTES",
    help="For all request bodies in memory together.",
)
@click.option(
    "--keys-memory",
    type=click.IntRange(min=64 * 1024),
    default=512 * _MIB,
    metavar="BYTES",
    help="For Idempotency-Keys that are remembered, 256 bytes each; beyond it new ones are refused.",
)
@click.option(
    "--min-free",
    type=click.IntRange(min=0),
    default=None,
    metavar="BYTES",
    help="Refuse rows when less is free on the disk.  [default: a twentieth of it, 256 MiB at most]",
)
@click.option(
    "--auto-create/--no-auto-create",
    default=True,
    help="Make a data source when its first event comes, or refuse that.",
)
@click.option(
    "--limit-requests",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Requests a second for each data source; 0 is no limit.",
)
@click.option(
    "--limit-bytes",
    type=click.IntRange(min=0),
    default=0,
    metavar="BYTES",
    help="Bytes of events a second for each data source; 0 is no limit.",
)
@click.option(
    "--tokens-on-loopback",
    is_flag=True,
    help="Give the admin token to any program on this machine that asks GET /tokens, as `tb` does for a local server.",
)
@click.option(
    "--machine-code",
    type=click.Choice([when.value for when in When]),
    default=When.AUTO.value,
    help="When to load the machine code that stores rows faster and takes 50 MB: once there is enough to do, at the start, or never.",
)
@click.version_option(package_name="siltstone")
@click.option("--admin-token", default=None, help="Set the admin token; better through SILTSTONED_ADMIN_TOKEN.")
def main(
    data: Path,
    host: str,
    port: int,
    workers: int,
    compact_interval: float,
    sync_interval: float,
    max_body: int,
    memory: int,
    keys_memory: int,
    min_free: int | None,
    auto_create: bool,
    limit_requests: int,
    limit_bytes: int,
    admin_token: str | None,
    tokens_on_loopback: bool,
    machine_code: str,
) -> None:
    """Take events over HTTP, answer when they are safe on disk, keep them as Parquet.

    Every option can also be given as SILTSTONED_<OPTION>, such as SILTSTONED_DATA.
    """
    config = Config(
        data=data.absolute(),
        host=host,
        port=port,
        # One alone would only cost what it takes to speak with it.
        fronts=workers if workers > 1 else 0,
        max_body_bytes=max_body,
        compact_interval_s=compact_interval,
        sync_interval_s=sync_interval,
        memory_bytes=memory,
        keys_memory_bytes=keys_memory,
        min_free_bytes=min_free,
        admin_token=admin_token or None,
        tokens_on_loopback=tokens_on_loopback,
        auto_create=auto_create,
        limit_requests=limit_requests,
        limit_bytes=limit_bytes,
        machine_code=When(machine_code),
    )
    run(config)


def run(config: Config) -> None:
    """The daemon as a whole process, until it is told to stop; exits with 1 when it can't start."""
    configure_logs()
    # What was imported lives for ever, and a large body is a million objects that are all soon gone: collecting
    # garbage as often as by default doubles the time that decoding takes.
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS)
    try:
        trio.run(serve, config, _announce)
    except (StorageError, OSError) as error:
        click.echo(f"siltstoned: {error}", err=True)
        sys.exit(1)


def _announce(url: str) -> None:
    # As with the log: nobody has to read it, and it may go to the very disk that is full. Past the buffer, of which Python
    # would speak again at the end.
    with suppress(OSError, ValueError, AttributeError):
        os.write(sys.stdout.fileno(), f"siltstoned listening on {url}\n".encode())
