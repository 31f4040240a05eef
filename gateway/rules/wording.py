"""The words of a message, composed when it is sent: good to read on a phone at night, and never failing.

A ladder: the channel's own template, else our words, else the plainest text. No page is lost to a word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Final

from gateway.model import GATEWAY, Action, Change, Delivery, Incident, Message, Millis, Occasion, Severity
from gateway.rules.facts import Telling, facts, why_muted
from gateway.rules.fitting import brief, cut, one_line, spoken, web_address
from gateway.rules.occasions import Story, read_story, standing
from gateway.rules.phrases import PHRASES, Language
from gateway.rules.saying import aside_short, head, speech
from gateway.values import frozen

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from gateway.rules.templates import CompiledTemplates

TITLE_MOST: Final = 150
BODY_MOST: Final = 3_500
FAULTS: Final = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
"""What composing may raise where an incident is stranger than our words."""
_PASSING: Final[frozenset[Occasion]] = frozenset(("noted", "assigned"))
"""News that leaves a problem as it stands."""


@frozen
class Voice:
    """How one channel speaks. `escape` makes foreign text harmless in its markup, for templates only.

    `zone`: the time zone of the instants in the words; None for UTC. `hears_own`: what people did over this
    channel is told there aloud as well; else a reply has answered them, and the channel only shows it.
    `short_forms`: it has use for what fits an SMS and for what is read aloud."""

    channel: str
    language: Language
    templates: CompiledTemplates | None
    escape: Callable[[str], str]
    public_url: str = ""
    zone: ZoneInfo | None = None
    hears_own: bool = True
    short_forms: bool = True


@frozen
class Context:
    """What goes along with a story: whose voice, when, and what the message carries beside its words.

    `actions`: what can be done from there, without labels."""

    name: str
    voice: Voice
    now: Millis
    delivery: str = ""
    links: Mapping[str, str] = field(default_factory=dict)
    actions: Sequence[Action] = ()

    @property
    def telling(self) -> Telling:
        return Telling(self.voice.language, self.now, self.voice.zone)


def message(  # noqa: PLR0913, PLR0917  # all there is to a message; one name for two of these would hide them
    delivery: Delivery,
    incident: Incident,
    since: Sequence[Change],
    voice: Voice,
    links: Mapping[str, str],
    now: Millis,
    actions: Sequence[Action] = (),
) -> Message:
    """What this channel hears of the incident. `since`: the changes after `delivery.said` in their order; where
    it begins with the one that was said last, the words tell from which severity it moved. `actions`: what can be
    done from there; here they get their labels. Never raises."""
    context = Context(f"{delivery.id}.{incident.revision}", voice, now, delivery.id, links, actions)
    try:
        return told(read_story(delivery, incident, since, hears_own=voice.hears_own), context)
    except FAULTS as fault:
        return plainest(incident, context, type(fault).__name__)


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
    return told(Story(incident, (), "test"), Context(f"{incident.id}.1", voice, now))


# --- the ladder ---------------------------------------------------------------------------------------


def told(story: Story, context: Context) -> Message:
    """The story in the channel's own templates where it has some, else in our words. Raises one of FAULTS."""
    incident, voice, telling = story.incident, context.voice, context.telling
    title = _title(story.occasion, story, context)
    url = web_address(incident.url)
    short, aloud = _short_forms(story, context, title, url) if voice.short_forms else ("", "")
    plain = Message(
        id=context.name,
        occasion=story.occasion,
        incident=incident,
        revision=incident.revision,
        title=title,
        facts=facts(story, telling),
        body=cut(incident.body.strip(), BODY_MOST),
        url=url,
        brief=short,
        speech=aloud,
        language=voice.language,
        quiet=story.quiet,
        links=dict(context.links),
        actions=_labelled(incident, context),
        delivery=context.delivery,
        standing=_title(standing(incident), story, context) if story.occasion in _PASSING else "",
    )
    return plain if voice.templates is None else _in_own_words(plain, story, context, voice.templates)


def _short_forms(story: Story, context: Context, title: str, url: str) -> tuple[str, str]:
    """For an SMS, and to be read aloud."""
    telling, number = context.telling, story.incident.number
    short = brief(title, aside_short(story, telling), f"#{number}" if number else "", url)
    return short, speech(story, telling)


def _title(occasion: Occasion, story: Story, context: Context) -> str:
    said = head(occasion, story.incident, context.voice.language)
    return cut(f"{said} {one_line(story.incident.title)}".rstrip(), TITLE_MOST)


def _in_own_words(plain: Message, story: Story, context: Context, own: CompiledTemplates) -> Message:
    # Whoever compiled a template has loaded Jinja; the others need not.
    from gateway.rules import templates
    from gateway.rules.sandbox import Run

    voice = context.voice
    incident = replace(story.incident, muted_by=why_muted(story.incident, context.telling))
    shown = templates.variables(incident, story.news, plain.facts, plain.url, voice.public_url)
    words: dict[str, str] = {}
    failed: dict[str, str] = {}
    for part, template in (("title", own.title), ("body", own.body)):
        if template is None:
            continue
        said = templates.render(template, shown, Run(voice.escape, context.now, voice.language))
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


def plainest(incident: Incident, context: Context, reason: str) -> Message:
    """What is left when an incident is stranger than our words: its title, and that we could say no more."""
    title = cut(one_line(str(incident.title)), TITLE_MOST) or "?"
    return Message(
        id=context.name,
        occasion=standing(incident),
        incident=incident,
        revision=incident.revision,
        title=title,
        brief=brief(title, "", "", ""),
        speech=spoken(title, {}, " "),
        language=context.voice.language,
        footer=PHRASES[context.voice.language].wording_failed.format(reason=reason),
        actions=_labelled(incident, context),
        delivery=context.delivery,
    )


def _labelled(incident: Incident, context: Context) -> tuple[Action, ...]:
    """What can still be done: nothing about what is over, and nothing twice."""
    if not context.actions or incident.state == "resolved" or incident.momentary:
        return ()
    done = "acknowledge" if incident.state == "acknowledged" else ""
    labels = PHRASES[context.voice.language].actions
    return tuple(replace(action, label=labels[action.verb]) for action in context.actions if action.verb != done)
