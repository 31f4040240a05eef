"""An incident's life as a story in time order: what moved it, what was decided and why, who was told, and why not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

_HELD = {
    "silence": "silenced",
    "mute": "muted by",
    "inhibit": "inhibited by",
    "only_after": "told only if it still fires then",
    "cooldown": "cooling down",
    "flap": "flapping",
    "quiet": "quiet hours of",
    "group": "gathered",
    "budget": "beyond the storm budget",
    "acknowledged": "acknowledged by",
}


def story(incident: Any) -> Iterator[str]:
    """Lines; every change with its decision, and between them every attempt to tell of it."""
    yield click.style(f"#{incident['number']} {incident['title']}", bold=True) + f"  ({_standing(incident)})"
    moments = [(change["at"], 0, number, _change(change)) for number, change in enumerate(incident["changes"])]
    moments += [
        (attempt["at"], 1, number, _attempt(delivery, attempt))
        for delivery in incident["deliveries"]
        for number, attempt in enumerate(delivery["attempts"])
    ]
    for _, _, _, lines in sorted(moments, key=lambda moment: moment[:3]):
        yield ""
        yield from lines
    for delivery in incident["deliveries"]:
        if delivery["state"] != "said":
            yield ""
            when = f", due {delivery['due_at']}" if delivery["due_at"] else ""
            why = f": {delivery['reason']}" if delivery["reason"] else ""
            yield f"{delivery['channel']}: {delivery['state']}{when}{why}"
    if incident["pending"]:
        yield ""
        yield from map(next_line, incident["pending"])


def route_line(route: Any) -> str:
    note = f"  ({route['note']})" if route.get("note") else ""
    if route["matched"]:
        return f"  ✓ {route['name']}{note}"
    missed = route["missed"]
    if missed["key"] == "stop":
        return f"  · {route['name']}: not read, {missed['was']!r} said stop"
    was = missed["was"] or "absent"
    return f"  ✗ {route['name']}: {missed['key']} should be {missed['wanted']}, was {was}{note}"


def hold_line(hold: Any) -> str:
    """What kept whom from being told, and until when."""
    what = " ".join(part for part in (_HELD.get(hold["kind"], hold["kind"]), hold["name"]) if part)
    whom = f"{', '.join(hold['channels'])} " if hold["channels"] else ""
    until = f" until {hold['until']}" if hold["until"] else ""
    why = f" ({hold['reason']})" if hold["reason"] else ""
    return f"  ‖ {whom}held: {what}{until}{why}"


def next_line(timer: Any) -> str:
    """What is going to happen, and when; 'when it ends' where that hangs on something else."""
    what = " ".join(part for part in (timer["kind"], timer["name"]) if part)
    if timer["at"] is None:
        return f"next: {what} when it ends"
    if timer["kind"] == "unmute":
        what = f"unmute when {timer['name']} ends"
    return f"next: {what} at {timer['at']}"


def _standing(incident: Any) -> str:
    by = f" by {incident['acknowledged_by']}" if incident["state"] == "acknowledged" else ""
    muted = f", {incident['muted_by']}" if incident["muted_by"] and incident["state"] != "resolved" else ""
    given = f", assigned to {incident['assigned_to']}" if incident["assigned_to"] else ""
    return f"{incident['state']}{by}{given}{muted}"


def _change(change: Any) -> list[str]:
    note = f", {change['note']}" if change["note"] else ""
    via = f" over {change['via']}" if change.get("via") else ""
    lines = [f"{change['at']}  {change['what']} ({change['severity']}) by {change['by']}{via}{note}"]
    decision = change["decision"]
    if decision is None:
        return lines
    lines += [route_line(route) for route in decision["routes"]]
    lines += [hold_line(hold) for hold in decision.get("holds", ())]
    told = ", ".join(_target(target, change["at"]) for target in decision["targets"]) or "nobody"
    return [*lines, f"  → {told}   (configuration {decision['configuration']})"]


def _target(target: Any, now: str) -> str:
    whose = f" ({target['person']})" if target.get("person") else ""
    when = f" at {target['at']}" if target["at"] and target["at"] > now else ""
    return f"{target['channel']}{whose}{when}"


def _attempt(delivery: Any, attempt: Any) -> list[str]:
    whose = f" ({delivery['person']})" if delivery.get("person") else ""
    reason = f": {attempt['reason']}" if attempt["reason"] else ""
    reached = f", {delivery['reached']}" if delivery.get("reached", "unknown") != "unknown" else ""
    return [f"{attempt['at']}  {delivery['channel']}{whose} {attempt['receipt']}{reached}{reason}"]
