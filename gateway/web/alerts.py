"""`POST /api/v1/alerts`: one generic alert or a list of them, from scripts. Wrong fields are named, and a list is
stored whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse

from adapters.generic import read_all
from gateway.config import Source
from gateway.contracts import Keep
from gateway.model import Event, Json, Millis
from gateway.pipeline import SENDER_ID_KEPT
from gateway.rules.reading import check_type, decode
from gateway.telemetry import CREDENTIALS, DUPLICATES, RECEIVED
from gateway.web import auth, intake
from gateway.web.auth import house_of
from gateway.web.house import House
from gateway.web.webhooks import Doorman, event_of, keyed

GENERIC = "generic"


class Alerts:
    """The endpoint. Its source is the generic one whose credential the request shows."""

    def __init__(self, doorman: Doorman) -> None:
        self._doorman = doorman

    async def post(self, request: Request) -> JSONResponse:
        house = house_of(request)
        headers = auth.headers_of(request.scope)
        sources = [source for source in house.configuration.sources.values() if source.adapter_name == GENERIC]
        most = max((source.settings.max_body or source.adapter.max_body for source in sources), default=1024**2)
        sent = await intake.read_body(request.receive, headers.get("content-length", ""), most)
        now = house.pipeline.now()
        source = self._source(request, sources, headers, sent, now)
        most = source.settings.max_body or source.adapter.max_body
        if len(sent) > most:
            raise intake.too_large(most)
        kind = headers.get("content-type", "")
        check_type(kind)
        body = intake.inflate(sent, headers.get("content-encoding", ""), most, allowed=source.settings.gzip)
        document = decode(kind, body)
        self._doorman.within_limit(source)
        events = _events(house, source, headers, [item for item, _ in read_all(document)], now)
        admission = source.adapter.admit(headers, document)
        key = keyed(admission, headers).delivery_id if isinstance(admission, Keep) else None
        accepted = await house.store.write(lambda ledger: ledger.inbox.accept(_each(events, key, now)))
        house.pipeline.arrived.set()
        for answer in accepted:
            (DUPLICATES if answer.duplicate else RECEIVED).labels(source.name).inc()
        return JSONResponse({"events": [answer.event for answer in accepted]}, 202)

    def _source(
        self, request: Request, sources: list[Source], headers: Mapping[str, str], body: bytes, now: Millis
    ) -> Source:
        places = [(source, auth.authentic(source, headers, "", body, now)) for source in sources]
        fitting = [(source, place) for source, place in places if place]
        if not fitting:
            raise self._doorman.stranger(request.scope)
        # Whoever shows a credential means that source, not the one that takes anybody.
        source, place = min(fitting, key=lambda one: one[0].settings.unauthenticated)
        CREDENTIALS.labels(source.name, place).inc()
        self._doorman.check_address(source, request.scope)
        return source


def _events(house: House, source: Source, headers: Mapping[str, str], items: list[Json], now: Millis) -> list[Event]:
    plain = {**headers, "content-type": "application/json"}
    return [
        event_of(source, plain, json.dumps(item, ensure_ascii=False).encode(), house.pipeline.new_id(), now)
        for item in items
    ]


def _each(events: list[Event], key: str | None, now: Millis) -> list[tuple[Event, str | None, Millis]]:
    """Each event with its key: the request's own, and in a list its place as well."""
    if key is None:
        return [(event, None, 0) for event in events]
    own = f"id:{key}"
    if len(events) == 1:
        return [(events[0], own, now + SENDER_ID_KEPT)]
    return [(event, f"{own}:{number}", now + SENDER_ID_KEPT) for number, event in enumerate(events)]
