"""The end of the line: an HTTP server that notes every request with its Idempotency-Key (`webhook-id`), and can be told
to be slow, to drip, to refuse or to say nothing, path by path."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Heard:
    """One request. `at` is monotonic, in seconds; `key` the sender's idempotency key."""

    path: str
    key: str
    at: float
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def fingerprint(self) -> str:
        return str(self.document["incident"]["fingerprint"])


Manner: TypeAlias = Callable[[Heard, asyncio.StreamWriter], Awaitable[None]]
"""How a path answers: it writes the answer itself, when it likes."""

GOOD = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass
class Receiver:
    heard: list[Heard] = field(default_factory=list)
    manners: dict[str, Manner] = field(default_factory=dict)

    def of(self, path: str) -> list[Heard]:
        return [one for one in self.heard if one.path == path]

    def told(self, path: str) -> set[str]:
        """The fingerprints of all incidents that were told on this path."""
        return {one.fingerprint for one in self.of(path)}

    @property
    def extra(self) -> int:
        """How often something was said again under a key that had been heard already."""
        return sum(times - 1 for times in Counter((one.path, one.key) for one in self.heard).values())

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """On a free port of 127.0.0.1; gives its URL."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled at the end of all: asyncio would print that, once for each connection.
        with suppress(asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                heard = Heard(head[0].split(" ")[1], headers.get("webhook-id", ""), time.monotonic(), body)
                self.heard.append(heard)
                manner = self.manners.get(heard.path)
                if manner is None:
                    writer.write(GOOD)
                else:
                    await manner(heard, writer)
                await writer.drain()
        writer.close()


def answering(status: int, *headers: str) -> Manner:
    """The same answer to everybody."""

    async def answer(_heard: Heard, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} Said", "content-length: 0", *headers, "", ""]
        writer.write("\r\n".join(lines).encode("latin-1"))

    return answer


def after(seconds: float) -> Manner:
    """A good answer, so much later."""

    async def answer(_heard: Heard, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        writer.write(GOOD)

    return answer


async def dripping(_heard: Heard, writer: asyncio.StreamWriter) -> None:
    """An answer that comes byte by byte, one a second, and never ends."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(1)
