"""Routes: who hears of an incident, and what each route of routing.yaml said of it.

Pure: the incident, the routes and the hour in, a Plan out. `explain` shows the same plan.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final

from pydantic import AfterValidator, Field, model_validator

from gateway.fields import Duration, Flag, Settings, Texts, lasting
from gateway.model import Because, Hold, Incident, Millis, Missed, Override, Plan, Started, Target
from gateway.rules.addressing import Addressee, address
from gateway.rules.calendars import CalendarSettings, located
from gateway.rules.documents import Place
from gateway.rules.escalation import EscalationSettings
from gateway.rules.lifecycle import MOST_MOVES
from gateway.rules.lookup import HOLDS, Lookup
from gateway.rules.matching import Match, Seen
from gateway.rules.people import PersonSettings
from gateway.rules.rotations import RotationSettings
from gateway.rules.silencing import Alike, ExpireSettings, InhibitSettings, MuteSettings
from gateway.rules.verdicts import STOPPED, Verdicts
from gateway.values import frozen

DEFAULT: Final = "default"
"""The route in a target that heard because no route took the incident."""

LONGEST_GROUP_WAIT: Final[Millis] = 3_600_000
SHORTEST_REPEAT: Final[Millis] = 1_000
_SHOWABLE: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def _somebody(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("names nobody; give it at least one channel")
    return names


class FlapSettings(Settings):
    """A problem that opens and closes more than `changes` times `within` so long is flapping: one message says so,
    and the next when it has stood still for as long."""

    changes: int = Field(ge=1, le=MOST_MOVES - 1)
    within: Annotated[Duration, lasting("write within how long the changes are counted, like 10m")]


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

    @property
    def repeats_after(self) -> Millis:
        """How long after a message it is said again; 0 where it is not."""
        return max(self.repeat_every, self.cooldown) if self.repeat_every else 0

    @model_validator(mode="after")
    def _fits(self) -> RouteSettings:
        wrong: list[tuple[Place, str]] = []
        if self.group_wait and not self.group_by:
            wrong.append((("group_wait",), "gathers nothing without group_by; add it, or remove this"))
        if self.group_wait > LONGEST_GROUP_WAIT:
            wrong.append((("group_wait",), "must be at most 1h"))
        if "repeat_every" in self.model_fields_set and self.repeat_every < SHORTEST_REPEAT:
            wrong.append((("repeat_every",), "must be at least 1s; write how often, like 4h, or remove it"))
        if wrong:
            raise located("route", wrong)
        return self


@frozen
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
    matches: tuple[Match, ...] = field(init=False, compare=False, repr=False)
    lookup: Lookup = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "matches", tuple(route.match for route in self.routes))
        object.__setattr__(self, "lookup", Lookup(self.matches))

    def named(self, number: int) -> str:
        """What the route at this place is called."""
        return name_of(self.routes[number], number)


def name_of(route: RouteSettings, number: int) -> str:
    """What a route is called; `number` counts from 0, as the file's places do: `route 0` is `routes.0`."""
    return route.name or f"route {number}"


def plan(seen: Seen, routing: Routing, overrides: Sequence[Override] = ()) -> Plan:
    """Reads the routes top to bottom. A channel hears once, for the first route that names it or leads to it.

    `unrouted`: no route took it, whether or not `default` hears. `because` has a line for each route, those
    after a `stop` included, and one for `default` where some of it was left out. A target's `at` is later than
    now only for a person's quiet hours, and the plan holds why."""
    draft = _Draft(seen.incident, routing, overrides, seen.now)
    misses = routing.lookup.misses(seen)
    said: dict[int, Because] = {}
    stopped_by = ""
    for number in [number for number, missed in enumerate(misses) if missed == HOLDS]:
        route = routing.routes[number]
        name = name_of(route, number)
        said[number] = draft.take(name, route.to)
        if route.stop and said[number].matched:
            stopped_by = name
            misses[number + 1 :] = [STOPPED] * (len(misses) - number - 1)
            break
    unrouted = all(because.missed for because in said.values())
    if unrouted and routing.default:
        heard = draft.take(DEFAULT, routing.default)
        if heard.note:
            said[len(misses)] = heard
    verdicts = Verdicts(routing.matches, routing.named, seen, misses, said, routing.lookup, stopped_by)
    return draft.plan(verdicts, unrouted=unrouted)


def step(
    names: Sequence[str], route: str, incident: Incident, routing: Routing, now: Millis, overrides: Sequence[Override]
) -> Plan:
    """Whom a later step of an escalation means, or `default` when nobody answered: a plan of one line."""
    draft = _Draft(incident, routing, overrides, now)
    said = draft.take(route, names)
    return draft.plan([said], unrouted=False)


@dataclass(slots=True)
class _Draft:
    """A plan while it is made."""

    incident: Incident
    routing: Routing
    overrides: Sequence[Override]
    now: Millis
    targets: dict[str, Target] = field(default_factory=dict)
    holds: list[Hold] = field(default_factory=list)
    started: dict[str, Started] = field(default_factory=dict)

    def take(self, route: str, to: Sequence[str]) -> Because:
        """Add whoever of `to` can hear. Where nobody can, the route counts as not matched, so that another may
        take it."""
        found = address(to, self.incident, self.routing, self.overrides, self.now)
        for one in found.reached.values():
            self._add(route, one)
        for escalation in found.escalations:
            self.started.setdefault(escalation, Started(escalation, route))
        if found.reached and not found.left_out:
            return Because(route)
        note = "; ".join(f"{name} {why}" for name, why in found.left_out.items())
        if found.reached:
            return Because(route, None, note)
        whys = set(found.left_out.values())
        failing = any(why.endswith("fails") for why in whys)
        asleep = any(not why.endswith("fails") for why in whys)
        was = "asleep or failing" if failing and asleep else "failing" if failing else "asleep"
        if any("on call" in why for why in whys):
            was = "nobody on call"
        return Because(route, Missed("to", ", ".join(found.left_out), was), note)

    def _add(self, route: str, one: Addressee) -> None:
        if one.channel in self.targets:
            return
        self.targets[one.channel] = Target(one.channel, route, one.until or 0, one.person, one.asked)
        if one.until is not None:
            self.holds.append(Hold("quiet", one.person, one.until, (one.channel,)))

    def plan(self, because: Sequence[Because], *, unrouted: bool) -> Plan:
        return Plan(
            tuple(self.targets.values()),
            because,
            self.routing.configuration,
            unrouted,
            tuple(self.holds),
            tuple(self.started.values()),
        )
