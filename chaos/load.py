"""Senders: light connections that post distinct alerts, and post again under the same key what was not answered 202."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

TOKEN = "t0ken-of-scripts"  # noqa: S105
PATIENCE_SECONDS = 15.0


class Line:
    """One connection, kept. The answer's status and its JSON; None where no answer came."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._address = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, head: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes] | None:
        """`head`: the request line and headers without those that every request has, lines ended by CRLF."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                if self._streams is None:
                    self._streams = await asyncio.open_connection(*self._address)
                reader, writer = self._streams
                writer.write(f"{head}host: localhost\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines[1:])}
                answer = await reader.readexactly(int(headers.get("content-length", "0")))
        except (OSError, asyncio.IncompleteReadError):  # a time-out is an OSError
            self.close()
            return None
        return int(lines[0].split(" ")[1]), headers, answer

    async def post(self, alert: Any, key: str = "") -> tuple[int, dict[str, str], Any] | None:
        head = (
            f"POST /webhooks/scripts HTTP/1.1\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n"
            + (f"idempotency-key: {key}\r\n" if key else "")
        )
        answer = await self.ask(head, json.dumps(alert).encode())
        return None if answer is None else (answer[0], answer[1], json.loads(answer[2] or b"null"))

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Load:
    """`accepted`: the event's id by the alert's name, which is its fingerprint and its key as well. `more`: further
    fields of the alert with this number."""

    def __init__(self, ports: Sequence[int], connections: int, pause: float, prefix: str = "disk") -> None:
        self._ports = list(ports)
        self._connections = connections
        self._pause = pause
        self._prefix = prefix
        self.more: Callable[[int], dict[str, Any]] = lambda _number: {}
        self._numbers = itertools.count()
        self.accepted: dict[str, str] = {}
        self.statuses: Counter[int] = Counter()
        self.waits: list[float] = []
        self.accepted_at: dict[str, float] = {}
        self._over = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._send(number)) for number in range(self._connections)]

    async def stop(self, seconds: float = 60.0) -> None:
        """No new ones; whatever is under way is posted until it is taken."""
        self._over.set()
        async with asyncio.timeout(seconds):
            await asyncio.gather(*self._tasks)

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _send(self, number: int) -> None:
        port = self._ports[number % len(self._ports)]
        line = Line(port)
        while not self._over.is_set():
            count = next(self._numbers)
            name = f"{self._prefix} {count}"
            alert = {"title": name, "fingerprint": name, "severity": "critical", **self.more(count)}
            while name not in self.accepted:
                await asyncio.sleep(self._pause * (0.5 + random.random()))
                began = time.monotonic()
                answer = await line.post(alert, key=name)
                self.statuses[0 if answer is None else answer[0]] += 1
                if answer is not None and answer[0] == 202:
                    self.accepted_at[name] = time.monotonic()
                    self.waits.append(self.accepted_at[name] - began)
                    self.accepted[name] = answer[2]["event"]
                elif answer is None and len(self._ports) > 1:
                    line.close()
                    line = Line(random.choice(self._ports))  # as a load balancer would
        line.close()


@asynccontextmanager
async def sending(
    ports: Sequence[int], connections: int = 8, pause: float = 0.08, prefix: str = "disk"
) -> AsyncIterator[Load]:
    """Under load while the block lasts; at its end all that was begun has been taken."""
    load = Load(ports, connections, pause, prefix)
    load.start()
    try:
        yield load
        await load.stop()
    finally:
        load.cancel()


def percentile(numbers: Sequence[float], share: float) -> float:
    """In the numbers' own unit; 0 where there are none."""
    ordered = sorted(numbers)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0
