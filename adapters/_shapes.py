"""Looking things up in JSON that a stranger made: every question has an answer, whatever stands there.

Nothing here raises on any decoded JSON. Absent, of the wrong type and empty are the same: '', None, {} or [].
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import re
from collections.abc import Mapping
from typing import Final

from gateway.model import Json, Millis

LONGEST_TITLE: Final = 200
LONGEST_BODY: Final = 4_000
LONGEST_FIELD: Final = 500
LONGEST_LABEL: Final = 200
LONGEST_KEY: Final = 300
LONGEST_URL: Final = 2_000
_ADDRESS = re.compile(r"https?://[^/\s][^\s<>\"]*", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-")
_FRACTION = re.compile(r"(\.\d{1,6})\d*")
_ZONE = re.compile(r"(?:\s*(?:UTC|GMT|Z))$", re.IGNORECASE)
# 2001-09-09 in milliseconds, 33658 in seconds: what is smaller counts seconds, what is larger milliseconds.
_FIRST_AS_MILLIS: Final = 1e12
_LATEST_MILLIS: Final = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z


def at(document: Json, *path: str | int) -> Json:
    """What stands at the path (text into an object, a number into a list); None where nothing does."""
    for step in path:
        if isinstance(document, dict):
            document = document.get(step)  # its names are text: a number finds nothing
        elif isinstance(document, list) and isinstance(step, int) and -len(document) <= step < len(document):
            document = document[step]
        else:
            return None
    return document


def text(document: Json, *path: str | int) -> str:
    """The text at the path, trimmed. Numbers and booleans as they are written in JSON; '' for all else."""
    # Most questions are one step into an object.
    value = document.get(path[0]) if len(path) == 1 and isinstance(document, dict) else at(document, *path)
    if isinstance(value, str):
        return value.strip()
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value) if isinstance(value, int) else ""


def first(*candidates: str) -> str:
    """The first candidate that says something; '' where none does."""
    for candidate in candidates:
        if candidate:
            return candidate
    return ""


def number(document: Json, *path: str | int) -> float | None:
    """The number at the path: a JSON number, or text that is one (`"24.60"`, `"24.60 %"`)."""
    value = at(document, *path)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        read = float(value.strip().removesuffix("%")) if isinstance(value, str) else float(value)
    except ValueError:
        return None
    return read if math.isfinite(read) else None


def mapping(document: Json, *path: str | int) -> dict[str, Json]:
    """The object at the path; {} where there is none."""
    value = at(document, *path)
    return value if isinstance(value, dict) else {}


def items(document: Json, *path: str | int) -> list[Json]:
    """The list at the path; [] where there is none."""
    value = at(document, *path)
    return value if isinstance(value, list) else []


def line(words: str, longest: int = LONGEST_TITLE) -> str:
    """The words on one line, cut with an ellipsis at `longest` characters."""
    whole = " ".join(words.split())
    return whole if len(whole) <= longest else cut(whole, longest)


def cut(words: str, longest: int = LONGEST_BODY) -> str:
    """At most `longest` characters, the last of them an ellipsis where something is missing."""
    return words if len(words) <= longest else words[: longest - 1].rstrip() + "…"


def link(*candidates: str) -> str:
    """The first candidate that is an http(s) address; '' where none is. Never one of our making."""
    for candidate in candidates:
        address = candidate.strip()
        if len(address) <= LONGEST_URL and _ADDRESS.fullmatch(address):
            return address
    return ""


def instant(value: Json) -> Millis | None:
    """The moment that a value names: Unix seconds or milliseconds (number or text), or an ISO 8601 date and
    time, UTC where it names no zone. None where it names none, or one outside the years 1970 to 9999."""
    moment = None if isinstance(value, str) and _DATE.match(value) else number(value)
    if moment is None:
        return _iso(value.strip()) if isinstance(value, str) else None
    millis = moment if moment >= _FIRST_AS_MILLIS else moment * 1000
    return round(millis) if 0 < millis <= _LATEST_MILLIS else None


def key(*parts: str) -> str:
    """The parts joined by colons: a fingerprint. One too long to index ends in a hash of the whole."""
    whole = ":".join(parts)
    if len(whole) <= LONGEST_KEY:
        return whole
    tail = hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()[:32]
    return f"{whole[: LONGEST_KEY - 33]}…{tail}"


def labels(pairs: Mapping[str, str]) -> dict[str, str]:
    """The pairs that say something, each value on one short line: for matching."""
    return {name: said for name, value in pairs.items() if (said := line(value, LONGEST_LABEL))}


def fields(pairs: Mapping[str, str]) -> dict[str, str]:
    """The pairs that say something, each value cut to a readable length: for showing."""
    return {name: cut(said, LONGEST_FIELD) for name, value in pairs.items() if (said := value.strip())}


def _iso(written: str) -> Millis | None:
    try:
        moment = _datetime(written)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        millis = round(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
    return millis if 0 < millis <= _LATEST_MILLIS else None


def _datetime(written: str) -> dt.datetime:
    try:
        return dt.datetime.fromisoformat(written)
    except ValueError:
        # Python 3.11 reads neither nanoseconds nor a written-out UTC.
        return dt.datetime.fromisoformat(_ZONE.sub("+00:00", _FRACTION.sub(r"\1", written, count=1)))
