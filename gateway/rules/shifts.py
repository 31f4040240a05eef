"""Who is on call at an instant and over a span, and when nobody is.

A handoff is a time of the wall clock in the rotation's zone, so that summer time moves no shift.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

from gateway.model import Millis, Override
from gateway.rules.calendars import KNOWN, CalendarSettings, edges, is_open
from gateway.rules.handoffs import ANCHOR, Handoffs, reached
from gateway.rules.rotations import RotationSettings
from gateway.values import frozen

Calendars: TypeAlias = Mapping[str, CalendarSettings]
Gap: TypeAlias = tuple[Millis, Millis]

_DAY: Final[Millis] = 86_400_000
_WEEK: Final[Millis] = 7 * _DAY
HORIZON: Final[Millis] = 5 * _WEEK
"""How far a change is looked for at least. Overrides that ended so long ago need not be known."""


@frozen
class Shift:
    """`member` is on call from `begin` up to `end`, or nobody, where it is ''. `because`: 'rotation', 'layer 0' as
    the file counts them, or 'override by kim'."""

    member: str
    begin: Millis
    end: Millis
    because: str


@frozen
class OnCall:
    """Who is on call, or '', and why. `since` and `until` are None where it was never, or will never be, another."""

    member: str
    since: Millis | None
    until: Millis | None
    because: str


def who(rotation: RotationSettings, name: str, calendars: Calendars, overrides: Sequence[Override], at: Millis) -> str:
    """Who is on call at an instant; '' where nobody is."""
    return _Roster(rotation, calendars, _of(name, overrides)).who(at)[0]


def on_call(
    rotation: RotationSettings, name: str, calendars: Calendars, overrides: Sequence[Override], at: Millis
) -> OnCall | None:
    """Who is on call at an instant, since when and until when; None where the rotation has no members at all."""
    if not rotation.duties:
        return None
    roster = _Roster(rotation, calendars, _of(name, overrides))
    member, because = roster.who(at)
    return OnCall(member, roster.since(at), roster.until(at), because)


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


def gaps(rotation: RotationSettings, calendars: Calendars, begin: Millis, end: Millis) -> Iterator[Gap]:
    """When nobody is on call between two instants, by the file alone; a gap that has no end ends there."""
    if any(duty.during is None for duty in rotation.duties):
        return
    roster = _Roster(rotation, calendars, ())
    since: Millis | None = None
    for edge in (begin, *roster.openings(begin + 1, end)) if begin < end else ():
        covered = roster.is_covered(edge)
        if covered and since is not None:
            yield since, edge
        since = None if covered else edge if since is None else since
    if since is not None:
        yield since, end


def weekly_grid(rotation: RotationSettings) -> Handoffs:
    """The weeks in which a calendar shows what lasts longer: by the first layer's handoff, of Monday if it is daily."""
    handoff = rotation.duties[0].handoff
    return Handoffs.since(ANCHOR, rotation.time_zone, handoff.day, handoff.at)


def in_weeks(shift: Shift, grid: Handoffs) -> list[Shift]:
    """A shift that lies in more than one week of the grid and lasts longer than one, cut at each. What goes on for
    ever has so the same pieces, whenever it is looked at."""
    first = grid.turn(shift.begin)
    if shift.end <= max(grid.begins(first + 1), shift.begin + _WEEK):
        return [shift]
    cuts = [shift.begin, *grid.between(shift.begin + 1, shift.end), shift.end]
    return [Shift(shift.member, begin, end, shift.because) for begin, end in pairwise(cuts)]


def _of(name: str, overrides: Sequence[Override]) -> list[Override]:
    return [one for one in overrides if one.rotation == name]


@frozen
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
                return one.member, f"override{f' by {one.by}' if one.by else ''}{where}"
        return member, because

    def _by_turn(self, at: Millis) -> tuple[str, str]:
        for number, duty in enumerate(self.rotation.duties):
            if self._is_on_duty(duty.during, at):
                member = duty.members[duty.handoffs(self.rotation.time_zone).turn(at) % len(duty.members)]
                return member, f"layer {number}" if self.rotation.layers else "rotation"
        return "", "no layer is on duty" if self.rotation.duties else "it has no members"

    def _is_on_duty(self, during: str | None, at: Millis) -> bool:
        """A calendar that nobody configured is closed."""
        return during is None or (during in self.calendars and is_open(self.calendars[during], at))

    def is_covered(self, at: Millis) -> bool:
        """Whether anybody is on call. Who stands in for one member fills no gap."""
        return any(self._is_on_duty(duty.during, at) for duty in self.rotation.duties) or any(
            one.begin <= at < one.end for one in self.rotation.written if not one.instead_of
        )

    def until(self, at: Millis) -> Millis | None:
        """The next instant at which it is another, or for another reason; None where that never comes."""
        so, far = self.who(at), at + self._reach()
        for edge in self.edges(at + 1, far):
            if self.who(edge) != so:
                return edge
        later = (edge for edge in sorted(self._seldom()) if edge >= far)
        return next((edge for edge in later if self.who(edge) != so), None)

    def since(self, at: Millis) -> Millis | None:
        """The instant since which it is as it is; None where it never was another."""
        so, far, step = self.who(at), at + 1 - self._reach(), self._step()
        for end in range(at + 1, far, -step):
            for edge in reversed(self._edges_within(max(end - step, far), end)):
                if self.who(edge - 1) != so:
                    return edge
        before = (edge for edge in sorted(self._seldom(), reverse=True) if edge < far)
        return next((edge for edge in before if self.who(edge - 1) != so), None)

    def edges(self, begin: Millis, end: Millis) -> Iterator[Millis]:
        """Rising: every instant in between at which somebody else may come on call, looked for as far as asked."""
        step = self._step()
        for start in range(begin, end, step):
            yield from self._edges_within(start, min(start + step, end))

    def openings(self, begin: Millis, end: Millis) -> Iterator[Millis]:
        """Rising: as `edges`, without the handoffs: these leave no gap."""
        for start in range(begin, end, _DAY):
            yield from sorted(self._openings_within(start, min(start + _DAY, end)))

    def _step(self) -> Millis:
        """How much to look through at once: calendars have their edges by the day."""
        return _DAY if any(duty.during for duty in self.rotation.duties) else _WEEK

    def _reach(self) -> Millis:
        """How long it takes until everybody had a turn: what has not changed by then does so only out of the order."""
        return max(HORIZON, *((len(duty.members) + 1) * _WEEK for duty in self.rotation.duties))

    def _seldom(self) -> set[Millis]:
        """All instants out of the week's order: where overrides and dates of calendars begin and end."""
        found = {edge for one in (*self.wished, *self.rotation.written) for edge in (one.begin, one.end)}
        for calendar in self._hours():
            found.update(edge for span in calendar.spans for edge in span)
            for day in (day for day in calendar.closed_days if day.year < dt.MAXYEAR):
                midnight = dt.datetime.combine(day, dt.time())
                found.update(reached(midnight + dt.timedelta(days=later), calendar.time_zone) for later in (0, 1))
        return {edge for edge in found if edge in KNOWN}

    def _hours(self) -> list[CalendarSettings]:
        names = dict.fromkeys(duty.during for duty in self.rotation.duties if duty.during in self.calendars)
        return [self.calendars[name] for name in names if name]

    def _edges_within(self, begin: Millis, end: Millis) -> list[Millis]:
        found = self._openings_within(begin, end)
        for duty in self.rotation.duties:
            found.update(duty.handoffs(self.rotation.time_zone).between(begin, end))
        return sorted(found)

    def _openings_within(self, begin: Millis, end: Millis) -> set[Millis]:
        """Of no more than a day, where there are calendars."""
        found = {edge for one in (*self.wished, *self.rotation.written) for edge in (one.begin, one.end)}
        for calendar in self._hours():
            found.update(edges(calendar, begin))
        return {edge for edge in found if begin <= edge < end}
