"""`rotations:` of routing.yaml: who is on call at an instant, and when it is handed on.

A handoff is a time of the wall clock in the rotation's zone, so that summer time moves no shift.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Final, Literal, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gateway.fields import Settings, Texts
from gateway.model import Millis, Override
from gateway.rules.calendars import (
    CalendarSettings,
    Date,
    Hour,
    Moment,
    TimeZone,
    edges,
    instant,
    is_open,
    located,
    read_days,
)
from gateway.rules.documents import Place
from gateway.rules.handoffs import ANCHOR, Handoffs, reached

_DAY: Final[Millis] = 86_400_000
_DAY_MINUTES: Final = 1_440
_HORIZON: Final[Millis] = 35 * _DAY


def _somebody(members: tuple[str, ...]) -> tuple[str, ...]:
    if not members:
        raise ValueError("has no members; name at least one person")
    return members


def read_weekday(value: object) -> int:
    """'mon', 'Monday' → 0."""
    days = read_days(value)
    if len(days) != 1:
        raise ValueError("is no single day; write it like mon")
    return next(iter(days))


class HandoffSettings(Settings):
    """`every: day` or `every: week`, `at` an hour, weekly on `day` (Monday)."""

    every: Literal["day", "week"] = "week"
    day: Annotated[int, BeforeValidator(read_weekday)] = 0
    at: Hour = 9 * 60

    @model_validator(mode="after")
    def _fits(self) -> HandoffSettings:
        wrong: list[tuple[Place, str]] = []
        if self.every == "day" and "day" in self.model_fields_set:
            wrong.append((("day",), "says nothing where it is handed on every day; remove it"))
        if self.at == _DAY_MINUTES:
            wrong.append((("at",), "is the end of a day; write 00:00"))
        if wrong:
            raise located("handoff", wrong)
        return self


class OverrideSettings(Settings):
    """One of `overrides:`: this member, whoever's turn it is, or only instead of that one."""

    member: str
    for_: str = Field(default="", alias="for")
    from_: Moment = Field(alias="from")
    to: Moment


class LayerSettings(Settings):
    """One of `layers:`, read from top to bottom: the first that is on duty decides. On duty `during` a calendar,
    or always."""

    members: Annotated[Texts, AfterValidator(_somebody)]
    handoff: HandoffSettings = HandoffSettings()
    during: str | None = None
    start: Date | None = None

    def handoffs(self, zone: ZoneInfo) -> Handoffs:
        weekday = self.handoff.day if self.handoff.every == "week" else None
        return Handoffs.since(self.start or ANCHOR, zone, weekday, self.handoff.at)


class RotationSettings(Settings):
    """One entry of `rotations:`: either members with a handoff, or layers of these. `start`: the local day whose
    handoff begins the first member's turn; without it turns are counted from Monday, 1970-01-05. Beside layers,
    `handoff` and `start` are for those that say none of their own."""

    members: Texts = ()
    time_zone: TimeZone
    handoff: HandoffSettings = HandoffSettings()
    start: Date | None = None
    layers: tuple[LayerSettings, ...] = ()
    overrides: tuple[OverrideSettings, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> RotationSettings:
        if not self.members and not self.layers:
            raise ValueError("has no members; name at least one person")
        wrong: list[tuple[Place, str]] = []
        if self.layers and "members" in self.model_fields_set:
            wrong.append((("members",), "stands beside layers; move it into a layer"))
        wrong += [
            (("overrides", number, "to"), "is not after its beginning")
            for number, override in enumerate(self.overrides)
            if instant(override.to, self.time_zone) <= instant(override.from_, self.time_zone)
        ]
        if wrong:
            raise located("rotation", wrong)
        return self

    @cached_property
    def duties(self) -> tuple[LayerSettings, ...]:
        """What is read from top to bottom: the layers, or one that is always on duty. A layer that says no handoff
        or no start of its own has the rotation's."""
        if not self.layers:
            one = LayerSettings.model_construct(
                members=self.members, handoff=self.handoff, during=None, start=self.start
            )
            return (one,) if self.members else ()
        return tuple(
            layer.model_copy(
                update={
                    "handoff": layer.handoff if "handoff" in layer.model_fields_set else self.handoff,
                    "start": layer.start or self.start,
                }
            )
            for layer in self.layers
        )

    @cached_property
    def written(self) -> tuple[Override, ...]:
        """The file's overrides as instants; of no rotation by name, for they are this one's."""
        return tuple(
            Override(
                "", one.member, reached(one.from_, self.time_zone), reached(one.to, self.time_zone), instead_of=one.for_
            )
            for one in self.overrides
        )


@dataclass(frozen=True, slots=True)
class Shift:
    """`member` is on call from `begin` up to `end`, or nobody, where it is ''. `because`: 'turn', or whose wish."""

    member: str
    begin: Millis
    end: Millis
    because: str


Calendars: TypeAlias = Mapping[str, CalendarSettings]


def on_call(
    rotation: RotationSettings, name: str, calendars: Calendars, overrides: Sequence[Override], at: Millis
) -> Shift | None:
    """Who is on call at an instant, since when and until when; None where the rotation has no members at all.

    What has not changed for five weeks, or will not, begins or ends with a handoff within these."""
    if not rotation.duties:
        return None
    roster = _Roster(rotation, calendars, _of(name, overrides))
    member, because = roster.who(at)
    return Shift(member, roster.begin(at), roster.end(at), because)


def shifts(
    rotation: RotationSettings,
    name: str,
    calendars: Calendars,
    overrides: Sequence[Override],
    begin: Millis,
    end: Millis,
) -> list[Shift]:
    """Every shift from `begin` up to `end`, one after the other without a hole: where nobody is on call, member ''."""
    roster = _Roster(rotation, calendars, _of(name, overrides))
    found: list[Shift] = []
    since, so = begin, roster.who(begin)
    for edge in roster.edges(begin, end):
        then = roster.who(edge)
        if then != so:
            found.append(Shift(so[0], since, edge, so[1]))
            since, so = edge, then
    return [*found, Shift(so[0], since, end, so[1])] if begin < end else []


def gaps(
    rotation: RotationSettings, name: str, calendars: Calendars, begin: Millis, end: Millis
) -> list[tuple[Millis, Millis]]:
    """When nobody is on call, by the file alone."""
    return [(shift.begin, shift.end) for shift in shifts(rotation, name, calendars, (), begin, end) if not shift.member]


def _of(name: str, overrides: Sequence[Override]) -> list[Override]:
    return [one for one in overrides if one.rotation == name]


@dataclass(frozen=True, slots=True)
class _Roster:
    """One rotation with what people wished beside its file."""

    rotation: RotationSettings
    calendars: Calendars
    wished: Sequence[Override]

    def who(self, at: Millis) -> tuple[str, str]:
        """The member, and why. What people wished over the API goes before the file; then the newest goes first."""
        member, because = self._by_turn(at)
        for many, where in ((self.wished, ""), (self.rotation.written, " in the file")):
            holding = [
                one for one in many if one.begin <= at < one.end and (not one.instead_of or one.instead_of == member)
            ]
            if holding:
                one = max(holding, key=lambda one: (one.begin, one.id))
                instead = f" for {one.instead_of}" if one.instead_of else ""
                by = f" by {one.by}" if one.by else ""
                return one.member, f"override{instead}{by}{where}"
        return member, because

    def _by_turn(self, at: Millis) -> tuple[str, str]:
        for number, duty in enumerate(self.rotation.duties, 1):
            if not duty.during or (duty.during in self.calendars and is_open(self.calendars[duty.during], at)):
                member = duty.members[duty.handoffs(self.rotation.time_zone).turn(at) % len(duty.members)]
                return member, "turn" if len(self.rotation.duties) == 1 else f"turn in layer {number}"
        return "", "no layer is on duty" if self.rotation.duties else "it has no members"

    def end(self, at: Millis) -> Millis:
        so, end = self.who(at), at + _HORIZON
        for edge in self.edges(at, at + _HORIZON):
            if edge > at:
                end = edge
                if self.who(edge) != so:
                    break
        return end

    def begin(self, at: Millis) -> Millis:
        so, begin, step = self.who(at), at, self._step()
        for back in range(0, _HORIZON, step):
            for edge in reversed(self._edges_within(at - back - step + 1, at - back + 1)):
                begin = edge
                if self.who(edge - 1) != so:
                    return begin
        return begin

    def edges(self, begin: Millis, end: Millis) -> Iterator[Millis]:
        """Rising: every instant in between at which somebody else may come on call, looked for as far as asked."""
        step = self._step()
        for start in range(begin, end, step):
            yield from self._edges_within(start, min(start + step, end))

    def _step(self) -> Millis:
        """How much to look through at once: calendars have their edges by the day."""
        return _DAY if any(duty.during for duty in self.rotation.duties) else 7 * _DAY

    def _edges_within(self, begin: Millis, end: Millis) -> list[Millis]:
        found = {edge for one in (*self.wished, *self.rotation.written) for edge in (one.begin, one.end)}
        zone = self.rotation.time_zone
        for duty in self.rotation.duties:
            found.update(duty.handoffs(zone).between(begin, end))
            if duty.during and duty.during in self.calendars:
                found.update(edges(self.calendars[duty.during], begin))
        return sorted(edge for edge in found if begin <= edge < end)
