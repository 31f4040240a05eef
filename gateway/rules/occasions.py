"""Why we speak to a channel, read from what has happened since it last heard of an incident."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.model import Change, Delivery, Incident, Occasion, Severity, State
from gateway.values import frozen

_ALARMS: Final[Mapping[str, Occasion]] = {
    "opened": "opened",
    "worsened": "worsened",
    "reopened": "reopened",
    "escalated": "escalated",
    "reminded": "reminded",
    "unanswered": "unanswered",
    "unmuted": "unmuted",
    "flapping": "flapping",
    "steadied": "steadied",
}
"""What somebody must hear: the newest of them is why we speak, and no note that came after it hides it."""
_WORDS: Final[Mapping[str, Occasion]] = {"noted": "noted", "assigned": "assigned"}
"""What is worth saying where there is no alarm."""
_SHAKES: Final = frozenset(("flapping", "steadied"))
_QUIET: Final = frozenset(("eased", "linked", "muted"))
_STARTS_ANEW: Final = frozenset(("opened", "reopened", "acknowledged", "unmuted", "steadied"))


@frozen
class Story:
    """`was`: the severity this channel heard last, None where that is unknown or nothing was heard."""

    incident: Incident
    news: tuple[Change, ...]
    occasion: Occasion
    was: Severity | None = None
    quiet: bool = False


@frozen
class _Heard:
    """How the channel knows the incident; None for what is unknown."""

    severity: Severity | None = None
    state: State | None = None


def read_story(delivery: Delivery, incident: Incident, since: Sequence[Change], *, hears_own: bool = True) -> Story:
    """`since`: the changes after `delivery.said` in their order, perhaps led by the one that was said last.

    Quiet is what only changes how things stand; that it is over again, for who has heard that it was over; and,
    unless `hears_own`, what people did over this very channel, which answered them already."""
    news = tuple(change for change in since if change.revision > delivery.said)
    if delivery.said == 0:
        return Story(incident, news, _first(incident, news))
    before = [change for change in since if change.revision <= delivery.said]
    heard = _Heard(before[-1].severity, before[-1].state) if before else _Heard()
    # A momentary incident is closed as it opens: nobody is told that it ended.
    told = [change for change in news if not (incident.momentary and change.what == "resolved")]
    occasion = _occasion(incident, told, heard)
    aloud = told if hears_own else [change for change in told if change.via != delivery.channel]
    loud = bool(aloud) and _occasion(incident, aloud, heard) not in _QUIET
    ended_twice = occasion == "resolved" and heard.state == "resolved"
    # What is muted rings nobody with what went before: it is told when the mute ends. That somebody has it is not.
    taken = incident.state == "acknowledged" and heard.state != "acknowledged"
    living = incident.state != "resolved" and not taken
    hidden = bool(incident.muted_by) and living and bool(told) and told[-1].what in _QUIET
    quiet = bool(news) and (not loud or ended_twice or hidden)
    return Story(incident, news, occasion, heard.severity, quiet)


def standing(incident: Incident) -> Occasion:
    """What there is to say of it when nothing has happened: opened, acknowledged or resolved."""
    if incident.momentary or incident.state == "open":
        return "opened"
    return "resolved" if incident.state == "resolved" else "acknowledged"


def _first(incident: Incident, news: Sequence[Change]) -> Occasion:
    """Who hears of it first hears that it opened, unless he hears of it because nobody came, or because it stood not
    still, in this incident or in those before it."""
    over = incident.state == "resolved" and not incident.momentary
    for change in reversed(news):
        if change.what in _SHAKES or (change.what == "unanswered" and not over):
            return _ALARMS[change.what]
        if over and change.what == "resolved":
            return "over"
        if change.what in _STARTS_ANEW:
            break
    return "over" if over else "opened"


def _occasion(incident: Incident, told: Sequence[Change], heard: _Heard) -> Occasion:
    """The newest reason to speak; else what changed quietly; else how things stand."""
    over = incident.state == "resolved" and not incident.momentary
    reason = _of_what_is_over(told, heard) if over else _of_what_lives(incident, told, heard)
    return reason if reason is not None else _lesser(incident, told, heard.severity)


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
    """The newest alarm; else the newest word. An acknowledgement that holds ends the alarms before it."""
    whats = {change.what for change in told}
    word: Occasion | None = None
    undone = False
    for change in reversed(told):
        undone = undone or (change.what == "worsened" and incident.state == "open")
        if change.what == "worsened" and not _worse(incident, heard, back="reopened" in whats):
            continue
        if change.what in _ALARMS:
            return _ALARMS[change.what]
        if change.what == "acknowledged" and not undone:
            return word or "acknowledged"
        word = word or _WORDS.get(change.what)
    if undone and heard.state == "acknowledged":
        return "reopened"  # it rose and fell unheard, but since then nobody has it any more
    # Another channel did not reach its person: this one says how things stand.
    return standing(incident) if "failed_over" in whats else word


def _worse(incident: Incident, heard: _Heard, *, back: bool) -> bool:
    """Who last heard that it was over hears that it is back; for whom it rose and fell unheard it is not worse."""
    return not back and (heard.severity is None or incident.severity > heard.severity)


def _lesser(incident: Incident, told: Sequence[Change], was: Severity | None) -> Occasion:
    """What there is to show where nothing in the news is a reason of its own to speak."""
    whats = {change.what for change in told}
    if "eased" in whats and (was is None or incident.severity < was):
        return "eased"
    if "muted" in whats:
        return "muted"
    return "linked" if told else standing(incident)
