"""The commands that speak to a running gateway: alerts in, and everything it keeps."""

from __future__ import annotations

import sys
from typing import Any

import click

from gateway.cli.common import json_option, limit_option, listing, minute
from gateway.cli.remote import Gateway, quoted
from gateway.errors import TocsinError


@click.command()
@click.option("--title", required=True, help="What is wrong, in one line.")
@click.option("--severity", help="info, warning, error (default), critical or emergency.")
@click.option("--service", help="What it is about.")
@click.option("--environment", help="Where.")
@click.option("--kind", help="What sort of problem.")
@click.option("--body", help="More, in many lines.")
@click.option("--url", help="Where to look.")
@click.option("--fingerprint", help="Names the problem; a resolve must carry the same.")
@click.option("--label", "labels", multiple=True, help="k=v; may be given several times.")
@click.option("--field", "fields", multiple=True, help="k=v, a fact to show; may be given several times.")
@click.option("--resolve", is_flag=True, help="The problem is over.")
def send(labels: tuple[str, ...], fields: tuple[str, ...], resolve: bool, **plain: str | None) -> None:
    """Send a generic alert to a running gateway.

    \b
    Example:
      tocsin send --title 'Disk 94% full' --severity critical --service db-1 --label team=data
    """
    alert: dict[str, Any] = {name: value for name, value in plain.items() if value is not None}
    if labels:
        alert["labels"] = _pairs(labels, "--label")
    if fields:
        alert["fields"] = _pairs(fields, "--field")
    if resolve:
        alert["status"] = "resolved"
    click.echo(Gateway().send(alert)["events"][0])


@click.command()
@click.option(
    "--state", default="open,acknowledged", show_default=True, help="open, acknowledged, resolved; a comma list."
)
@click.option("--severity", help="info, warning, error, critical, emergency; a comma list.")
@click.option("--source", help="Only of this source.")
@limit_option
@json_option
def incidents(state: str, severity: str | None, source: str | None, limit: int, as_json: bool) -> None:
    """List the living problems, newest first.

    \b
    Example:
      tocsin incidents --state open
    """
    asked = {"state": state, "limit": str(limit)}
    asked |= {name: value for name, value in (("severity", severity), ("source", source)) if value}
    found = Gateway().get("/api/v1/incidents", asked)
    listing(
        found,
        ["NUMBER", "SEVERITY", "STATE", "OPENED (UTC)", "SOURCE", "SERVICE", "TITLE"],
        lambda one: [
            f"#{one['number']}",
            one["severity"],
            one["state"] + (" (unrouted)" if one["unrouted"] else "") + (" (muted)" if one["muted_by"] else ""),
            minute(one["opened_at"]),
            one["source"],
            one["service"],
            one["title"],
        ],
        as_json=as_json,
    )


@click.command()
@click.option("--state", help="waiting, done, unreadable; a comma list.")
@click.option("--source", help="Only of this source.")
@limit_option
@json_option
def events(state: str | None, source: str | None, limit: int, as_json: bool) -> None:
    """List what came in, newest first.

    \b
    Example:
      tocsin events --state unreadable
    """
    asked = {"limit": str(limit)} | {name: value for name, value in (("state", state), ("source", source)) if value}
    found = Gateway().get("/api/v1/events", asked)
    listing(
        found,
        ["ID", "RECEIVED (UTC)", "SOURCE", "STATE", "WHAT"],
        lambda one: [
            one["id"],
            one["received_at"][:19].replace("T", " "),
            one["source"],
            one["state"],
            one["reason"] or "; ".join(f"{a['status']} {a['severity']}: {a['title']}" for a in one["alerts"]),
        ],
        as_json=as_json,
    )


@click.command()
@click.option("--force", is_flag=True, help="Also read events that were decided already.")
@click.argument("ids", nargs=-1, required=True)
def replay(force: bool, ids: tuple[str, ...]) -> None:
    """Read events again, after a fix.

    \b
    Example:
      tocsin replay 01a1fbf8-9e28-71b6-ba99-285c060ecc0c
    """
    _each(
        ids, lambda id_: Gateway().post(f"/api/v1/events/{quoted(id_)}/replay", {"force": force}), "will be read again"
    )


@click.command()
@click.option("--state", help="waiting, said, failed (the dead letters); a comma list.")
@click.option("--channel", help="Only of this channel.")
@limit_option
@json_option
def deliveries(state: str | None, channel: str | None, limit: int, as_json: bool) -> None:
    """List what was promised to whom, newest first.

    \b
    Example:
      tocsin deliveries --state failed
    """
    asked = {"limit": str(limit)} | {name: value for name, value in (("state", state), ("channel", channel)) if value}
    found = Gateway().get("/api/v1/deliveries", asked)
    listing(
        found,
        ["ID", "CHANNEL", "STATE", "ATTEMPTS", "DUE", "REASON"],
        lambda one: [one["id"], one["channel"], one["state"], str(one["attempts"]), one["due_at"] or "", one["reason"]],
        as_json=as_json,
    )


@click.command()
@click.argument("ids", nargs=-1, required=True)
def redeliver(ids: tuple[str, ...]) -> None:
    """Send again what failed, or what was said.

    \b
    Example:
      tocsin redeliver 01a1fbf8-9e28-71b6-ba99-285c060ecc0c
    """
    _each(ids, lambda id_: Gateway().post(f"/api/v1/deliveries/{quoted(id_)}/redeliver"), "will be sent again")


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def channels(context: click.Context, as_json: bool) -> None:
    """List the channels, or test one.

    \b
    Example:
      tocsin channels test ops-slack
    """
    if context.invoked_subcommand is not None:
        return
    found = Gateway().get("/api/v1/channels")
    listing(
        found,
        ["NAME", "KIND", "STATE", "WAITING", "FAILED"],
        lambda one: [
            one["name"],
            one["kind"] or "",
            one["state"] + (f": {', '.join(one['waits_for'])} not set" if one["state"] == "asleep" else ""),
            str(one.get("waiting", "")),
            str(one.get("failed", "")),
        ],
        as_json=as_json,
    )


@channels.command("test")
@click.argument("name")
def test_channel(name: str) -> None:
    """Send a real test message and print the receipt; exit 1 if it was not sent.

    \b
    Example:
      tocsin channels test ops-slack
    """
    said = Gateway().post(f"/api/v1/channels/{quoted(name)}/test")
    click.echo(f"{said['channel']}: {said['receipt']}" + (f": {said['reason']}" if said["reason"] else ""))
    if said["receipt"] != "sent":
        sys.exit(1)


def _pairs(given: tuple[str, ...], option: str) -> dict[str, str]:
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{option} {text!r} must look like k=v")
        pairs[name] = value
    return pairs


def _each(ids: tuple[str, ...], act: Any, done: str) -> None:
    failed = False
    for id_ in ids:
        try:
            act(id_)
            click.echo(f"{id_} {done}")
        except TocsinError as error:
            failed = True
            click.echo(f"Error: {id_}: {error}", err=True)
    if failed:
        sys.exit(1)
