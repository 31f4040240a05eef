"""The facts of an incident as (label, value), in reading order: how bad, where, since when, who, and what befell it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from gateway.model import GATEWAY, Change, Incident, Message, Millis, Occasion, What
from gateway.rules.fitting import cut, one_line
from gateway.rules.occasions import Story
from gateway.rules.phrases import PHRASES, Language, Phrases, clock, duration, instant, our_note, zone_name
from gateway.rules.shapes import LATEST, parse_rfc3339
from gateway.values import frozen

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_VALUE_MOST: Final = 200
_NAME_MOST: Final = 60
_FIELDS_MOST: Final = 10
_BY_PEOPLE: Final[frozenset[What]] = frozenset(("noted", "assigned", "acknowledged", "resolved", "reopened"))


_DAY: Final[Millis] = 86_400_000
_EVENT: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
"""What `Change.by` is where an alert moved the incident: the event's id, never a person's name."""
_SILENCED: Final = re.compile(r"silenced(?: until (?P<at>\d\S+Z))?(?: by (?P<by>.*?))?(?:: (?P<why>.*))?")
_FATES: Final[Mapping[What, str]] = {
    "escalated": "escalation",
    "unanswered": "unanswered",
    "failed_over": "failed_over",
    "flapping": "flapping",
}
"""What the gateway did, and the phrase that names it."""
_ABOUT: Final[Mapping[Occasion, tuple[str, ...]]] = {
    "acknowledged": ("acknowledged", "note"),
    "resolved": ("resolved", "note"),
    "noted": ("note",),
    "assigned": ("assigned", "note"),
    "escalated": ("escalation", "failed_over", "note"),
    "unanswered": ("unanswered", "note"),
    "reminded": ("since", "note"),
    "flapping": ("flapping",),
    "steadied": ("flapping", "resolved"),
}
"""The facts that an occasion is about, for a reply to a message that says all the rest."""


@frozen
class Telling:
    """In which language, at what instant and in which time zone (None for UTC) it is told."""

    language: Language
    now: Millis
    zone: ZoneInfo | None = None

    @property
    def phrases(self) -> Phrases:
        return PHRASES[self.language]


def facts(story: Story, telling: Telling) -> tuple[tuple[str, str], ...]:
    """Everything there is to say beside the title and the sender's own text; what is absent is left out."""
    return (*_what(story, telling), *_people(story, telling), *_fate(story, telling), *_end(story, telling))


def news_of(message: Message) -> tuple[tuple[str, str], ...]:
    """Who, when and why: the facts that the message's occasion is about, in the channel's language."""
    phrases = PHRASES[message.language]
    labels = {getattr(phrases, name) for name in _ABOUT.get(message.occasion, ())}
    return tuple(fact for fact in message.facts if fact[0] in labels)


def place(incident: Incident) -> str:
    """`db-1 · production`, or the half that is known."""
    return _place(incident.service, incident.environment)


def note_of(story: Story, language: Language) -> str:
    """The newest note in the news and whose it is, `kim: looking`; an expiry's reason; '' where there is none."""
    change = next((change for change in reversed(story.news) if _is_note(change, story.incident)), None)
    if change is None:
        return ""
    note = one_line(change.note)
    if change.by == GATEWAY:
        return our_note(note, language)
    author = cut(one_line(change.by), _NAME_MOST)
    return f"{author}: {note}" if author else note


def who_resolved(story: Story) -> str:
    """The person who ended it; '' where an alert or the gateway did, or it is not in the news."""
    by = next((change.by for change in reversed(story.news) if change.what == "resolved"), GATEWAY)
    return "" if by == GATEWAY or _EVENT.fullmatch(by) else cut(one_line(by), _NAME_MOST)


def _is_note(change: Change, incident: Incident) -> bool:
    """An assignment always says to whom; that is no note."""
    return bool(change.note) and change.what in _BY_PEOPLE and change.note != f"to {incident.assigned_to}"


def _what(story: Story, telling: Telling) -> list[tuple[str, str]]:
    incident, phrases = story.incident, telling.phrases
    said = [(phrases.severity, _severity(story, phrases))]
    if where := place(incident):
        both = bool(incident.service and incident.environment)
        label = phrases.where if both else phrases.service if incident.service else phrases.environment
        said.append((label, where))
    said += ((phrases.source, _source(incident.source, incident.kind)), _began(incident, telling))
    if incident.count > 1:
        said.append((phrases.count, phrases.count_value.format(count=incident.count)))
    if incident.value is not None:
        said.append((phrases.value, f"{incident.value:.15g}"))
    if incident.number:
        said.append((phrases.number, f"#{incident.number}"))
    for label, value in list(incident.fields.items())[:_FIELDS_MOST]:
        if text := cut(one_line(value), _VALUE_MOST):
            said.append((_label(label), text))
    return said


# The same few services, kinds and labels stand in message after message.
@lru_cache(maxsize=512)
def _place(service: str, environment: str) -> str:
    names = (cut(one_line(name), _VALUE_MOST) for name in (service, environment))
    return " · ".join(name for name in names if name)


@lru_cache(maxsize=512)
def _source(source: str, kind: str) -> str:
    kind = one_line(kind)
    return cut(f"{one_line(source)} ({kind})" if kind else source, _VALUE_MOST)


@lru_cache(maxsize=512)
def _label(label: str) -> str:
    return cut(one_line(label), _NAME_MOST)


def _severity(story: Story, phrases: Phrases) -> str:
    incident, was = story.incident, story.was
    now = phrases.severity_word(incident.severity)
    if was is not None and was != incident.severity:
        now = f"{phrases.severity_word(was)} → {now}"
    if incident.worst > max(incident.severity, was or incident.severity):
        return phrases.worst.format(now=now, worst=phrases.severity_word(incident.worst))
    return now


def _began(incident: Incident, telling: Telling) -> tuple[str, str]:
    at, phrases = instant(incident.opened_at, telling.zone), telling.phrases
    if incident.momentary:
        return phrases.happened, at
    lasted = telling.now - incident.opened_at
    if incident.state == "resolved" or lasted < 60_000:
        return phrases.since, at
    return phrases.since, phrases.since_value.format(at=at, span=duration(lasted, telling.language))


def _people(story: Story, telling: Telling) -> Iterator[tuple[str, str]]:
    incident, phrases = story.incident, telling.phrases
    if incident.acknowledged_at is not None:
        by, at = cut(one_line(incident.acknowledged_by), _NAME_MOST), instant(incident.acknowledged_at, telling.zone)
        yield phrases.acknowledged, f"{by}, {at}" if by else at
    if incident.assigned_to:
        yield phrases.assigned, cut(one_line(incident.assigned_to), _NAME_MOST)
    if note := note_of(story, telling.language):
        yield phrases.note, cut(note, _VALUE_MOST)


def _fate(story: Story, telling: Telling) -> Iterator[tuple[str, str]]:
    """What the gateway did about it, of each kind the newest."""
    newest = {change.what: change.note for change in story.news if change.note}
    for what, label in _FATES.items():
        if what in newest:
            note = our_note(one_line(newest[what]), telling.language)
            yield getattr(telling.phrases, label), cut(note, _VALUE_MOST)
    if story.incident.muted_by:
        yield telling.phrases.muted, cut(why_muted(story.incident, telling), _VALUE_MOST)


def why_muted(incident: Incident, telling: Telling) -> str:
    """The hold on an incident's face in the reader's language; of a silence until when, in his time, and whose it is.
    '' where nothing mutes it."""
    text, phrases = one_line(incident.muted_by), telling.phrases
    if (found := _SILENCED.fullmatch(text)) is None:
        return text
    by, at = cut(found["by"] or "", _NAME_MOST), _until(found["at"], telling)
    words = (phrases.silenced_until_by if by else phrases.silenced_until) if at else ""
    said = (words or (phrases.silenced_by if by else phrases.silenced)).format(by=by, at=at)
    return f"{said}: {found['why']}" if found["why"] else said


def _until(text: str | None, telling: Telling) -> str:
    """The clock's time where it is less than a day off; '' for none, and for what lies beyond every calendar."""
    at = parse_rfc3339(text) if text is not None else None
    if at is None or at > LATEST - _DAY:
        return ""
    near = abs(at - telling.now) < _DAY
    return f"{clock(at, telling.zone)} {zone_name(at, telling.zone)}" if near else instant(at, telling.zone)


def _end(story: Story, telling: Telling) -> Iterator[tuple[str, str]]:
    incident, phrases = story.incident, telling.phrases
    if incident.resolved_at is not None and incident.state == "resolved" and not incident.momentary:
        span = duration(incident.resolved_at - incident.opened_at, telling.language)
        at = instant(incident.resolved_at, telling.zone)
        told, by = phrases.resolved_value.format(at=at, span=span), who_resolved(story)
        yield phrases.resolved, phrases.by.format(what=told, by=by) if by else told
    if incident.previous:
        yield phrases.follows, cut(one_line(incident.previous), _NAME_MOST)
