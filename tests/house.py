"""A whole gateway inside the test: a Service on a temporary SQLite file, its routing.yaml written out, and an HTTP
client that speaks to its application without a network. Channels that need a vendor point at a fake's port."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from gateway import config
from gateway.clock import now_ms
from gateway.model import Millis
from gateway.service import Options, Service
from gateway.telemetry import REGISTRY

TOKEN = "tkn-generic-0001"
SECRET = "sec-github-0001"
SENTRY_SECRET = "sec-sentry-0001"
HETRIX_TOKEN = "tkn-hetrix-0001"
GENERIC = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
HERE = "http://127.0.0.1:8080"

SOURCES = f"""\
  generic: {{adapter: generic, token: {TOKEN}}}
  github: {{adapter: github, secret: {SECRET}}}
  sentry: {{adapter: sentry, secret: {SENTRY_SECRET}}}
  hetrix: {{adapter: hetrixtools, token: {HETRIX_TOKEN}}}"""
ROUTING = f"""
sources:
{SOURCES}
channels:
  terminal: {{kind: screen}}
routes:
  - name: all
    match: {{}}
    to: [terminal]
"""


@dataclass
class Clock:
    """The wall clock, and how far a test has pushed it, in milliseconds."""

    ahead: Millis = 0

    def __call__(self) -> Millis:
        return now_ms() + self.ahead


@dataclass
class Running:
    """A gateway that serves. `client` speaks from this machine, as an administrator may."""

    service: Service
    app: Any
    client: httpx2.AsyncClient
    routing: Path
    database: Path
    clock: Clock
    _clients: list[httpx2.AsyncClient] = field(default_factory=list)

    def client_at(self, address: str, base: str = HERE, headers: Mapping[str, str] | None = None) -> httpx2.AsyncClient:
        """Somebody who speaks from another address."""
        client = client_of(self.app, address, base, headers)
        self._clients.append(client)
        return client

    async def post(self, source: str, body: Any, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        """POST to /webhooks/{source}: bytes as they are, anything else as JSON; by default with GENERIC headers."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.client.post(
            f"/webhooks/{source}", content=content, headers=GENERIC if headers is None else headers
        )

    async def alert(self, title: str = "Disk full", **rest: Any) -> str:
        """A generic alert that is taken. The event's id."""
        answer = await self.post("generic", {"title": title, **rest})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["event"])

    async def get(self, path: str, **query: Any) -> Any:
        """The JSON at a path under /api/v1, which must be there."""
        answer = await self.client.get(f"/api/v1/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def events(self, **query: Any) -> list[dict[str, Any]]:
        """Every event, newest first, the gateway's own left out."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = await self.get("events", limit=200, **query, **({"cursor": cursor} if cursor else {}))
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return [event for event in found if event["source"] != "gateway"]

    async def decided(self) -> None:
        """Until no event waits any more."""

        async def done() -> bool:
            return not (await self.get("events", state="waiting", limit=1))["items"]

        await until(done)

    async def told(self) -> None:
        """Until no event and no delivery waits any more."""

        async def done() -> bool:
            return not (await self.get("deliveries", state="waiting", limit=1))["items"]

        await self.decided()
        await until(done)

    @asynccontextmanager
    async def nobody_writes(self, how: str = "IMMEDIATE") -> AsyncIterator[None]:
        """While it lasts, somebody else holds the database's write lock."""
        # In a thread: the gateway may hold the lock at this moment, and needs this loop to let it go.
        other = sqlite3.connect(self.database, isolation_level=None, check_same_thread=False)
        try:
            await asyncio.to_thread(other.execute, f"BEGIN {how}")
            yield
        finally:
            other.close()

    def on_disk(self) -> bytes:
        """Every byte that the database's files hold at this moment."""
        return b"".join(path.read_bytes() for path in sorted(self.database.parent.glob(f"{self.database.name}*")))


@asynccontextmanager
async def running(
    folder: Path,
    routing: str = ROUTING,
    environ: Mapping[str, str] | None = None,
    clock: Clock | None = None,
    before: Callable[[Service], None] | None = None,
    url: str = "",
) -> AsyncIterator[Running]:
    """A gateway with this routing.yaml, on `folder/tocsin.db`: used again, it goes on where it stopped.

    `before` may look at the service before it starts. `url`: another database."""
    path, database, clock = folder / "routing.yaml", folder / "tocsin.db", clock or Clock()
    path.write_text(routing)
    environ = dict(environ or {})
    options = Options(path, url or f"sqlite:///{database}", "127.0.0.1", 8080, environ)
    service = Service(options, config.load(path, environ))
    service.pipeline.now = clock
    if before is not None:
        before(service)
    service.store.open()
    await service.start()
    app = service.app()
    house = Running(service, app, client_of(app), path, database, clock)
    try:
        yield house
    finally:
        for client in (house.client, *house._clients):
            await client.aclose()
        await service.stop()


def client_of(
    app: Any, address: str = "127.0.0.1", base: str = HERE, headers: Mapping[str, str] | None = None
) -> httpx2.AsyncClient:
    """A client of an application, speaking from this address. A fault of the application is the test's fault."""
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app, client=(address, 50_000)), base_url=base, headers=headers
    )


def counted(metric: str, **labels: str) -> float:
    """What a counter stands at; 0 before its first."""
    return REGISTRY.get_sample_value(metric, labels) or 0.0


async def until(done: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    """Wait until it is so; a test that waits for ever is a test that failed."""
    async with asyncio.timeout(seconds):
        while not await done():  # noqa: ASYNC110  (what is waited for is seen from outside)
            await asyncio.sleep(0.02)


def by_github(
    body: bytes, event: str = "push", delivery: str = "", secret: str = SECRET, **more: str
) -> dict[str, str]:
    """GitHub's headers for a body, signed."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    named = {"x-github-delivery": delivery} if delivery else {}
    return {
        "content-type": "application/json",
        "x-github-event": event,
        "x-hub-signature-256": f"sha256={digest}",
        **named,
        **more,
    }


def by_sentry(body: bytes, resource: str = "issue", secret: str = SENTRY_SECRET, **more: str) -> dict[str, str]:
    """Sentry's headers for a body, signed."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "content-type": "application/json",
        "sentry-hook-resource": resource,
        "sentry-hook-signature": digest,
        **more,
    }


def by_token(token: str = TOKEN, **more: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", "content-type": "application/json", **more}


@dataclass
class Program:
    """The real thing: `python -m gateway serve` in a process of its own, listening on a port of 127.0.0.1."""

    process: asyncio.subprocess.Process
    client: httpx2.AsyncClient
    port: int
    database: Path
    routing: Path
    _log: Path
    _printed: Path

    @property
    def log(self) -> str:
        """All that it has written to standard error."""
        return self._log.read_text("utf-8", "replace")

    @property
    def printed(self) -> str:
        """All that it has written to standard output."""
        return self._printed.read_text("utf-8", "replace")

    def on_disk(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.database.parent.glob(f"{self.database.name}*")))


@asynccontextmanager
async def program(
    folder: Path,
    routing: str = ROUTING,
    environ: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
) -> AsyncIterator[Program]:
    """Run the program until the block ends. `before` runs in the new process, before it is the gateway."""
    path, database = folder / "routing.yaml", folder / "tocsin.db"
    path.write_text(routing)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    wanted = ["serve", "--config", str(path), "--database", f"sqlite:///{database}", "--port", str(port)]
    log, printed = folder / "stderr.log", folder / "stdout.log"
    with log.open("wb") as stderr, printed.open("wb") as stdout:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", *wanted),
            cwd=Path(__file__).parent.parent,
            env={"PATH": os.environ["PATH"], **(environ or {})},
            stdout=stdout,
            stderr=stderr,
            preexec_fn=before,
        )
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:

        async def listens() -> bool:
            assert process.returncode is None, log.read_text()
            try:
                return (await client.get("/healthz")).status_code == 200
            except httpx2.TransportError:
                return False

        try:
            await until(listens, 20)
            yield Program(process, client, port, database, path, log, printed)
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), 15)
                except TimeoutError:
                    process.kill()
                    await process.wait()
