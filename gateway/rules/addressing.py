"""Whom a name in `to:` means at this hour: a channel, a person's channel, whoever is on call, the first step of an
escalation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.model import GATEWAY, Incident, Millis, Override
from gateway.rules.people import next_channel, quiet_until
from gateway.rules.shifts import who
from gateway.values import frozen

if TYPE_CHECKING:
    from gateway.rules.routing import Routing

DEEPEST = 8
"""Escalations within escalations; a file that loops is refused, this is for what no file can be."""


@frozen
class Addressee:
    """A channel that a name led to. `asked` is the name; `until`: when its person wants to hear of it, else None."""

    channel: str
    asked: str
    person: str = ""
    until: Millis | None = None


@dataclass(slots=True)
class Addressed:
    """`reached`: whom the names lead to, each channel once. `left_out`: names that lead nowhere now, each with why.
    `escalations`: those whose first step is among them."""

    reached: dict[str, Addressee] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    escalations: list[str] = field(default_factory=list)


def address(
    names: Sequence[str], incident: Incident, routing: Routing, overrides: Sequence[Override], now: Millis
) -> Addressed:
    """Whom these names mean now, in their order."""
    book = _Book(incident, routing, overrides, now)
    for name in names:
        book.look_up(name, name, 0)
    return book.found


@dataclass(slots=True)
class _Book:
    incident: Incident
    routing: Routing
    overrides: Sequence[Override]
    now: Millis
    found: Addressed = field(default_factory=Addressed)

    def look_up(self, name: str, asked: str, depth: int) -> None:
        routing = self.routing
        if name in routing.people:
            self._person(name, asked)
        elif name in routing.rotations:
            self._rotation(name, asked)
        elif name in routing.escalations:
            self._escalation(name, asked, depth)
        elif why := self._asleep(name):
            self.found.left_out[name] = why
        else:
            self.found.reached.setdefault(name, Addressee(name, asked))

    def _person(self, name: str, asked: str) -> None:
        person = self.routing.people[name]
        awake = [channel for channel in person.channels if not self._asleep(channel)]
        channel = next_channel(person, "", awake)
        if channel is None:
            self.found.left_out[name] = "has no channel that is awake"
            return
        until = quiet_until(person, self.incident.severity, self.routing.calendars, self.now)
        self.found.reached.setdefault(channel, Addressee(channel, asked, name, until))

    def _rotation(self, name: str, asked: str) -> None:
        rotation = self.routing.rotations[name]
        member = who(rotation, name, self.routing.calendars, self.overrides, self.now)
        if member:
            self.look_up(member, asked, 0)
        else:
            self.found.left_out[name] = "has nobody on call now"

    def _escalation(self, name: str, asked: str, depth: int) -> None:
        if depth >= DEEPEST or name in self.found.escalations:
            return
        self.found.escalations.append(name)
        for one in self.routing.escalations[name].steps[0].to:
            self.look_up(one, one if asked == name else asked, depth + 1)

    def _asleep(self, channel: str) -> str:
        if channel in self.routing.sleeping:
            return "sleeps: it is optional and not set"
        failing = self.incident.labels.get("channel") if self.incident.source == GATEWAY else None
        return "is the channel that fails" if channel == failing else ""


def failing_over(person: str, channel: str, routing: Routing) -> str | None:
    """The person's next channel behind one that did not reach them; None where there is none."""
    known = routing.people.get(person)
    if known is None:
        return None
    awake = [one for one in known.channels if one not in routing.sleeping]
    return next_channel(known, channel, awake)
