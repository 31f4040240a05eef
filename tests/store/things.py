"""One of each noun, plain, for the tests of the store; `changes` change its fields."""

from __future__ import annotations

import dataclasses
from itertools import count
from typing import Any

from gateway.clock import new_id
from gateway.model import Change, Delivery, Event, Incident, Severity
from tests.stage import NOON

_NUMBERS = count(1)


def an_event(**changes: Any) -> Event:
    plain = Event(new_id(), "scripts", "generic", NOON, {"content-type": "application/json"}, b'{"title": "x"}')
    return dataclasses.replace(plain, **changes)


def an_incident(**changes: Any) -> Incident:
    plain = Incident(
        id=new_id(),
        source="scripts",
        adapter="generic",
        fingerprint=f"disk {next(_NUMBERS)}",
        title="disk",
        severity=Severity.ERROR,
        worst=Severity.CRITICAL,
        opened_at=NOON,
        updated_at=NOON,
    )
    return dataclasses.replace(plain, **changes)


def a_change(incident: Incident, **changes: Any) -> Change:
    plain = Change(new_id(), incident.id, 1, NOON, "opened", "open", Severity.ERROR, by="an event")
    return dataclasses.replace(plain, **changes)


def a_delivery(**changes: Any) -> Delivery:
    plain = Delivery(new_id(), incident=new_id(), channel="team", wanted=1, promised_at=NOON, route="all")
    return dataclasses.replace(plain, **changes)
