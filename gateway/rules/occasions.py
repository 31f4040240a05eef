"""Why we speak to a channel, read from what has happened since it last heard of an incident."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.model import Change, Delivery, Incident, Occasion, Severity

_QUIET: Final = frozenset(("eased", "linked", "muted"))
_REASONS: Final[Mapping[str, Occasion]] = {
    "opened": "opened",
    "worsened": "worsened",
    "reopened": "reopened",
    "resolved": "resolved",
    "acknowledged": "acknowledged",
    "noted": "noted",
    "assigned": "assigned",
    "escalated": "escalated",
    "reminded": "reminded",
    "unanswered": "unanswered",
    "unmuted": "unmuted",
    "flapping": "flapping",
    "steadied": "steadied",
}
"""The changes that are a reason to speak."""


@dataclass(frozen=True, slots=True)
class Story:
    """`was`: the severity this channel heard last, None where that is unknown or nothing was heard."""

    incident: Incident
    news: tuple[Change, ...]
    occasion: Occasion
    was: Severity | None = None
    quiet: bool = False


def read_story(delivery: Delivery, incident: Incident, since: Sequence[Change]) -> Story:
    """`since`: the changes after `delivery.said` in their order, perhaps led by the one that was said last."""
    news = tuple(change for change in since if change.revision > delivery.said)
    if delivery.said == 0:
        over = incident.state == "resolved" and not incident.momentary
        return Story(incident, news, "over" if over else "opened")
    heard = [change for change in since if change.revision <= delivery.said]
    last = heard[-1] if heard else None
    was = None if last is None else last.severity
    knew_end = last is not None and last.state == "resolved"
    # A momentary incident is closed as it opens: nobody is told that it ended.
    told = [change for change in news if not (incident.momentary and change.what == "resolved")]
    occasion = _occasion(incident, told, was, knew_end=knew_end)
    # What a person did over this channel, this channel saw him do.
    others = [change for change in told if change.via != delivery.channel]
    loud = bool(others) and _occasion(incident, others, was, knew_end=knew_end) not in _QUIET
    ended_twice = occasion == "resolved" and knew_end
    return Story(incident, news, occasion, was, quiet=bool(news) and (not loud or ended_twice))


def _occasion(incident: Incident, news: Sequence[Change], was: Severity | None, *, knew_end: bool) -> Occasion:
    """The newest reason to speak; else what changed quietly; else how things stand."""
    whats = {change.what for change in news}
    back = "reopened" in whats
    # A note on what is over does not cover its end, of which this channel has not heard.
    ended = incident.state == "resolved" and "resolved" in whats and not knew_end
    for change in reversed(news):
        # Who last heard that it was over hears that it is back; for whom it rose and fell unheard it is not worse.
        if change.what == "worsened" and (back or (was is not None and incident.severity <= was)):
            continue
        if ended and change.what in ("noted", "assigned"):
            continue
        if change.what in _REASONS:
            return _REASONS[change.what]
    return _lesser(incident, news, was)


def _lesser(incident: Incident, news: Sequence[Change], was: Severity | None) -> Occasion:
    """What there is to show where nothing in the news is a reason of its own to speak."""
    whats = {change.what for change in news}
    if "eased" in whats and (was is None or incident.severity < was):
        return "eased"
    if "failed_over" in whats:
        return standing(incident)  # another channel did not reach its person: this one says how things stand
    if "muted" in whats:
        return "muted"
    return "linked" if news else standing(incident)


def standing(incident: Incident) -> Occasion:
    """What there is to say of it when nothing has happened: opened, acknowledged or resolved."""
    if incident.momentary or incident.state == "open":
        return "opened"
    return "resolved" if incident.state == "resolved" else "acknowledged"
