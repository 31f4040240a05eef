"""`tocsin serve`: the gateway itself."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.errors import BadConfiguration, TocsinError

if TYPE_CHECKING:
    from gateway.config import Configuration

TOKEN_FILE = Path(".tocsin/token")


@click.command()
@click.option("--config", envvar="TOCSIN_CONFIG", default="routing.yaml", show_default=True, help="The routing file.")
@click.option(
    "--database", envvar="TOCSIN_DATABASE", default="sqlite:///tocsin.db", show_default=True, help="Where to keep all."
)
@click.option("--host", envvar="TOCSIN_HOST", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", envvar="TOCSIN_PORT", default=8080, show_default=True, type=click.IntRange(1, 65535))
@click.option(
    "--log-level",
    envvar="TOCSIN_LOG_LEVEL",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="What standard error shows.",
)
@click.option("--quickstart", is_flag=True, hidden=True, help="Make a token where none is set, and print addresses.")
def serve(config: str, database: str, host: str, port: int, log_level: str, quickstart: bool) -> None:
    """Run the gateway.

    \b
    Example:
      tocsin serve --config routing.yaml --database sqlite:///tocsin.db --port 8080
    """
    from gateway import config as configurations
    from gateway.service import Options
    from gateway.serving import serve as run
    from gateway.telemetry import start_logging

    _open_standard_streams()
    log = start_logging(log_level)
    environ: Mapping[str, str] = os.environ
    if quickstart:
        environ = {**os.environ, "TOCSIN_TOKEN": os.environ.get("TOCSIN_TOKEN") or own_token()}
    try:
        configuration = configurations.load(Path(config), environ)
    except BadConfiguration as refused:
        for problem in refused.problems:
            click.echo(str(problem), err=True)
        sys.exit(1)
    if quickstart:
        _greet(configuration, host, port, environ["TOCSIN_TOKEN"])
    try:
        run(Options(Path(config), database, host, port, environ), configuration)
    finally:
        log.flush(1.0)  # a sentence of why it could not start is the last


def _open_standard_streams() -> None:
    """Where one was closed (`2>&-`), its number would go to the next file opened, and our lines into that."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def environment() -> Mapping[str, str]:
    """The environment, with the token that `make run` made in this folder where TOCSIN_TOKEN is not set."""
    if os.environ.get("TOCSIN_TOKEN") or not TOKEN_FILE.exists():
        return os.environ
    return {**os.environ, "TOCSIN_TOKEN": own_token()}


def own_token() -> str:
    """The token in `.tocsin/token`, made at random the first time. Raises TocsinError where it cannot be kept."""
    try:
        if TOKEN_FILE.exists():
            return TOKEN_FILE.read_text().strip()
        TOKEN_FILE.parent.mkdir(mode=0o700, exist_ok=True)
        token = secrets.token_urlsafe(32)
        with os.fdopen(os.open(TOKEN_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token + "\n")
    except OSError as error:
        raise TocsinError(f"{TOKEN_FILE}: cannot be kept ({error.strerror}); set TOCSIN_TOKEN") from None
    return token


def _greet(configuration: Configuration, host: str, port: int, token: str) -> None:
    """Where to send, and one line that pages this terminal."""
    here = f"http://{host}:{port}"
    lines = [f"Tocsin listens on {here}. Sources:"]
    for name in sorted({*configuration.sources, *configuration.sleeping_sources}):
        unset = configuration.sleeping_sources.get(name)
        asleep = f"   (asleep: set {', '.join(unset)})" if unset else ""
        lines.append(f"  {name:<14} {here}/webhooks/{name}{asleep}")
    shown = "$TOCSIN_TOKEN" if os.environ.get("TOCSIN_TOKEN") else token
    alert = '{"title": "Disk 94% full", "severity": "critical", "service": "db-1"}'
    headers = f"-H 'Authorization: Bearer {shown}' -H 'Content-Type: application/json'"
    lines.append("Page this terminal:")
    lines.append(
        f"  curl -X POST {here}/api/v1/alerts {headers} -d '{alert}'".replace(
            "'Authorization: Bearer $TOCSIN_TOKEN'", '"Authorization: Bearer $TOCSIN_TOKEN"'
        )
    )
    click.echo("\n".join(lines), err=True)
