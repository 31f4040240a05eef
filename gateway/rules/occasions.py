"""Why we speak to a channel, read from what has happened since it last heard of an incident."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.model import Change, Delivery, Incident, Occasion, Severity

_QUIET: Final = frozenset(("eased", "linked"))
_MOVES: Final[Mapping[str, Occasion]] = {
    "opened": "opened",
    "worsened": "worsened",
    "reopened": "reopened",
    "resolved": "resolved",
    "acknowledged": "acknowledged",
}
"""The changes that are a reason to speak; the words of those to come stand here before their changes do."""


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
    heard = [change.severity for change in since if change.revision <= delivery.said]
    was = heard[-1] if heard else None
    # A momentary incident is closed as it opens: nobody is told that it ended.
    told = [change for change in news if not (incident.momentary and change.what == "resolved")]
    occasion = _occasion(incident, told, was)
    return Story(incident, news, occasion, was, quiet=bool(news) and (not told or occasion in _QUIET))


def _occasion(incident: Incident, news: Sequence[Change], was: Severity | None) -> Occasion:
    """The newest reason to speak; else what changed quietly; else how things stand."""
    back = any(change.what == "reopened" for change in news)
    for change in reversed(news):
        # Who last heard that it was over hears that it is back; for whom it rose and fell unheard it is not worse.
        if change.what == "worsened" and (back or (was is not None and incident.severity <= was)):
            continue
        if change.what in _MOVES:
            return _MOVES[change.what]
    if any(change.what == "eased" for change in news) and (was is None or incident.severity < was):
        return "eased"
    return "linked" if news else standing(incident)


def standing(incident: Incident) -> Occasion:
    """What there is to say of it when nothing has happened: opened, acknowledged or resolved."""
    if incident.momentary or incident.state == "open":
        return "opened"
    return "resolved" if incident.state == "resolved" else "acknowledged"
