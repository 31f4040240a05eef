"""`POST /webhooks/{source}` and `/webhooks/{source}/{token}`: a request becomes an event, safe on disk.

This is the busiest room: plain ASGI, no request or response objects on the way that succeeds. The order of
refusal is fixed: 404, 403, 413, 401, 415, 400, 429; and 202 only after the commit.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from gateway.config import Source
from gateway.contracts import Handshake, Keep
from gateway.errors import NotJson, StoreUnavailable, WrongType
from gateway.model import Event
from gateway.rules.reading import check_type, decode
from gateway.telemetry import CREDENTIALS, DUPLICATES, RECEIVED
from gateway.web import auth, intake
from gateway.web.house import House
from gateway.web.problems import REFUSALS, Refused, as_refused, problem

LONGEST_KEY = 255
_HANDSHAKE = b'{"event": null, "handshake": true}'


class Doorman:
    """Who may come in how often: the sources' limits, and strangers who guess."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._limits: dict[str, intake.Limit] = {}
        self._strangers = intake.Strangers()

    def client(self, scope: Scope) -> str:
        return auth.client_of(scope, self._house.configuration.trusted_proxies)

    def check_address(self, source: Source, scope: Scope) -> None:
        """Raises Refused (403) where the source takes only certain addresses and this is none."""
        networks = source.settings.allow_from
        if networks and not auth.allowed(self.client(scope), networks):
            raise Refused(403, "This address may not send to this source.", "address_not_allowed")

    def stranger(self, scope: Scope) -> Refused:
        """The refusal for a bad credential: 401, or 429 for an address that has shown hundreds of them."""
        wait = self._strangers.failed(self.client(scope))
        if wait:
            later = {"retry-after": _seconds(wait)}
            return Refused(429, "Too many bad credentials from this address.", "guessing", headers=later)
        challenge = {"www-authenticate": "Bearer"}
        return Refused(401, "The credential is missing or wrong.", "bad_credential", headers=challenge)

    def within_limit(self, source: Source) -> None:
        """Raises Refused (429) where the source has sent more verified requests than its `limit` allows."""
        rate = source.settings.limit
        if rate is None:
            return
        limit = self._limits.get(source.name)
        if limit is None or limit.rate != rate:
            limit = self._limits[source.name] = intake.Limit(rate)
        wait = limit.take()
        if wait:
            later = {"retry-after": _seconds(wait)}
            raise Refused(429, f"This source may send {rate}.", "over_limit", headers=later)


class Webhooks:
    """The ASGI application at `/webhooks/…`."""

    def __init__(self, house: House, doorman: Doorman) -> None:
        self._house = house
        self._doorman = doorman

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name, _, token = scope["path"].removeprefix("/webhooks/").partition("/")
        headers = auth.headers_of(scope)
        try:
            answer = await self._receive(scope, receive, name, token, headers)
        except (Refused, StoreUnavailable, NotJson, WrongType) as error:
            refused = as_refused(error)
            REFUSALS.note(
                refused, name if name in self._house.configuration.sources else "", self._doorman.client(scope)
            )
            await problem(refused)(scope, receive, send)
            return
        if answer is None:
            await say(send, 200, _HANDSHAKE)
            return
        event, duplicate = answer
        body = f'{{"event": "{event}", "duplicate": {"true" if duplicate else "false"}}}'
        await say(send, 202, body.encode())

    async def _receive(
        self, scope: Scope, receive: Receive, name: str, token: str, headers: Mapping[str, str]
    ) -> tuple[str, bool] | None:
        """(the event's id, whether it is a duplicate); None for a handshake."""
        source = self._house.configuration.sources.get(name)
        if source is None or "/" in token:
            raise Refused(404, "There is no such source.", "unknown_source")
        if scope["method"] != "POST":
            raise Refused(405, "Webhooks are sent by POST.", "wrong_method", headers={"allow": "POST"})
        settings = source.settings
        self._doorman.check_address(source, scope)
        most = settings.max_body or source.adapter.max_body
        sent = await intake.read_body(receive, headers.get("content-length", ""), most)
        now = self._house.pipeline.now()
        place = auth.authentic(source, headers, token, sent, now)
        if not place:
            raise self._doorman.stranger(scope)
        CREDENTIALS.labels(name, place).inc()
        kind, encoding, body = headers.get("content-type", ""), headers.get("content-encoding", ""), sent
        if encoding:
            check_type(kind)  # as `decode` does: a wrong type is told before a wrong encoding
            body = intake.inflate(sent, encoding, most, allowed=settings.gzip)
        document = decode(kind, body)
        self._doorman.within_limit(source)
        admission = source.adapter.admit(headers, document)
        if isinstance(admission, Handshake):
            return None
        event = event_of(source, headers, body, self._house.pipeline.new_id(), now)
        accepted = await self._house.pipeline.receive(event, keyed(admission, headers))
        (DUPLICATES if accepted.duplicate else RECEIVED).labels(name).inc()
        return accepted.event, accepted.duplicate


def event_of(source: Source, headers: Mapping[str, str], body: bytes, new_id: str, now: int) -> Event:
    """What is stored: the body as it came, and of the headers only those that reading it needs."""
    kept = {name: headers[name] for name in source.adapter.keeps if name in headers}
    kept["content-type"] = headers.get("content-type", "")
    return Event(new_id, source.name, source.adapter_name, now, kept, body)


def keyed(keep: Keep, headers: Mapping[str, str]) -> Keep:
    """The sender's own id: the vendor's where it has one, else `Idempotency-Key`, else `webhook-id`."""
    key = headers.get("idempotency-key", "").strip() or headers.get("webhook-id", "").strip()
    if keep.delivery_id is not None or not key:
        return keep
    # Never cut: two long keys that begin alike are two keys.
    return Keep(key if len(key) <= LONGEST_KEY else hashlib.sha256(key.encode()).hexdigest())


async def say(send: Send, status: int, body: bytes) -> None:
    """Answer in JSON."""
    # With a length: without one the server sends chunks, which HTTP/1.0 clients and some proxies cannot read.
    length = (b"content-length", b"%d" % len(body))
    headers = [(b"content-type", b"application/json"), length]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _seconds(wait: float) -> str:
    return str(max(math.ceil(wait), 1))
