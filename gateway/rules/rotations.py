"""`rotations:` of routing.yaml: who is on call at an instant, and when it is handed on.

A handoff is a time of the wall clock in the rotation's zone, so that summer time moves no shift.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gateway.fields import Settings, Texts
from gateway.rules.calendars import Date, Hour, Moment, TimeZone, instant, located
from gateway.rules.documents import Place

_DAY_MINUTES = 1_440


def _somebody(members: tuple[str, ...]) -> tuple[str, ...]:
    if not members:
        raise ValueError("has no members; name at least one person")
    return members


def read_weekday(value: object) -> int:
    """'mon', 'Monday' → 0."""
    from gateway.rules.calendars import read_days

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


class RotationSettings(Settings):
    """One entry of `rotations:`: either members with a handoff, or layers of these. `start`: the local day whose
    handoff begins the first member's turn; without it turns are counted from Monday, 1970-01-05."""

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
        wrong: list[tuple[Place, str]] = [
            ((key,), "stands beside layers; move it into a layer")
            for key in ("members", "handoff", "start")
            if self.layers and key in self.model_fields_set
        ]
        wrong += [
            (("overrides", number, "to"), "is not after its beginning")
            for number, override in enumerate(self.overrides)
            if instant(override.to, self.time_zone) <= instant(override.from_, self.time_zone)
        ]
        if wrong:
            raise located("rotation", wrong)
        return self


def on_call(*_a: object) -> object | None:  # PROVISIONAL
    return None
