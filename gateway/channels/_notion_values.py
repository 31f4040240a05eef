"""One value in the shape that Notion wants for a property of some type.

Types and limits: developers.notion.com/reference/page-property-values and /request-limits.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import TypeAlias

from gateway.channels._notion_fields import Value, as_text
from gateway.model import Json
from gateway.values import frozen

LONGEST_TEXT = 2_000
"""Characters of one text object, as Notion counts them: UTF-16 code units."""
MOST_TEXTS = 100
_LONGEST_NAME = 100
_LONGEST_URL = 2_000
_TRUE = frozenset(("true", "yes", "y", "on", "1", "ok", "okay", "pass", "passed", "success", "verified", "done", "✅"))
_FALSE = frozenset(("false", "no", "n", "off", "0", "fail", "failed", "failure", "error", "missing", "❌"))


@frozen
class Property:
    """A property of the data source. `options`: what a select or status may be, by name, as the schema says."""

    name: str
    type: str
    id: str = ""
    options: tuple[str, ...] = ()


@frozen
class Omitted:
    """The value has no place in this property; why, without the value."""

    why: str


def written(prop: Property, value: Value, room: int = LONGEST_TEXT * MOST_TEXTS) -> Json | Omitted:
    """`{type: …}` for the body of a page, or why the property is left out. `room`: the most UTF-16 units of text."""
    write = _WRITERS.get(prop.type)
    if write is None:
        return Omitted(f"a property of type {prop.type} cannot be written")
    inner = write(prop, value, room)
    return inner if isinstance(inner, Omitted) else {prop.type: inner}


def cleared(prop: Property) -> Json:
    """The empty value of this type; None where Notion knows none."""
    if prop.type in ("title", "rich_text", "multi_select"):
        return {prop.type: []}
    if prop.type == "checkbox":
        return {prop.type: False}
    return None if prop.type == "status" or prop.type not in _WRITERS else {prop.type: None}


def same(name: str) -> str:
    """The form in which two names are compared: composed (NFC), so that 한 is 한 however it was typed."""
    return unicodedata.normalize("NFC", name).strip()


def _texts(_: Property, value: Value, room: int) -> Json:
    return [{"type": "text", "text": {"content": piece}} for piece in _pieces(as_text(value), room)]


def _pieces(text: str, room: int) -> list[str]:
    """The text in pieces that Notion takes; cut with an ellipsis where it is longer than `room`."""
    # One unit of each piece may stay free, where a sign of two units would be cut in half.
    room = min(room, (LONGEST_TEXT - 1) * MOST_TEXTS)
    text = text.encode("utf-8", "ignore").decode()
    whole = _head(text, room)
    text = text if whole == text else _head(text, room - 1) + "…"
    pieces = []
    while text:
        pieces.append(_head(text, LONGEST_TEXT))
        text = text[len(pieces[-1]) :]
    return pieces


def _head(text: str, units: int) -> str:
    """The beginning of a text, at most so many UTF-16 units, no sign cut in half."""
    return text[:units].encode("utf-16-le")[: 2 * units].decode("utf-16-le", "ignore")


def _number(_: Property, value: Value, __: int) -> Json | Omitted:
    if isinstance(value, str):
        try:
            value = float(value.replace(",", ""))
        except ValueError:
            return Omitted("the text is no number")
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return Omitted("the value is no number")
    return int(value) if float(value).is_integer() else value


def _flag(_: Property, value: Value, __: int) -> Json | Omitted:
    word = same(as_text(value)).casefold().rstrip("\ufe0f")
    first = word.partition(" ")[0].rstrip("\ufe0f")
    for candidate in (word, first):
        if candidate in _TRUE:
            return True
        if candidate in _FALSE:
            return False
    return Omitted("the value is neither yes nor no")


def _url(_: Property, value: Value, __: int) -> Json | Omitted:
    text = as_text(value)
    # The value may be a stranger's: a javascript: address would be one click away for everybody.
    if not re.match(r"https?://[^\s/]", text) or len(text) > _LONGEST_URL:
        return Omitted("the value is no http address of at most 2000 characters")
    return text


def _date(_: Property, value: Value, __: int) -> Json | Omitted:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value) if len(value) > 10 else date.fromisoformat(value)
        except ValueError:
            return Omitted("the text is no date; RFC 3339 is read")
    return {"start": value.isoformat()} if isinstance(value, date) else Omitted("the value is no date")


def _select(prop: Property, value: Value, _: int) -> Json | Omitted:
    name = _option(prop, value)
    return {"name": name} if name else Omitted("the value has no letter")


def _status(prop: Property, value: Value, _: int) -> Json | Omitted:
    # The API refuses a status that is no option yet, and cannot make one.
    name = as_text(value)
    known = _known(prop, name)
    return {"name": known} if known is not None else Omitted(f"no option {name[:_LONGEST_NAME]!r}; add it in Notion")


def _names(prop: Property, value: Value, _: int) -> Json:
    names = [_option(prop, part) for part in as_text(value).split(",")]
    return [{"name": name} for name in dict.fromkeys(names) if name][:MOST_TEXTS]


def _short(_: Property, value: Value, __: int) -> Json:
    return as_text(value)[:200]


def _option(prop: Property, value: Value) -> str:
    """The option's name: one that stands where one is meant, else a new one, which Notion makes on writing."""
    text = " ".join(as_text(value).split())
    known = _known(prop, text)
    # Commas part the names of a multi-select: Notion refuses them in any option.
    return known if known is not None else text.replace(",", ";")[:_LONGEST_NAME].strip()


def _known(prop: Property, name: str) -> str | None:
    for form in (same, lambda text: same(text).casefold()):
        for option in prop.options:
            if form(option) == form(name):
                return option
    return None


_Writer: TypeAlias = Callable[[Property, Value, int], Json]

_WRITERS: Mapping[str, _Writer] = {
    "title": _texts,
    "rich_text": _texts,
    "number": _number,
    "checkbox": _flag,
    "url": _url,
    "date": _date,
    "select": _select,
    "status": _status,
    "multi_select": _names,
    "email": _short,
    "phone_number": _short,
}
