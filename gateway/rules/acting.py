"""What a person does to an incident: acknowledge, resolve, reopen, note, assign. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final, assert_never

from gateway.errors import Conflict
from gateway.model import GATEWAY, Act, Change, Incident, Millis, Verb, What
from gateway.rules.lifecycle import reopened, resolved
from gateway.rules.phrases import instant
from gateway.values import frozen

_EVENT: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""What moved an incident where no person did: an alert's event."""


@frozen
class Acted:
    """The incident as it is now, and how that came about; None where it was so already."""

    incident: Incident
    change: Change | None


def act(incident: Incident, wish: Act, at: Millis, new_id: Callable[[], str], ended_by: str = "") -> Acted:
    """`ended_by`: who resolved an incident that is resolved, as its change says.

    Raises Conflict, in a sentence for whoever acts, where somebody was first or it is over."""
    match wish.verb:
        case "acknowledge":
            if incident.state == "resolved":
                raise Conflict(over(incident, ended_by, "acknowledge"))
            return _acknowledged(incident, wish, at, new_id)
        case "resolve":
            if incident.state == "resolved":
                return Acted(incident, None)
            return _moved(resolved(_touched(incident, at), at), wish, "resolved", new_id)
        case "reopen":
            if incident.state == "open":
                return Acted(incident, None)
            return _moved(reopened(_touched(incident, at), at), wish, "reopened", new_id)
        case "note":
            return _moved(_touched(incident, at), wish, "noted", new_id)
        case "assign":
            if incident.assigned_to == wish.person:
                return Acted(incident, None)
            assigned = replace(_touched(incident, at), assigned_to=wish.person)
            return _moved(assigned, wish, "assigned", new_id, note=wish.note or f"to {wish.person}")
        case "silence":
            return Acted(incident, None)  # a wish of its own: it moves what it covers
        case _:
            assert_never(wish.verb)


def _acknowledged(incident: Incident, wish: Act, at: Millis, new_id: Callable[[], str]) -> Acted:
    if incident.state == "acknowledged" and incident.acknowledged_by == wish.by:
        return Acted(incident, None)
    if incident.state == "acknowledged":
        when = f", at {instant(incident.acknowledged_at)}" if incident.acknowledged_at is not None else ""
        raise Conflict(f"#{incident.number} was acknowledged by {incident.acknowledged_by} first{when}.")
    moved = replace(_touched(incident, at), state="acknowledged", acknowledged_at=at, acknowledged_by=wish.by)
    return _moved(moved, wish, "acknowledged", new_id)


def over(incident: Incident, ended_by: str, verb: Verb) -> str:
    """That it is over already, and who or what ended it."""
    who = "its sender" if not ended_by or _EVENT.fullmatch(ended_by) else ended_by
    who = "the gateway" if who == GATEWAY else who
    when = instant(incident.resolved_at) if incident.resolved_at is not None else "some time ago"
    return f"#{incident.number} is resolved already, by {who}, {when}; there is nothing to {verb}."


def _touched(incident: Incident, at: Millis) -> Incident:
    return replace(incident, revision=incident.revision + 1, updated_at=max(at, incident.updated_at))


def _moved(incident: Incident, wish: Act, what: What, new_id: Callable[[], str], note: str | None = None) -> Acted:
    change = Change(
        id=new_id(),
        incident=incident.id,
        revision=incident.revision,
        at=incident.updated_at,
        what=what,
        state=incident.state,
        severity=incident.severity,
        by=wish.by,
        note=wish.note if note is None else note,
        via=wish.via,
    )
    return Acted(incident, change)


def moved_by_us(
    incident: Incident, what: What, at: Millis, new_id: Callable[[], str], by: str, note: str = ""
) -> tuple[Incident, Change]:
    """The gateway moves an incident without changing how it stands: it is told again, muted, escalated …"""
    moved = _touched(incident, at)
    change = Change(
        new_id(), incident.id, moved.revision, moved.updated_at, what, moved.state, moved.severity, by, note
    )
    return moved, change
