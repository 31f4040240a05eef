"""What keeps an incident from being told: silences, mutes and inhibitions. A reason in a plan, never a state.

Whoever heard of a problem hears of its end all the same; what is muted is an incident like any other, with the
reason on its face, and is told when the mute ends, if it still fires.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Final

from pydantic import AfterValidator, model_validator

from gateway.fields import Duration, Settings, Texts, lasting
from gateway.model import Hold, Incident, Millis, Silence
from gateway.rules.calendars import CalendarSettings, is_open, located, next_boundary
from gateway.rules.documents import Place
from gateway.rules.matching import Match
from gateway.rules.shapes import rfc3339

_SAME: Final = ("source", "adapter", "kind", "service", "environment", "title")


def _fields(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in _SAME and not (name.startswith("labels.") and len(name) > len("labels.")):
            raise ValueError(f"must be among {', '.join(_SAME)} and labels.<name>")
    return names


def _some_time(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("names no calendar, so that nothing would be muted; give it at least one")
    return names


Alike = Annotated[Texts, AfterValidator(_fields)]
"""Names of an incident's texts: `service`, `labels.team`."""


class MuteSettings(Settings):
    """One of `mutes:`: while the calendar is open, nobody hears of what matches."""

    name: str = ""
    match: Match = Match()
    during: Annotated[Texts, AfterValidator(_some_time)]
    reason: str = ""


class InhibitSettings(Settings):
    """One of `inhibit:`: while something living matches `when`, nobody hears of what matches `mute` and is alike
    in `same`."""

    name: str = ""
    when: Match
    mute: Match
    same: Alike = ()

    @model_validator(mode="after")
    def _bounded(self) -> InhibitSettings:
        """With `same`, an empty block is one problem and all that is alike; without, it would be the whole house."""
        hint = "give it a condition, or say in `same` what must be alike"
        wrong: list[tuple[Place, str]] = []
        if not self.same and not self.when.conditions:
            wrong.append((("when",), f"is empty, so that whatever is open would mute; {hint}"))
        if not self.same and not self.mute.conditions:
            wrong.append((("mute",), f"is empty, so that nobody would hear of anything; {hint}"))
        if wrong:
            raise located("inhibit", wrong)
        return self


class ExpireSettings(Settings):
    """One of `expire:`: what matches and has not fired for so long is taken to be over."""

    match: Match = Match()
    after: Annotated[Duration, lasting("write how long without news it takes to be over, like 2h")]


def value_of(incident: Incident, name: str) -> str:
    """The text that `same` and `group_by` compare; '' where absent."""
    if name.startswith("labels."):
        return incident.labels.get(name.removeprefix("labels."), "")
    return str(getattr(incident, name))


def marks(
    incident: Incident, rules: Sequence[InhibitSettings], calendars: Mapping[str, CalendarSettings], now: Millis
) -> list[str]:
    """What a living incident inhibits: a mark for each rule whose `when` it matches."""
    return [
        _mark(number, rule, incident)
        for number, rule in enumerate(rules)
        if rule.when.first_miss(incident, calendars, now) is None
    ]


def bearing(
    incident: Incident, rules: Sequence[InhibitSettings], calendars: Mapping[str, CalendarSettings], now: Millis
) -> dict[str, InhibitSettings]:
    """What would inhibit an incident: the marks that another may bear, each with its rule. An absent value is like
    no other."""
    return {
        _mark(number, rule, incident): rule
        for number, rule in enumerate(rules)
        if rule.mute.first_miss(incident, calendars, now) is None
        and all(value_of(incident, name) for name in rule.same)
    }


def first_hold(
    incident: Incident,
    mutes: Sequence[MuteSettings],
    silences: Sequence[Silence],
    inhibited: Mapping[str, InhibitSettings],
    calendars: Mapping[str, CalendarSettings],
    now: Millis,
) -> Hold | None:
    """Why nobody may hear of this incident now; the one that lasts longest, None where there is none.

    `inhibited`: the marks of `bearing` that another living incident bears. For one of these no end is known."""
    holds = [
        Hold("silence", silence.id, silence.until, reason=_silence_reason(silence), by=silence.by)
        for silence in silences
        if silences_it(silence, incident, calendars, now)
    ]
    holds += [
        Hold("mute", mute.name or f"mute {number}", _ends(mute.during, calendars, now), reason=mute.reason)
        for number, mute in enumerate(mutes)
        if any(name in calendars and is_open(calendars[name], now) for name in mute.during)
        and mute.match.first_miss(incident, calendars, now) is None
    ]
    holds += [Hold("inhibit", mark, reason=rule.name) for mark, rule in inhibited.items()]
    return max(holds, key=lambda hold: hold.until if hold.until is not None else 1 << 62, default=None)


def silences_it(silence: Silence, incident: Incident, calendars: Mapping[str, CalendarSettings], now: Millis) -> bool:
    """Whether a silence that is in force covers an incident."""
    if silence.fingerprint and (silence.source, silence.fingerprint) != (incident.source, incident.fingerprint):
        return False
    return _compiled(json.dumps(silence.match, sort_keys=True)).first_miss(incident, calendars, now) is None


def words(hold: Hold) -> str:
    """The hold on an incident's face: 'mute nightly backup: backups', 'silenced until <RFC 3339> by anna: deploy'. A
    silence's id would say nothing to people."""
    if hold.kind != "silence":
        what = "inhibited" if hold.kind == "inhibit" else f"{hold.kind} {hold.name}"
        return f"{what}: {hold.reason}" if hold.reason else what
    until = f" until {rfc3339(hold.until)}" if hold.until is not None else ""
    by = f" by {hold.by}" if hold.by else ""
    why = hold.reason.removesuffix(by.lstrip()).removesuffix(", ") if hold.by else hold.reason
    return f"silenced{until}{by}: {why}" if why else f"silenced{until}{by}"


@functools.lru_cache(maxsize=1024)
def _compiled(match: str) -> Match:
    return Match.read(json.loads(match))


def _silence_reason(silence: Silence) -> str:
    by = f"by {silence.by}" if silence.by else ""
    return ", ".join(part for part in (silence.reason, by) if part)


def _mark(number: int, rule: InhibitSettings, incident: Incident) -> str:
    return f"{rule.name or number} {json.dumps([value_of(incident, name) for name in rule.same], ensure_ascii=False)}"


def _ends(names: Collection[str], calendars: Mapping[str, CalendarSettings], now: Millis) -> Millis | None:
    """When the last of the open ones closes."""
    ends = [
        next_boundary(calendars[name], now) for name in names if name in calendars and is_open(calendars[name], now)
    ]
    return None if None in ends or not ends else max(end for end in ends if end is not None)
