"""Routes: who hears of an incident, and what each route of routing.yaml said of it.

Pure: the incident, the routes and the hour in, a Plan out. `explain` shows the same plan.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final

from pydantic import AfterValidator, Field, model_validator

from gateway.fields import Duration, Flag, Settings, Texts
from gateway.model import GATEWAY, Because, Incident, Millis, Missed, Plan, Target
from gateway.rules.calendars import CalendarSettings, located
from gateway.rules.documents import Place
from gateway.rules.escalation import EscalationSettings
from gateway.rules.lifecycle import MOST_MOVES
from gateway.rules.matching import Match
from gateway.rules.people import PersonSettings
from gateway.rules.rotations import RotationSettings
from gateway.rules.silencing import Alike, ExpireSettings, InhibitSettings, MuteSettings

DEFAULT: Final = "default"
"""The route in a target that heard because no route took the incident."""

LONGEST_GROUP_WAIT: Final[Millis] = 3_600_000
SHORTEST_REPEAT: Final[Millis] = 1_000


def _somebody(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("names nobody; give it at least one channel")
    return names


class FlapSettings(Settings):
    """A problem that opens and closes more than `changes` times `within` so long is flapping: one message says so,
    and the next when it has stood still for as long."""

    changes: int = Field(ge=1, le=MOST_MOVES - 1)
    within: Duration


class RouteSettings(Settings):
    """One entry of `routes:`. Without a name it is called by its place: `name_of`.

    What comes after `stop` is for quiet: see docs/routing.md. 0 and () mean: not asked for."""

    name: str = ""
    match: Match = Match()
    to: Annotated[Texts, AfterValidator(_somebody)]
    stop: Flag = False
    cooldown: Duration = 0
    repeat_every: Duration = 0
    only_after: Duration = 0
    group_by: Alike = ()
    group_wait: Duration = 0
    flap: FlapSettings | None = None

    @model_validator(mode="after")
    def _fits(self) -> RouteSettings:
        wrong: list[tuple[Place, str]] = []
        if self.group_wait and not self.group_by:
            wrong.append((("group_wait",), "gathers nothing without group_by; add it, or remove this"))
        if self.group_wait > LONGEST_GROUP_WAIT:
            wrong.append((("group_wait",), "must be at most 1h"))
        if 0 < self.repeat_every < SHORTEST_REPEAT:
            wrong.append((("repeat_every",), "must be at least 1s"))
        if wrong:
            raise located("route", wrong)
        return self


@dataclass(frozen=True, slots=True)
class Routing:
    """All that decides who hears. `sleeping`: optional channels that are not set. `configuration`: the file's hash."""

    routes: tuple[RouteSettings, ...]
    default: tuple[str, ...] = ()
    calendars: Mapping[str, CalendarSettings] = field(default_factory=dict)
    sleeping: frozenset[str] = frozenset()
    configuration: str = ""
    people: Mapping[str, PersonSettings] = field(default_factory=dict)
    rotations: Mapping[str, RotationSettings] = field(default_factory=dict)
    escalations: Mapping[str, EscalationSettings] = field(default_factory=dict)
    mutes: tuple[MuteSettings, ...] = ()
    inhibit: tuple[InhibitSettings, ...] = ()
    expire: tuple[ExpireSettings, ...] = ()


def name_of(route: RouteSettings, number: int) -> str:
    """What a route is called; `number` counts from 0, as the file's places do: `route 0` is `routes.0`."""
    return route.name or f"route {number}"


def plan(incident: Incident, routing: Routing, now: Millis) -> Plan:
    """Reads the routes top to bottom. A channel hears once, for the first route that names it.

    `unrouted`: no route took it, whether or not `default` hears. `because` has a line for each route, those
    after a `stop` included, and one for `default` where some of it was left out."""
    targets: dict[str, Target] = {}
    because: list[Because] = []
    stopped_by = ""
    for number, route in enumerate(routing.routes):
        name = name_of(route, number)
        if stopped_by:
            because.append(Because(name, Missed("stop", "", stopped_by)))
            continue
        missed = route.match.first_miss(incident, routing.calendars, now)
        said = Because(name, missed) if missed else _take(name, route.to, incident, routing, targets)
        because.append(said)
        if route.stop and said.matched:
            stopped_by = name
    unrouted = all(said.missed for said in because)
    if unrouted and routing.default:
        said = _take(DEFAULT, routing.default, incident, routing, targets)
        because += [said] if said.note else []
    return Plan(tuple(targets.values()), tuple(because), routing.configuration, unrouted)


def _take(name: str, to: Sequence[str], incident: Incident, routing: Routing, targets: dict[str, Target]) -> Because:
    """Add whoever of `to` can hear. Where nobody can, the route counts as not matched, so that another may take it."""
    failing = incident.labels.get("channel") if incident.source == GATEWAY else None
    left_out = {channel: _why_not(channel, failing, routing.sleeping) for channel in to}
    awake = [channel for channel, why in left_out.items() if not why]
    for channel in awake:
        targets.setdefault(channel, Target(channel, name))
    note = "; ".join(f"{channel} {why}" for channel, why in left_out.items() if why)
    if awake:
        return Because(name, None, note)
    was = "asleep" if failing not in left_out else "asleep or failing" if len(left_out) > 1 else "failing"
    return Because(name, Missed("to", ", ".join(left_out), was), note)


def _why_not(channel: str, failing: str | None, sleeping: Collection[str]) -> str:
    if channel in sleeping:
        return "sleeps: it is optional and not set"
    return "is the channel that fails" if channel == failing else ""
