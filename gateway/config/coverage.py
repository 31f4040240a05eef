"""What the calendar makes of a file: rotations with hours at which nobody is on call, and calendars that are over.

A file is good or not by what stands in it: a gateway that starts again must not stumble over its own file because
a holiday came near, or a date has passed. So only the week is looked at, in each season; `tocsin check` knows the hour
and refuses the rest as well, and a gateway warns of it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Final

from gateway.model import Millis
from gateway.rules.calendars import CalendarSettings, instant, is_over
from gateway.rules.documents import Place
from gateway.rules.rotations import RotationSettings
from gateway.rules.shifts import Gap, gaps

_DAY: Final[Millis] = 86_400_000
_YEAR: Final[Millis] = 366 * _DAY
# Mondays of winter and summer, wherever the clock hangs; what is not covered within two weeks never is.
_MONDAYS: Final = (dt.datetime(2026, 1, 5), dt.datetime(2026, 7, 6))  # noqa: DTZ001
_WEEKS: Final[Millis] = 15 * _DAY


def aged(
    rotations: Mapping[str, RotationSettings], calendars: Mapping[str, CalendarSettings], now: Millis
) -> Iterator[tuple[Place, str]]:
    """What is wrong with a file only because of the hour."""
    for name, calendar in calendars.items():
        if is_over(calendar, now):
            yield ("calendars", name), "never opens again: its dates are over; give it later ones, or remove it"
    yield from uncovered(rotations, calendars, now)


def uncovered(
    rotations: Mapping[str, RotationSettings], calendars: Mapping[str, CalendarSettings], now: Millis | None = None
) -> Iterator[tuple[Place, str]]:
    """The rotations that leave somebody waiting, each with its first gap: from `now` on, where it is known, or in
    the week as it always is."""
    weeks: Mapping[str, CalendarSettings] = {
        name: CalendarSettings.model_construct(time_zone=calendar.time_zone, weekly=calendar.weekly)
        for name, calendar in calendars.items()
    }
    for name, rotation in rotations.items():
        if any(layer.during is not None and layer.during not in calendars for layer in rotation.layers):
            continue  # what is wrong there has been said
        always = rotation.model_copy(update={"overrides": ()})
        mondays = [instant(monday, rotation.time_zone) for monday in _MONDAYS]
        looks = [(always, weeks, monday, monday + _WEEKS) for monday in mondays]
        if now is not None:
            looks.insert(0, (rotation, calendars, now, now + _YEAR))
        for turning, known, begin, end in looks:
            gap = next(gaps(turning, known, begin, end), None)
            if gap is not None:
                yield ("rotations", name), _sentence(rotation, gap, ends=gap[1] < end)
                break


def _sentence(rotation: RotationSettings, gap: Gap, *, ends: bool) -> str:
    first, last = (f"{dt.datetime.fromtimestamp(edge // 1000, rotation.time_zone):%a %Y-%m-%d %H:%M}" for edge in gap)
    until = f"to {last}" if ends else "on"
    return f"nobody is on call from {first} {until}; add a layer without `during`, or widen a calendar"
