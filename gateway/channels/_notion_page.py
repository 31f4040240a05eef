"""A message becomes the properties of a page: mapping, the schema's types, and what had to be left out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import tzinfo

from gateway.channels._notion_fields import Entry
from gateway.channels._notion_values import Omitted, Property, cleared, same, written
from gateway.model import Json, Message
from gateway.values import frozen

MOST_OF_A_PAGE = 450_000
"""Bytes of properties in one request. Notion takes 500 KB in all: developers.notion.com/reference/request-limits"""
_ROOMS = (200_000, 50_000, 10_000, 2_000, 200)


@frozen
class Schema:
    """What the data source looks like: its properties by the compared form of their names."""

    data_source: str
    properties: Mapping[str, Property]

    @property
    def title(self) -> Property | None:
        return next((prop for prop in self.properties.values() if prop.type == "title"), None)


@frozen
class Page:
    """The properties to write, and those left out with the reason for each."""

    properties: Mapping[str, Json]
    omitted: Mapping[str, str]


def read_schema(data_source: str, document: Json) -> Schema | None:
    """The schema in an answer to GET /data_sources/{id}; None where it is of another shape."""
    found = document.get("properties") if isinstance(document, dict) else None
    if not isinstance(found, dict):
        return None
    properties = (_property(name, about) for name, about in found.items() if isinstance(about, dict))
    return Schema(data_source, {same(prop.name): prop for prop in properties})


def suggested(schema: Schema) -> Mapping[str, Entry]:
    """A mapping for a database of which nothing was said: by the names that its properties have."""
    entries = {}
    for key, prop in schema.properties.items():
        plain = key.casefold().replace(" ", "").replace("_", "").replace("-", "")
        source = next((field for field, names in _USUAL.items() if plain in names), None)
        if source is not None and prop.type != "title":
            entries[prop.name] = Entry.model_validate({"from": source, "map": _usual_words(source, prop)})
    return entries


def compose(message: Message, entries: Mapping[str, Entry], schema: Schema, zone: tzinfo, *, update: bool) -> Page:
    """The page that says this message. `update`: it stands already, so what has ended is cleared.

    The title is always filled. Text gives way until the whole fits in one request."""
    for room in _ROOMS:
        page = _composed(message, entries, schema, zone, room=room, update=update)
        if len(json.dumps(page.properties, ensure_ascii=False).encode("utf-8", "replace")) <= MOST_OF_A_PAGE:
            break
    return page


def _composed(
    message: Message, entries: Mapping[str, Entry], schema: Schema, zone: tzinfo, *, room: int, update: bool
) -> Page:
    properties: dict[str, Json] = {}
    omitted: dict[str, str] = {}
    for name, entry in entries.items():
        prop = schema.properties.get(same(name))
        if prop is None:
            omitted[name] = "the database has no such property"
            continue
        try:
            value = entry.read(message, zone)
        except OverflowError:
            # The last hours of 9999 are another year in Seoul, the first ones of year 1 in New York.
            omitted[name] = f"the date lies outside of the years 1 to 9999 in {zone}"
            continue
        if value is None or value == "":
            if update and entry.may_end and (empty := cleared(prop)) is not None:
                properties[prop.name] = empty
            continue
        shaped = written(prop, value, room)
        if isinstance(shaped, Omitted):
            omitted[name] = shaped.why
        else:
            properties[prop.name] = shaped
    title = schema.title
    if title is not None and not properties.get(title.name, {}).get("title"):
        properties[title.name] = written(title, _headline(message), room)
    return Page(properties, omitted)


def _headline(message: Message) -> str:
    return message.custom_title or message.standing or message.title or message.incident.title


def _property(name: str, about: Mapping[str, Json]) -> Property:
    kind = str(about.get("type", ""))
    inner = about.get(kind)
    options = inner.get("options") if isinstance(inner, dict) else None
    options = options if isinstance(options, list) else []
    names = [option.get("name") for option in options if isinstance(option, dict)]
    return Property(name, kind, str(about.get("id", "")), tuple(n for n in names if isinstance(n, str)))


def _usual_words(source: str, prop: Property) -> Mapping[str, str]:
    """The states in the words of a status property as Notion makes it, where ours are not among its options."""
    if source != "state" or prop.type != "status":
        return {}
    options = {option.casefold() for option in prop.options}
    return {
        ours: theirs for ours, theirs in _USUAL_STATES.items() if ours not in options and theirs.casefold() in options
    }


_USUAL_STATES = {"open": "Not started", "acknowledged": "In progress", "resolved": "Done"}

_USUAL: Mapping[str, frozenset[str]] = {
    "state": frozenset({"status", "state", "상태"}),
    "severity": frozenset({"severity", "level", "심각도"}),
    "source": frozenset({"source", "출처"}),
    "service": frozenset({"service", "host", "서비스"}),
    "environment": frozenset({"environment", "env", "환경"}),
    "kind": frozenset({"kind", "category", "type", "종류"}),
    "url": frozenset({"url", "link", "링크"}),
    "body": frozenset({"body", "details", "description", "내용"}),
    "message": frozenset({"summary", "title", "요약"}),
    "number": frozenset({"number", "번호"}),
    "id": frozenset({"id", "incident", "incidentid", "tocsinid"}),
    "fingerprint": frozenset({"fingerprint"}),
    "count": frozenset({"count", "횟수"}),
    "opened_at": frozenset({"opened", "openedat", "date", "started", "startedat", "날짜"}),
    "updated_at": frozenset({"updated", "updatedat"}),
    "acknowledged_at": frozenset({"acknowledged", "acknowledgedat"}),
    "acknowledged_by": frozenset({"acknowledgedby"}),
    "resolved_at": frozenset({"resolved", "resolvedat", "ended", "endedat"}),
    "assigned_to": frozenset({"assignedto", "assignee", "담당자"}),
}
