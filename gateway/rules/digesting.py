"""Many incidents in one message: the one that stands for them all, and words that count every one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from gateway.model import Action, Delivery, Gathered, Incident, Message, Millis, Occasion, Severity, State
from gateway.rules.facts import Telling
from gateway.rules.fitting import brief, cut, one_line
from gateway.rules.occasions import Story
from gateway.rules.phrases import PHRASES, Language, Phrases
from gateway.rules.saying import read_aloud
from gateway.rules.wording import BODY_MOST, FAULTS, Context, Voice, plainest, told

SEVERAL: Final = "tocsin"
"""The source of a face whose incidents come from several."""
_TITLE_MOST: Final = 80
_NAME_MOST: Final = 60
_STATES: Final[tuple[State, ...]] = ("open", "acknowledged", "resolved")


def face(gathered: Gathered, language: Language = "en") -> Incident:
    """One incident that stands for all of a digest, with the digest's id. Of a single member it is the likeness.

    Its severity is the worst of what is not resolved, or of all where everything is; its count how many there are.
    What they share, such as a service, it has only where every one of them is named. `language`: of its title."""
    digest, named = gathered.digest, gathered.named
    everyone = named if len(named) == _total(gathered) else ()
    state = _state(gathered)
    source = _shared(everyone, lambda one: one.source) or SEVERAL
    base = Incident(
        id=digest.id,
        source=source,
        adapter=_shared(everyone, lambda one: one.adapter) or SEVERAL,
        fingerprint=digest.key,
        title=_title(gathered, PHRASES[language]),
        severity=_severity(gathered),
        opened_at=digest.opened_at,
        updated_at=digest.updated_at,
        state=state,
        revision=digest.revision,
        worst=digest.worst,
        kind=_shared(everyone, lambda one: one.kind),
        service=_shared(everyone, lambda one: one.service),
        environment=_shared(everyone, lambda one: one.environment),
        resolved_at=digest.updated_at if state == "resolved" else None,
        count=_total(gathered),
        momentary=state == "resolved" and bool(named) and all(one.momentary for one in named),
    )
    only = _only(gathered)
    return base if only is None else _likeness(only, base)


def digest_message(
    delivery: Delivery,
    gathered: Gathered,
    voice: Voice,
    now: Millis,
    actions: Sequence[Action] = (),
    *,
    aloud: bool = False,
) -> Message:
    """What a channel hears of a digest: how many, in which states, how bad, and the worst by name.

    `aloud`: mere growth rings too, for a channel that cannot edit. Never raises."""
    shown = face(gathered, voice.language)
    context = Context(f"{delivery.id}.{shown.revision}", voice, now, delivery.id, {}, actions)
    story = _story(delivery, shown, aloud=aloud)
    try:
        return told(story, context) if _only(gathered) is not None else _of_many(story, gathered, context)
    except FAULTS as fault:
        return plainest(shown, context, type(fault).__name__)


def _of_many(story: Story, gathered: Gathered, context: Context) -> Message:
    # A channel's own templates are written for one incident: they would not tell how many there are.
    plain = replace(context, voice=replace(context.voice, templates=None))
    counted = replace(story, incident=replace(story.incident, count=1))  # the body counts: not "12 times"
    message, telling = told(counted, plain), context.telling
    states = _counted(gathered, telling.phrases)[0]
    return replace(
        message,
        incident=story.incident,
        facts=tuple(fact for fact in message.facts if fact != (telling.phrases.source, SEVERAL)),
        body=cut("\n".join(_lines(gathered, telling)), BODY_MOST),
        brief=brief(message.title, states, "", ""),
        speech=f"{message.speech} {read_aloud([states], telling.language)}".strip(),
    )


def _story(delivery: Delivery, shown: Incident, *, aloud: bool) -> Story:
    was = delivery.said_severity
    over = shown.state == "resolved" and not shown.momentary
    occasion: Occasion = "linked"
    if delivery.said == 0:
        occasion, was = ("over" if over else "opened"), None
    elif over:
        occasion = "resolved"
    elif was is not None and shown.severity > was:
        occasion = "worsened"
    elif delivery.remind > delivery.said and shown.state == "open":
        occasion = "reminded"
    return Story(shown, (), occasion, was, quiet=occasion == "linked" and not aloud)


# --- the face -----------------------------------------------------------------------------------------


def _likeness(only: Incident, base: Incident) -> Incident:
    """The single member as it is, under the digest's name."""
    return replace(
        only,
        id=base.id,
        fingerprint=base.fingerprint,
        severity=base.severity,
        worst=base.worst,
        state=base.state,
        revision=base.revision,
        count=base.count,
        updated_at=base.updated_at,
        moves=(),
        fired_at=0,
        firing_since=0,
    )


def _only(gathered: Gathered) -> Incident | None:
    return gathered.named[0] if _total(gathered) == 1 and len(gathered.named) == 1 else None


def _total(gathered: Gathered) -> int:
    """How many there are; those that retention has taken are counted no more."""
    return sum(gathered.counts.values())


def _state(gathered: Gathered) -> State:
    states = {state for (state, _), count in gathered.counts.items() if count}
    return next((state for state in _STATES if state in states), "resolved")


def _severity(gathered: Gathered) -> Severity:
    all_of_them = [key for key, count in gathered.counts.items() if count]
    living = [severity for state, severity in all_of_them if state != "resolved"]
    return max(living or [severity for _, severity in all_of_them], default=gathered.digest.worst)


def _shared(named: Sequence[Incident], of: Callable[[Incident], str]) -> str:
    values = {of(one) for one in named}
    return values.pop() if len(values) == 1 else ""


# --- the words ----------------------------------------------------------------------------------------


def _title(gathered: Gathered, phrases: Phrases) -> str:
    only, digest = _only(gathered), gathered.digest
    if only is not None:
        return only.title
    problems = _problems(gathered, phrases)
    if digest.kind == "storm":
        return phrases.beyond_budget.format(problems=problems)
    return f"{problems}: {digest.title}" if digest.title else problems


def _problems(gathered: Gathered, phrases: Phrases) -> str:
    total = _total(gathered)
    return (phrases.problem if total == 1 else phrases.problems).format(count=f"{total:,}")


def _counted(gathered: Gathered, phrases: Phrases) -> tuple[str, str]:
    """`10 open, 1 acknowledged` and `2 critical, 10 warning`."""
    by_state = ((phrases.states[state], _sum(gathered, state=state)) for state in _STATES)
    by_severity = ((phrases.severity_word(level), _sum(gathered, level=level)) for level in sorted(Severity)[::-1])
    return _joined(by_state, phrases), _joined(by_severity, phrases)


def _joined(counts: Iterable[tuple[str, int]], phrases: Phrases) -> str:
    return ", ".join(phrases.counted.format(count=f"{count:,}", word=word) for word, count in counts if count)


def _sum(gathered: Gathered, state: State | None = None, level: Severity | None = None) -> int:
    return sum(
        count
        for (its_state, its_level), count in gathered.counts.items()
        if state in (None, its_state) and level in (None, its_level)
    )


def _lines(gathered: Gathered, telling: Telling) -> Iterator[str]:
    phrases = telling.phrases
    states, severities = _counted(gathered, phrases)
    problems = _problems(gathered, phrases)
    yield phrases.held.format(problems=problems, states=states, severities=severities) if states else problems
    for one in gathered.named:
        yield _line(one, phrases)
    if (rest := _total(gathered) - len(gathered.named)) > 0:
        yield phrases.more.format(count=f"{rest:,}")


def _line(incident: Incident, phrases: Phrases) -> str:
    """`#12 CRITICAL checkout-api: Disk full (open)`."""
    service = cut(one_line(incident.service), _NAME_MOST)
    title = cut(one_line(incident.title), _TITLE_MOST)
    what = f"{service}: {title}" if service else title
    word = phrases.severity_word(incident.severity).upper()
    return f"#{incident.number} {word} {what} ({phrases.states[incident.state]})"
