"""The real thing: `python -m gateway serve` in a process of its own, to be killed, stopped and starved.

async with Gateway(tmp_path, ROUTING).running() as gateway:
    await gateway.post({"title": "disk"})
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import httpx2
import psycopg

ROOT = Path(__file__).parent.parent
TOKEN = "t0ken-of-scripts"
START_SECONDS = 20.0


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Gateway:
    """A gateway on one database (its own file, or what `url` names) and one port, started as often as a test likes."""

    def __init__(self, folder: Path, routing: str, url: str = "", **environ: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.config = folder / "routing.yaml"
        self.config.write_text(routing)
        self.database = folder / "tocsin.db"
        self.database_url = url or f"sqlite:///{self.database}"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = {**os.environ, "PYTHONPATH": str(ROOT), "TOKEN": TOKEN, **environ}
        self.process: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> str:
        """All that it has written to standard error."""
        return (self.folder / "stderr").read_text() if (self.folder / "stderr").exists() else ""

    @property
    def last_words(self) -> str:
        """The last line on standard error that is no log line."""
        return [line for line in self.log.splitlines() if not line.startswith("{")][-1]

    @property
    def screen(self) -> str:
        return (self.folder / "stdout").read_text()

    async def start(self, *more: str, wait: bool = True) -> None:
        arguments = ["-m", "gateway", "serve", "--config", str(self.config)]
        arguments += ["--database", self.database_url, "--port", str(self.port), *more]
        with (self.folder / "stderr").open("ab") as log, (self.folder / "stdout").open("ab") as screen:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, cwd=self.folder, env=self.environ, stdin=-3, stdout=screen, stderr=log
            )
        if wait:
            await self.until_it_answers()

    async def until_it_answers(self) -> None:
        assert self.process is not None
        async with asyncio.timeout(START_SECONDS), httpx2.AsyncClient(base_url=self.url, trust_env=False) as client:
            while True:
                assert self.process.returncode is None, self.log
                with suppress(httpx2.TransportError):
                    if (await client.get("/healthz")).status_code == 200:
                        return
                await asyncio.sleep(0.02)

    async def end(self, how: signal.Signals) -> int:
        """Send the signal and wait for the end; its exit code, negative for a signal."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(how)
        return await self.ended()

    async def ended(self) -> int:
        assert self.process is not None
        async with asyncio.timeout(START_SECONDS):
            return await self.process.wait()

    def starve(self, most: int | None) -> None:
        """No file may grow beyond so many bytes: a full disk. None takes that back."""
        assert self.process is not None
        limit = resource.RLIM_INFINITY if most is None else most
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    @asynccontextmanager
    async def running(self, *more: str) -> AsyncIterator[Gateway]:
        try:
            await self.start(*more)
            yield self
        finally:
            if self.process is not None:
                await self.end(signal.SIGKILL)

    def client(self, **named: Any) -> httpx2.AsyncClient:
        headers = {"authorization": f"Bearer {TOKEN}"}
        return httpx2.AsyncClient(base_url=self.url, headers=headers, trust_env=False, **named)

    async def get(self, path: str) -> Any:
        async with httpx2.AsyncClient(base_url=self.url, trust_env=False) as client:
            return (await client.get(path)).json()

    async def post(self, alert: Any, **headers: str) -> httpx2.Response:
        async with self.client() as client:
            return await client.post("/webhooks/scripts", content=json.dumps(alert), headers=headers)

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What the database says; a value is a question mark."""
        if self.database_url.startswith("postgresql:"):
            with psycopg.connect(self.database_url, autocommit=True) as session:
                return session.execute(query.replace("?", "%s"), values).fetchall()  # type: ignore[arg-type]
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=5)) as connection:
            return connection.execute(query, values).fetchall()

    def do(self, *statements: str) -> None:
        """Say this to PostgreSQL."""
        with psycopg.connect(self.database_url, autocommit=True) as session:
            for statement in statements:
                session.execute(statement)  # type: ignore[arg-type]
