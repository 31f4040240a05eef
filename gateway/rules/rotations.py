"""`rotations:` of routing.yaml: the settings. Who is on call by them stands in `shifts`."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gateway.fields import Settings, Texts
from gateway.model import Override
from gateway.rules.calendars import Date, Hour, Moment, TimeZone, backwards, instant, located, read_days
from gateway.rules.documents import Place
from gateway.rules.handoffs import ANCHOR, Handoffs, reached

_DAY_MINUTES: Final = 1_440


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
            (("overrides", number, "to"), backwards(override.from_, override.to))
            for number, override in enumerate(self.overrides)
            if instant(override.to, self.time_zone) <= instant(override.from_, self.time_zone)
        ]
        wrong += [
            (("overrides", number, "for"), "is its own member; name whose turn the member takes, or remove it")
            for number, override in enumerate(self.overrides)
            if override.for_ == override.member
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
