"""A sender and a receiver that cost little: raw protocols on one loop, so that the server is what is measured."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

SECRET = "bench-secret"  # noqa: S105
_FILL = "x" * 1500


def sentry_request(number: int, run: str) -> bytes:
    """A signed Sentry issue alert of about 2 KB, distinct by `run` and number, as the whole HTTP request."""
    document = {
        "action": "triggered",
        "installation": {"uuid": "a8e5d37a-696c-4c54-adb5-b3f28d64c7de"},
        "data": {
            "event": {
                "event_id": f"{number:032x}",
                "issue_id": f"{run}{number}",
                "project": 1,
                "title": f"Error {number}: value too long",
                "level": "error",
                "platform": "python",
                "datetime": "2026-11-20T10:00:00.000000Z",
                "culprit": "checkout.views in pay",
                "web_url": f"https://sentry.example/issues/{number}/",
                "tags": [["environment", "production"], ["server_name", "web-1"]],
                "message": _FILL,
            },
            "triggered_rule": "every new issue",
        },
        "actor": {"type": "application", "id": "sentry", "name": "Sentry"},
    }
    body = json.dumps(document, separators=(",", ":")).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    head = (
        "POST /webhooks/sentry HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"sentry-hook-resource: event_alert\r\nsentry-hook-signature: {signature}\r\n"
        f"sentry-hook-timestamp: 1700000000\r\nrequest-id: {number:032x}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass(slots=True)
class Tally:
    """What came back: how many of each status, and how long each took, in seconds."""

    statuses: dict[int, int] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        return self.statuses.get(202, 0)


class Sender(asyncio.Protocol):
    """One keep-alive connection: `answered(status, seconds)` after each answer."""

    def __init__(self, answered: Callable[[Sender, int, float], None]) -> None:
        self._answered = answered
        self._buffer = b""
        self._at = 0.0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes) -> None:
        self._at = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lowered = head.lower()
        start = lowered.find(b"content-length:")
        if start >= 0:
            end = lowered.find(b"\r", start)
            if len(rest) < int(lowered[start + 15 : end if end > 0 else None]):
                return
        elif not rest.endswith(b"0\r\n\r\n"):
            return
        self._buffer = b""
        self._answered(self, int(head[9:12]), time.perf_counter() - self._at)


async def burst(port: int, connections: int, seconds: float, run: str) -> tuple[Tally, float]:
    """Closed loop: each connection sends its next request when its last was answered. The tally, and how long."""
    loop = asyncio.get_running_loop()
    numbers = itertools.count(1)
    tally = Tally()
    over = loop.create_future()
    living = connections
    started = time.perf_counter()
    deadline = started + seconds

    def answered(sender: Sender, status: int, wait: float) -> None:
        nonlocal living
        tally.statuses[status] = tally.statuses.get(status, 0) + 1
        tally.waits.append(wait)
        if time.perf_counter() < deadline:
            sender.send(sentry_request(next(numbers), run))
            return
        sender.transport.close()
        living -= 1
        if living == 0 and not over.done():
            over.set_result(None)

    senders = [
        (await loop.create_connection(lambda: Sender(answered), "127.0.0.1", port))[1] for _ in range(connections)
    ]
    for sender in senders:
        sender.send(sentry_request(next(numbers), run))
    await asyncio.wait_for(over, seconds + 30)
    return tally, time.perf_counter() - started


async def steady(port: int, per_second: int, seconds: float, run: str, sent_at: dict[str, float]) -> Tally:
    """Open loop: requests leave on time whatever the answers do. `sent_at` notes when, by Sentry issue id."""
    loop = asyncio.get_running_loop()
    tally = Tally()
    free: list[Sender] = []

    def answered(sender: Sender, status: int, wait: float) -> None:
        tally.statuses[status] = tally.statuses.get(status, 0) + 1
        tally.waits.append(wait)
        free.append(sender)

    started = time.perf_counter()
    for number in range(1, int(per_second * seconds) + 1):
        pause = started + number / per_second - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        while free and free[-1].transport.is_closing():  # the server has let go of one that was idle
            free.pop()
        if not free:
            free.append((await loop.create_connection(lambda: Sender(answered), "127.0.0.1", port))[1])
        request = sentry_request(number, run)
        sent_at[f"{run}{number}"] = time.perf_counter()
        free.pop().send(request)
    await asyncio.sleep(1.0)
    for sender in free:
        sender.transport.close()
    return tally


class Receiver(asyncio.Protocol):
    """The end of the line: answers 200 at once and notes when each fingerprint arrived."""

    def __init__(self, arrived: Callable[[bytes], None]) -> None:
        self._arrived = arrived
        self._buffer = bytearray()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, found, _ = bytes(self._buffer).partition(b"\r\n\r\n")
            if not found:
                return
            lowered = head.lower()
            start = lowered.find(b"content-length:")
            end = lowered.find(b"\r", start)
            whole = len(head) + 4 + int(lowered[start + 15 : end if end > 0 else None])
            if len(self._buffer) < whole:
                return
            self._arrived(bytes(self._buffer[len(head) + 4 : whole]))
            del self._buffer[:whole]
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
