"""Notion: one page an incident, updated as it lives.

Pages are created in a data source and changed in place (developers.notion.com/reference/post-page and
/patch-page). Types come from the schema, never from the file, so a property may be renamed or retyped.
Notion has no idempotency key: where a property holds our own id, a page whose making got no answer is
looked up before it is made again; elsewhere that may leave two.
"""

from __future__ import annotations

import re
import urllib.parse
import zoneinfo
from collections.abc import Mapping
from typing import Annotated, ClassVar

import structlog
from pydantic import BeforeValidator, SecretStr, field_validator, model_validator

from gateway.channels._http import Answer, Wire
from gateway.channels._notion_api import MOST_OF_A_SCHEMA, Api, Schemas, again, judged, quoted, said
from gateway.channels._notion_fields import Entry
from gateway.channels._notion_page import Page, Schema, compose, suggested
from gateway.channels._notion_values import Property, same
from gateway.contracts import ChannelSettings, Surroundings
from gateway.fields import HttpUrl, Rate
from gateway.model import Json, Message, Receipt, Ref, Rejected, Retry, Sent, Unknown

_MOST_WARNINGS = 200
_FIRST_WITH_DATA_SOURCES = "2025-09-03"
_PAGE_ID = re.compile(rb'"object"\s*:\s*"page"\s*,\s*"id"\s*:\s*"([0-9a-fA-F-]{32,36})"')

log = structlog.get_logger(__name__)


def _entry(value: object) -> object:
    return {"from": value} if isinstance(value, str) else value


def _notion_id(value: object) -> object:
    """An id as it is, or the one in a database's address (`https://www.notion.so/team/<32 digits>?v=…`)."""
    if isinstance(value, str) and value.startswith(("https://", "http://")):
        found = re.search(r"[0-9a-f]{32}$", urllib.parse.urlsplit(value).path.replace("-", "").rstrip("/"))
        return found[0] if found else value
    return value


class Settings(ChannelSettings):
    """`kind: notion`. Share the database with the connection whose token this is.

    - `database_id`: the id, or the address that the browser shows. `data_source_id` where it has several.
    - `properties`: `Property: field`, or `Property: {from: field, map: {open: "…", resolved: "…"}}`. Fields:
      id, number, title, message (our own headline), text (all we would say), body, severity, worst, state,
      source, adapter, kind, service, environment, fingerprint, url, count, value, assigned_to,
      acknowledged_by, muted_by, unrouted, previous, labels, labels.<name>, fields, fields.<name>,
      links.<kind of channel>, opened_at, updated_at, occurred_at (else opened_at), acknowledged_at,
      resolved_at, minutes_open, and of occurred_at: date, year, month, day, hour, weekday (mon…sun),
      week_of_month (days 1–7 are week 1), week_of_year (ISO 8601). Omitted: by the names found in the database.
    - `time_zone`: in which dates are written and weeks counted."""

    short_forms: ClassVar[bool] = False

    token: SecretStr
    database_id: Annotated[str, BeforeValidator(_notion_id)] = ""
    data_source_id: str = ""
    notion_version: str = "2026-03-11"
    api_url: HttpUrl = "https://api.notion.com/v1"
    time_zone: str = "UTC"
    properties: Mapping[str, Annotated[Entry, BeforeValidator(_entry)]] = {}

    @field_validator("token")
    @classmethod
    def _is_a_token(cls, token: SecretStr) -> SecretStr:
        if not re.fullmatch(r"[\x21-\x7e]+", token.get_secret_value()):
            raise ValueError("must be the connection's secret, without spaces")
        return token

    @field_validator("database_id", "data_source_id")
    @classmethod
    def _is_an_id(cls, text: str) -> str:
        if re.search(r"[\s/?#]", text):
            raise ValueError("is no Notion id; it is the 32 letters and digits in the database's address")
        return text

    @field_validator("notion_version")
    @classmethod
    def _has_data_sources(cls, version: str) -> str:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", version) or version < _FIRST_WITH_DATA_SOURCES:
            raise ValueError(f"must be a version of the API such as 2026-03-11, {_FIRST_WITH_DATA_SOURCES} or later")
        return version

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            zoneinfo.ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise ValueError("is no time zone; write it like Asia/Seoul") from None
        return name

    @model_validator(mode="after")
    def _one_place(self) -> Settings:
        if not (self.database_id or self.data_source_id):
            raise ValueError("database_id is missing; copy it from the database's address")
        if len({same(name) for name in self.properties}) < len(self.properties):
            raise ValueError("properties: two names are the same to Notion; keep one of them")
        return self


def connect(settings: Settings, surroundings: Surroundings) -> Notion:
    return Notion(settings, surroundings)


class Notion:
    """A database in which every incident is a page. `wants_links`: a property says where another channel speaks."""

    edits = True
    width = 3
    # "3 requests a second on average": developers.notion.com/reference/request-limits
    paces: tuple[Rate, ...] = (Rate(3, 1_000),)

    def __init__(self, settings: Settings, surroundings: Surroundings) -> None:
        self._settings = settings
        self._surroundings = surroundings
        self._zone = zoneinfo.ZoneInfo(settings.time_zone)
        self._warned: set[tuple[str, str]] = set()
        self.wants_links = any(entry.speaks_of_links for entry in settings.properties.values())
        # Without our id in a property every further try may leave one more page: one is enough.
        self.unknown_again = None if any(e.source == "id" for e in settings.properties.values()) else 1
        self._api = Api(
            settings.api_url,
            Wire(
                timeout=settings.timeout,
                width=self.width,
                transport=surroundings.transport,
                headers={
                    "authorization": f"Bearer {settings.token.get_secret_value()}",
                    "notion-version": settings.notion_version,
                },
                most=MOST_OF_A_SCHEMA,
            ),
        )
        self._schemas = Schemas(self._api, settings.database_id, settings.data_source_id, surroundings.now)

    def escape(self, text: str) -> str:
        """As it is: text objects hold no markup, so nothing in them can mention, link or format."""
        return text

    async def send(self, message: Message, ref: Ref) -> Receipt:
        """Make the incident's page, or change it. The ref is {"page_id", "permalink"}."""
        found = await self._schemas.newest()
        if not isinstance(found, tuple):
            return found
        schema, just_read = found
        receipt = await self._say(message, ref, schema)
        if not isinstance(receipt, Rejected) or just_read:
            return receipt
        # It was judged by a schema that may have changed since we read it.
        found = await self._schemas.newest(but=schema)
        return await self._say(message, ref, found[0]) if isinstance(found, tuple) else found

    async def close(self) -> None:
        await self._api.close()

    # --- the page -------------------------------------------------------------------------------------

    async def _say(self, message: Message, ref: Ref, schema: Schema) -> Receipt:
        entries = self._settings.properties or suggested(schema)
        page_id = ref.get("page_id")
        if not page_id and ref.get("create") == "unknown":
            page_id = await self._find(message, entries, schema)
            if isinstance(page_id, (Retry, Rejected)):
                return page_id
        if page_id:
            receipt = await self._update(str(page_id), compose(message, entries, schema, self._zone, update=True))
            if receipt is not None:
                return receipt
        page = compose(message, entries, schema, self._zone, update=False)
        return await self._create(page, schema, "the page was gone; a new one stands" if page_id else "")

    async def _update(self, page_id: str, page: Page) -> Receipt | None:
        """None where people deleted the page."""
        answer = await self._api.call("PATCH", f"pages/{quoted(page_id)}", {"properties": page.properties})
        if not isinstance(answer, Answer):
            return again(answer)
        if 200 <= answer.status < 300:
            document = said(answer)
            if document.get("in_trash") or document.get("archived"):
                return None
            return self._sent(page_id, document, page, "")
        if answer.status == 404 or (answer.status == 400 and _says_archived(answer)):
            return None
        return judged(answer)

    async def _create(self, page: Page, schema: Schema, detail: str) -> Receipt:
        parent = {"type": "data_source_id", "data_source_id": schema.data_source}
        answer = await self._api.call("POST", "pages", {"parent": parent, "properties": page.properties})
        if isinstance(answer, Unknown):
            return Unknown(answer.reason, ref={"create": "unknown"})
        if not isinstance(answer, Answer):
            return answer
        if not 200 <= answer.status < 300:
            receipt = judged(answer)
            if isinstance(receipt, Retry) and answer.status in (500, 502, 504):
                # The page may stand behind the error.
                return Retry(receipt.reason, receipt.after, ref={"create": "unknown"})
            return receipt
        made = _page_id(answer)
        if made is None:
            return Unknown(f"HTTP {answer.status} without the page", ref={"create": "unknown"})
        return self._sent(made, said(answer), page, detail)

    async def _find(
        self, message: Message, entries: Mapping[str, Entry], schema: Schema
    ) -> str | Retry | Rejected | None:
        """The page that holds our id, where a property does; None where there is none or no way to know."""
        prop = _identity(entries, schema)
        if prop is None:
            return None
        query = {"filter": {"property": prop.name, prop.type: {"equals": message.incident.id}}, "page_size": 1}
        path = f"data_sources/{quoted(schema.data_source)}/query?filter_properties={quoted(prop.id)}"
        answer = await self._api.call("POST", path, query)
        if not isinstance(answer, Answer):
            return again(answer)
        if not 200 <= answer.status < 300:
            receipt = judged(answer)
            return receipt if isinstance(receipt, (Retry, Rejected)) else None
        return _page_id(answer)

    def _sent(self, page_id: str, document: Mapping[str, Json], page: Page, detail: str) -> Sent:
        url = document.get("url")
        permalink = url if isinstance(url, str) and url else f"https://www.notion.so/{page_id.replace('-', '')}"
        for name, why in page.omitted.items():
            self._warn(name, why)
        left_out = "; ".join(f"{name}: {why}" for name, why in page.omitted.items())
        parts = [detail, f"left out {left_out}" if left_out else ""]
        return Sent({"page_id": page_id, "permalink": permalink}, "; ".join(p for p in parts if p)[:500])

    def _warn(self, name: str, why: str) -> None:
        """Once for each property and reason; a stranger's values cannot fill the log with it."""
        if (name, why) not in self._warned and len(self._warned) < _MOST_WARNINGS:
            self._warned.add((name, why))
            log.warning("notion property left out", channel=self._surroundings.name, property=name, why=why)


def _identity(entries: Mapping[str, Entry], schema: Schema) -> Property | None:
    """The property that holds our own id as text, unchanged."""
    for name, entry in entries.items():
        prop = schema.properties.get(same(name))
        if prop is not None and entry.source == "id" and not entry.words and prop.type in ("rich_text", "title"):
            return prop
    return None


def _page_id(answer: Answer) -> str | None:
    """The id of the page in an answer, or of the first in a list."""
    document = said(answer)
    results = document.get("results")
    page = results[0] if isinstance(results, list) and results and isinstance(results[0], dict) else document
    if isinstance(page.get("id"), str) and page["id"]:
        return str(page["id"])
    # An answer repeats all properties and may be longer than we read; the id comes first in it.
    found = _PAGE_ID.search(answer.body)
    return found[1].decode() if found else None


def _says_archived(answer: Answer) -> bool:
    # 400 validation_error: "Can't edit block that is archived. You must unarchive the block before editing."
    message = str(said(answer).get("message", "")).lower()
    return "archived" in message or "in trash" in message
