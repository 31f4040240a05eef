"""`tocsin db`: copies of the store, taken while the gateway runs."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import click

from gateway.errors import TocsinError

_STEP_PAGES = 2_000


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
    copy_file(url, file)
    click.echo(f"{file}: {file.stat().st_size:,} bytes")


@database.command()
@click.argument("from_url", metavar="FROM")
@click.argument("to_url", metavar="TO")
def copy(from_url: str, to_url: str) -> None:
    """Copy a whole database to a new place: FROM and TO are URLs; TO must not exist yet.

    \b
    Example:
      tocsin db copy sqlite:///tocsin.db sqlite:////data/tocsin.db
    """
    from gateway.store.engines.sqlite import database_path

    to = database_path(to_url)
    copy_file(from_url, to)
    click.echo(f"{to}: {to.stat().st_size:,} bytes")


def copy_file(url: str, to: Path) -> None:
    """SQLite's online backup, read-only on the source. Raises TocsinError; then `to` does not exist."""
    from gateway.store.engines.sqlite import database_path

    path = database_path(url)
    if not path.exists():
        raise TocsinError(f"{path}: there is no such database")
    if to.exists():
        raise TocsinError(f"{to}: exists already; name a new file")
    if not to.absolute().parent.is_dir():
        raise TocsinError(f"{to.parent}: there is no such folder")
    partial = to.with_name(f"{to.name}.partial")
    try:
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        source = sqlite3.connect(f"file:{path.absolute()}?mode=ro", uri=True)
        target = sqlite3.connect(partial)
        with source, target:
            source.backup(target, pages=_STEP_PAGES, progress=_progress)
        source.close()
        target.close()
        partial.rename(to)
    except (OSError, sqlite3.Error) as error:
        partial.unlink(missing_ok=True)
        raise TocsinError(f"{path} could not be copied to {to}: {error}") from None


def _progress(_status: int, remaining: int, total: int) -> None:
    if total and remaining and (total - remaining) % (_STEP_PAGES * 10) < _STEP_PAGES:
        click.echo(f"{100 * (total - remaining) // total} %", err=True)
