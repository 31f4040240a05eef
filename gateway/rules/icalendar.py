"""A rotation's shifts as a calendar to subscribe to: RFC 5545, in UTC, so that no time zone need be described."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

from gateway.model import Millis
from gateway.rules.shifts import Shift

_FOLD_OCTETS: Final = 75
"""RFC 5545 section 3.1: a line SHOULD NOT be longer, its break left out."""
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_ESCAPES: Final = str.maketrans({"\\": "\\\\", ";": "\\;", ",": "\\,", "\n": "\\n", "\r": None})


def icalendar(rotation: str, shifts: Sequence[Shift], now: Millis) -> str:
    """The text of an .ics file. Where nobody is on call, nothing stands. A shift has the same UID whenever the file
    is fetched; if another takes it over, that event changes."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Tocsin//on call//EN",
        "CALSCALE:GREGORIAN",
        "METHOD:PUBLISH",
        f"X-WR-CALNAME:{_escaped(f'On call: {rotation}')}",
    ]
    for shift in shifts:
        if shift.member:
            lines += _event(rotation, shift, now)
    lines.append("END:VCALENDAR")
    return "".join(f"{piece}\r\n" for line in lines for piece in _folded(line))


def _event(rotation: str, shift: Shift, now: Millis) -> list[str]:
    named = hashlib.sha256(f"{rotation} {shift.begin}".encode("utf-8", "replace")).hexdigest()[:32]
    return [
        "BEGIN:VEVENT",
        f"UID:{named}@tocsin",
        f"DTSTAMP:{_utc(now)}",
        f"DTSTART:{_utc(shift.begin)}",
        f"DTEND:{_utc(shift.end)}",
        f"SUMMARY:{_escaped(f'{shift.member} on call: {rotation}')}",
        f"DESCRIPTION:{_escaped(shift.because)}",
        "TRANSP:TRANSPARENT",
        "END:VEVENT",
    ]


def _utc(instant: Millis) -> str:
    return f"{_EPOCH + dt.timedelta(milliseconds=instant):%Y%m%dT%H%M%SZ}"


def _escaped(text: str) -> str:
    """A TEXT value, section 3.3.11; what no calendar may hold (control characters) is left out."""
    return "".join(sign for sign in text.translate(_ESCAPES) if sign >= " " and sign != "\x7f")


def _folded(line: str) -> Iterator[str]:
    """Pieces of at most 75 octets, each but the first behind a space; no character is cut."""
    piece, octets = "", 0
    for sign in line:
        size = len(sign.encode("utf-8", "replace"))
        if octets + size > _FOLD_OCTETS:
            yield piece
            piece, octets = " ", 1
        piece, octets = piece + sign, octets + size
    yield piece
