"""A Notion workspace: databases with data sources, pages, and the manners of API version 2026-03-11.

It checks what the real one checks (token, version header, names, types, options, lengths), complains about
one field at a time, and can be told to fail next, or to do the work and lose the answer."""

from __future__ import annotations

import json
import re
import urllib.parse
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import httpx2

TOKEN = "ntn_secret_of_the_fake"
DATABASE = "1f9b8c7d6e5f4a3b9c8d7e6f5a4b3c2d"
SOURCE = "2a9b8c7d-6e5f-4a3b-9c8d-7e6f5a4b3c2d"


def text(kind: str = "rich_text") -> dict[str, Any]:
    return {"type": kind, kind: {}}


def choice(kind: str, *options: str) -> dict[str, Any]:
    return {"type": kind, kind: {"options": [{"id": str(n), "name": name} for n, name in enumerate(options)]}}


class Refusal(Exception):
    def __init__(self, status: int, code: str, message: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code)
        self.status, self.code, self.message, self.headers = status, code, message, dict(headers or {})


@dataclass
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass
class FakeNotion:
    """`schema` is that of the one data source; `failures` are given first, in order; `lose` counts answers
    that are lost after the work was done."""

    schema: dict[str, dict[str, Any]] = field(default_factory=lambda: {"Name": text("title")})
    sources: dict[str, str] = field(default_factory=lambda: {SOURCE: "Incidents"})
    shared: bool = True
    failures: list[Refusal] = field(default_factory=list)
    lose: int = 0
    fluff: int = 0
    pages: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    @property
    def transport(self) -> httpx2.MockTransport:
        def answer(request: httpx2.Request) -> httpx2.Response:
            status, headers, document = self._take(request)
            if self._loses(request.method, status):
                raise httpx2.ReadTimeout("lost", request=request)
            return httpx2.Response(status, headers=headers, content=json.dumps(document).encode())

        return httpx2.MockTransport(answer)

    @property
    def official_transport(self) -> httpx.MockTransport:
        """The same workspace for the official client, which speaks httpx."""

        def answer(request: httpx.Request) -> httpx.Response:
            status, headers, document = self._take(request)
            return httpx.Response(status, headers=headers, json=document)

        return httpx.MockTransport(answer)

    @property
    def calls(self) -> list[str]:
        return [f"{asked.method} {re.sub(r'[0-9a-f-]{32,36}', '*', asked.path)}" for asked in self.asked]

    @property
    def page(self) -> dict[str, Any]:
        """The properties of the only page that is not in the trash."""
        (page,) = [page for page in self.pages.values() if not page["in_trash"]]
        return dict(page["properties"])

    def _loses(self, method: str, status: int) -> bool:
        if method == "GET" or status >= 400 or not self.lose:
            return False
        self.lose -= 1
        return True

    def _take(self, request: Any) -> tuple[int, dict[str, str], Any]:
        path = request.url.raw_path.decode()
        body = json.loads(request.content) if request.content else None
        self.asked.append(Asked(request.method, path, dict(request.headers), body))
        try:
            if self.failures:
                raise self.failures.pop(0)
            self._admit(request)
            return 200, {}, self._answer(request.method, urllib.parse.urlsplit(path).path, body)
        except Refusal as no:
            return (
                no.status,
                no.headers,
                {"object": "error", "status": no.status, "code": no.code, "message": no.message},
            )

    def _admit(self, request: Any) -> None:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            raise Refusal(401, "unauthorized", "API token is invalid.")
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", request.headers.get("notion-version", "")):
            raise Refusal(400, "missing_version", "Notion-Version header failed validation.")
        if len(request.content) > 500_000:
            raise Refusal(413, "validation_error", "body too large")

    def _answer(self, method: str, path: str, body: Any) -> Any:
        if not self.shared:
            raise Refusal(404, "object_not_found", "Make sure the relevant pages are shared with your integration.")
        match (method, path.removeprefix("/v1/").split("/")):
            case ("GET", ["databases", known]) if known == DATABASE:
                sources = [{"id": key, "name": name} for key, name in self.sources.items()]
                return {"object": "database", "id": known, "data_sources": sources}
            case ("GET", ["data_sources", known]) if known in self.sources:
                properties = {
                    name: {"id": f"i%3A{n}", "name": name, **about}
                    for n, (name, about) in enumerate(self.schema.items())
                }
                return {"object": "data_source", "id": known, "properties": properties, "fluff": "x" * self.fluff}
            case ("POST", ["data_sources", known, "query"]) if known in self.sources:
                return {
                    "object": "list",
                    "results": self._query(body["filter"])[: body["page_size"]],
                    "has_more": False,
                }
            case ("POST", ["pages"]):
                return self._create(body)
            case ("PATCH", ["pages", known]) if known in self.pages:
                return self._change(self.pages[known], body)
        raise Refusal(404, "object_not_found", "Could not find it.")

    def _query(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        kind = next(key for key in wanted if key != "property")
        if self.schema.get(wanted["property"], {}).get("type") != kind:
            raise Refusal(400, "validation_error", "filter does not fit the property")
        return [
            page
            for page in self.pages.values()
            if not page["in_trash"]
            and "".join(
                piece["text"]["content"] for piece in page["properties"].get(wanted["property"], {}).get(kind, ())
            )
            == wanted[kind]["equals"]
        ]

    def _create(self, body: Any) -> Any:
        parent = body["parent"]
        if parent.get("type") != "data_source_id" or parent["data_source_id"] not in self.sources:
            raise Refusal(404, "object_not_found", "Could not find data source.")
        self._check(body["properties"])
        page_id = str(uuid.uuid4())
        self.pages[page_id] = {
            "object": "page",
            "id": page_id,
            "in_trash": False,
            "properties": dict(body["properties"]),
            "url": f"https://www.notion.so/page-{page_id.replace('-', '')}",
        }
        return self.pages[page_id]

    def _change(self, page: dict[str, Any], body: Any) -> Any:
        if page["in_trash"]:
            raise Refusal(400, "validation_error", "Can't edit block that is archived. You must unarchive the block.")
        self._check(body["properties"])
        page["properties"].update(body["properties"])
        return page

    def _check(self, properties: Mapping[str, Any]) -> None:
        for name, value in properties.items():
            if name not in self.schema:
                raise Refusal(400, "validation_error", f"{name} is not a property that exists.")
            kind = self.schema[name]["type"]
            if set(value) != {kind}:
                raise Refusal(400, "validation_error", f"{name} is expected to be {kind}.")
            if not _fits(kind, value[kind], self.schema[name]):
                raise Refusal(400, "validation_error", f"body failed validation: body.properties.{name}.{kind}")


def _fits(kind: str, value: Any, about: Mapping[str, Any]) -> bool:
    match kind:
        case "title" | "rich_text":
            return len(value) <= 100 and all(
                set(piece) == {"type", "text"} and 0 < _units(piece["text"]["content"]) <= 2000 for piece in value
            )
        case "number":
            return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
        case "checkbox":
            return isinstance(value, bool)
        case "url" | "email" | "phone_number":
            return value is None or (isinstance(value, str) and 0 < len(value) <= 2000)
        case "date":
            return value is None or re.match(r"\d{4}-\d\d-\d\d", value["start"]) is not None
        case "status":
            return value["name"] in [option["name"] for option in about["status"]["options"]]
        case "select":
            return value is None or _names([value])
        case "multi_select":
            return len(value) <= 100 and _names(value)
    return False


def _names(options: list[dict[str, str]]) -> bool:
    return all(0 < len(option["name"]) <= 100 and "," not in option["name"] for option in options)


def _units(words: str) -> int:
    return len(words.encode("utf-16-le")) // 2
