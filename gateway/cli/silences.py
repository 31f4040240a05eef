"""`tocsin silence`: what nobody shall hear of until a time."""

from __future__ import annotations

import json
from typing import Any

import click

from gateway.cli.common import by_option, json_option, listing, minute
from gateway.cli.remote import Gateway, actor, quoted


@click.group()
def silence() -> None:
    """Silence what matches, for a time.

    \b
    Example:
      tocsin silence list
    """


@silence.command("add")
@click.option(
    "--match",
    "matches",
    multiple=True,
    required=True,
    help="k=v, as in a `match:` of routing.yaml. All of them must hold; one key several times means any of its values.",
)
@click.option("--for", "lasts", help="For how long, such as 2h.")
@click.option("--until", help="Until when: 2026-12-24T18:00:00Z, or 'mon 09:00' in UTC.")
@click.option("--reason", required=True, help="Why, for whoever wonders.")
@by_option("asks for it")
def add(matches: tuple[str, ...], lasts: str | None, until: str | None, reason: str, by: str | None) -> None:
    """Let nobody hear of what matches, --for a time or --until one. It is kept all the same.

    \b
    Example:
      tocsin silence add --match severity='<=error' --match labels.team=data --for 2h --reason 'moving the database'
    """
    if (lasts is None) == (until is None):
        raise click.UsageError("give either --for, such as 2h, or --until, a time")
    end = {"for": lasts} if lasts is not None else {"until": until}
    body = {"match": _match(matches), "reason": reason, "by": actor(by), **end}
    made = Gateway().post("/api/v1/silences", body)
    click.echo(f"{made['id']}: {_shown(made)} is silenced until {minute(made['until'])} UTC")


@silence.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the silences in force, the first to end first.

    \b
    Example:
      tocsin silence list --json
    """
    found = Gateway().get("/api/v1/silences")
    listing(
        found,
        ["ID", "UNTIL (UTC)", "BY", "MATCH", "REASON"],
        lambda one: [one["id"], minute(one["until"]), one["by"], _shown(one), one["reason"]],
        as_json=as_json,
    )


@silence.command("end")
@click.argument("id_", metavar="ID")
def end(id_: str) -> None:
    """End a silence before its time. What still fires is told.

    \b
    Example:
      tocsin silence end 01a1fbf8-9e28-71b6-ba99-285c060ecc0c
    """
    ended = Gateway().delete(f"/api/v1/silences/{quoted(id_)}")
    click.echo(f"{ended['id']}: {_shown(ended)} is heard again")


def _match(given: tuple[str, ...]) -> dict[str, Any]:
    match: dict[str, list[str]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise click.UsageError(f"--match {text!r} must look like k=v, such as severity='>=error'")
        match.setdefault(name.strip(), []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in match.items()}


def _shown(silence: Any) -> str:
    """'severity=<=error labels.team=data', or the one problem that a button silenced."""
    if silence.get("fingerprint"):
        return f"{silence['source']}: {silence['fingerprint']}"
    return " ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in silence["match"].items()
    )
