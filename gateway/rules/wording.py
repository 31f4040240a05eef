"""The words of a message, composed when it is sent: good to read on a phone at night, and never failing.

A ladder: the channel's own template, else our words, else the plainest text. No page is lost to a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from gateway.model import GATEWAY, Change, Delivery, Incident, Message, Millis, Occasion, Severity
from gateway.rules.fitting import brief, cut, one_line, spoken, web_address
from gateway.rules.occasions import Story, read_story, standing
from gateway.rules.phrases import PHRASES, Language, Phrases, clock, duration, instant

if TYPE_CHECKING:
    from gateway.rules.templates import CompiledTemplates

TITLE_MOST: Final = 150
BODY_MOST: Final = 3_500
_VALUE_MOST: Final = 200
_NAME_MOST: Final = 60
_FIELDS_MOST: Final = 10
_SPOKEN_MOST: Final = 200
_FAULTS: Final = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Voice:
    """How one channel speaks. `escape` makes foreign text harmless in its markup, for templates only."""

    channel: str
    language: Language
    templates: CompiledTemplates | None
    escape: Callable[[str], str]
    public_url: str = ""


def message(
    delivery: Delivery,
    incident: Incident,
    since: Sequence[Change],
    voice: Voice,
    links: Mapping[str, str],
    now: Millis,
) -> Message:
    """What this channel hears of the incident. `since`: the changes after `delivery.said` in their order; where
    it begins with the one that was said last, the words tell from which severity it moved. Never raises."""
    name = f"{delivery.id}.{incident.revision}"
    try:
        return _told(name, read_story(delivery, incident, since), voice, links, now)
    except _FAULTS as fault:
        return _plainest(name, incident, voice, type(fault).__name__)


def test_message(channel: str, voice: Voice, now: Millis) -> Message:
    """What `tocsin channels test` sends: clearly a test, in the channel's own templates where it has some."""
    phrases = PHRASES[voice.language]
    incident = Incident(
        id=f"test.{channel}.{now}",
        source=GATEWAY,
        adapter=GATEWAY,
        fingerprint="test",
        title=phrases.test_title.format(channel=channel),
        severity=Severity.INFO,
        opened_at=now,
        updated_at=now,
        kind="test",
        body=phrases.test_body,
        momentary=True,
    )
    return _told(f"{incident.id}.1", Story(incident, (), "test"), voice, {}, now)


# --- the ladder ---------------------------------------------------------------------------------------


def _told(name: str, story: Story, voice: Voice, links: Mapping[str, str], now: Millis) -> Message:
    incident, phrases = story.incident, PHRASES[voice.language]
    head = _head(phrases.heads, story, phrases)
    title = cut(f"{head} {one_line(incident.title)}".rstrip(), TITLE_MOST)
    url = web_address(incident.url)
    plain = Message(
        id=name,
        occasion=story.occasion,
        incident=incident,
        revision=incident.revision,
        title=title,
        facts=tuple(_facts(story, phrases, voice.language, now)),
        body=cut(incident.body.strip(), BODY_MOST),
        url=url,
        brief=brief(title, _where_short(story), f"#{incident.number}" if incident.number else "", url),
        speech=_speech(story, phrases, voice.language, now),
        language=voice.language,
        quiet=story.quiet,
        links=dict(links),
    )
    return plain if voice.templates is None else _in_own_words(plain, story, voice, voice.templates, now)


def _in_own_words(plain: Message, story: Story, voice: Voice, own: CompiledTemplates, now: Millis) -> Message:
    # Whoever compiled a template has loaded Jinja; the others need not.
    from gateway.rules import templates
    from gateway.rules.sandbox import Run

    shown = templates.variables(story.incident, story.news, plain.facts, plain.url, voice.public_url)
    words: dict[str, str] = {}
    failed: dict[str, str] = {}
    for part, template in (("title", own.title), ("body", own.body)):
        if template is None:
            continue
        said = templates.render(template, shown, Run(voice.escape, now, voice.language))
        if isinstance(said, templates.Failed):
            failed[part] = said.reason
        elif part == "title" and not said:
            failed[part] = "Empty"
        else:
            words[part] = said if part == "body" else " ".join(said.split())
    return replace(
        plain, custom_title=words.get("title"), custom_body=words.get("body"), footer=_failure(failed, voice.language)
    )


def _failure(failed: Mapping[str, str], language: Language) -> str:
    if not failed:
        return ""
    phrases = PHRASES[language]
    names = {"title": phrases.the_title, "body": phrases.the_body}
    what = phrases.both_templates.format(**names) if len(failed) == 2 else names[next(iter(failed))]
    return phrases.template_failed.format(what=what, reason=", ".join(dict.fromkeys(failed.values())))


def _plainest(name: str, incident: Incident, voice: Voice, reason: str) -> Message:
    """What is left when an incident is stranger than our words: its title, and that we could say no more."""
    title = cut(one_line(str(incident.title)), TITLE_MOST) or "?"
    return Message(
        id=name,
        occasion=standing(incident),
        incident=incident,
        revision=incident.revision,
        title=title,
        brief=brief(title, "", "", ""),
        speech=spoken(title, {}, " "),
        language=voice.language,
        footer=PHRASES[voice.language].wording_failed.format(reason=reason),
    )


# --- our words ----------------------------------------------------------------------------------------


def _head(forms: Mapping[Occasion, str], story: Story, phrases: Phrases) -> str:
    """What stands before the title. An edit that only links shows how things stand, not that they were linked."""
    occasion = standing(story.incident) if story.occasion == "linked" else story.occasion
    word = phrases.severity_word(story.incident.severity)
    return forms[occasion].format(severity=word.upper() if forms is phrases.heads else word)


def _facts(story: Story, phrases: Phrases, language: Language, now: Millis) -> Iterator[tuple[str, str]]:
    incident = story.incident
    yield phrases.severity, _severity(story, phrases)
    if place := _place(incident):
        both = bool(incident.service and incident.environment)
        yield phrases.where if both else phrases.service if incident.service else phrases.environment, place
    kind = one_line(incident.kind)
    yield phrases.source, cut(f"{one_line(incident.source)} ({kind})" if kind else incident.source, _VALUE_MOST)
    yield _began(incident, phrases, language, now)
    if incident.count > 1:
        yield phrases.count, phrases.count_value.format(count=incident.count)
    if incident.value is not None:
        yield phrases.value, f"{incident.value:.15g}"
    if incident.number:
        yield phrases.number, f"#{incident.number}"
    for label, value in list(incident.fields.items())[:_FIELDS_MOST]:
        if text := cut(one_line(value), _VALUE_MOST):
            yield cut(one_line(label), _NAME_MOST), text
    yield from _people(story, phrases)
    if incident.resolved_at is not None and incident.state == "resolved" and not incident.momentary:
        span = duration(incident.resolved_at - incident.opened_at, language)
        yield phrases.resolved, phrases.resolved_value.format(at=instant(incident.resolved_at), span=span)
    if incident.previous:
        yield phrases.follows, cut(one_line(incident.previous), _NAME_MOST)


def _severity(story: Story, phrases: Phrases) -> str:
    incident, was = story.incident, story.was
    now = phrases.severity_word(incident.severity)
    if was is not None and was != incident.severity:
        now = f"{phrases.severity_word(was)} → {now}"
    if incident.worst > max(incident.severity, was or incident.severity):
        return phrases.worst.format(now=now, worst=phrases.severity_word(incident.worst))
    return now


def _place(incident: Incident) -> str:
    names = (cut(one_line(name), _VALUE_MOST) for name in (incident.service, incident.environment))
    return " · ".join(name for name in names if name)


def _began(incident: Incident, phrases: Phrases, language: Language, now: Millis) -> tuple[str, str]:
    at = instant(incident.opened_at)
    if incident.momentary:
        return phrases.happened, at
    if incident.state == "resolved" or now - incident.opened_at < 60_000:
        return phrases.since, at
    return phrases.since, phrases.since_value.format(at=at, span=duration(now - incident.opened_at, language))


def _people(story: Story, phrases: Phrases) -> Iterator[tuple[str, str]]:
    incident = story.incident
    if incident.acknowledged_at is not None:
        by = cut(one_line(incident.acknowledged_by), _NAME_MOST)
        yield phrases.acknowledged, ", ".join(word for word in (by, instant(incident.acknowledged_at)) if word)
    if incident.assigned_to:
        yield phrases.assigned, cut(one_line(incident.assigned_to), _NAME_MOST)
    if note := next((change.note for change in reversed(story.news) if change.note and change.by != GATEWAY), ""):
        yield phrases.note, cut(one_line(note), _VALUE_MOST)


def _where_short(story: Story) -> str:
    """Where, and for what is over already also when: an SMS has nothing else to say it with."""
    incident = story.incident
    names = (one_line(incident.service), one_line(incident.environment))
    where = cut("/".join(name for name in names if name), 40)
    if story.occasion != "over" or incident.resolved_at is None:
        return where
    times = f"{clock(incident.opened_at)}-{clock(incident.resolved_at)} UTC"
    return f"{where}, {times}" if where else times


def _speech(story: Story, phrases: Phrases, language: Language, now: Millis) -> str:
    incident = story.incident
    ended = incident.state == "resolved" and not incident.momentary and incident.resolved_at is not None
    span = duration((incident.resolved_at or 0 if ended else now) - incident.opened_at, language, spoken=True)
    long = phrases.spoken_after if ended else phrases.spoken_for
    told_long = ended or (not incident.momentary and now - incident.opened_at >= 60_000)
    sentences = (
        _head(phrases.openings, story, phrases).capitalize(),
        cut(one_line(incident.title), _SPOKEN_MOST),
        _place(incident).replace(" · ", ", "),
        long.format(span=span) if told_long else "",
        phrases.spoken_number.format(number=incident.number) if incident.number else "",
    )
    dot = " dot " if language == "en" else " 점 "
    read = (spoken(sentence, phrases.spoken_signs, dot).rstrip(".,") for sentence in sentences)
    return "".join(f"{sentence}. " for sentence in read if sentence).rstrip()
