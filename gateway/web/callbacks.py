"""`POST /callbacks/{kind}/{channel}`: what comes back over a channel: a button, a reply, a key, a report.

The order of refusal: 404, 413, 401. Whatever is well signed gets a 200 in its vendor's own form, for vendors send
again what is refused; 503 where it cannot be written down, so that they do.
"""

from __future__ import annotations

import urllib.parse

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from gateway.contracts import Call, Heard, Ignored, Listener, Pressed, Reported
from gateway.errors import BadCredential, Conflict, NotFound, StoreUnavailable
from gateway.telemetry import logger
from gateway.web import intake
from gateway.web.auth import headers_of
from gateway.web.house import House
from gateway.web.problems import REFUSALS, Refused, as_refused, problem
from gateway.web.webhooks import Doorman

log = logger()

MOST_OF_A_CALL = 256 * 1024


class Callbacks:
    def __init__(self, house: House, doorman: Doorman) -> None:
        self._house = house
        self._doorman = doorman

    async def take(self, request: Request) -> Response:
        kind, name = request.path_params["kind"], request.path_params["channel"]
        known = ""
        try:
            listener = self._listener(kind, name)
            known = name
            call = await self._call(request)
            whose, heard = self._heard(kind, name, listener, call, request.scope)
            text = await self._act(whose, heard)
        except (Refused, StoreUnavailable) as error:
            refused = as_refused(error)
            REFUSALS.note(refused, known, self._doorman.client(request.scope))
            return problem(refused)
        answering = listener if whose == name else self._listener(kind, whose)
        reply = await answering.reply(heard, text)
        return Response(reply.body, reply.status, media_type=reply.media_type)

    def _listener(self, kind: str, name: str) -> Listener:
        """Raises Refused (404) where no such channel can be answered."""
        found = self._house.listener(name)
        if found is None or found[0] != kind or not found[1].listens:
            raise Refused(404, "There is no such channel, or it cannot be answered.", "unknown_channel")
        return found[1]

    async def _call(self, request: Request) -> Call:
        """The request as its vendor signed it: over our public address, never over the Host that somebody names."""
        scope, headers = request.scope, headers_of(request.scope)
        body = await intake.read_body(request.receive, headers.get("content-length", ""), MOST_OF_A_CALL)
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").partition("?")[0]
        query = scope["query_string"].decode("latin-1")
        url = self._house.configuration.public_url + path + (f"?{query}" if query else "")
        asked = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        return Call(headers, body, url, asked, self._house.pipeline.now())

    def _heard(self, kind: str, name: str, listener: Listener, call: Call, scope: Scope) -> tuple[str, Heard]:
        """Whose it is, and what it says. Raises Refused (401, or 429 for who guesses often).

        An app, a bot or a phone number has one address for what comes back, and may serve several channels: what is
        not for the channel named in the address is for the first of its kind that verifies it and knows it."""
        try:
            heard = listener.hear(call)
        except BadCredential:
            raise self._doorman.stranger(scope) from None
        if isinstance(heard, Ignored):
            for other, entry in self._house.configuration.channels.items():
                if other != name and entry.kind.name == kind and (theirs := self._heard_by(other, call)):
                    return other, theirs
        return name, heard

    def _heard_by(self, name: str, call: Call) -> Heard | None:
        """What another channel makes of the same call; None where it is not for that one either."""
        found = self._house.listener(name)
        if found is None or not found[1].listens:
            return None
        try:
            heard = found[1].hear(call)
        except BadCredential:
            return None
        return None if isinstance(heard, Ignored) else heard

    async def _act(self, channel: str, heard: Heard) -> str:
        """What came of it, in one line; '' where there is nothing to say. Raises StoreUnavailable."""
        match heard:
            case Ignored():
                log.info("callback ignored", channel=channel, reason=heard.why)
            case Reported():
                await self._house.pipeline.reported(channel, heard)
            case Pressed():
                try:
                    return await self._house.pipeline.pressed(channel, heard)
                except (NotFound, Conflict) as refusal:
                    return str(refusal)
        return ""
