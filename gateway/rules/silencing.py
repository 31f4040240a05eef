"""What keeps an incident from being told: silences, mutes and inhibitions. A reason in a plan, never a state.

Whoever heard of a problem hears of its end all the same; what is muted is an incident like any other, with the
reason on its face, and is told when the mute ends, if it still fires.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from json.encoder import encode_basestring
from typing import Annotated, Any, Final

from pydantic import AfterValidator, ModelWrapValidatorHandler, PrivateAttr, model_validator

from gateway.fields import Duration, Settings, Texts, lasting
from gateway.model import Hold, Incident, Millis, Silence
from gateway.rules.calendars import CalendarSettings, is_open, located, next_boundary
from gateway.rules.documents import Place
from gateway.rules.matching import Match, Seen
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
    _called: str = PrivateAttr("")

    @property
    def called(self) -> str:
        """Its name, or what stands in it: what it inhibits is known by that, wherever it stands in the file."""
        return self.name or self._called

    @model_validator(mode="wrap")
    @classmethod
    def _by_its_words(cls, block: Any, read: ModelWrapValidatorHandler[InhibitSettings]) -> InhibitSettings:
        rule = read(block)
        if rule is not block:  # else it was read before, and knows
            words = json.dumps(block, sort_keys=True, ensure_ascii=False, default=str)
            rule._called = hashlib.sha256(words.encode("utf-8", "replace")).hexdigest()[:12]  # noqa: SLF001  # of this class
        return rule

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


def alike(incident: Incident, names: Sequence[str]) -> str:
    """The values of these names as one text, a list in JSON: what two have in common is the same text."""
    return f"[{', '.join([encode_basestring(value_of(incident, name)) for name in names])}]"


def marks(seen: Seen, rules: Sequence[InhibitSettings]) -> list[str]:
    """What a living incident inhibits: a mark for each rule whose `when` it matches."""
    return [_mark(rule, seen.incident) for rule in rules if rule.when.holds(seen)]


def bearing(seen: Seen, rules: Sequence[InhibitSettings]) -> dict[str, InhibitSettings]:
    """What would inhibit an incident: the marks that another may bear, each with its rule. An absent value is like
    no other. What would itself inhibit by a rule is not inhibited by it: two such would hide each other."""
    return {
        _mark(rule, seen.incident): rule
        for rule in rules
        if rule.mute.holds(seen)
        and not rule.when.holds(seen)
        and all(value_of(seen.incident, name) for name in rule.same)
    }


def in_force(
    mutes: Sequence[MuteSettings], calendars: Mapping[str, CalendarSettings], now: Millis
) -> tuple[tuple[str, MuteSettings], ...]:
    """The mutes one of whose calendars is open now, each with what it is called."""
    return tuple(
        (called, mute)
        for called, mute in named(mutes)
        if any(name in calendars and is_open(calendars[name], now) for name in mute.during)
    )


def named(mutes: Sequence[MuteSettings]) -> tuple[tuple[str, MuteSettings], ...]:
    """Each mute with what it is called."""
    return tuple((mute.name or f"mute {number}", mute) for number, mute in enumerate(mutes))


def first_hold(
    seen: Seen,
    mutes: Sequence[tuple[str, MuteSettings]],
    silences: Sequence[Silence],
    inhibited: Mapping[str, InhibitSettings],
) -> Hold | None:
    """Why nobody may hear of this incident now; the one that lasts longest, None where there is none.

    `mutes`: those `in_force`. `inhibited`: the marks of `bearing` that another living incident bears. For one of
    these no end is known."""
    holds = [
        Hold("silence", silence.id, silence.until, reason=_silence_reason(silence), by=silence.by)
        for silence in silences
        if silences_it(silence, seen)
    ]
    holds += [
        Hold("mute", name, _ends(mute.during, seen.calendars, seen.now), reason=mute.reason)
        for name, mute in mutes
        if mute.match.holds(seen)
    ]
    holds += [Hold("inhibit", mark, reason=rule.name) for mark, rule in inhibited.items()]
    if not holds:
        return None
    return max(holds, key=lambda hold: hold.until if hold.until is not None else 1 << 62)


def silences_it(silence: Silence, seen: Seen) -> bool:
    """Whether a silence that is in force covers an incident."""
    incident = seen.incident
    if silence.fingerprint and (silence.source, silence.fingerprint) != (incident.source, incident.fingerprint):
        return False
    return _compiled(json.dumps(silence.match, sort_keys=True)).holds(seen)


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


def _mark(rule: InhibitSettings, incident: Incident) -> str:
    return f"{rule.called} {alike(incident, rule.same)}"


def _ends(names: Collection[str], calendars: Mapping[str, CalendarSettings], now: Millis) -> Millis | None:
    """When the last of the open ones closes."""
    ends = [
        next_boundary(calendars[name], now) for name in names if name in calendars and is_open(calendars[name], now)
    ]
    return None if None in ends or not ends else max(end for end in ends if end is not None)
