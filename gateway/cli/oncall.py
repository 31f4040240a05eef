"""`tocsin oncall`: who is on call and when it is handed on. `tocsin override`: somebody else, for a time."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import click

from gateway.cli.common import by_option, document, json_option, listing, minute
from gateway.cli.remote import Gateway, actor, address, quoted

_COLUMNS = 80


@click.command()
@click.option("--at", help="Ask about another hour: 2026-12-24T18:00, 'monday 09:00', 18:00, +2h.")
@click.option("--weeks", default=4, show_default=True, type=click.IntRange(1, 52), help="How far to look ahead.")
@click.option("--ics", is_flag=True, help="Print the addresses of the calendars, to subscribe to.")
@json_option
def oncall(at: str | None, weeks: int, ics: bool, as_json: bool) -> None:
    """Tell who is on call in each rotation, and when it is handed on, by the rotation's own clock.

    \b
    Example:
      tocsin oncall --at 'monday 09:00' --weeks 2
    """
    found = Gateway().get("/api/v1/oncall", {"weeks": str(weeks)} | ({"at": at} if at is not None else {}))
    if as_json:
        document(found)
    elif ics:
        for item in found["items"]:
            click.echo(f"{item['rotation']}: {address()}{item['ics']}")
    else:
        blocks = [_block(item, found["at"], asked=at is not None) for item in found["items"]]
        click.echo("\n\n".join(blocks) or "There is no rotation in routing.yaml.")


@click.group()
def override() -> None:
    """Put somebody else on call, for a time.

    \b
    Example:
      tocsin override list
    """


@override.command("add")
@click.argument("rotation")
@click.option("--member", required=True, help="Who is on call instead.")
@click.option(
    "--from", "begin", required=True, help="From when: now, 18:00, 2026-12-24T18:00, by the rotation's clock."
)
@click.option("--to", "end", required=True, help="Until when, seen from then: 18:00, +8h, 'monday 09:00'.")
@click.option("--for", "instead_of", help="Only in this person's turns.")
@click.option("--reason", help="Why, for whoever wonders.")
@by_option("asks for it")
def add(
    rotation: str, *, member: str, begin: str, end: str, instead_of: str | None, reason: str | None, by: str | None
) -> None:
    """Put a member on call in ROTATION, whoever's turn it is.

    \b
    Example:
      tocsin override add primary --member lee --from now --to 'monday 09:00' --for kim --reason ill
    """
    when = {"from": begin, "to": end}
    body = {"rotation": rotation, "member": member, **when, "for": instead_of, "reason": reason, "by": actor(by)}
    made = Gateway().post("/api/v1/overrides", body)
    click.echo(f"{made['id']}: {_sentence(made)}")


@override.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the overrides that are not over; those of routing.yaml stand there.

    \b
    Example:
      tocsin override list --json
    """
    found = Gateway().get("/api/v1/overrides")
    listing(
        found,
        ["ID", "ROTATION", "MEMBER", "FOR", "FROM (UTC)", "TO (UTC)", "BY", "REASON"],
        lambda one: [
            *(one["id"], one["rotation"], one["member"], one["for"] or "anybody"),
            *(minute(one["from"]), minute(one["to"]), one["by"], one["reason"]),
        ],
        as_json=as_json,
    )


@override.command("end")
@click.argument("id_", metavar="ID")
def end_(id_: str) -> None:
    """Take an override back.

    \b
    Example:
      tocsin override end 01a1fbf8-9e28-71b6-ba99-285c060ecc0c
    """
    ended = Gateway().delete(f"/api/v1/overrides/{quoted(id_)}")
    click.echo(
        f"{ended['id']}: {ended['member']} no longer stands in for {ended['for'] or 'anybody'} in {ended['rotation']}"
    )


def _block(item: Any, at: str, *, asked: bool) -> str:
    """A rotation: its name and zone, who is on call, and each handoff by its own clock."""
    zone = ZoneInfo(item["time_zone"])
    first, *coming = item["shifts"]
    when = f"at {_local(at, zone)}" if asked else "now"
    end = item["now"]["until"] if item["now"] else first["to"]
    until = f", until {_local(end, zone)}" if end else ""
    lines = [
        click.style(item["rotation"], bold=True) + f"  ({item['time_zone']})",
        f"  {when}: {_who(first)}{until}{_because(first)}",
        *(f"  {_local(shift['from'], zone)}  {_who(shift)}{_because(shift)}" for shift in coming),
    ]
    return "\n".join(line if len(click.unstyle(line)) <= _COLUMNS else f"{line[: _COLUMNS - 1]}…" for line in lines)


def _who(shift: Any) -> str:
    return str(shift["member"] or "nobody")


def _because(shift: Any) -> str:
    """Why, where it is no plain turn."""
    return "" if shift["because"].startswith(("rotation", "layer ")) else f"  ({shift['because']})"


def _local(time: str, zone: ZoneInfo) -> str:
    """'Mon 2026-01-12 09:00' by the clock on the wall there."""
    return dt.datetime.fromisoformat(time).astimezone(zone).strftime("%a %Y-%m-%d %H:%M")


def _sentence(made: Any) -> str:
    instead = f" for {made['for']}" if made["for"] else ""
    return (
        f"{made['member']} is on call in {made['rotation']}{instead} from {minute(made['from'])}"
        f" to {minute(made['to'])} UTC"
    )
