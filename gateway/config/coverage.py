"""Rotations with hours at which nobody is on call.

A file is good or not by what stands in it: a gateway that starts again must not stumble over its own file because
a holiday came near. So only the week is looked at, in each season; `tocsin check` looks at the year to come as well.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from gateway.model import Millis
from gateway.rules.calendars import CalendarSettings, instant, is_open, next_boundary
from gateway.rules.documents import Place
from gateway.rules.rotations import RotationSettings

Gap: TypeAlias = tuple[Millis, Millis]

_MONDAY: Final = dt.datetime(2026, 1, 5)  # noqa: DTZ001  # wherever the clock hangs
_YEAR: Final[Millis] = 366 * 86_400_000


def uncovered(
    rotations: Mapping[str, RotationSettings], calendars: Mapping[str, CalendarSettings], now: Millis | None
) -> Iterator[tuple[Place, str]]:
    """The rotations that leave somebody waiting, each with its first gap: from `now` on, where it is known, or in
    the week as it always is."""
    weeks = {
        name: CalendarSettings.model_construct(time_zone=calendar.time_zone, weekly=calendar.weekly)
        for name, calendar in calendars.items()
    }
    for name, rotation in rotations.items():
        if any(layer.during is not None and layer.during not in calendars for layer in rotation.layers):
            continue  # what is wrong there has been said
        begin = instant(_MONDAY, rotation.time_zone)
        gap = None if now is None else next(gaps(rotation, name, calendars, now, now + _YEAR), None)
        always = rotation.model_copy(update={"overrides": ()})
        gap = gap or next(gaps(always, name, weeks, begin, begin + _YEAR), None)
        if gap is not None:
            yield ("rotations", name), _sentence(rotation, gap)


def gaps(
    rotation: RotationSettings, _name: str, calendars: Mapping[str, CalendarSettings], begin: Millis, end: Millis
) -> Iterator[Gap]:
    """When nobody is on call between two instants; a gap that has no end ends there."""
    names = {layer.during for layer in rotation.layers if layer.during is not None}
    if not rotation.layers or any(layer.during is None for layer in rotation.layers):
        return
    free = [
        tuple(instant(moment, rotation.time_zone) for moment in (override.from_, override.to))
        for override in rotation.overrides
        if not override.for_
    ]
    since: Millis | None = None
    while begin < end:
        covered = any(is_open(calendars[name], begin) for name in names) or any(a <= begin < b for a, b in free)
        if covered and since is not None:
            yield since, begin
        since = None if covered else begin if since is None else since
        edges = [next_boundary(calendars[name], begin) for name in names] + [edge for span in free for edge in span]
        begin = min((edge for edge in edges if edge is not None and edge > begin), default=end)
    if since is not None:
        yield since, end


def _sentence(rotation: RotationSettings, gap: Gap) -> str:
    first, last = (f"{dt.datetime.fromtimestamp(edge // 1000, rotation.time_zone):%a %Y-%m-%d %H:%M}" for edge in gap)
    until = "on" if gap[1] - gap[0] > _YEAR // 2 else f"to {last}"
    return f"nobody is on call from {first} {until}; add a layer without `during`, or widen a calendar"
