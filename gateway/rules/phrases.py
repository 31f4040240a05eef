"""The words by language, and time in either."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from gateway.model import Millis
from gateway.rules.english import ENGLISH
from gateway.rules.korean import KOREAN, NOTES
from gateway.rules.vocabulary import Language, Phrases

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

__all__ = ["PHRASES", "Language", "Phrases", "ago", "clock", "duration", "instant", "our_note", "rfc_3339", "zone_name"]

PHRASES: Final[Mapping[Language, Phrases]] = {"en": ENGLISH, "ko": KOREAN}

_SPAN = re.compile(r"(\d+) ?(d|h|min|m|s)\b")
_UNITS: Final = {"d": 0, "h": 1, "min": 2, "m": 2, "s": 3}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000


def instant(at: Millis, zone: ZoneInfo | None = None) -> str:
    """`2026-11-20 21:00 KST`; in UTC without a zone. Raises OverflowError beyond the years 1 to 9999."""
    return _instant(at // _SECOND, zone)


def clock(at: Millis, zone: ZoneInfo | None = None) -> str:
    """`10:00`, in UTC without a zone."""
    return f"{_moment(at, zone):%H:%M}"


def zone_name(at: Millis, zone: ZoneInfo | None = None) -> str:
    """`KST`, or `UTC+04` where the zone has no letters for itself then."""
    return _name(_moment(at, zone))


def rfc_3339(at: Millis) -> str:
    """`2026-11-20T10:00:00Z`, with milliseconds only where there are any."""
    return _moment(at).isoformat(timespec="milliseconds" if at % 1_000 else "seconds").replace("+00:00", "Z")


def duration(span: Millis, language: Language = "en", *, spoken: bool = False) -> str:
    """`45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`: days from 48 h on, seconds below a minute; never less than 0 s."""
    phrases = PHRASES[language]
    names = dict(zip((_DAY, _HOUR, _MINUTE, _SECOND), phrases.spoken_units if spoken else phrases.units, strict=True))
    rest = max(span, 0)
    parts = []
    for length in _scale(rest):
        count, rest = divmod(rest, length)
        if count or length == _SECOND:
            plural = "s" if spoken and language == "en" and count != 1 else ""
            parts.append(f"{count}{names[length]}{plural}")
    return " ".join(parts)


def _scale(span: Millis) -> tuple[Millis, ...]:
    if span >= 2 * _DAY:
        return (_DAY, _HOUR)
    return (_HOUR, _MINUTE) if span >= _MINUTE else (_SECOND,)


def ago(span: Millis, language: Language = "en") -> str:
    """`12 min ago`, `just now`."""
    phrases = PHRASES[language]
    return phrases.just_now if span < 5 * _SECOND else phrases.ago.format(span=duration(span, language))


def our_note(note: str, language: Language) -> str:
    """The gateway's own note in a language; one of a form that we do not know stays as it is."""
    units = PHRASES[language].units
    for pattern, words in NOTES if language == "ko" else ():
        if (found := pattern.fullmatch(note)) is not None:
            said = found.groupdict()
            if "span" in said:
                said["span"] = _SPAN.sub(lambda one: one[1] + units[_UNITS[one[2]]], said["span"])
            return words.format(**said)
    return note


@lru_cache(maxsize=1024)  # what comes in a storm began in the same second
def _instant(second: int, zone: ZoneInfo | None) -> str:
    moment = _moment(second * _SECOND, zone)
    return f"{moment:%Y-%m-%d %H:%M} {_name(moment)}"


def _name(moment: datetime) -> str:
    name = moment.tzname() or ""
    return name if name[:1].isalpha() else f"UTC{name}"


def _moment(at: Millis, zone: ZoneInfo | None = None) -> datetime:
    moment = _EPOCH + timedelta(milliseconds=at)
    return moment if zone is None else moment.astimezone(zone)
