"""`tocsin ack` and its like: what a person does to an incident, in one line what is so now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from gateway.cli.common import by_option
from gateway.cli.remote import Gateway, actor, quoted


def _act_on_one(command: Callable[..., None]) -> click.Command:
    """A command about one incident, by whoever acts and with a word on it."""
    noted = click.option("--note", "words", help="A word on it, for whoever reads its story.")(command)
    return click.command()(click.argument("id_", metavar="ID")(by_option("acts")(noted)))


@_act_on_one
def ack(id_: str, by: str | None, words: str | None) -> None:
    """Acknowledge an incident (by id or number): nobody else need be woken.

    \b
    Example:
      tocsin ack 12 --note 'looking at it'
    """
    _act(id_, "acknowledge", by, words)


@_act_on_one
def resolve(id_: str, by: str | None, words: str | None) -> None:
    """Say that an incident is over. Whoever heard of it hears of this.

    \b
    Example:
      tocsin resolve 12
    """
    _act(id_, "resolve", by, words)


@_act_on_one
def reopen(id_: str, by: str | None, words: str | None) -> None:
    """Say that an incident is not over, or needs somebody again.

    \b
    Example:
      tocsin reopen 12 --note 'it is back'
    """
    _act(id_, "reopen", by, words)


@click.command()
@click.argument("id_", metavar="ID")
@click.argument("text")
@by_option("writes")
def note(id_: str, text: str, by: str | None) -> None:
    """Write TEXT into an incident's story.

    \b
    Example:
      tocsin note 12 'the second disk is full as well'
    """
    _act(id_, "note", by, text)


@_act_on_one
@click.argument("person")
def assign(id_: str, person: str, by: str | None, words: str | None) -> None:
    """Give an incident to a PERSON of routing.yaml.

    \b
    Example:
      tocsin assign 12 kim
    """
    _act(id_, "assign", by, words, person=person)


def _act(id_: str, verb: str, by: str | None, words: str | None, **more: str) -> None:
    body = {"by": actor(by), **more, **({"note": words} if words is not None else {})}
    incident = Gateway().post(f"/api/v1/incidents/{quoted(id_.removeprefix('#'))}/{verb}", body)
    click.echo(f"#{incident['number']} {incident['title']}: {_so_now(incident, verb, body['by'])}")


def _so_now(incident: Any, verb: str, by: str) -> str:
    if verb == "note":
        return f"noted by {by}"
    if verb == "assign":
        return f"{incident['state']}, assigned to {incident['assigned_to']}"
    if incident["state"] == "acknowledged":
        return f"acknowledged by {incident['acknowledged_by']}"
    return str(incident["state"])
