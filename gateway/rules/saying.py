"""The short forms: the head before a title, what an SMS has room for, and what is read aloud."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.model import Incident, Occasion
from gateway.rules.facts import Telling, note_of, place, who_resolved
from gateway.rules.fitting import cut, one_line, spoken
from gateway.rules.occasions import Story, standing
from gateway.rules.phrases import PHRASES, Language, clock, duration, zone_name

_SPOKEN_MOST: Final = 200
_SHORT_MOST: Final = 40


def head(occasion: Occasion, incident: Incident, language: Language) -> str:
    """What stands before the title: `WORSE: CRITICAL`, `STEADY, open: CRITICAL`."""
    phrases = PHRASES[language]
    word = phrases.severity_word(incident.severity).upper()
    if occasion == "steadied":
        word = f"{phrases.states[incident.state]}: {word}"
    return phrases.heads[_shown(occasion, incident)].format(severity=word)


def aside_short(story: Story, telling: Telling) -> str:
    """Who or what, where that is the news; else where, and for what is over already also when: an SMS has nothing
    else to say it with."""
    if aside := _aside(story, telling):
        return cut(aside, _SHORT_MOST)
    incident = story.incident
    names = (one_line(incident.service), one_line(incident.environment))
    where = cut("/".join(name for name in names if name), _SHORT_MOST)
    if story.occasion != "over" or incident.resolved_at is None:
        return where
    ended, zone = incident.resolved_at, telling.zone
    times = f"{clock(incident.opened_at, zone)}-{clock(ended, zone)} {zone_name(ended, zone)}"
    return f"{where}, {times}" if where else times


def speech(story: Story, telling: Telling) -> str:
    """The whole, to be read aloud."""
    incident, phrases = story.incident, telling.phrases
    sentences = (
        _opening(story, telling),
        cut(one_line(incident.title), _SPOKEN_MOST),
        cut(_aside(story, telling), _SPOKEN_MOST),
        place(incident).replace(" · ", ", "),
        _span(incident, telling),
        phrases.spoken_number.format(number=incident.number) if incident.number else "",
    )
    return read_aloud(sentences, telling.language)


def read_aloud(sentences: Sequence[str], language: Language) -> str:
    """Sentences that a voice can read, each ended by a full stop; what is empty is left out."""
    dot = " dot " if language == "en" else " 점 "
    signs = PHRASES[language].spoken_signs
    read = (spoken(sentence, signs, dot).rstrip(".,") for sentence in sentences if sentence)
    return "".join(f"{sentence}. " for sentence in read if sentence).rstrip()


def _opening(story: Story, telling: Telling) -> str:
    incident, phrases = story.incident, telling.phrases
    words = {"severity": phrases.severity_word(incident.severity), "state": phrases.states[incident.state]}
    return phrases.openings[_shown(story.occasion, incident)].format(**words).capitalize()


def _shown(occasion: Occasion, incident: Incident) -> Occasion:
    """An edit that only links shows how things stand, not that they were linked."""
    return standing(incident) if occasion == "linked" else occasion


def _aside(story: Story, telling: Telling) -> str:
    """What a person did, where that is the news: `kim: looking`, or a name; who has it, for who hears of it first."""
    incident, phrases = story.incident, telling.phrases
    match story.occasion:
        case "noted":
            return note_of(story, telling.language)
        case "assigned":
            return one_line(incident.assigned_to)
        case "acknowledged":
            return one_line(incident.acknowledged_by)
        case "resolved" if by := who_resolved(story):
            return phrases.done_by.format(by=by)
        case "opened" if incident.state == "acknowledged" and incident.acknowledged_by:
            return phrases.has_it.format(by=one_line(incident.acknowledged_by))
        case _:
            return ""


def _span(incident: Incident, telling: Telling) -> str:
    """How long it lasted, or has been open for; '' in its first minute, and for what only happened."""
    if incident.momentary:
        return ""
    if incident.state == "resolved" and incident.resolved_at is not None:
        lasted = duration(incident.resolved_at - incident.opened_at, telling.language, spoken=True)
        return telling.phrases.spoken_after.format(span=lasted)
    lasting = telling.now - incident.opened_at
    if lasting < 60_000:
        return ""
    return telling.phrases.spoken_for.format(span=duration(lasting, telling.language, spoken=True))
