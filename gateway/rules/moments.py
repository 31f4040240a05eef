"""Times as people say them: '2026-12-24T18:00', 'mon 9:00', '18:00', '+2h', 'now'."""

from __future__ import annotations

import datetime as dt
from typing import Final
from zoneinfo import ZoneInfo

from gateway.fields import read_duration
from gateway.model import Millis
from gateway.rules.calendars import read_days, read_hour, read_moment, wall_clock
from gateway.rules.handoffs import reached
from gateway.rules.shapes import parse_rfc3339

_NOBODY_MEANS: Final = (
    "is no time; write it like 2026-12-24T18:00, 2026-12-24T18:00:00+09:00, 'monday 09:00', 18:00, +2h or now"
)
_YEARS: Final = range(1970, 2500)
_LATEST: Final[Millis] = 16_725_225_600_000  # 2500-01-01T00:00:00Z
_DAY_MINUTES: Final = 1_440
_LONGEST: Final = 40


def read_when(text: str, zone: ZoneInfo, now: Millis) -> Millis:
    """What is meant by a time without a zone is the clock on the wall there. A weekday or an hour alone means the
    next one after now; an hour that summer time skips, the first instant after the gap.

    Raises ValueError with a sentence."""
    said = " ".join(text.split())
    found = _read(said, zone, now)
    if not 0 <= found < _LATEST:
        raise ValueError(f"is too far away; take a year from {_YEARS.start} to {_YEARS.stop - 1}")
    return found


def _read(said: str, zone: ZoneInfo, now: Millis) -> Millis:
    if len(said) > _LONGEST:
        raise ValueError(_NOBODY_MEANS)
    if said.lower() == "now":
        return now
    if said.startswith("+"):
        return now + _duration(said[1:])
    exact = parse_rfc3339(said)
    if exact is not None:
        return exact
    day, space, hour = said.rpartition(" ")
    if space and day[:1].isalpha():
        return _next(_weekday(day), _hour(hour), zone, now)
    if ":" in said and len(said) <= len("24:00"):
        return _next(None, _hour(said), zone, now)
    try:
        return reached(read_moment(said), zone)
    except ValueError:
        raise ValueError(_NOBODY_MEANS) from None


def _duration(text: str) -> Millis:
    try:
        return read_duration(text)
    except ValueError:
        raise ValueError("is no time; a span from now is written like +30m, +2h or +3d") from None


def _weekday(text: str) -> int:
    days = read_days(text)
    if len(days) != 1:
        raise ValueError("is no single day; write it like monday 09:00")
    return next(iter(days))


def _hour(text: str) -> int:
    minutes = read_hour(text)
    if minutes == _DAY_MINUTES:
        raise ValueError("is the end of a day; write 00:00 of the next one")
    return minutes


def _next(weekday: int | None, minutes: int, zone: ZoneInfo, now: Millis) -> Millis:
    """The first time after now that the clock shows this, on such a day where one is named."""
    midnight = wall_clock(now, zone).replace(hour=0, minute=0, second=0, tzinfo=None, fold=0)
    first = 0 if weekday is None else (weekday - midnight.weekday()) % 7
    step = 1 if weekday is None else 7
    begun, next_one = (
        reached(midnight + dt.timedelta(days=first + later, minutes=minutes), zone) for later in (0, step)
    )
    return begun if begun > now else next_one
