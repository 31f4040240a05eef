"""The facts of an incident as (label, value), in reading order: how bad, where, since when, who, and what befell it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.model import GATEWAY, Change, Incident, Message, Millis, Occasion, What
from gateway.rules.fitting import cut, one_line
from gateway.rules.occasions import Story
from gateway.rules.phrases import PHRASES, Language, Phrases, duration, instant

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_VALUE_MOST: Final = 200
_NAME_MOST: Final = 60
_FIELDS_MOST: Final = 10
_SILENCE: Final = re.compile(r"silence \S+(?:: )?")
_EVENT: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""An alert's event: what moved an incident where no person did."""
_BY_PEOPLE: Final[frozenset[What]] = frozenset(("noted", "assigned", "acknowledged", "resolved", "reopened"))


@dataclass(frozen=True, slots=True)
class Telling:
    """In which language, at what instant and in which time zone (None for UTC) it is told."""

    language: Language
    now: Millis
    zone: ZoneInfo | None = None

    @property
    def phrases(self) -> Phrases:
        return PHRASES[self.language]


def facts(story: Story, telling: Telling) -> Iterator[tuple[str, str]]:
    """Everything there is to say beside the title and the sender's own text; what is absent is left out."""
    yield from _what(story, telling)
    yield from _people(story, telling)
    yield from _fate(story, telling.phrases)
    yield from _end(story, telling)


def news_of(message: Message) -> tuple[tuple[str, str], ...]:
    """Those facts of a message that its occasion is about: for a reply to another message that says all the rest."""
    phrases = PHRASES[message.language]
    labels: Mapping[Occasion, tuple[str, ...]] = {
        "acknowledged": (phrases.acknowledged, phrases.note),
        "noted": (phrases.note,),
        "assigned": (phrases.assigned, phrases.note),
        "escalated": (phrases.escalation, phrases.failed_over),
        "unanswered": (phrases.unanswered,),
        "flapping": (phrases.flapping,),
        "resolved": (phrases.resolved, phrases.note),
        "reminded": (phrases.since,),
        "unmuted": (phrases.since,),
    }
    about = labels.get(message.occasion, ())
    return tuple(fact for fact in message.facts if fact[0] in about)


def place(incident: Incident) -> str:
    """`db-1 · production`, or the half that is known."""
    names = (cut(one_line(name), _VALUE_MOST) for name in (incident.service, incident.environment))
    return " · ".join(name for name in names if name)


def note_of(story: Story) -> str:
    """The newest note in the news and whose it is, `kim: looking`; an expiry's reason; '' where there is none."""
    change = next((change for change in reversed(story.news) if _is_note(change, story.incident)), None)
    if change is None:
        return ""
    author = "" if change.by == GATEWAY else cut(one_line(change.by), _NAME_MOST)
    note = one_line(change.note)
    return f"{author}: {note}" if author else note


def _is_note(change: Change, incident: Incident) -> bool:
    """An assignment always says to whom; that is no note."""
    return bool(change.note) and change.what in _BY_PEOPLE and change.note != f"to {incident.assigned_to}"


def _what(story: Story, telling: Telling) -> Iterator[tuple[str, str]]:
    incident, phrases = story.incident, telling.phrases
    yield phrases.severity, _severity(story, phrases)
    if where := place(incident):
        both = bool(incident.service and incident.environment)
        yield phrases.where if both else phrases.service if incident.service else phrases.environment, where
    kind = one_line(incident.kind)
    yield phrases.source, cut(f"{one_line(incident.source)} ({kind})" if kind else incident.source, _VALUE_MOST)
    yield _began(incident, telling)
    if incident.count > 1:
        yield phrases.count, phrases.count_value.format(count=incident.count)
    if incident.value is not None:
        yield phrases.value, f"{incident.value:.15g}"
    if incident.number:
        yield phrases.number, f"#{incident.number}"
    for label, value in list(incident.fields.items())[:_FIELDS_MOST]:
        if text := cut(one_line(value), _VALUE_MOST):
            yield cut(one_line(label), _NAME_MOST), text


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
    if note := note_of(story):
        yield phrases.note, cut(note, _VALUE_MOST)


def _fate(story: Story, phrases: Phrases) -> Iterator[tuple[str, str]]:
    """What the gateway did about it, of each kind the newest."""
    labels: tuple[tuple[What, str], ...] = (
        ("escalated", phrases.escalation),
        ("unanswered", phrases.unanswered),
        ("failed_over", phrases.failed_over),
        ("flapping", phrases.flapping),
    )
    newest = {change.what: change.note for change in story.news if change.note}
    for what, label in labels:
        if what in newest:
            yield label, cut(one_line(newest[what]), _VALUE_MOST)
    if story.incident.muted_by:
        # A silence is known by its reason and by whose it is; its id says nothing to anybody.
        why = _SILENCE.sub("", one_line(story.incident.muted_by))
        yield phrases.muted, cut(why or phrases.silenced, _VALUE_MOST)


def _end(story: Story, telling: Telling) -> Iterator[tuple[str, str]]:
    incident, phrases = story.incident, telling.phrases
    if incident.resolved_at is not None and incident.state == "resolved" and not incident.momentary:
        span = duration(incident.resolved_at - incident.opened_at, telling.language)
        at = instant(incident.resolved_at, telling.zone)
        ended = next((change for change in reversed(story.news) if change.what == "resolved"), None)
        person = "" if ended is None or ended.by == GATEWAY or _EVENT.fullmatch(ended.by) else ended.by
        by = phrases.by.format(person=cut(one_line(person), _NAME_MOST)) if person else ""
        yield phrases.resolved, phrases.resolved_value.format(at=at, span=span) + by
    if incident.previous:
        yield phrases.follows, cut(one_line(incident.previous), _NAME_MOST)
