"""Notion's API: its calls, its errors, and the schema that every page is written by."""

from __future__ import annotations

import asyncio
import re
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

from gateway.channels._http import Answer, Wire, judge, retry_after
from gateway.channels._notion_page import Schema, read_schema
from gateway.model import Json, Millis, Receipt, Rejected, Retry, Unknown

SCHEMA_LASTS: Millis = 600_000

MOST_OF_A_SCHEMA = 160 * 1024
"""A database with thousands of options says a lot about itself."""
_CREDENTIAL = re.compile(r"(?i)\bbearer\b|ntn_|secret_")
"""A sentence with this in it repeats our request: Notion's tokens begin so."""


class Api:
    """One connection of one workspace: `url` is where the API begins, version prefix included."""

    def __init__(self, url: str, wire: Wire) -> None:
        self._url = url
        self._wire = wire

    async def call(self, method: str, path: str, body: Json = None) -> Answer | Retry | Rejected | Unknown:
        return await self._wire.call(method, f"{self._url}/{path}", json=body)

    async def get(self, path: str, what: str) -> Any:
        """The decoded answer; a Retry or Rejected where there is none. `what` is how people call the thing."""
        answer = await self.call("GET", path)
        if not isinstance(answer, Answer):
            return again(answer)
        if not 200 <= answer.status < 300:
            receipt = judged(answer)
            hint = f"; is the {what} shared with the connection?" if answer.status == 404 else ""
            return Rejected(receipt.reason + hint) if isinstance(receipt, Rejected) else receipt
        if answer.json is None and len(answer.body) >= MOST_OF_A_SCHEMA:
            return Rejected(f"the answer about the {what} is over {MOST_OF_A_SCHEMA // 1024} KiB: too many options")
        return answer.json if answer.json is not None else Retry(f"the answer about the {what} is no JSON")

    async def close(self) -> None:
        await self._wire.close()


class Schemas:
    """The schema of one data source, read at the first need, kept for ten minutes."""

    def __init__(self, api: Api, database_id: str, data_source_id: str, now: Callable[[], Millis]) -> None:
        self._api = api
        self._database_id = database_id
        self._data_source_id = data_source_id
        self._now = now
        self._kept: Schema | None = None
        self._read_at: Millis = 0
        self._reading = asyncio.Lock()

    async def newest(self, but: Schema | None = None) -> tuple[Schema, bool] | Receipt:
        """The schema, and whether it was read just now. `but`: this one has proved to be wrong."""
        async with self._reading:
            if self._kept is not None and self._kept is not but and self._now() - self._read_at < SCHEMA_LASTS:
                return self._kept, False
            source = self._data_source_id or await self._discover()
            if not isinstance(source, str):
                return source
            document = await self._api.get(f"data_sources/{quoted(source)}", "data source")
            if isinstance(document, (Retry, Rejected)):
                return document
            schema = read_schema(source, document)
            if schema is None:
                return Retry("the answer about the data source has no properties")
            self._kept, self._read_at = schema, self._now()
            return schema, True

    async def _discover(self) -> str | Retry | Rejected:
        """The one data source of the database. developers.notion.com/reference/retrieve-a-database"""
        document = await self._api.get(f"databases/{quoted(self._database_id)}", "database")
        if isinstance(document, (Retry, Rejected)):
            return document
        found = document.get("data_sources") if isinstance(document, dict) else None
        found = found if isinstance(found, list) else []
        sources = [one for one in found if isinstance(one, dict) and isinstance(one.get("id"), str)]
        if len(sources) == 1:
            return str(sources[0]["id"])
        if not sources:
            return Rejected("the database has no data source that the connection may see")
        names = ", ".join(f"{one.get('name')} ({one['id']})"[:80] for one in sources[:5])
        return Rejected(f"the database has several data sources; set data_source_id to one of: {names}")


def judged(answer: Answer) -> Receipt:
    """The receipt for an answer that is no success. developers.notion.com/reference/status-codes"""
    document = said(answer)
    code = str(document.get("code", ""))
    # Only a word is repeated: a proxy in between may answer with anything, our headers included.
    code = code if re.fullmatch(r"[a-z_]{1,60}", code) else ""
    if answer.status == 409:
        # conflict_error: another write to the same page was under way.
        return Retry(f"HTTP 409: {code}".rstrip(": "), retry_after(answer.headers))
    # Only this code is too poor without its sentence, which names the property.
    sentence = str(document.get("message", "")) if code == "validation_error" else ""
    told = sentence and not _CREDENTIAL.search(sentence)
    return judge(answer, f"{code}: {sentence}" if told else code)


def again(failure: Retry | Rejected | Unknown) -> Retry | Rejected:
    """What a call that may be made twice without harm means when it got no answer: once more."""
    return Retry(failure.reason) if isinstance(failure, Unknown) else failure


def said(answer: Answer) -> Mapping[str, Json]:
    """The object in an answer; empty where it is none, or longer than we read."""
    document = answer.json
    return document if isinstance(document, dict) else {}


def quoted(segment: str) -> str:
    return urllib.parse.quote(segment, safe="")
