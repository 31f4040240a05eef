"""`/api/v1`: events, incidents and deliveries to look at; a second try for what needs one."""

from __future__ import annotations

import asyncio
import re

from starlette.requests import Request
from starlette.responses import JSONResponse

from gateway.contracts import Statement
from gateway.errors import Conflict, NotFound, Unreadable
from gateway.explaining import explain
from gateway.model import Delivery, Event, Json
from gateway.rules.shapes import change_json, incident_json, parse_rfc3339
from gateway.store.safe import Ledger
from gateway.web import auth, queries, views
from gateway.web.problems import Refused

_EVENT_STATES = ("waiting", "done", "unreadable")
_DELIVERY_STATES = ("waiting", "said", "failed")
_INCIDENT_CURSOR = re.compile(r"(-?[0-9]{1,16}) (\S+)")


async def list_events(request: Request) -> JSONResponse:
    house = auth.admins_house(request)
    states = queries.words(request, "state", _EVENT_STATES)
    limit, before = queries.limit(request), queries.cursor(request)
    source = request.query_params.get("source") or None

    async def look(ledger: Ledger) -> tuple[list[Event], dict[str, list[Statement]]]:
        found = await ledger.inbox.page(states, source, before, limit + 1)
        return found, await ledger.changes.statements_of([event.id for event in found])

    events, said = await house.store.read(look)
    return queries.page([views.event_json(event, said[event.id]) for event in events], limit)


async def show_event(request: Request) -> JSONResponse:
    house = auth.admins_house(request)
    id_ = request.path_params["id"]

    async def look(ledger: Ledger) -> tuple[Event | None, list[Statement]]:
        return await ledger.inbox.get(id_), await ledger.changes.statements(event=id_)

    event, said = await house.store.read(look)
    if event is None:
        raise NotFound("There is no such event.")
    body = event.body.decode("utf-8", "replace")
    return JSONResponse({**views.event_json(event, said), "headers": dict(event.headers), "body": body})


async def replay_event(request: Request) -> JSONResponse:
    """Read a kept event again: an unreadable one as it is, a decided one only by `{"force": true}`."""
    house = auth.admins_house(request)
    id_ = request.path_params["id"]
    force = (await queries.document(request, {"force"})).get("force", False)

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
    return JSONResponse({**views.event_json(event, []), "state": "waiting"}, 202)


async def list_incidents(request: Request) -> JSONResponse:
    house = auth.admins_house(request)
    wanted = queries.wanted(request)
    limit, cursor = queries.limit(request), queries.cursor(request)
    before = None
    if cursor is not None:
        match = _INCIDENT_CURSOR.fullmatch(cursor)
        if match is None:
            raise queries.bad("cursor", "is none that this list gave")
        before = (int(match[1]), match[2])
    found, rest = await house.store.read(lambda ledger: ledger.incidents.page(wanted, before, limit))
    key = None if rest is None else f"{rest[0]} {rest[1]}"
    return queries.listed([incident_json(incident) for incident in found], key)


async def show_incident(request: Request) -> JSONResponse:
    house = auth.admins_house(request)
    name = request.path_params["id"]

    async def look(ledger: Ledger) -> dict[str, Json] | None:
        incident = await ledger.incidents.find(name)
        if incident is None:
            return None
        story = await ledger.changes.story(incident.id)
        said = await ledger.changes.statements(incident=incident.id)
        subjects = [incident.id, *(digest.id for digest in await ledger.digests.ever(incident.id))]
        found = await ledger.outbox.of(subjects)
        deliveries = [delivery for subject in subjects for delivery in found.get(subject, [])]
        # A conversation is said again for those of it that nobody has acknowledged.
        armed = await ledger.timers.of(subjects if incident.state == "open" else [incident.id])
        timers = sorted((timer for many in armed.values() for timer in many), key=lambda timer: timer.due_at)
        tried = await ledger.outbox.attempts_of([delivery.id for delivery in deliveries])
        return {
            **incident_json(incident),
            "alerts": [views.alert_json(one) for one in said],
            "changes": [{**change_json(change), "decision": decision} for change, decision in story],
            "pending": [views.timer_json(timer) for timer in timers],
            "deliveries": [
                {
                    **views.delivery_json(delivery),
                    # What a digest said before this incident was in it was about others.
                    "attempts": [
                        views.attempt_json(one)
                        for one in tried[delivery.id]
                        if not delivery.is_digest or one.at >= incident.opened_at
                    ],
                }
                for delivery in deliveries
            ],
        }

    shape = await house.store.read(look)
    if shape is None:
        raise NotFound("There is no such incident.")
    return JSONResponse(shape)


async def list_deliveries(request: Request) -> JSONResponse:
    house = auth.admins_house(request)
    states = queries.words(request, "state", _DELIVERY_STATES)
    limit, before = queries.limit(request), queries.cursor(request)
    channel = request.query_params.get("channel") or None
    found = await house.store.read(lambda ledger: ledger.outbox.page(states, channel, before, limit + 1))
    return queries.page([views.delivery_json(delivery) for delivery in found], limit)


async def redeliver(request: Request) -> JSONResponse:
    house = auth.admins_house(request)
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
    return JSONResponse(views.delivery_json(delivery), 202)


async def list_channels(request: Request) -> JSONResponse:
    house = auth.admins_house(request)
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
    return queries.whole(sorted([*awake, *asleep], key=lambda c: str(c["name"])))


async def test_channel(request: Request) -> JSONResponse:
    house = auth.admins_house(request)
    name = request.path_params["name"]
    if name in house.configuration.sleeping_channels:
        raise Conflict(f"The channel sleeps: {', '.join(house.configuration.sleeping_channels[name])} is not set.")
    receipt = await house.test(name)
    if receipt is None:
        raise NotFound("There is no such channel.")
    return JSONResponse({"channel": name, **views.receipt_json(receipt)})


async def explain_alert(request: Request) -> JSONResponse:
    """As `tocsin explain`. The body is a generic alert or a list of them; with `?source=` it is that source's
    webhook body, with the request's own headers. Or it is an envelope: `{"alert"}` or `{"source", "headers",
    "body"}`. `at`, in the query or the envelope, asks about another hour."""
    house = auth.admins_house(request)
    asked = await queries.question(request)
    now = house.pipeline.now() if asked.at is None else parse_rfc3339(asked.at)
    if now is None:
        raise queries.bad("at", "is no RFC 3339 time")
    try:
        shape = await asyncio.to_thread(explain, house.configuration, asked.body, asked.source, asked.headers, now)
    except Unreadable as error:
        raise Refused(422, str(error), "unreadable") from None
    return JSONResponse(shape)
