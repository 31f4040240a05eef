"""One alert folded into its incident. Pure: the newest statement about a problem in, how the problem moved out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from gateway.model import GATEWAY, Alert, Change, Event, Incident, Millis, What
from gateway.rules.reading import MOST_FIELDS, MOST_LABELS
from gateway.values import frozen

REOPEN_WITHIN: Millis = 600_000
MOST_MOVES = 50
"""Instants of opening and closing that an incident remembers."""


@frozen
class Folded:
    """The incident as it is now, and the changes that brought it there; none for a mere repeat."""

    incident: Incident
    changes: tuple[Change, ...]
    new: bool = False


def fold(
    living: Incident | None,
    last: Incident | None,
    alert: Alert,
    event: Event,
    new_id: Callable[[], str],
    reopen_within: Millis = REOPEN_WITHIN,
) -> Folded | None:
    """How `alert` moves its problem. `living` is the incident not yet resolved, `last` the newest resolved one.

    None where there is nothing to move: a resolve of what nobody opened. The event's receipt is the moment."""
    at = event.received_at
    if living is not None:
        what = _movement(living, alert)
        moved = _moved(living, alert, what, at)
        return Folded(moved, () if what == "repeated" else (_change(moved, what, event.id, at, new_id),))
    if alert.status == "resolved":
        return None
    if last is not None and not (alert.momentary or last.momentary) and _soon(last, at, reopen_within):
        moved = _moved(last, alert, "reopened", at)
        return Folded(moved, (_change(moved, "reopened", event.id, at, new_id),))
    opened = _opened(alert, event, new_id(), last)
    first = _change(opened, "opened", event.id, at, new_id)
    if not alert.momentary:
        return Folded(opened, (first,), new=True)
    over = replace(opened, state="resolved", resolved_at=at, revision=2)
    return Folded(over, (first, _change(over, "resolved", GATEWAY, at, new_id)), new=True)


def _soon(last: Incident, at: Millis, reopen_within: Millis) -> bool:
    return 0 <= at - (last.resolved_at or 0) <= reopen_within


def _movement(living: Incident, alert: Alert) -> What:
    if alert.status == "resolved":
        return "resolved"
    if alert.severity > living.severity:
        return "worsened"
    return "eased" if alert.severity < living.severity else "repeated"


def _opened(alert: Alert, event: Event, new: str, last: Incident | None) -> Incident:
    return Incident(
        id=new,
        source=event.source,
        adapter=event.adapter,
        fingerprint=alert.fingerprint,
        title=alert.title,
        severity=alert.severity,
        worst=alert.severity,
        opened_at=event.received_at,
        updated_at=event.received_at,
        kind=alert.kind,
        service=alert.service,
        environment=alert.environment,
        body=alert.body,
        url=alert.url,
        labels=alert.labels,
        fields=alert.fields,
        value=alert.value,
        occurred_at=alert.occurred_at,
        previous=last.id if last is not None and not alert.momentary else "",
        momentary=alert.momentary,
        fired_at=event.received_at,
        firing_since=event.received_at,
        moves=moved_at((), event.received_at) if last is None else moved_at(last.moves, event.received_at),
    )


def _moved(incident: Incident, alert: Alert, what: What, at: Millis) -> Incident:
    """The incident after the statement. A resolve leaves title and severity: they name what was wrong."""
    changed: dict[str, Any] = {
        "count": incident.count + 1,
        "updated_at": max(at, incident.updated_at),
        "revision": incident.revision + (what != "repeated"),
        "body": alert.body or incident.body,
        "url": alert.url or incident.url,
        "fields": _merged(incident.fields, alert.fields, MOST_FIELDS),
        "value": alert.value if alert.value is not None else incident.value,
    }
    if what == "resolved":
        return resolved(replace(incident, **changed), at)
    changed |= {
        "fired_at": max(at, incident.fired_at),
        "title": alert.title,
        "severity": alert.severity,
        "worst": max(alert.severity, incident.worst),
        "labels": _merged(incident.labels, alert.labels, MOST_LABELS),
        "kind": alert.kind or incident.kind,
        "service": alert.service or incident.service,
        "environment": alert.environment or incident.environment,
        "occurred_at": alert.occurred_at if alert.occurred_at is not None else incident.occurred_at,
    }
    if what == "worsened":
        # Who acknowledged agreed to less than this.
        changed |= {"state": "open", "acknowledged_at": None, "acknowledged_by": ""}
    spoken = replace(incident, **changed)
    return reopened(spoken, at) if what == "reopened" else spoken


def resolved(incident: Incident, at: Millis) -> Incident:
    return replace(
        incident, state="resolved", resolved_at=max(at, incident.opened_at), moves=moved_at(incident.moves, at)
    )


def reopened(incident: Incident, at: Millis) -> Incident:
    return replace(
        incident,
        state="open",
        resolved_at=None,
        acknowledged_at=None,
        acknowledged_by="",
        firing_since=at,
        moves=moved_at(incident.moves, at),
    )


def moved_at(moves: tuple[Millis, ...], at: Millis) -> tuple[Millis, ...]:
    return (*moves, at)[-MOST_MOVES:]


def _merged(older: Mapping[str, str], newer: Mapping[str, str], most: int) -> dict[str, str]:
    """Both. Beyond so many the newer ones stay, then the first of the older: a sender that names something anew in
    every alert would make the incident grow without end."""
    both = {**older, **newer}
    if len(both) <= most:
        return both
    rest = [name for name in older if name not in newer][: max(most - len(newer), 0)]
    return {**newer, **{name: older[name] for name in rest}}


def _change(incident: Incident, what: What, by: str, at: Millis, new_id: Callable[[], str]) -> Change:
    return Change(
        id=new_id(),
        incident=incident.id,
        revision=1 if what == "opened" else incident.revision,
        at=at,
        what=what,
        state="open" if what == "opened" else incident.state,
        severity=incident.severity,
        by=by,
    )
