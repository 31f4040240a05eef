"""Calendars: when something is open, by the clock on the wall in one time zone.

A weekly hour is what that clock shows: an hour that summer time skips does not come, and one that it
repeats comes twice. `dates` are instants; a local date-time that comes twice there means the first.
"""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from typing import Annotated, Final, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from gateway.fields import Settings
from gateway.model import Millis
from gateway.rules.documents import Place

_WEEK: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WHOLE_NAMES: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAY_NUMBERS: Final = {name: number for names in (_WEEK, _WHOLE_NAMES) for number, name in enumerate(names)}
_HOUR: Final = re.compile(r"(\d{1,2}):([0-5]\d)", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d)?(?:[Zz]|[+-]\d\d:\d\d)?", re.ASCII)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FIRST_DAY: Final = _EPOCH.toordinal()
_LAST_DAY: Final = dt.date(9999, 12, 28).toordinal() - _FIRST_DAY
KNOWN: Final = range((2 - _FIRST_DAY) * 86_400_000, _LAST_DAY * 86_400_000)
"""The instants that every clock on the wall can show. What lies beyond, as in 'until 9999-12-31', is for ever."""
_MS: Final = dt.timedelta(milliseconds=1)
_DAY: Final[Millis] = 86_400_000
_DAY_MINUTES: Final = 1_440
# A week, and one more where summer time skips an hour of the first; a day for what zones are apart.
_HORIZON: Final = 16
_COMPARED_MOST: Final = 1_000
_NAMED_MOST: Final = 50


def nearest(word: str, known: Collection[str]) -> str:
    """The known word that is near to this one, else ''. Looks past case.

    '' where there are very many: a large file that is wrong everywhere would take hours to refuse."""
    if len(known) > _COMPARED_MOST:
        return ""
    folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), folded, 1)
    return folded[near[0]] if near else ""


def suggestion(word: str, known: Collection[str]) -> str:
    """'; did you mean 'ops-slack'?' where one of the known words is near, else ''."""
    near = nearest(word, known)
    return f"; did you mean '{near}'?" if near else ""


def choice(what: str, known: Collection[str]) -> str:
    """'there are a, b', or how many there are where they are too many to name."""
    if len(known) > _NAMED_MOST:
        return f"there are {len(known):,} {what}s"
    return f"there are {', '.join(sorted(known))}" if known else f"there is no {what} here"


def located(title: str, wrong: Iterable[tuple[Place, str]]) -> ValidationError:
    """Several sentences, each with its place inside the block that is being validated, as one error:
    raised in a validator, pydantic puts the block's own place before each."""
    details = [
        InitErrorDetails(type="value_error", loc=place, input=None, ctx={"error": ValueError(sentence)})
        for place, sentence in wrong
    ]
    return ValidationError.from_exception_data(title, details, hide_input=True)


def backwards(begin: dt.datetime, end: dt.datetime) -> str:
    """What is wrong with an end that does not come after its beginning."""
    # By the clock on the wall it may do so all the same: the hour in between is one that nobody lives through.
    skipped = begin.tzinfo == end.tzinfo and begin < end
    return (
        "is not after its beginning"
        + (", for summer time skips that hour" if skipped else "")
        + "; give it a later one"
    )


def read_zone(value: object) -> ZoneInfo:
    """A name of the IANA database, such as Asia/Seoul."""
    if isinstance(value, ZoneInfo):
        return value
    text = value if isinstance(value, str) else ""
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of the database is an OSError
        # Bare abbreviations (EST, MET) are near to any typing error and seldom what was meant.
        names = [name for name in available_timezones() if "/" in name and not name.startswith("Etc/")]
        is_folder = any(name.startswith(f"{text}/") for name in names)
        hint = ("" if is_folder else suggestion(text, [*names, "UTC"])) or "; write it like Asia/Seoul"
        raise ValueError(f"is no time zone{hint}") from None


def read_days(value: object) -> frozenset[int]:
    """'mon-fri', 'mon,wed', 'daily', ['sat', 'sun'] → days of the week, Monday 0. 'fri-mon' goes over Sunday."""
    texts = list(value) if isinstance(value, (list, tuple, set, frozenset)) else [value]
    words = [word.strip().lower() for text in texts if isinstance(text, str) for word in text.split(",")]
    if not words or not all(isinstance(text, str) for text in texts):
        raise ValueError("is no day; write it like mon-fri, [sat, sun] or daily")
    return frozenset(day for word in words for day in _span_of_days(word))


def read_hour(value: object) -> int:
    """'09:00' → minutes since midnight. '24:00' is the end of the day, and only an end."""
    match = _HOUR.fullmatch(value) if isinstance(value, str) else None
    minutes = int(match[1]) * 60 + int(match[2]) if match else -1
    if not 0 <= minutes <= _DAY_MINUTES:
        raise ValueError("is no time of day; write it like 09:00")
    return minutes


def read_date(value: object) -> dt.date:
    text = value if isinstance(value, str) and _DATE.fullmatch(value) else ""
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise ValueError("is no date; write it like 2026-12-25") from None


def read_moment(value: object) -> dt.datetime:
    """A local date-time, or one with its distance from UTC (RFC 3339); the seconds may be left out."""
    text = value.upper() if isinstance(value, str) and _MOMENT.fullmatch(value) else ""
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is no date-time; write it like 2026-12-24T18:00 or 2026-12-24T18:00:00+09:00") from None


def _many(value: object) -> object:
    return value if isinstance(value, (list, tuple)) else [value]


TimeZone: TypeAlias = Annotated[ZoneInfo, BeforeValidator(read_zone)]
Days: TypeAlias = Annotated[frozenset[int], BeforeValidator(read_days)]
Hour: TypeAlias = Annotated[int, BeforeValidator(read_hour)]
Date: TypeAlias = Annotated[dt.date, BeforeValidator(read_date)]
Moment: TypeAlias = Annotated[dt.datetime, BeforeValidator(read_moment)]


class Weekly(Settings):
    """Open on these days from one time of day up to another; over midnight where `to` is the earlier."""

    days: Days
    from_: Hour = Field(alias="from")
    to: Hour

    @model_validator(mode="after")
    def _some_time(self) -> Weekly:
        if self.from_ == _DAY_MINUTES:
            raise located("weekly", [(("from",), "is no beginning; write 00:00 of the next day")])
        if self.from_ == self.to:
            raise ValueError("opens and closes at the same minute; write 00:00 to 24:00 for a whole day")
        return self

    def holds(self, weekday: int, minute: int) -> bool:
        if self.from_ < self.to:
            return weekday in self.days and self.from_ <= minute < self.to
        return (weekday in self.days and minute >= self.from_) or ((weekday - 1) % 7 in self.days and minute < self.to)


class Span(Settings):
    """Open once, from one moment up to another."""

    from_: Moment = Field(alias="from")
    to: Moment


class CalendarSettings(Settings):
    """One entry of `calendars:`. Open in any of its weekly hours and dates, but never on a day of `except`,
    from midnight to midnight there."""

    time_zone: TimeZone
    weekly: tuple[Weekly, ...] = ()
    dates: tuple[Span, ...] = ()
    except_: Annotated[tuple[Date, ...], BeforeValidator(_many)] = Field(default=(), alias="except")

    @model_validator(mode="after")
    def _opens(self) -> CalendarSettings:
        if not self.weekly and not self.dates:
            raise ValueError("never opens; give it weekly hours or dates")
        wrong: list[tuple[Place, str]] = [
            (("dates", number, "to"), backwards(span.from_, span.to))
            for number, (span, (begin, end)) in enumerate(zip(self.dates, self.spans, strict=True))
            if end <= begin
        ]
        if wrong:
            raise located("calendar", wrong)
        if not self.weekly and all(self._is_excepted(begin, end) for begin, end in self.spans):
            raise ValueError("never opens; each of its dates is in `except`")
        return self

    def _is_excepted(self, begin: Millis, end: Millis) -> bool:
        if end - begin > (len(self.closed_days) + 1) * _DAY or begin not in KNOWN or end not in KNOWN:
            return False
        first, last = (wall_clock(instant, self.time_zone).date() for instant in (begin, end - 1))
        return all(first + dt.timedelta(days=day) in self.closed_days for day in range((last - first).days + 1))

    @cached_property
    def spans(self) -> tuple[tuple[Millis, Millis], ...]:
        """`dates` as instants, each from the first up to, and without, the second."""
        return tuple((instant(span.from_, self.time_zone), instant(span.to, self.time_zone)) for span in self.dates)

    @cached_property
    def closed_days(self) -> frozenset[dt.date]:
        return frozenset(self.except_)


def is_open(calendar: CalendarSettings, now: Millis) -> bool:
    """Whether the calendar is open at this instant."""
    wall = wall_clock(now, calendar.time_zone)
    if calendar.closed_days and wall.date() in calendar.closed_days:
        return False
    weekday, minute = wall.weekday(), wall.hour * 60 + wall.minute
    return any(hours.holds(weekday, minute) for hours in calendar.weekly) or any(
        begin <= now < end for begin, end in calendar.spans
    )


def next_boundary(calendar: CalendarSettings, now: Millis) -> Millis | None:
    """The next instant after `now` at which it opens or closes; None where it never does again."""
    state = is_open(calendar, now)
    for day in _days_to_look_at(calendar, now):
        for instant in sorted(edges(calendar, day * _DAY)):
            if instant > now and is_open(calendar, instant) != state:
                return instant
    return None


def is_over(calendar: CalendarSettings, now: Millis) -> bool:
    """Whether it is closed and never opens again."""
    return not is_open(calendar, now) and next_boundary(calendar, now) is None


def _span_of_days(word: str) -> Iterator[int]:
    if word == "daily":
        yield from range(7)
        return
    first, dash, last = (part.strip() for part in word.partition("-"))
    for name in (first, last) if dash else (first,):
        if name not in _DAY_NUMBERS:
            hint = suggestion(name, (*_DAY_NUMBERS, "daily")) or "; write it like mon-fri, [sat, sun] or daily"
            raise ValueError(f"is no day{hint}")
    begin = _DAY_NUMBERS[first]
    length = (_DAY_NUMBERS[last] - begin) % 7 if dash else 0
    yield from ((begin + step) % 7 for step in range(length + 1))


def instant(moment: dt.datetime, zone: ZoneInfo) -> Millis:
    """A date-time as an instant; one without its distance from UTC is what the clock on the wall shows in `zone`."""
    return ((moment if moment.tzinfo else moment.replace(tzinfo=zone)) - _EPOCH) // _MS


def wall_clock(instant: Millis, zone: ZoneInfo) -> dt.datetime:
    """What the clock on the wall shows, to the second."""
    return dt.datetime.fromtimestamp(instant // 1000, zone)


def _days_to_look_at(calendar: CalendarSettings, now: Millis) -> Iterable[int]:
    """Days since 1970 in UTC that may hold the next edge: the weeks after now, and after all that is
    out of the week's order. What does not change there repeats itself for ever."""
    anchors: Collection[int] = {
        now // _DAY,
        *(edge // _DAY for span in calendar.spans for edge in span if edge > now),
        *(day.toordinal() - _FIRST_DAY for day in calendar.except_),
    }
    days = {anchor + step for anchor in anchors for step in range(-2, _HORIZON)}
    return sorted(day for day in days if now // _DAY <= day <= _LAST_DAY)


def edges(calendar: CalendarSettings, start: Millis) -> Iterator[Millis]:
    """The instants within a day from `start` at which the answer may change."""
    zone = calendar.time_zone
    minutes = {0, *(minute % _DAY_MINUTES for hours in calendar.weekly for minute in (hours.from_, hours.to))}
    first = wall_clock(start, zone).replace(hour=0, minute=0, second=0, tzinfo=None)
    walls = (first + dt.timedelta(days=day, minutes=minute) for day in (-1, 0, 1, 2) for minute in minutes)
    instants = {instant(wall.replace(fold=fold), zone) for wall in walls for fold in (0, 1)}
    instants.update(edge for span in calendar.spans for edge in span)
    if _offset(start, zone) != _offset(start + _DAY, zone):
        instants.add(transition(start, start + _DAY, zone))
    return (instant for instant in instants if start <= instant < start + _DAY)


def transition(before: Millis, after: Millis, zone: ZoneInfo) -> Millis:
    """The first instant of the new distance from UTC. The database only tells the distance at an instant."""
    old = _offset(before, zone)
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (middle, after) if _offset(middle, zone) == old else (before, middle)
    return after


def _offset(instant: Millis, zone: ZoneInfo) -> dt.timedelta | None:
    return wall_clock(instant, zone).utcoffset()
