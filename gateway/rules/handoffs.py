"""Times of the wall clock as instants: a moment of a zone, and the handoffs of a rotation."""

from __future__ import annotations

import datetime as dt
from typing import Final
from zoneinfo import ZoneInfo

from gateway.model import Millis
from gateway.rules.calendars import instant, transition, wall_clock
from gateway.values import frozen

ANCHOR: Final = dt.date(1970, 1, 5)
"""A Monday: from here turns are counted where the file does not say from when."""


def reached(moment: dt.datetime, zone: ZoneInfo) -> Millis:
    """The first instant at which the clock on the wall shows this moment or a later one: where summer time skips
    it, the end of what is skipped. A moment with its distance from UTC is what it is."""
    if moment.tzinfo is not None:
        return instant(moment, zone)
    first, second = (instant(moment.replace(fold=fold), zone) for fold in (0, 1))
    # In what is skipped, the clock of before gives the later instant, and that of after the earlier.
    return transition(second, first, zone) if second < first else first


@frozen
class Handoffs:
    """Turns that follow each other every so many days, `minutes` after midnight, in one zone.

    `first`: the ordinal of the day whose handoff begins turn 0; turns before it are negative."""

    zone: ZoneInfo
    days: int
    minutes: int
    first: int

    @classmethod
    def since(cls, anchor: dt.date, zone: ZoneInfo, weekday: int | None, minutes: int) -> Handoffs:
        """Daily, or weekly on a day (Monday 0): then turn 0 begins on the last such day up to the anchor."""
        if weekday is None:
            return cls(zone, 1, minutes, anchor.toordinal())
        return cls(zone, 7, minutes, anchor.toordinal() - (anchor.weekday() - weekday) % 7)

    def begins(self, turn: int) -> Millis:
        """The instant that begins a turn."""
        day = dt.datetime.fromordinal(self.first + turn * self.days)
        return reached(day + dt.timedelta(minutes=self.minutes), self.zone)

    def turn(self, at: Millis) -> int:
        """The turn that an instant lies in."""
        turn = (wall_clock(at, self.zone).toordinal() - self.first) // self.days + 1
        while self.begins(turn) > at:
            turn -= 1
        return turn

    def between(self, begin: Millis, end: Millis) -> list[Millis]:
        """The handoffs from an instant up to, and without, another."""
        instants = (self.begins(turn) for turn in range(self.turn(begin), self.turn(end) + 1))
        return [instant for instant in instants if begin <= instant < end]
