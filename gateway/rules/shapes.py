"""The public shapes: what the API, the command line and the webhook channel show of our values.

Times are RFC 3339 in UTC with milliseconds, severities are words. What is plain text stays text, ''
where absent; a time, a person or another incident that is absent is null.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from gateway.model import Because, Change, Hold, Incident, Json, Millis, Plan, Target

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
EARLIEST: Final[Millis] = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // _MILLISECOND
"""0001-01-01T00:00:00.000Z"""
LATEST: Final[Millis] = (datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC) - _EPOCH) // _MILLISECOND
"""9999-12-31T23:59:59.999Z: RFC 3339 has four digits for a year."""
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.IGNORECASE | re.ASCII
)


def incident_json(incident: Incident) -> dict[str, Json]:
    """An incident as people and scripts see it; `severity` is the newest, `worst` the highest so far."""
    return {
        "id": incident.id,
        "number": incident.number,
        "title": incident.title,
        "severity": incident.severity.word,
        "worst": max(incident.worst, incident.severity).word,
        "state": incident.state,
        "source": incident.source,
        "kind": incident.kind,
        "service": incident.service,
        "environment": incident.environment,
        "labels": dict(incident.labels),
        "fields": dict(incident.fields),
        "value": incident.value,
        "body": incident.body,
        "url": incident.url,
        "fingerprint": incident.fingerprint,
        "opened_at": rfc3339(incident.opened_at),
        "updated_at": rfc3339(incident.updated_at),
        "occurred_at": _time(incident.occurred_at),
        "acknowledged_at": _time(incident.acknowledged_at),
        "acknowledged_by": incident.acknowledged_by or None,
        "resolved_at": _time(incident.resolved_at),
        "assigned_to": incident.assigned_to or None,
        "count": incident.count,
        "unrouted": incident.unrouted,
        "muted_by": incident.muted_by or None,
        "previous": incident.previous or None,
    }


def change_json(change: Change) -> dict[str, Json]:
    """How an incident moved, what moved it, and the decision taken then; null where nothing was decided."""
    return {
        "id": change.id,
        "what": change.what,
        "revision": change.revision,
        "at": rfc3339(change.at),
        "severity": change.severity.word,
        "state": change.state,
        "by": change.by,
        "note": change.note,
        "via": change.via or None,
        "decision": None if change.decision is None else plan_json(change.decision, change.at),
    }


def plan_json(plan: Plan, now: Millis | None = None) -> dict[str, Json]:
    """What the rules decided, and why. `now` is when: the `at` of whoever hears at once (null without it)."""
    return {
        "routes": [because_json(because) for because in plan.because],
        **outcome_json(plan, now),
    }


def outcome_json(plan: Plan, now: Millis | None = None) -> dict[str, Json]:
    """A plan without what each route said."""
    return {
        "targets": [_target(target, now) for target in plan.targets],
        "holds": [_hold(hold) for hold in plan.holds],
        "configuration": plan.configuration,
    }


@lru_cache(maxsize=1024)  # one instant stands in several places of a document
def rfc3339(ms: Millis) -> str:
    """'2026-11-20T10:00:00.123Z'. What no year of four digits can hold becomes the nearest that it can."""
    instant = _EPOCH + timedelta(milliseconds=min(max(ms, EARLIEST), LATEST))
    return instant.isoformat(timespec="milliseconds")[:23] + "Z"


def parse_rfc3339(text: str) -> Millis | None:
    """The instant that an RFC 3339 time names, cut to milliseconds; None where it is none.

    A leap second (:60) is the second after :59. A time without an offset names no instant: None."""
    match = _RFC3339.fullmatch(text.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    try:
        local = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
    hours, minutes = int(match[9] or 0), int(match[10] or 0)
    if second > 60 or hours > 23 or minutes > 59:
        return None
    offset = (hours * 60 + minutes) * (-60_000 if match[8] == "-" else 60_000)
    milliseconds = int((match[7] or "0")[:3].ljust(3, "0"))
    return (local - _EPOCH) // _MILLISECOND + max(second - 59, 0) * 1_000 + milliseconds - offset


def because_json(because: Because) -> dict[str, Json]:
    missed = because.missed
    route: dict[str, Json] = {
        "name": because.route,
        "matched": because.matched,
        "missed": None if missed is None else {"key": missed.key, "wanted": missed.wanted, "was": missed.was},
    }
    return {**route, "note": because.note} if because.note else route


def _target(target: Target, now: Millis | None) -> dict[str, Json]:
    shape: dict[str, Json] = {"channel": target.channel, "at": _time(target.at or now)}
    if target.asked not in ("", target.channel):
        shape["asked"] = target.asked
    return {**shape, "person": target.person} if target.person else shape


def _hold(hold: Hold) -> dict[str, Json]:
    """What kept whom from being told, and until when; null where no end is known. No `channels`: everybody."""
    return {
        "kind": hold.kind,
        "name": hold.name,
        "until": _time(hold.until),
        "channels": list(hold.channels),
        "reason": hold.reason,
    }


def _time(ms: Millis | None) -> str | None:
    return None if ms is None else rfc3339(ms)
