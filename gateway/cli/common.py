"""What many commands share: options that mean the same everywhere, and how an answer is printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
Option: TypeAlias = Callable[[F], F]

json_option: Option[Any] = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
limit_option: Option[Any] = click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 200))


def by_option(who: str) -> Option[Any]:
    """`--by`, for who 'acts' or 'asks for it'; see `remote.actor`."""
    return click.option("--by", help=f"Who {who}; without it $TOCSIN_USER, or your login name.")


def document(shape: Any) -> None:
    """Print JSON, for people and programs alike."""
    click.echo(json.dumps(shape, ensure_ascii=False, indent=2))


def listing(found: Any, heads: Sequence[str], row: Callable[[Any], Sequence[str]], *, as_json: bool) -> None:
    """The items of an answer, each a row below these heads; or the answer as it came."""
    if as_json:
        document(found)
    else:
        table([row(item) for item in found["items"]], heads)


def table(rows: Sequence[Sequence[str]], heads: Sequence[str]) -> None:
    """Columns as wide as they must be; the last one runs on."""
    if not rows:
        click.echo("none")
        return
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    for number, row in enumerate([heads, *rows]):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        click.echo(click.style(line, bold=True) if number == 0 else line)


def minute(time: str) -> str:
    """'2026-12-24T18:00:00.000Z' → '2026-12-24 18:00'."""
    return time[:16].replace("T", " ")
