"""Why we speak to a channel, read from what has happened since it last heard of an incident."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.model import Change, Delivery, Incident, Occasion, Severity, State

_ALARMS: Final[Mapping[str, Occasion]] = {
    "opened": "opened",
    "worsened": "worsened",
    "reopened": "reopened",
    "escalated": "escalated",
    "failed_over": "escalated",
    "unanswered": "unanswered",
    "unmuted": "unmuted",
    "flapping": "flapping",
    "steadied": "steadied",
}
"""What somebody must hear: the newest of them is why we speak, and no note that came after it hides it."""

_WORDS: Final[Mapping[str, Occasion]] = {"noted": "noted", "assigned": "assigned", "reminded": "reminded"}
"""What is worth saying where there is no alarm."""

_SHAKES: Final = frozenset(("flapping", "steadied"))
_CALLS: Final = frozenset(("unanswered", "flapping"))
_NO_CALLS: Final = frozenset(("opened", "reopened", "acknowledged", "unmuted", "steadied"))
_SHOWN: Final = frozenset(("eased", "linked", "muted"))
"""What changes what stands, and rings no bell."""


@dataclass(frozen=True, slots=True)
class Story:
    """`was`: the severity this channel heard last, None where that is unknown or nothing was heard."""

    incident: Incident
    news: tuple[Change, ...]
    occasion: Occasion
    was: Severity | None = None
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class _Heard:
    """How the channel knows the incident; None for what is unknown."""

    severity: Severity | None = None
    state: State | None = None


def read_story(delivery: Delivery, incident: Incident, since: Sequence[Change], *, hears_own: bool = False) -> Story:
    """`since`: the changes after `delivery.said` in their order, perhaps led by the one that was said last.

    Quiet is what only changes how things stand; that it is over again, for who has heard that it was over; and,
    unless `hears_own`, what people did over this very channel."""
    news = tuple(change for change in since if change.revision > delivery.said)
    if delivery.said == 0:
        return Story(incident, news, _first(incident, news))
    before = [change for change in since if change.revision <= delivery.said]
    heard = _Heard(before[-1].severity, before[-1].state) if before else _Heard()
    # A momentary incident is closed as it opens: nobody is told that it ended.
    told = [change for change in news if not (incident.momentary and change.what == "resolved")]
    occasion = _occasion(incident, told, heard)
    over_again = occasion == "resolved" and heard.state == "resolved"
    own = not hears_own and _all_done_over(delivery.channel, told)
    # What is muted rings nobody with what went before: it is told when the mute ends.
    hidden = bool(incident.muted_by) and incident.state != "resolved" and bool(told) and told[-1].what in _SHOWN
    quiet = bool(news) and (not told or occasion in _SHOWN or over_again or own or hidden)
    return Story(incident, news, occasion, heard.severity, quiet)


def standing(incident: Incident) -> Occasion:
    """What there is to say of it when nothing has happened: opened, acknowledged or resolved."""
    if incident.momentary or incident.state == "open":
        return "opened"
    return "resolved" if incident.state == "resolved" else "acknowledged"


def _first(incident: Incident, news: Sequence[Change]) -> Occasion:
    """Who hears of it first hears that it opened, unless he is called because others did not come."""
    if incident.state == "resolved" and not incident.momentary:
        return "over"
    for change in reversed(news):
        if change.what in _CALLS:
            return _ALARMS[change.what]
        if change.what in _NO_CALLS:
            break
    return "opened"


def _occasion(incident: Incident, told: Sequence[Change], heard: _Heard) -> Occasion:
    """The newest reason to speak; else what changed quietly; else how things stand."""
    over = incident.state == "resolved" and not incident.momentary
    found = _of_what_is_over(told, heard) if over else _of_what_lives(incident, told, heard)
    if found is not None:
        return found
    for change in reversed(told):
        if change.what == "eased" and (heard.severity is None or incident.severity < heard.severity):
            return "eased"
        if change.what == "muted" and incident.muted_by:
            return "muted"
    return "linked" if told else standing(incident)


def _of_what_is_over(told: Sequence[Change], heard: _Heard) -> Occasion | None:
    """That it is over, before all else; a note only for who knows that."""
    word: Occasion | None = None
    for change in reversed(told):
        if change.what in _SHAKES:
            return _ALARMS[change.what]
        if change.what == "resolved":
            return word if word is not None and heard.state == "resolved" else "resolved"
        word = word or _WORDS.get(change.what)
    return word


def _of_what_lives(incident: Incident, told: Sequence[Change], heard: _Heard) -> Occasion | None:
    """The newest alarm; else the newest word. An acknowledgement ends the alarms before it."""
    word: Occasion | None = None
    back = any(change.what == "reopened" for change in told)
    for change in reversed(told):
        if change.what == "worsened" and (back or _fell_again(incident, heard)):
            # Who last heard that it was over hears that it is back; for whom it rose and fell unheard it is not worse,
            # though it is open again for who heard that somebody had it.
            if not back and heard.state == "acknowledged" and incident.state == "open":
                return "reopened"
            continue
        if change.what in _ALARMS:
            return _ALARMS[change.what]
        if change.what == "acknowledged" and incident.state == "acknowledged":
            return word or "acknowledged"
        word = word or _WORDS.get(change.what)
    return word


def _fell_again(incident: Incident, heard: _Heard) -> bool:
    return heard.severity is not None and incident.severity <= heard.severity


def _all_done_over(channel: str, told: Sequence[Change]) -> bool:
    """Whether all that is worth saying was done by people over this channel."""
    reasons = [change for change in told if change.what not in _SHOWN]
    return bool(reasons) and all(change.via == channel for change in reasons)
