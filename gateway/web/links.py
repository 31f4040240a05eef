"""`/links/{token}`: what a link in a letter leads to. GET shows what it would do and changes nothing, for scanners
follow every link; POST does it, once. Every answer is a page, for a person reads it.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.contracts import Ledger
from gateway.errors import Conflict, NotFound, StoreUnavailable
from gateway.model import Digest, Incident
from gateway.rules.links import Expired, Forged, Link, mark, read
from gateway.rules.phrases import Language
from gateway.web import pages
from gateway.web.house import House
from gateway.web.problems import REFUSALS, Refused, as_refused
from gateway.web.webhooks import Doorman

USED = "used"
"""What a Conflict says of a link that somebody followed before."""


class Links:
    def __init__(self, house: House, doorman: Doorman) -> None:
        self._house = house
        self._doorman = doorman

    async def answer(self, request: Request) -> Response:
        token = request.path_params["token"]
        language: Language = "en"
        try:
            link = self._read(token, request)
            language = self._language(link)
            return await (self._follow if request.method == "POST" else self._show)(link, token, language)
        except (Refused, NotFound, StoreUnavailable) as error:
            refused = as_refused(error)
            REFUSALS.note(refused, "", self._doorman.client(request.scope))
            return pages.answer(pages.refused(refused.status, language), refused.status, refused.headers)

    def _read(self, token: str, request: Request) -> Link:
        """Raises Refused: 401 (or 429 for who guesses often), or 410 for a link that was good once."""
        if not self._house.link_key:
            raise Refused(404, "No links are given out here.")
        try:
            return read(token, self._house.link_key, self._house.pipeline.now())
        except Forged:
            raise self._doorman.stranger(request.scope) from None
        except Expired as late:
            raise Refused(410, str(late), "expired_link") from None

    async def _show(self, link: Link, token: str, language: Language) -> Response:
        """What following it would do. Raises Refused (410) where that was done, NotFound where nothing is left."""
        if await self._house.link_used(mark(token)):
            raise Refused(410, "This link was followed before.", "used_link")

        async def look(ledger: Ledger) -> Incident | Digest | None:
            found = (await ledger.incidents.by_id([link.subject])).get(link.subject)
            return found or (await ledger.digests.by_id([link.subject])).get(link.subject)

        subject = await self._house.store.read(look)
        if subject is None:
            raise NotFound("What this link speaks of is not kept any more.")
        return pages.answer(pages.question(link.verb, subject, language), 200)

    async def _follow(self, link: Link, token: str, language: Language) -> Response:
        try:
            said = await self._house.pipeline.follow_link(link, mark(token))
        except Conflict as refusal:
            if str(refusal) == USED:
                raise Refused(410, "This link was followed before.", "used_link") from None
            said = str(refusal)  # somebody else was first, or it is over: that is an answer, not an error
        return pages.answer(pages.outcome(said, language), 200)

    def _language(self, link: Link) -> Language:
        entry = self._house.configuration.channels.get(link.channel)
        return entry.settings.language if entry is not None else "en"
