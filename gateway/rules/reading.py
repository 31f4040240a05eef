"""Bytes from a stranger into JSON that cannot hurt: decoded once, normalised once.

pydantic_core reads JSON with a recursion limit, a clean error for what is too deep, and no NaN; what
SQL, logs and terminals choke on (NUL, lone surrogates, bidi overrides, huge numbers) goes here.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import urllib.parse
from collections.abc import Mapping, Sized
from dataclasses import replace
from itertools import islice
from typing import Final

from pydantic_core import from_json

from gateway.errors import NotJson, WrongType
from gateway.model import Alert, Json

DEEPEST: Final = 32
MOST_KEYS: Final = 500
MOST_ITEMS: Final = 1_000
MOST_NODES: Final = 100_000
"""In a whole document: room for 1,000 alerts of 100 values each, at a tenth of a second."""
MOST_LABELS: Final = 64
MOST_FIELDS: Final = 100
LONGEST_TITLE: Final = 300
LONGEST_NAME: Final = 128
LONGEST_VALUE: Final = 1_024
LONGEST_FINGERPRINT: Final = 512
LONGEST_BODY: Final = 64 * 1024
LONGEST_URL: Final = 2_048
_INT64: Final = 2**63
_NOT_EVEN_IT: Final = -1
# C0 but \n and \t, DEL, C1, lone surrogates, bidi embeddings, overrides and isolates, line separators.
_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\u2028\u2029]")
_BEHIND_THE_TYPE = re.compile(r"[;,\s]")
_FORM = "application/x-www-form-urlencoded"


def check_type(content_type: str) -> str:
    """The type without its parameters, where it is one we read. Raises WrongType (415) where it is none."""
    kind = _BEHIND_THE_TYPE.split(content_type.strip(), maxsplit=1)[0].lower()
    if kind not in ("", "application/json", "text/plain", _FORM) and not kind.endswith("+json"):
        raise WrongType(f"content type {kind[:80]!r} is not read; send application/json")
    return kind


def decode(content_type: str, body: bytes) -> Json:
    """The JSON in a body, as it is. `content_type` is the header's value, '' where there was none.

    Raises WrongType (415) where the type is none we read, NotJson (400) where the body is no JSON."""
    if check_type(content_type) == _FORM:
        body = _out_of_form(body)
    body = body.removeprefix(b"\xef\xbb\xbf")
    try:
        return from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        if "escape" in str(error):
            return _with_surrogates(body)
        raise NotJson(f"the body is no JSON: {str(error)[:120]}") from None


def normalise(document: Json) -> Json:
    """The same document, harmless: no control or bidi characters, no lone surrogates, numbers that any
    store takes (non-finite → null, beyond 64 bits → text), at most 32 deep, 500 keys, 1,000 items, and 100,000
    values in all. What is beyond that is left out, and what it would have stood in is "…"."""
    return _Normalising().value(document, DEEPEST)


def clean(text: str) -> str:
    """Text without what terminals, SQL and readers choke on; newlines and tabs stay, CRLF becomes a newline."""
    return _UNWANTED.sub("", text.replace("\r\n", "\n")) if not text.isprintable() else text


def bounded(alert: Alert) -> Alert:
    """The same alert within what the store and readers can bear: 64 labels of 128 and 1,024 characters,
    100 fields, a body of 64 KiB, a title of one line. What is cut is the tail; the event keeps the whole."""
    title = " ".join(clean(alert.title).split())[:LONGEST_TITLE] or "(no title)"
    if title == alert.title and _fits(alert):
        return alert
    fingerprint = alert.fingerprint
    if len(fingerprint) > LONGEST_FINGERPRINT:
        digest = hashlib.sha256(fingerprint.encode("utf-8", "replace")).hexdigest()
        fingerprint = f"{fingerprint[: LONGEST_FINGERPRINT - 65]}:{digest}"
    return replace(
        alert,
        fingerprint=fingerprint,
        title=title,
        kind=alert.kind[:LONGEST_NAME],
        service=alert.service[:LONGEST_TITLE],
        environment=alert.environment[:LONGEST_NAME],
        body=alert.body[:LONGEST_BODY],
        url=alert.url if _is_address(alert.url) else "",
        labels=_few(alert.labels, MOST_LABELS),
        fields=_few(alert.fields, MOST_FIELDS),
    )


def _fits(alert: Alert) -> bool:
    """Whether nothing but the title could have to be cut, as it is of almost every alert."""
    return (
        len(alert.fingerprint) <= LONGEST_FINGERPRINT
        and len(alert.kind) <= LONGEST_NAME
        and len(alert.service) <= LONGEST_TITLE
        and len(alert.environment) <= LONGEST_NAME
        and len(alert.body) <= LONGEST_BODY
        and (not alert.url or _is_address(alert.url))
        and _are_few(alert.labels, MOST_LABELS)
        and _are_few(alert.fields, MOST_FIELDS)
    )


def _is_address(url: str) -> bool:
    return len(url) <= LONGEST_URL and url.startswith(("https://", "http://"))


def _are_few(pairs: Mapping[str, str], most: int) -> bool:
    for name, value in pairs.items():
        if len(name) > LONGEST_NAME or len(value) > LONGEST_VALUE:
            return False
    return len(pairs) <= most


def _few(pairs: Mapping[str, str], most: int) -> dict[str, str]:
    return {name[:LONGEST_NAME]: value[:LONGEST_VALUE] for name, value in list(pairs.items())[:most]}


class _Normalising:
    """One document. `left`: how many more values it may have; a list or object pays for its own before they are
    looked into, so that what is spent stays small however they stand in each other."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MOST_NODES

    def value(self, value: Json, depth: int) -> Json:
        """The value, harmless. What is text without anything to take out, and most is, needs no call of its own."""
        if isinstance(value, dict):
            room = self._room(value, depth, MOST_KEYS)
            if room == _NOT_EVEN_IT:
                return "…"
            return {
                key if key.isprintable() else clean(key): inner
                if isinstance(inner, str) and inner.isprintable()
                else self.value(inner, depth - 1)
                for key, inner in islice(value.items(), room)
            }
        if isinstance(value, list):
            room = self._room(value, depth, MOST_ITEMS)
            if room == _NOT_EVEN_IT:
                return "…"
            return [
                inner if isinstance(inner, str) and inner.isprintable() else self.value(inner, depth - 1)
                for inner in value[:room]
            ]
        if isinstance(value, str):
            return clean(value)
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        if isinstance(value, int) and not isinstance(value, bool):
            return value if -_INT64 <= value < _INT64 else str(value)
        return value

    def _room(self, container: Sized, depth: int, most: int) -> int:
        """How many of its values stand, which are paid for with that."""
        many = len(container)
        if depth <= 0 or (self.left <= 0 and many):
            return _NOT_EVEN_IT
        taken = min(many, most, self.left)
        self.left -= taken
        return taken


def _with_surrogates(body: bytes) -> Json:
    """JavaScript senders cut strings inside a surrogate pair: legal JSON that pydantic_core refuses."""
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise NotJson(f"the body is no JSON: {str(error)[:120]}") from None


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is no JSON")


def _out_of_form(body: bytes) -> bytes:
    """A form whose whole body is JSON, or that has `payload=` (GitHub's form type)."""
    start = body.lstrip()[:1]
    if start in (b"{", b"["):
        return body
    try:
        form = urllib.parse.parse_qs(body.decode("ascii"), max_num_fields=100)
    except ValueError:
        raise NotJson("the form cannot be read") from None
    if "payload" not in form:
        raise WrongType("a form is read only where it has a field `payload` with JSON")
    return form["payload"][0].encode("utf-8", "surrogatepass")
