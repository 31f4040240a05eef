"""`POST /api/v1/alerts`: one generic alert or a list of them, from scripts. Wrong fields are named, and a list is
stored whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from adapters.generic import read_all
from gateway.config import Source
from gateway.contracts import Accepted, Keep
from gateway.errors import TocsinError
from gateway.model import Event, Json, Millis
from gateway.pipeline import SENDER_ID_KEPT
from gateway.rules.reading import check_type, decode
from gateway.telemetry import CREDENTIALS, DUPLICATES, RECEIVED
from gateway.web import auth, intake
from gateway.web.house import House
from gateway.web.problems import Refused
from gateway.web.problems import answer as refusal
from gateway.web.webhooks import Doorman, event_of, keyed, say

GENERIC = "generic"


_written = json.JSONEncoder(ensure_ascii=False).encode
_answered = json.JSONEncoder(separators=(",", ":")).encode


class Alerts:
    """The endpoint, an ASGI application. Its source is the generic one whose credential the request shows."""

    def __init__(self, house: House, doorman: Doorman) -> None:
        self._house = house
        self._doorman = doorman

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            accepted = await self._receive(scope, receive)
        except (Refused, TocsinError) as refused:
            await (await refusal(Request(scope), refused))(scope, receive, send)
            return
        await say(send, 202, _answered({"events": [answer.event for answer in accepted]}).encode())

    async def _receive(self, scope: Scope, receive: Receive) -> list[Accepted]:
        house, headers = self._house, auth.headers_of(scope)
        sources = [source for source in house.configuration.sources.values() if source.adapter_name == GENERIC]
        most = max((source.settings.max_body or source.adapter.max_body for source in sources), default=1024**2)
        sent = await intake.read_body(receive, headers.get("content-length", ""), most)
        now = house.pipeline.now()
        source = self._source(scope, sources, headers, sent, now)
        most = source.settings.max_body or source.adapter.max_body
        if len(sent) > most:
            raise intake.too_large(most)
        kind, encoding, body = headers.get("content-type", ""), headers.get("content-encoding", ""), sent
        if encoding:
            check_type(kind)  # as `decode` does: a wrong type is told before a wrong encoding
            body = intake.inflate(sent, encoding, most, allowed=source.settings.gzip)
        document = decode(kind, body)
        self._doorman.within_limit(source)
        events = _events(house, source, headers, [item for item, _ in read_all(document)], now)
        admission = source.adapter.admit(headers, document)
        key = keyed(admission, headers).delivery_id if isinstance(admission, Keep) else None
        accepted = await self._accept(_each(events, key, now))
        house.pipeline.arrived.set()
        for answer in accepted:
            (DUPLICATES if answer.duplicate else RECEIVED).labels(source.name).inc()
        return accepted

    async def _accept(self, entries: list[tuple[Event, str | None, Millis]]) -> list[Accepted]:
        if len(entries) == 1:
            return [await self._house.store.accept(*entries[0])]  # in one commit with others
        return await self._house.store.write(lambda ledger: ledger.inbox.accept(entries))

    def _source(
        self, scope: Scope, sources: list[Source], headers: Mapping[str, str], body: bytes, now: Millis
    ) -> Source:
        places = [(source, auth.authentic(source, headers, "", body, now)) for source in sources]
        fitting = [(source, place) for source, place in places if place]
        if not fitting:
            raise self._doorman.stranger(scope)
        # Whoever shows a credential means that source, not the one that takes anybody.
        source, place = min(fitting, key=lambda one: one[0].settings.unauthenticated)
        CREDENTIALS.labels(source.name, place).inc()
        self._doorman.check_address(source, scope)
        return source


def _events(house: House, source: Source, headers: Mapping[str, str], items: list[Json], now: Millis) -> list[Event]:
    plain = {**headers, "content-type": "application/json"}
    return [event_of(source, plain, _written(item).encode(), house.pipeline.new_id(), now) for item in items]


def _each(events: list[Event], key: str | None, now: Millis) -> list[tuple[Event, str | None, Millis]]:
    """Each event with its key: the request's own, and in a list its place as well."""
    if key is None:
        return [(event, None, 0) for event in events]
    own = f"id:{key}"
    if len(events) == 1:
        return [(events[0], own, now + SENDER_ID_KEPT)]
    return [(event, f"{own}:{number}", now + SENDER_ID_KEPT) for number, event in enumerate(events)]
