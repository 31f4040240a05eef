"""The public shapes of what the store keeps: see CONTRACT's "Shapes" for what a script may rely on."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.contracts import Attempt, Statement
from gateway.model import Delivery, Event, Json, Receipt, Sent, Timer
from gateway.rules.deciding import FAR
from gateway.rules.shapes import rfc3339


def event_json(event: Event, said: Sequence[Statement]) -> dict[str, Json]:
    return {
        "id": event.id,
        "source": event.source,
        "received_at": rfc3339(event.received_at),
        "state": event.state,
        "reason": event.reason,
        "alerts": [
            {
                "fingerprint": one.alert.fingerprint,
                "severity": one.alert.severity.word,
                "status": one.alert.status,
                "title": one.alert.title,
                "incident": one.incident or None,
            }
            for one in said
        ],
    }


def alert_json(one: Statement) -> dict[str, Json]:
    """A statement in the generic shape, with the event it came from."""
    alert = one.alert
    return {
        "id": one.id,
        "event": one.event,
        "at": rfc3339(one.at),
        "title": alert.title,
        "severity": alert.severity.word,
        "status": alert.status,
        "service": alert.service,
        "environment": alert.environment,
        "kind": alert.kind,
        "body": alert.body,
        "url": alert.url,
        "labels": dict(alert.labels),
        "fields": dict(alert.fields),
        "value": alert.value,
        "fingerprint": alert.fingerprint,
        "occurred_at": None if alert.occurred_at is None else rfc3339(alert.occurred_at),
    }


def delivery_json(delivery: Delivery) -> dict[str, Json]:
    return {
        "id": delivery.id,
        "incident": delivery.incident,
        "channel": delivery.channel,
        "route": delivery.route,
        "state": delivery.state,
        "wanted": delivery.wanted,
        "said": delivery.said,
        "attempts": delivery.attempts,
        "reason": delivery.reason,
        "due_at": rfc3339(delivery.due_at or delivery.promised_at) if delivery.state == "waiting" else None,
        "reached": delivery.reached,
        "person": delivery.person or None,
        "digest": delivery.incident if delivery.is_digest else delivery.digest or None,
    }


def timer_json(timer: Timer) -> dict[str, Json]:
    """What is going to be looked at, and when; null where that hangs on something else."""
    return {"kind": timer.kind, "name": timer.name, "at": rfc3339(timer.due_at) if timer.due_at < FAR else None}


def attempt_json(attempt: Attempt) -> dict[str, Json]:
    return {
        "at": rfc3339(attempt.at),
        "revision": attempt.revision,
        "receipt": attempt.receipt,
        "reason": attempt.reason,
        "took_ms": attempt.took,
    }


def receipt_json(receipt: Receipt) -> dict[str, Json]:
    kind = type(receipt).__name__.lower()
    reason = (receipt.missed or receipt.detail) if isinstance(receipt, Sent) else receipt.reason
    return {"receipt": kind, "reason": reason}
