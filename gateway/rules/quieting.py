"""When a channel hears what a route gave it: at once, later, or gathered with others. Pure.

`cooldown`, `only_after` and a person's quiet hours put a telling off; `flap` stops it until the problem stands
still; `group_by` makes it one of many in a conversation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from gateway.model import Change, Delivery, Hold, Incident, Millis, Severity, Target, Timer
from gateway.rules.phrases import duration
from gateway.rules.routing import FlapSettings, RouteSettings
from gateway.rules.silencing import alike, value_of
from gateway.values import frozen

MOVES: Final = frozenset({"opened", "reopened", "resolved"})


@frozen
class Now:
    """Tell at once."""


@frozen
class Later:
    """Tell at `until`, if there is still something to tell then."""

    until: Millis
    holds: tuple[Hold, ...]


@frozen
class StandStill:
    """It flaps: nothing until it has stood still. `first`: nobody has said so yet, or not of one as bad as this.
    `severity`: the worst that was said of it, now included."""

    until: Millis
    hold: Hold
    first: bool
    severity: Severity


Telling: TypeAlias = Now | Later | StandStill
_NOW: Final = Now()


@frozen
class Scene:
    """What there is to know when a change is told to a channel: its route (None where the file has it no more), the
    channel's delivery so far, the incident's timers."""

    incident: Incident
    route: RouteSettings | None
    heard: Delivery | None
    timers: Sequence[Timer]
    now: Millis


def telling(target: Target, change: Change, scene: Scene) -> Telling:
    """How soon a change is told."""
    incident, route, heard, now = scene.incident, scene.route, scene.heard, scene.now
    if route is not None and route.flap is not None and change.what in MOVES:
        shaking = _flapping(target.channel, scene, route.flap)
        if shaking is not None:
            return shaking
    holds = [Hold("quiet", target.person, target.at, (target.channel,))] if target.at > now else []
    if route is not None and route.only_after and change.what != "unmuted":
        due = incident.firing_since + route.only_after
        holds += [Hold("only_after", target.route, due, (target.channel,))] if due > now else []
    if route is not None and route.cooldown and change.what == "reopened" and heard is not None and heard.said_at:
        due = heard.said_at + route.cooldown
        holds += [Hold("cooldown", target.route, due, (target.channel,))] if due > now else []
    if not holds:
        return _NOW
    return Later(max(hold.until or 0 for hold in holds), tuple(holds))


def group_key(route_name: str, route: RouteSettings, incident: Incident) -> str:
    """What gathers incidents of one route: the same key, the same conversation."""
    return f"group {route_name} {alike(incident, route.group_by)}"


def group_title(route: RouteSettings, incident: Incident) -> str:
    """What a group's incidents share, for its title: 'service checkout-api, environment production'."""
    pairs = [(name.removeprefix("labels."), value_of(incident, name)) for name in route.group_by]
    return ", ".join(f"{name} {value}" for name, value in pairs if value)


def _flapping(channel: str, scene: Scene, flap: FlapSettings) -> StandStill | None:
    if scene.incident.momentary:
        return None
    until, severity = scene.now + flap.within, scene.incident.severity
    known = [timer for timer in scene.timers if timer.kind == "steady" and timer.name == channel]
    count = sum(1 for at in scene.incident.moves if at > scene.now - flap.within)
    if not known and count <= flap.changes:
        return None
    hold = Hold("flap", f"{count} changes within {duration(flap.within)}", until, (channel,))
    told = max((int(timer.about.get("severity", severity)) for timer in known), default=-1)
    if known and scene.heard is not None and scene.heard.said_severity is not None:
        told = max(told, scene.heard.said_severity)
    return StandStill(until, hold, told < severity, Severity(max(told, severity)))


Growth: TypeAlias = Literal["worse", "over", "more"]

SHORTEST_GAP: Final[Millis] = 5_000
EDIT_GAP: Final[Millis] = 30_000
_GAPS: Final[tuple[Millis, ...]] = (30_000, 60_000, 120_000, 480_000, 1_920_000)


def digest_due(growth: Growth, delivery: Delivery | None, first_at: Millis, now: Millis, *, edits: bool) -> Millis:
    """When a channel hears of a digest again. `first_at` is when it hears of it first.

    What is worse, or over, is told at once, but not twice within five seconds; mere growth after half a minute
    where the message can be edited, elsewhere after ever longer: 30 s, 1 min, 2 min, 8 min, 32 min."""
    if delivery is None:
        return first_at
    if delivery.said == 0:
        return min(delivery.due_at, first_at)
    gap = SHORTEST_GAP
    if growth == "more":
        gap = EDIT_GAP if edits else _GAPS[min(max(delivery.spoken, 1), len(_GAPS)) - 1]
    due = max(now, delivery.said_at + gap)
    return min(due, delivery.due_at) if delivery.state == "waiting" else due
