"""The commands of `siltstone` that change something: they speak to a daemon, which alone writes."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

F = TypeVar("F", bound=Callable[..., Any])


def _check_url(_context: click.Context, _option: click.Parameter, url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise click.UsageError(f"the daemon's URL is like http://127.0.0.1:7181, not '{url}'")
    return url


def _check_token(_context: click.Context, _option: click.Parameter, token: str | None) -> str:
    if not token:
        raise click.UsageError("there is no token; set SILTSTONE_TOKEN, to what is in DATA/admin.token for one")
    if not (token.isascii() and token.isprintable()):
        raise click.UsageError("the token is not printable ASCII on one line")
    return token


def daemon_options(command: F) -> F:
    """`--url` and `--token`, which every such command takes."""
    url = click.option(
        "--url",
        envvar="SILTSTONE_URL",
        default="http://127.0.0.1:7181",
        show_default=True,
        callback=_check_url,
        help="Or SILTSTONE_URL.",
    )
    token = click.option(
        "--token",
        envvar="SILTSTONE_TOKEN",
        callback=_check_token,
        help="Better given as SILTSTONE_TOKEN; the first one is in the data directory, in admin.token.",
    )
    return url(token(command))


def _call(url: str, token: str, method: str, *path: str, **given: Any) -> Any:
    # urllib3 takes longer to import than the help takes to print.
    from query.remote import Remote, RemoteFailed  # noqa: PLC0415

    try:
        return Remote(url, token).call(method, *path, **given)
    except RemoteFailed as error:
        click.echo(f"siltstone: {error}", err=True)
        sys.exit(1)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--name", default="", help="The data source's name; else the file's, without its ending.")
@daemon_options
def create(file: Path, name: str, url: str, token: str) -> None:
    """Make a data source from a .datasource file, such as `siltstone schema` prints."""
    name = name or file.name.removesuffix(".datasource")
    fields = [("mode", "create"), ("name", name)]
    done = _call(url, token, "POST", "v0", "datasources", fields=fields, body=file.read_bytes())
    for warning in done.get("warnings", []):
        click.echo(f"siltstone: warning: {warning}", err=True)
    click.echo(f"created {name} with {len(done['datasource']['columns'])} columns")


@click.command()
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--dry", is_flag=True, help="Show what would change, and change nothing.")
@daemon_options
def alter(name: str, file: Path, url: str, token: str, *, dry: bool) -> None:
    """Change a data source to what a .datasource file says: columns are added and types widened, nothing else."""
    fields = [("dry", "true")] if dry else []
    done = _call(url, token, "POST", "v0", "datasources", name, "alter", fields=fields, body=file.read_bytes())
    for operation in done["operations"]:
        click.echo(f"{'would ' if dry else ''}{operation}")
    if not done["operations"]:
        click.echo("nothing to change")


@click.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@daemon_options
def drop(name: str, url: str, token: str, *, yes: bool) -> None:
    """Take a data source away with all its rows."""
    if not yes:
        click.confirm(f"Take {name} away with all its rows?", abort=True, err=True)
    _call(url, token, "DELETE", "v0", "datasources", name)
    click.echo(f"dropped {name}")


@click.command()
@click.argument("name")
@click.option("--where", default="", help="SQL over the columns of NAME_quarantine; else all of its rows.")
@daemon_options
def replay(name: str, where: str, url: str, token: str) -> None:
    """Send quarantined rows in again; those that fit by now leave the quarantine."""
    fields = [("where", where)] if where else []
    done = _call(url, token, "POST", "v0", "datasources", name, "replay", fields=fields)
    click.echo(f"{done['successful_rows']} rows went in, {done['remaining_rows']} stay in quarantine")
    if done["remaining_rows"]:
        quarantine = f"{name.removesuffix('_quarantine')}_quarantine"
        click.echo(f"siltstone: why is in columns c__error_column and c__error of {quarantine}", err=True)


@click.group()
def token() -> None:
    """Make, list and take away tokens."""


@token.command("create")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, help="Such as DATASOURCES:APPEND:flights; repeatable.")
@daemon_options
def create_token(name: str, scopes: tuple[str, ...], url: str, token: str) -> None:
    """Make a token and print it; it is shown this once."""
    fields = [("name", name), *(("scope", scope) for scope in scopes)]
    click.echo(_call(url, token, "POST", "v0", "tokens", fields=fields)["token"])


@token.command("ls")
@daemon_options
def list_tokens(url: str, token: str) -> None:
    """List the tokens with their scopes."""
    found = _call(url, token, "GET", "v0", "tokens")["tokens"]
    click.echo("name\tid\tscopes")
    for one in found:
        scopes = ", ".join(":".join(filter(None, (s["type"], s["resource"]))) for s in one["scopes"])
        click.echo(f"{one['name']}\t{one['id']}\t{scopes}")


@token.command("rm")
@click.argument("name")
@daemon_options
def remove_token(name: str, url: str, token: str) -> None:
    """Take a token away; it is refused from now on."""
    _call(url, token, "DELETE", "v0", "tokens", name)
    click.echo(f"removed {name}")
