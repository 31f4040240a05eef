"""The generic alert to the letter: every field that is wrong is named, and nothing is guessed."""

from __future__ import annotations

import difflib
import math
import re
import urllib.parse
from collections.abc import Mapping
from typing import Final, Literal

from adapters import _shapes
from gateway.errors import BadField
from gateway.model import Alert, Json, Millis, Severity

KEYS: Final = (
    *("title", "severity", "status", "service", "environment", "kind", "body", "url"),
    *("labels", "fields", "value", "fingerprint", "occurred_at"),
)
LEVELS: Final = "must be one of info, warning, error, critical, emergency"
_LONGEST_TITLE: Final = 300
_LONGEST_NAME: Final = 200
LONGEST_FINGERPRINT: Final = 512
_LONGEST_URL: Final = 2_048
_LONGEST_KEY: Final = 128
_LONGEST_LABEL: Final = 1_024
_LONGEST_FIELD: Final = 4_096
_MOST_PAIRS: Final = 64
_MOST_BODY: Final = 64 * 1024
_MOST_UNKNOWN: Final = 20
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)")
_URL = re.compile(r"https?://[^/\s][^\s<>\"]*", re.IGNORECASE)
_UNSAFE = re.compile(r"[\s<>\"]")


def read(document: Mapping[str, Json]) -> Alert | tuple[BadField, ...]:
    """The alert, or everything that is wrong with it. null is the same as absent."""
    form = _Form(document)
    title = form.title()
    kind, service, environment = form.text("kind"), form.text("service"), form.text("environment")
    alert = Alert(
        title=title,
        fingerprint=form.text("fingerprint", LONGEST_FINGERPRINT) or fingerprint(kind, service, environment, title),
        severity=form.severity(),
        status=form.status(),
        kind=kind,
        service=service,
        environment=environment,
        body=form.body() or form.whole_title,
        url=form.url(),
        labels=form.pairs("labels", _LONGEST_LABEL),
        fields=form.pairs("fields", _LONGEST_FIELD),
        value=form.value(),
        occurred_at=form.moment(),
    )
    form.refuse_unknown()
    return tuple(form.faults) or alert


def fingerprint(kind: str, service: str, environment: str, title: str) -> str:
    """What names the problem where the sender does not: readable, and never the same for different parts."""
    parts = (part.replace("\\", "\\\\").replace(":", "\\:") for part in (kind, service, environment, title))
    return _shapes.key("alert", *parts)


class _Form:
    """One document being read; collects what is wrong on the way."""

    def __init__(self, document: Mapping[str, Json]) -> None:
        self.faults: list[BadField] = []
        self.whole_title = ""
        self._document = document

    def title(self) -> str:
        given = self._document.get("title")
        if given is None:
            return self._wrong("title", "is required")
        if isinstance(given, str) and not given.strip():
            return self._wrong("title", "must not be empty")
        title = " ".join(self._text("title").split())
        if len(title) > _LONGEST_TITLE:
            # An exception's whole text as the title must not cost the page: it is shown below instead.
            self.whole_title = self._text("title")
        return _cut(title, _LONGEST_TITLE)

    def text(self, name: str, longest: int = _LONGEST_NAME) -> str:
        """The text of a field, trimmed, cut at `longest`; '' where it is absent or wrong."""
        return _cut(self._text(name), longest)

    def body(self) -> str:
        return self.text("body", _MOST_BODY)

    def url(self) -> str:
        """The address; blanks, quotes and angle brackets in it become percent signs, as a browser would write them."""
        url = _UNSAFE.sub(lambda found: urllib.parse.quote(found[0]), self._text("url"))
        if len(url) > _LONGEST_URL:
            return self._wrong("url", f"must be at most {_LONGEST_URL:,} characters long")
        return url if not url or _is_address(url) else self._wrong("url", "must be an http(s) address with a host")

    def severity(self) -> Severity:
        given = self._document.get("severity")
        level = Severity.read(given) if isinstance(given, str) else None
        if given is not None and level is None:
            self._wrong("severity", LEVELS)
        return Severity.ERROR if level is None else level

    def status(self) -> Literal["firing", "resolved"]:
        given = self._document.get("status")
        word = given.strip().lower() if isinstance(given, str) else given
        if word not in (None, "firing", "resolved"):
            self._wrong("status", "must be firing or resolved")
        return "resolved" if word == "resolved" else "firing"

    def pairs(self, name: str, longest: int) -> dict[str, str]:
        """An object of short names and texts; numbers and booleans become text, nulls are left out."""
        given = self._document.get(name)
        if given is None:
            return {}
        if not isinstance(given, dict):
            self._wrong(name, "must be an object of names and texts")
            return {}
        if len(given) > _MOST_PAIRS:
            self._wrong(name, f"must have at most {_MOST_PAIRS} entries")
            return {}
        return {key.strip(): self._pair(name, key, value, longest) for key, value in given.items() if value is not None}

    def value(self) -> float | None:
        given = self._document.get("value")
        if given is None:
            return None
        if not isinstance(given, bool) and isinstance(given, (int, float, str)):
            try:
                number = float(given)
            except (ValueError, OverflowError):
                number = math.nan
            if math.isfinite(number):
                return number
        self._wrong("value", "must be a finite number")
        return None

    def moment(self) -> Millis | None:
        given = self._document.get("occurred_at")
        if given is None:
            return None
        usable = not isinstance(given, bool) and (
            isinstance(given, (int, float)) or (isinstance(given, str) and _RFC3339.fullmatch(given.strip()))
        )
        moment = _shapes.instant(given) if usable else None
        if moment is None:
            self._wrong(
                "occurred_at",
                "must be a time with its zone, such as 2026-11-20T10:00:00Z, or Unix seconds or milliseconds",
            )
        return moment

    def refuse_unknown(self) -> None:
        for key in [key for key in self._document if key not in KEYS][:_MOST_UNKNOWN]:
            near = difflib.get_close_matches(key[:_LONGEST_KEY].lower(), KEYS, n=1)
            self._wrong(
                key[:_LONGEST_KEY],
                f"is not known; did you mean {near[0]}?"
                if near
                else "is not known; remove it, or put it into labels or fields",
            )

    def _text(self, name: str) -> str:
        given = self._document.get(name)
        if given is None:
            return ""
        return given.strip() if isinstance(given, str) else self._wrong(name, "must be text")

    def _pair(self, name: str, key: str, value: Json, longest: int) -> str:
        path = f"{name}.{key[:_LONGEST_KEY]}"
        if not 1 <= len(key.strip()) <= _LONGEST_KEY:
            return self._wrong(path, f"must have a name of 1 to {_LONGEST_KEY} characters")
        if isinstance(value, (dict, list)):
            return self._wrong(path, "must be text, a number, true or false")
        return _cut(_shapes.text(value), longest)

    def _wrong(self, path: str, message: str) -> str:
        self.faults.append(BadField(path, message))
        return ""


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _is_address(url: str) -> bool:
    try:
        host = urllib.parse.urlsplit(url).hostname
        return bool(_URL.fullmatch(url) and host and "%" not in host)
    except ValueError:
        return False
