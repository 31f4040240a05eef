"""`people:` of routing.yaml: who can be reached, over which channels in which order, and when not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator

from gateway.fields import Settings, Texts
from gateway.model import Millis, Severity
from gateway.rules.calendars import CalendarSettings, TimeZone, is_open, next_boundary

_LEVELS: Final = ", ".join(level.word for level in Severity)


def read_severity(value: object) -> Severity:
    """One level, aliases included."""
    level = Severity.read(value) if isinstance(value, str) else None
    if isinstance(value, Severity):
        level = value
    if level is None:
        raise ValueError(f"is no severity; take one of {_LEVELS}")
    return level


def _somewhere(channels: tuple[str, ...]) -> tuple[str, ...]:
    if not channels:
        raise ValueError("names no channel, so that nobody can be reached; give it at least one")
    if len(set(channels)) < len(channels):  # else the next channel after one that fails would be the same again
        raise ValueError("names a channel twice; name each once, in the order in which they are tried")
    return channels


class QuietSettings(Settings):
    """While the calendar is open, this person hears only of what is at least so bad; the rest waits until it closes."""

    during: str
    below: Annotated[Severity, BeforeValidator(read_severity)] = Severity.CRITICAL


class PersonSettings(Settings):
    """One entry of `people:`. Told over the first of the channels; over the next where that one fails to reach."""

    channels: Annotated[Texts, AfterValidator(_somewhere)]
    time_zone: TimeZone | None = None
    language: Literal["en", "ko"] | None = None
    quiet: QuietSettings | None = None


def quiet_until(
    person: PersonSettings, severity: Severity, calendars: Mapping[str, CalendarSettings], now: Millis
) -> Millis | None:
    """Until when this person does not want to hear of something so bad; None where they do. A calendar that never
    closes again keeps nobody from hearing."""
    quiet = person.quiet
    if quiet is None or severity >= quiet.below:
        return None
    calendar = calendars.get(quiet.during)
    if calendar is None or not is_open(calendar, now):
        return None
    return next_boundary(calendar, now)


def next_channel(person: PersonSettings, after: str, awake: Collection[str]) -> str | None:
    """The person's next channel behind this one that is awake; behind '' the first. None where there is none."""
    begin = person.channels.index(after) + 1 if after in person.channels else 0 if not after else len(person.channels)
    return next((channel for channel in person.channels[begin:] if channel in awake), None)
