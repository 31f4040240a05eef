"""`tocsin db`: copies of the store, taken while the gateway runs."""

from __future__ import annotations

import re
from pathlib import Path

import click

from gateway.errors import TocsinError

_TOLD_EVERY = 10  # per cent
_URL = re.compile(r"postgres[\w+]*:|\w[\w+.-]*:/")


@click.group("db")
def database() -> None:
    """Copy the database.

    \b
    Example:
      tocsin db backup /backups/tocsin.db
    """


@database.command()
@click.option("--database", "url", envvar="TOCSIN_DATABASE", default="sqlite:///tocsin.db", show_default=True)
@click.argument("file", type=click.Path(path_type=Path))
def backup(url: str, file: Path) -> None:
    """Write a consistent copy to FILE, while the gateway runs or not. Everything accepted before is in it.

    \b
    Example:
      tocsin db backup /backups/tocsin.db
    """
    if _URL.match(str(file)):  # it may hold a password: it is not repeated
        raise TocsinError("FILE is the name of a new file; name the database by --database")
    copy_file(url, file)
    click.echo(f"{file}: {file.stat().st_size:,} bytes")


@database.command()
@click.argument("from_url", metavar="FROM")
@click.argument("to_url", metavar="TO")
@click.option("--temp", type=click.Path(path_type=Path, file_okay=False), help="Where a copy of the file has room.")
def copy(from_url: str, to_url: str, temp: Path | None) -> None:
    """Copy a whole database to a new place: FROM and TO are URLs. A file TO must not exist yet. A PostgreSQL must be
    empty; a gateway that runs is asked to stand still for the last part, and the last lines say what to do then.

    \b
    Example:
      tocsin db copy sqlite:///tocsin.db postgresql://tocsin@db/tocsin
    """
    from gateway.store.engines.sqlite import database_path
    from gateway.store.server_url import names_server

    if names_server(to_url):
        _move(from_url, to_url, temp)
        return
    if names_server(from_url):
        raise TocsinError("the order is FROM TO, and a move goes from sqlite:///… to postgresql://…, not back")
    to = database_path(to_url)
    copy_file(from_url, to)
    click.echo(f"{to}: {to.stat().st_size:,} bytes")


def _move(from_url: str, to_url: str, temp: Path | None) -> None:
    from gateway.store.backup import refuse_server
    from gateway.store.engines.sqlite import database_path
    from gateway.store.transfer import transfer
    from gateway.telemetry import start_logging

    refuse_server(from_url, Path("tocsin.dump"))
    start_logging("warning")
    moved = transfer(database_path(from_url), to_url, lambda line: click.echo(line, err=True), temp)
    for table, count in moved.rows.items():
        if count:
            click.echo(f"{count:>12,}  {table}")
    speed = (moved.total - moved.after) / max(moved.bulk_seconds, 0.001)
    took = f"in {moved.bulk_seconds:.1f} s ({speed:,.0f} a second)"
    click.echo(f"{moved.total:,} rows {took}; {moved.after:,} were copied while nothing changed.")
    if moved.stood is None:
        click.echo("No gateway was running.")
    else:
        click.echo(f"The gateway has answered 503 for {moved.stood:.1f} s, and does until it is stopped. Now:")
        click.echo("1. Stop the old gateway.")
    click.echo(f"{1 if moved.stood is None else 2}. Start with --database {moved.to} (and its password).")


def copy_file(url: str, to: Path) -> None:
    """The database of a `sqlite:///` URL to a new file. Raises TocsinError; then `to` does not exist."""
    from gateway.store import backup as store
    from gateway.store.engines.sqlite import database_path

    store.refuse_server(url, to)
    store.copy_file(database_path(url), to, _Progress().tell)


class _Progress:
    """A line on standard error for each tenth, where the copy takes more than one step."""

    def __init__(self) -> None:
        self._told = 0

    def tell(self, left: int, total: int) -> None:
        done = 100 * (total - left) // max(total, 1)
        if left and done >= self._told + _TOLD_EVERY:
            self._told = done - done % _TOLD_EVERY
            click.echo(f"{done} %", err=True)
