"""The gateway's own alerts: they enter as events of the source `gateway` and go the way of all others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from gateway.model import GATEWAY, Alert, Event, Incident, Json, Millis, Severity, Silence, Timer
from gateway.rules.phrases import duration

CONFIGURATION: Final = "configuration"
"""The fingerprint of the incident that a refused configuration is."""


NOTICE: Final = "notice"
"""The kind of what we only mention: nothing can resolve it."""


def as_meant(event: Event, alert: Alert) -> Alert:
    """An alert of the gateway's own as it means it; anybody else's as it is."""
    return replace(alert, momentary=True) if event.source == GATEWAY and alert.kind == NOTICE else alert


def silence_ended(silence: Silence, hidden: Sequence[Incident], new_id: str, now: Millis) -> Event:
    """A silence that kept something critical from being told is over."""
    listed = "\n".join(f"#{one.number} {one.title} ({one.state})" for one in hidden[:10])
    rest = f"\n… and {len(hidden) - 10} more" if len(hidden) > 10 else ""
    why = f" ({silence.reason})" if silence.reason else ""
    return _event(
        {
            "title": f"A silence has ended that hid {len(hidden)} critical problem{'' if len(hidden) == 1 else 's'}",
            "kind": NOTICE,
            "fingerprint": f"silence:{silence.id}",
            "severity": Severity.WARNING.word,
            "body": f"The silence by {silence.by or 'somebody'}{why} hid:\n{listed}{rest}",
            "labels": {"silence": silence.id},
        },
        new_id,
        now,
    )


def timers_put_off(timers: Sequence[Timer], span: Millis, new_id: str, now: Millis) -> Event:
    """A fault of ours keeps these from being acted upon: who was to be told by them is not. `span`: until they are
    tried again."""
    many = f"{len(timers)} timer{'' if len(timers) == 1 else 's'}"
    listed = "\n".join(" ".join(filter(None, (one.kind, one.name, "for", one.subject))) for one in timers[:10])
    rest = f"\n… and {len(timers) - 10} more" if len(timers) > 10 else ""
    return _event(
        {
            "title": f"{many} could not be acted upon and will be tried again in {duration(span)}",
            "kind": NOTICE,
            "fingerprint": "timers",
            "severity": Severity.ERROR.word,
            "body": f"{listed}{rest}\nThe log says why. Look whether somebody must be told meanwhile.",
        },
        new_id,
        now,
    )


def channel_key(channel: str) -> str:
    """The fingerprint of the incident that a failing channel is."""
    return f"channel:{channel}"


def channel_fails(channel: str, reason: str, worst: Severity, new_id: str, now: Millis) -> Event:
    """A message became a dead letter. `worst`: the severity of what was not told."""
    return _event(
        {
            "title": f"Channel {channel} fails: a message was given up",
            "fingerprint": channel_key(channel),
            "severity": max(worst, Severity.ERROR).word,
            "body": f"{reason}\nSee: tocsin deliveries --state failed",
            "labels": {"channel": channel},
        },
        new_id,
        now,
    )


def channel_misses(channel: str, reason: str, new_id: str, now: Millis) -> Event:
    """Some of a channel's recipients will never have a message that the others have."""
    return _event(
        {
            "title": f"Channel {channel} does not reach all of its recipients",
            "fingerprint": channel_key(channel),
            "severity": Severity.WARNING.word,
            "body": f"{reason}\nCheck the channel's `to` in routing.yaml.",
            "labels": {"channel": channel},
        },
        new_id,
        now,
    )


def channel_struggles(channel: str, reason: str, new_id: str, now: Millis) -> Event:
    """Nothing has got through for a while; every message is still being tried."""
    return _event(
        {
            "title": f"Channel {channel} has not got a message through for a while",
            "fingerprint": channel_key(channel),
            "severity": Severity.WARNING.word,
            "body": f"{reason}\nMessages wait and are tried again.",
            "labels": {"channel": channel},
        },
        new_id,
        now,
    )


def channel_works(channel: str, new_id: str, now: Millis) -> Event:
    return _resolve(channel_key(channel), f"Channel {channel} works again", {"channel": channel}, new_id, now)


def removed_key(channel: str) -> str:
    """The fingerprint of the incident that a removed channel is, where messages waited for it."""
    return f"removed:{channel}"


def channel_removed(channel: str, many: int, new_id: str, now: Millis) -> Event:
    """A saved configuration has a channel no more, and what waited for it was given up. `many`: how many."""
    return _event(
        {
            "title": f"Channel {channel} was removed with {many} message{'' if many == 1 else 's'} waiting for it",
            "fingerprint": removed_key(channel),
            "severity": Severity.ERROR.word,
            "body": "They were given up, and are sent once the channel is back in routing.yaml."
            "\nSee: tocsin deliveries --state failed",
            "labels": {"channel": channel},
        },
        new_id,
        now,
    )


def channel_back(channel: str, new_id: str, now: Millis) -> Event:
    return _resolve(removed_key(channel), f"Channel {channel} is back", {"channel": channel}, new_id, now)


def unreadable(source: str, new_id: str, now: Millis) -> Event:
    return _event(
        {
            "title": f"Source {source} sends what cannot be read",
            "fingerprint": f"unreadable:{source}",
            "severity": Severity.WARNING.word,
            "body": "The events are kept.\nSee: tocsin events --state unreadable",
            "labels": {"source": source},
        },
        new_id,
        now,
    )


def readable(source: str, new_id: str, now: Millis) -> Event:
    return _resolve(f"unreadable:{source}", f"Source {source} can be read", {"source": source}, new_id, now)


def configuration_refused(problems: Sequence[str], new_id: str, now: Millis) -> Event:
    listed = "\n".join(problems[:10]) + (f"\n… and {len(problems) - 10} more" if len(problems) > 10 else "")
    return _event(
        {
            "title": "A saved configuration was refused; the last good one stays",
            "fingerprint": CONFIGURATION,
            "severity": Severity.ERROR.word,
            "body": listed,
        },
        new_id,
        now,
    )


def configuration_taken(new_id: str, now: Millis) -> Event:
    return _resolve(CONFIGURATION, "The saved configuration was taken", {}, new_id, now)


def _resolve(fingerprint: str, title: str, labels: Mapping[str, str], new_id: str, now: Millis) -> Event:
    return _event({"title": title, "fingerprint": fingerprint, "status": "resolved", "labels": labels}, new_id, now)


def _event(document: Mapping[str, Json], new_id: str, now: Millis) -> Event:
    body = json.dumps({"kind": "gateway", "service": "tocsin", **document}, ensure_ascii=False).encode()
    return Event(new_id, GATEWAY, "generic", now, {"content-type": "application/json"}, body)
