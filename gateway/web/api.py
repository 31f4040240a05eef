"""`/api/v1`: alerts in; events, incidents and deliveries to look at; a second try for what needs one."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import JSONResponse

from gateway.contracts import Attempt, Statement
from gateway.errors import BadField, Conflict, NotFound, Unreadable
from gateway.explaining import explain
from gateway.model import Delivery, Event, Json, Receipt, Sent, Severity
from gateway.rules.reading import decode
from gateway.rules.shapes import change_json, incident_json, parse_rfc3339, rfc3339
from gateway.store.safe import Ledger
from gateway.store.schema import LIVING, incidents
from gateway.web import auth, intake
from gateway.web.house import House
from gateway.web.problems import Refused

MOST_ITEMS = 200
DEFAULT_ITEMS = 50
_EVENT_STATES = ("waiting", "done", "unreadable")
_INCIDENT_STATES = ("open", "acknowledged", "resolved")
_DELIVERY_STATES = ("waiting", "said", "failed")
_INCIDENT_CURSOR = re.compile(r"(-?[0-9]{1,16}) (\S+)")
_LONGEST_QUESTION = 200  # SQLite takes patterns of 50,000 bytes, but none of that length is a question
_MOST_OF_A_BODY = 1024 * 1024


def house_of(request: Request) -> House:
    house: House = request.app.state.house
    return house


async def list_events(request: Request) -> JSONResponse:
    house = _admin(request)
    states = _words(request, "state", _EVENT_STATES)
    limit, before = _limit(request), _cursor(request)
    source = request.query_params.get("source") or None

    async def look(ledger: Ledger) -> tuple[list[Event], dict[str, list[Statement]]]:
        found = await ledger.inbox.page(states, source, before, limit + 1)
        return found, await ledger.changes.statements_of([event.id for event in found])

    events, said = await house.store.read(look)
    return _page([event_json(event, said[event.id]) for event in events], limit)


async def show_event(request: Request) -> JSONResponse:
    house = _admin(request)
    id_ = request.path_params["id"]

    async def look(ledger: Ledger) -> tuple[Event | None, list[Statement]]:
        return await ledger.inbox.get(id_), await ledger.changes.statements(event=id_)

    event, said = await house.store.read(look)
    if event is None:
        raise NotFound("There is no such event.")
    body = event.body.decode("utf-8", "replace")
    return JSONResponse({**event_json(event, said), "headers": dict(event.headers), "body": body})


async def replay_event(request: Request) -> JSONResponse:
    """Read a kept event again: an unreadable one as it is, a decided one only by `{"force": true}`."""
    house = _admin(request)
    id_ = request.path_params["id"]
    force = (await _document(request, {"force"})).get("force", False)

    async def act(ledger: Ledger) -> Event:
        event = await ledger.inbox.get(id_)
        if event is None:
            raise NotFound("There is no such event.")
        if event.state == "done" and force is not True:
            raise Conflict('This event has been decided; to read it again all the same, send {"force": true}.')
        if event.state == "done":
            await ledger.changes.forget_statements(id_)
        await ledger.inbox.again(id_)
        return event

    event = await house.store.write(act)
    house.pipeline.arrived.set()
    return JSONResponse({**event_json(event, []), "state": "waiting"}, 202)


async def list_incidents(request: Request) -> JSONResponse:
    house = _admin(request)
    where = _incident_filters(request)
    limit, cursor = _limit(request), _cursor(request)
    before = None
    if cursor is not None:
        match = _INCIDENT_CURSOR.fullmatch(cursor)
        if match is None:
            raise _bad("cursor", "is none that this list gave")
        before = (int(match[1]), match[2])
    found = await house.store.read(lambda ledger: ledger.incidents.page(where, before, limit + 1))
    keys = [f"{incident.opened_at} {incident.id}" for incident in found]
    return _page([incident_json(incident) for incident in found], limit, keys)


async def show_incident(request: Request) -> JSONResponse:
    house = _admin(request)
    name = request.path_params["id"]

    async def look(ledger: Ledger) -> dict[str, Json] | None:
        incident = await ledger.incidents.find(name)
        if incident is None:
            return None
        story = await ledger.changes.story(incident.id)
        said = await ledger.changes.statements(incident=incident.id)
        deliveries = (await ledger.outbox.of([incident.id])).get(incident.id, [])
        tried = await ledger.outbox.attempts_of([delivery.id for delivery in deliveries])
        return {
            **incident_json(incident),
            "alerts": [alert_json(one) for one in said],
            "changes": [{**change_json(change), "decision": decision} for change, decision in story],
            "deliveries": [
                {**delivery_json(delivery), "attempts": [attempt_json(one) for one in tried[delivery.id]]}
                for delivery in deliveries
            ],
        }

    shape = await house.store.read(look)
    if shape is None:
        raise NotFound("There is no such incident.")
    return JSONResponse(shape)


async def list_deliveries(request: Request) -> JSONResponse:
    house = _admin(request)
    states = _words(request, "state", _DELIVERY_STATES)
    limit, before = _limit(request), _cursor(request)
    channel = request.query_params.get("channel") or None
    found = await house.store.read(lambda ledger: ledger.outbox.page(states, channel, before, limit + 1))
    return _page([delivery_json(delivery) for delivery in found], limit)


async def redeliver(request: Request) -> JSONResponse:
    house = _admin(request)
    id_ = request.path_params["id"]

    async def act(ledger: Ledger) -> Delivery:
        if not await ledger.outbox.again(id_, house.pipeline.now()):
            raise NotFound("There is no such delivery.")
        delivery = await ledger.outbox.get(id_)
        if delivery is None or delivery.channel not in house.configuration.channels:
            raise Conflict("This delivery's channel is not in the configuration, or sleeps.")
        return delivery

    delivery = await house.store.write(act)
    house.wake(frozenset({delivery.channel}))
    return JSONResponse(delivery_json(delivery), 202)


async def list_channels(request: Request) -> JSONResponse:
    house = _admin(request)
    configuration = house.configuration
    depths = await house.store.read(lambda ledger: ledger.outbox.depths())
    counts = {(channel, state): count for channel, state, count, _ in depths}
    awake = [
        {
            "name": name,
            "kind": entry.kind.name,
            "state": "awake",
            "waiting": counts.get((name, "waiting"), 0),
            "failed": counts.get((name, "failed"), 0),
        }
        for name, entry in configuration.channels.items()
    ]
    asleep = [
        {"name": name, "kind": None, "state": "asleep", "waits_for": list(unset)}
        for name, unset in configuration.sleeping_channels.items()
    ]
    return JSONResponse({"items": sorted([*awake, *asleep], key=lambda c: str(c["name"])), "next_cursor": None})


async def test_channel(request: Request) -> JSONResponse:
    house = _admin(request)
    name = request.path_params["name"]
    if name in house.configuration.sleeping_channels:
        raise Conflict(f"The channel sleeps: {', '.join(house.configuration.sleeping_channels[name])} is not set.")
    receipt = await house.test(name)
    if receipt is None:
        raise NotFound("There is no such channel.")
    return JSONResponse({"channel": name, **receipt_json(receipt)})


async def explain_alert(request: Request) -> JSONResponse:
    """`{"alert": {…}}` or `{"source", "headers", "body"}`; `at` asks about another hour."""
    house = _admin(request)
    asked = await _document(request, {"alert", "source", "headers", "body", "at"})
    at = asked.get("at")
    now = house.pipeline.now() if at is None else parse_rfc3339(str(at))
    if now is None:
        raise _bad("at", "is no RFC 3339 time")
    if ("alert" in asked) == ("body" in asked):
        raise _bad("alert", "give either `alert`, or `body` with `source`")
    wanted = asked.get("alert", asked.get("body"))
    body = wanted if isinstance(wanted, str) else json.dumps(wanted)
    headers = asked.get("headers", {})
    if not isinstance(headers, dict):
        raise _bad("headers", "must be an object of texts")
    source = asked.get("source")
    try:
        shape = await asyncio.to_thread(
            explain,
            house.configuration,
            body.encode("utf-8", "surrogatepass"),
            None if source is None else str(source),
            {str(name).lower(): str(value) for name, value in headers.items()},
            now,
        )
    except Unreadable as error:
        raise Refused(422, str(error), "unreadable") from None
    return JSONResponse(shape)


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
        "reached": "unknown",
        "person": None,
    }


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
    reason = receipt.detail if isinstance(receipt, Sent) else receipt.reason
    return {"receipt": kind, "reason": reason}


def _admin(request: Request) -> House:
    house = house_of(request)
    auth.require_admin(house, request.scope)
    return house


def _incident_filters(request: Request) -> list[sa.ColumnElement[bool]]:
    asked = request.query_params
    where: list[sa.ColumnElement[bool]] = []
    states = _words(request, "state", _INCIDENT_STATES)
    if states:
        where.append(incidents.c.state.in_(sorted(states)))
        if "resolved" not in states:
            where.append(LIVING)  # says the same, and lets the index of the living be used
    if asked.get("severity"):
        levels = [Severity.read(word) for word in asked["severity"].split(",")]
        if None in levels:
            raise _bad("severity", f"must be among {', '.join(level.word for level in Severity)}")
        where.append(incidents.c.severity.in_([int(level) for level in levels if level is not None]))
    where += [incidents.c[name] == asked[name] for name in ("source", "service") if asked.get(name)]
    if len(asked.get("q", "")) > _LONGEST_QUESTION:
        raise _bad("q", f"must be at most {_LONGEST_QUESTION} characters long")
    if asked.get("q"):
        where.append(incidents.c.title.icontains(asked["q"], autoescape=True))
    if asked.get("since"):
        since = parse_rfc3339(asked["since"])
        if since is None:
            raise _bad("since", "is no RFC 3339 time")
        where.append(incidents.c.updated_at >= since)
    return where


async def _document(request: Request, keys: set[str]) -> Mapping[str, Any]:
    """A small JSON object, or nothing, which is {}."""
    raw = await intake.read_body(request.receive, request.headers.get("content-length", ""), _MOST_OF_A_BODY)
    if not raw.strip():
        return {}
    document = decode("", raw)
    if not isinstance(document, dict):
        raise Refused(422, "The body must be a JSON object.", "bad_field")
    unknown = sorted(set(document) - keys)
    if unknown:
        raise Refused(422, "A key is unknown.", "bad_field", errors=[BadField(key, "is unknown") for key in unknown])
    return document


def _words(request: Request, name: str, known: Sequence[str]) -> frozenset[str]:
    text = request.query_params.get(name, "")
    asked = frozenset(word.strip() for word in text.split(",") if word.strip())
    if not asked <= set(known):
        raise _bad(name, f"must be among {', '.join(known)}")
    return asked


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(DEFAULT_ITEMS))
    if not re.fullmatch("0*[1-9][0-9]*", text):
        raise _bad("limit", f"must be a number from 1 to {MOST_ITEMS}")
    digits = text.lstrip("0")
    return MOST_ITEMS if len(digits) > 3 else min(int(digits), MOST_ITEMS)


def _cursor(request: Request) -> str | None:
    text = request.query_params.get("cursor")
    if text is None:
        return None
    try:
        key = base64.urlsafe_b64decode(text.encode("ascii") + b"==").decode()
    except (binascii.Error, ValueError):
        raise _bad("cursor", "is none that this list gave") from None
    if not key or base64.urlsafe_b64encode(key.encode()).decode().rstrip("=") != text:
        raise _bad("cursor", "is none that this list gave")
    return key


def _page(items: list[dict[str, Json]], limit: int, keys: list[str] | None = None) -> JSONResponse:
    """`items` holds one more than asked for where there is a next page."""
    cursor = None
    if len(items) > limit:
        key = keys[limit - 1] if keys is not None else str(items[limit - 1]["id"])
        cursor = base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")
    return JSONResponse({"items": items[:limit], "next_cursor": cursor})


def _bad(path: str, message: str) -> Refused:
    return Refused(422, f"{path} {message}.", "bad_field", errors=[BadField(path, message)])
