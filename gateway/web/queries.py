"""What a request asks: its filters, its page, its small JSON body; a wrong one is a 422 that names the field."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse

from gateway.errors import BadField
from gateway.model import Json, Severity, State
from gateway.rules.calendars import choice, suggestion
from gateway.rules.reading import decode
from gateway.rules.shapes import parse_rfc3339
from gateway.store.searching import Wanted
from gateway.values import frozen
from gateway.web import intake
from gateway.web.auth import headers_of
from gateway.web.problems import Refused

Word = TypeVar("Word", bound=str)

MOST_ITEMS = 200
DEFAULT_ITEMS = 50
_INCIDENT_STATES: Final[tuple[State, ...]] = ("open", "acknowledged", "resolved")
_LONGEST_QUESTION = 200  # SQLite takes patterns of 50,000 bytes, but none of that length is a question
_ENVELOPE = frozenset(("alert", "source", "headers", "body"))
_MOST_OF_A_BODY = 1024 * 1024


def wanted(request: Request) -> Wanted:
    asked = request.query_params
    levels = [Severity.read(word) for word in asked["severity"].split(",")] if asked.get("severity") else []
    if None in levels:
        raise bad("severity", f"must be among {', '.join(level.word for level in Severity)}")
    if len(asked.get("q", "")) > _LONGEST_QUESTION:
        raise bad("q", f"must be at most {_LONGEST_QUESTION} characters long")
    since = parse_rfc3339(asked["since"]) if asked.get("since") else None
    if asked.get("since") and since is None:
        raise bad("since", "is no RFC 3339 time")
    return Wanted(
        states=words(request, "state", _INCIDENT_STATES),
        severities=frozenset(level for level in levels if level is not None),
        source=asked.get("source") or None,
        service=asked.get("service") or None,
        text=asked.get("q", ""),
        since=since,
    )


async def document(request: Request, keys: set[str]) -> Mapping[str, Any]:
    """A small JSON object, or nothing, which is {}."""
    raw = await intake.read_body(request.receive, request.headers.get("content-length", ""), _MOST_OF_A_BODY)
    if not raw.strip():
        return {}
    document = decode("", raw)
    if not isinstance(document, dict):
        raise Refused(422, "The body must be a JSON object.", "bad_field")
    _check_keys(document, keys)
    return document


def _check_keys(document: Mapping[str, Any], keys: Collection[str]) -> None:
    unknown = sorted(set(document) - set(keys))
    if unknown:
        wrong = [BadField(key, "is unknown" + (suggestion(key, keys) or f"; {choice('key', keys)}")) for key in unknown]
        raise Refused(422, "A key is unknown.", "bad_field", errors=wrong)


@frozen
class Question:
    """What `explain` is asked. `source` None: the body is a generic alert. `at` is as it was written."""

    body: bytes
    source: str | None
    headers: Mapping[str, str]
    at: str | None


async def question(request: Request) -> Question:
    raw = await intake.read_body(request.receive, request.headers.get("content-length", ""), _MOST_OF_A_BODY)
    query = request.query_params
    source = query.get("source")
    plain = Question(raw, source, headers_of(request.scope) if source else {}, query.get("at"))
    if source is not None:
        return plain
    document = decode("", raw)
    # An alert may have a `body` of its own, but it has a title.
    if not isinstance(document, dict) or "title" in document or not _ENVELOPE & document.keys():
        return plain
    return _unwrapped(document, query.get("at"))


def _unwrapped(document: Mapping[str, Any], at: str | None) -> Question:
    _check_keys(document, _ENVELOPE | {"at"})
    if ("alert" in document) == ("body" in document):
        raise bad("alert", "give either `alert`, or `body` with `source`")
    headers = document.get("headers", {})
    if not isinstance(headers, dict):
        raise bad("headers", "must be an object of texts")
    wanted = document.get("alert", document.get("body"))
    source = document.get("source")
    return Question(
        body=(wanted if isinstance(wanted, str) else json.dumps(wanted)).encode("utf-8", "surrogatepass"),
        source=None if source is None else str(source),
        headers={str(name).lower(): str(value) for name, value in headers.items()},
        at=str(document["at"]) if document.get("at") is not None else at,
    )


def words(request: Request, name: str, known: Sequence[Word]) -> frozenset[Word]:
    text = request.query_params.get(name, "")
    asked = frozenset(word.strip() for word in text.split(",") if word.strip())
    if not asked <= set(known):
        raise bad(name, f"must be among {', '.join(known)}")
    return frozenset(word for word in known if word in asked)


def limit(request: Request) -> int:
    text = request.query_params.get("limit", str(DEFAULT_ITEMS))
    if not re.fullmatch("0*[1-9][0-9]*", text):
        raise bad("limit", f"must be a number from 1 to {MOST_ITEMS}")
    digits = text.lstrip("0")
    return MOST_ITEMS if len(digits) > 3 else min(int(digits), MOST_ITEMS)


def cursor(request: Request) -> str | None:
    text = request.query_params.get("cursor")
    if text is None:
        return None
    try:
        key = base64.urlsafe_b64decode(text.encode("ascii") + b"==").decode()
    except (binascii.Error, ValueError):
        raise bad("cursor", "is none that this list gave") from None
    if not key or "\x00" in key or base64.urlsafe_b64encode(key.encode()).decode().rstrip("=") != text:
        raise bad("cursor", "is none that this list gave")
    return key


def page(items: list[dict[str, Json]], limit: int) -> JSONResponse:
    """`items` holds one more than asked for where there is a next page."""
    return listed(items[:limit], str(items[limit - 1]["id"]) if len(items) > limit else None)


def listed(items: list[dict[str, Json]], next_key: str | None) -> JSONResponse:
    cursor = None if next_key is None else base64.urlsafe_b64encode(next_key.encode()).decode().rstrip("=")
    return JSONResponse({"items": items, "next_cursor": cursor})


def whole(items: Sequence[Mapping[str, Json]]) -> JSONResponse:
    """A list that has no pages."""
    return JSONResponse({"items": items, "next_cursor": None})


def bad(path: str, message: str) -> Refused:
    return Refused(422, f"{path} {message}.", "bad_field", errors=[BadField(path, message)])
