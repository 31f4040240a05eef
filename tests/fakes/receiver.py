"""Somebody's endpoint for Standard Webhooks: checks each signature with the reference library, drops what
it has heard, and can be told to answer anything. In memory (`transport`) or on a real port (`listening`)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx2
from standardwebhooks import Webhook


@dataclass
class Heard:
    """One request that was taken: header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """`secret` None takes what is not signed. `answers` are given first, in order, then 204 for ever."""

    secret: str | None = None
    answers: list[httpx2.Response] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)

    @property
    def transport(self) -> httpx2.MockTransport:
        return httpx2.MockTransport(
            lambda request: self._take(
                Heard(
                    request.url.raw_path.decode(),
                    {name.lower(): value for name, value in request.headers.items()},
                    request.content,
                )
            )
        )

    @property
    def once(self) -> list[Heard]:
        """What a receiver acts on: the first request of each webhook-id."""
        return list({heard.headers["webhook-id"]: heard for heard in reversed(self.heard)}.values())[::-1]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """A real server on a free port of 127.0.0.1; gives its URL."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        try:
            yield f"http://{host}:{port}/hook"
        finally:
            server.close()

    def _take(self, heard: Heard) -> httpx2.Response:
        if self.secret is not None and not self._signed(heard):
            return httpx2.Response(401, json={"error": "bad signature"})
        self.heard.append(heard)
        return self.answers.pop(0) if self.answers else httpx2.Response(204)

    def _signed(self, heard: Heard) -> bool:
        assert self.secret is not None
        moment = datetime.fromtimestamp(int(heard.headers["webhook-timestamp"]), UTC)
        expected = Webhook(self.secret).sign(heard.headers["webhook-id"], moment, heard.body.decode())
        return expected in heard.headers.get("webhook-signature", "").split(" ")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {
                    name.strip().lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in head[1:])
                    if name
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                answer = self._take(Heard(head[0].split(" ")[1], headers, body))
                lines = [f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}"]
                lines += [f"{name}: {value}" for name, value in answer.headers.items()]
                lines += (
                    [] if "content-length" in answer.headers or answer.status_code == 204 else ["content-length: 0"]
                )
                writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + answer.content)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
