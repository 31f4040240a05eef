"""What a property of a Notion page may be filled from: the fields of an incident, by name.

A field is read from a message as text, a number, a flag or an instant; None means it says nothing yet.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from datetime import date, datetime, tzinfo
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, Field, field_validator

from gateway.fields import Settings
from gateway.model import Message, Millis
from gateway.rules.phrases import PHRASES

Value: TypeAlias = str | float | bool | datetime | date | None
"""What a field says. A datetime carries the channel's time zone; a date stands for the whole day."""

_Read: TypeAlias = Callable[[Message, tzinfo], Value]


def _text_of_flag(value: object) -> object:
    return as_text(value) if isinstance(value, bool) else value


class Entry(Settings):
    """One line of `properties:`: where the value comes from, and the words to put in its place.

    `words` (`map` in the file) is looked up by the value as text; what is not in it stays as it is."""

    source: str = Field(alias="from")
    words: Mapping[str, Annotated[str, BeforeValidator(_text_of_flag)]] = Field(default={}, alias="map")

    @field_validator("source")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if trouble := trouble_with(name):
            raise ValueError(trouble)
        return name

    def read(self, message: Message, zone: tzinfo) -> Value:
        """What the incident says in this field now, in the words of the map; None where it says nothing."""
        value = _read(self.source, message, zone)
        if value is None or not self.words:
            return value
        return self.words.get(as_text(value), value)

    @property
    def may_end(self) -> bool:
        """Whether the field can say nothing again after it said something: then the page is cleared, too.

        Labels and fields are not among them: an alert that lacks one must not wipe what people wrote."""
        return self.source in _MAY_END

    @property
    def speaks_of_links(self) -> bool:
        return self.source.startswith("links.")


def as_text(value: Value) -> str:
    """The value as people write it: 3 and not 3.0, true, RFC 3339 for instants."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.15g}"
    return value.isoformat() if isinstance(value, date) else str(value)


def trouble_with(name: str) -> str:
    """Why this is no field, in words that do not repeat it ('' where it is one)."""
    group, dot, rest = name.partition(".")
    if name in _FIELDS or (dot and rest and group in _GROUPS):
        return ""
    near = difflib.get_close_matches(name.strip().lower(), [*_FIELDS, *_GROUPS], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_FIELDS)}, labels.*, fields.*, links.*"
    return f"is no field of an incident; {hint}"


def _read(name: str, message: Message, zone: tzinfo) -> Value:
    if name in _FIELDS:
        return _FIELDS[name](message, zone)
    group, _, rest = name.partition(".")
    return _GROUPS[group](message).get(rest) or None


def _instant(at: Millis | None, zone: tzinfo) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at // 1000, zone)


def _happened(message: Message, zone: tzinfo) -> datetime:
    incident = message.incident
    at = incident.opened_at if incident.occurred_at is None else incident.occurred_at
    return datetime.fromtimestamp(at // 1000, zone)


def _minutes(message: Message, _: tzinfo) -> Value:
    incident = message.incident
    if incident.resolved_at is None:
        return None
    return float(max(0, incident.resolved_at - incident.opened_at) // 60_000)


def _number(number: float | None) -> float | None:
    return None if number is None else float(number)


def _title(message: Message) -> str:
    return (message.standing or message.title) if message.custom_title is None else message.custom_title


def _body(message: Message) -> str:
    return message.incident.body if message.custom_body is None else message.custom_body


_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _muted(message: Message) -> str | None:
    """Why nobody hears of it, in the channel's language: the fact that says so stands behind the sender's own."""
    label = PHRASES[message.language].muted
    said = [value for name, value in message.facts if name == label] if message.incident.muted_by else []
    return said[-1] if said else None


_FIELDS: Mapping[str, _Read] = {
    "id": lambda m, _: m.incident.id,
    "number": lambda m, _: _number(m.incident.number or None),
    "title": lambda m, _: m.incident.title,
    "message": lambda m, _: _title(m),
    "text": lambda m, _: m.text,
    "body": lambda m, _: _body(m) or None,
    "severity": lambda m, _: m.incident.severity.word,
    "worst": lambda m, _: max(m.incident.worst, m.incident.severity).word,
    "state": lambda m, _: m.incident.state,
    "source": lambda m, _: m.incident.source,
    "adapter": lambda m, _: m.incident.adapter,
    "kind": lambda m, _: m.incident.kind or None,
    "service": lambda m, _: m.incident.service or None,
    "environment": lambda m, _: m.incident.environment or None,
    "fingerprint": lambda m, _: m.incident.fingerprint,
    "url": lambda m, _: m.incident.url or None,
    "count": lambda m, _: float(m.incident.count),
    "value": lambda m, _: _number(m.incident.value),
    "assigned_to": lambda m, _: m.incident.assigned_to or None,
    "acknowledged_by": lambda m, _: m.incident.acknowledged_by or None,
    "muted_by": lambda m, _: _muted(m),
    "unrouted": lambda m, _: m.incident.unrouted,
    "previous": lambda m, _: m.incident.previous or None,
    "labels": lambda m, _: ", ".join(f"{k}={v}" for k, v in m.incident.labels.items()) or None,
    "fields": lambda m, _: "\n".join(f"{k}: {v}" for k, v in m.incident.fields.items()) or None,
    "opened_at": lambda m, z: _instant(m.incident.opened_at, z),
    "updated_at": lambda m, z: _instant(m.incident.updated_at, z),
    "occurred_at": _happened,
    "acknowledged_at": lambda m, z: _instant(m.incident.acknowledged_at, z),
    "resolved_at": lambda m, z: _instant(m.incident.resolved_at, z),
    "minutes_open": _minutes,
    "date": lambda m, z: _happened(m, z).date(),
    "year": lambda m, z: float(_happened(m, z).year),
    "month": lambda m, z: float(_happened(m, z).month),
    "day": lambda m, z: float(_happened(m, z).day),
    "hour": lambda m, z: float(_happened(m, z).hour),
    "weekday": lambda m, z: _DAYS[_happened(m, z).weekday()],
    "week_of_month": lambda m, z: float((_happened(m, z).day - 1) // 7 + 1),
    "week_of_year": lambda m, z: float(_happened(m, z).isocalendar().week),
}

_GROUPS: Mapping[str, Callable[[Message], Mapping[str, str]]] = {
    "labels": lambda m: m.incident.labels,
    "fields": lambda m: m.incident.fields,
    "links": lambda m: m.links,
}

_MAY_END = frozenset(
    {"acknowledged_at", "acknowledged_by", "resolved_at", "minutes_open", "assigned_to", "muted_by", "value"}
)
