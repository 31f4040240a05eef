"""What is posted: distinct alerts of one size, made by filling a template, so that sending them costs next to nothing.

`Sentry(run)(7)` is a whole HTTP request whose alert can be known again at the receiver by `mark(run, 7)`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

from bench.load import SECRET

Make = Callable[[int], bytes]
BODY = 2_000
"""Bytes of a body, whoever it is for."""
_SIGN = b"bench-"
_HOLE = "HOLE" * 4
_DIGITS = 8


def mark(run: str, number: int) -> str:
    """The name of one alert: all of a run are equally long."""
    return f"bench-{run}-{number:0{_DIGITS}d}"


def found(body: bytes) -> str | None:
    """The first mark in what the receiver heard; None where there is none."""
    start = body.find(_SIGN)
    return None if start < 0 else body[start : body.find(b'"', start)].decode()


class Sentry:
    """A Sentry issue alert with its signature, over the whole body."""

    def __init__(self, run: str) -> None:
        self._run = run
        document = {
            "action": "triggered",
            "installation": {"uuid": "a8e5d37a-696c-4c54-adb5-b3f28d64c7de"},
            "data": {
                "event": {
                    "event_id": _HOLE,
                    "issue_id": _HOLE,
                    "project": 1,
                    "title": "Error: value too long for type character varying(40)",
                    "level": "error",
                    "platform": "python",
                    "datetime": "2026-11-20T10:00:00.000000Z",
                    "culprit": "checkout.views in pay",
                    "web_url": "https://sentry.example/issues/1/",
                    "tags": [["environment", "production"], ["server_name", "web-1"]],
                    "message": "",
                },
                "triggered_rule": "every new issue",
            },
            "actor": {"type": "application", "id": "sentry", "name": "Sentry"},
        }
        name = mark(run, 0)
        _fill(document, document["data"]["event"], "message", name)  # type: ignore[index]
        self._parts = json.dumps(document, separators=(",", ":")).encode().split(_HOLE.encode())
        length = len(name.encode().join(self._parts))
        self._head = (
            "POST /webhooks/sentry HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"sentry-hook-resource: event_alert\r\nsentry-hook-timestamp: 1700000000\r\ncontent-length: {length}\r\n"
            "request-id: "
        ).encode()

    def __call__(self, number: int) -> bytes:
        name = mark(self._run, number).encode()
        body = name.join(self._parts)
        signature = hmac.digest(SECRET.encode(), body, hashlib.sha256).hex().encode()
        return self._head + name + b"\r\nsentry-hook-signature: " + signature + b"\r\n\r\n" + body


class Alertmanager:
    """One alert for `POST /api/v2/alerts`, of the same size; nothing is signed, for nothing would be verified."""

    def __init__(self, run: str) -> None:
        self._run = run
        alert: dict[str, Any] = {
            "labels": {
                "alertname": "Error",
                "id": _HOLE,
                "severity": "error",
                "environment": "production",
                "service": "web-1",
            },
            "annotations": {"title": "Error: value too long for type character varying(40)", "message": ""},
            "generatorURL": "https://sentry.example/issues/1/",
        }
        name = mark(run, 0)
        _fill([alert], alert["annotations"], "message", name)
        self._parts = json.dumps([alert], separators=(",", ":")).encode().split(_HOLE.encode())
        length = len(name.encode().join(self._parts))
        self._head = (
            "POST /api/v2/alerts HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"content-length: {length}\r\n\r\n"
        ).encode()

    def __call__(self, number: int) -> bytes:
        return self._head + mark(self._run, number).encode().join(self._parts)


def _fill(document: Any, inner: dict[str, Any], key: str, name: str) -> None:
    """Lengthen the text `inner[key]` until the body is `BODY` bytes long, with `name` in each hole."""
    short = len(json.dumps(document, separators=(",", ":")).replace(_HOLE, name))
    inner[key] = "x" * (BODY - short)
