"""One play of one fault: a folder, a store of the engine asked for, gateways in processes, and a receiver."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

from chaos.load import TOKEN, Line, Load
from chaos.needs import ROOT
from chaos.receiver import Receiver
from chaos.registry import Engine, Outcome
from tests.postgres import Cluster
from tests.process import free_port

START_SECONDS: Final = 60.0
ROUTING: Final = """
sources:
  scripts: {adapter: generic, token: "${TOKEN}"}
channels:
  team: {kind: webhook, url: "${RECEIVER}/team", pace: none}
routes:
  - {name: all, to: [team]}
"""


class Store:
    """What is on disk, asked from outside."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def path(self) -> Path:
        return Path(self.url.removeprefix("sqlite:///"))

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        if self.url.startswith("sqlite:"):
            with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=10)) as connection:
                return connection.execute(query).fetchall()
        import psycopg

        with psycopg.connect(self.url, autocommit=True, connect_timeout=10) as other:
            return other.execute(query).fetchall()  # type: ignore[arg-type]

    def count(self, query: str) -> int:
        return int(self.sql(f"SELECT count(*) FROM {query}")[0][0])  # noqa: S608

    def events(self) -> set[str]:
        return {str(id_) for (id_,) in self.sql("SELECT id FROM events")}

    def unfinished(self) -> int:
        """Events not decided and promises not kept."""
        return self.count("events WHERE state = 'waiting'") + self.count("deliveries WHERE state = 'waiting'")

    def leases(self) -> set[tuple[str, int]]:
        """What is in somebody's hands: the delivery, and the token of that claim."""
        return self.claims("lease_until > 1")

    def claims(self, where: str = "true") -> set[tuple[str, int]]:
        """What is promised still: the delivery, and the token of its last claim."""
        rows = self.sql(f"SELECT id, token FROM deliveries WHERE state = 'waiting' AND {where}")  # noqa: S608
        return {(id_, token) for id_, token in rows}

    def end_leases(self, held: Collection[tuple[str, int]] | None = None) -> int:
        """Of PostgreSQL, by hand, for what would take half a minute each: these claims' or all. How many there were."""
        import psycopg

        claim = "state = 'waiting' AND lease_until > 1 AND id = %s AND token = %s"
        ended = f"UPDATE deliveries SET lease_until = 1 WHERE {claim}"  # noqa: S608
        with psycopg.connect(self.url) as session:
            return sum(session.execute(ended, one).rowcount for one in (self.leases() if held is None else held))

    def whole(self) -> bool:
        return not self.url.startswith("sqlite:") or self.sql("PRAGMA integrity_check") == [("ok",)]


class Gateway:
    """One gateway on a port of its own, started as often as a test likes. `environ` is added to this one's."""

    def __init__(self, folder: Path, database: str, name: str = "a", **environ: str) -> None:
        self.folder = folder
        self.database = database
        self.name = name
        self.port = free_port()
        self.module = "gateway"
        self.prefix: tuple[str, ...] = ()
        self.environ = {**os.environ, "PYTHONPATH": str(ROOT), "TOKEN": TOKEN, **environ}
        self.process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        path = self.folder / f"{self.name}.stderr"
        return path.read_text(errors="replace") if path.exists() else ""

    async def start(self, *, wait: bool = True) -> None:
        arguments = ["-m", self.module, "serve", "--config", str(self.folder / "routing.yaml")]
        arguments += ["--database", self.database, "--port", str(self.port), "--log-level", "warning"]
        with (self.folder / f"{self.name}.stderr").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.prefix,
                sys.executable,
                *arguments,
                cwd=self.folder,
                env=self.environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
            )
        if wait:
            await self.answers()

    async def answers(self, seconds: float = START_SECONDS) -> None:
        """Wait until it answers. Raises AssertionError with its last words where it has ended instead."""
        async with asyncio.timeout(seconds):
            while await self.status("/healthz") != 200:
                assert self.process is not None
                assert self.process.returncode is None, self.log[-2_000:]
                await asyncio.sleep(0.03)

    async def end(self, how: signal.Signals) -> int:
        """Send the signal and wait for the end; its exit code, negative for a signal."""
        assert self.process is not None
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(how)
        return await self.ended()

    async def ended(self, seconds: float = START_SECONDS) -> int:
        assert self.process is not None
        async with asyncio.timeout(seconds):
            return await self.process.wait()

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def status(self, path: str) -> int:
        """0 where nobody answers."""
        line = Line(self.port)
        answer = await line.ask(f"GET {path} HTTP/1.1\r\n")
        line.close()
        return 0 if answer is None else answer[0]

    async def get(self, path: str) -> Any:
        line = Line(self.port)
        answer = await line.ask(f"GET {path} HTTP/1.1\r\n")
        line.close()
        assert answer is not None, path
        return json.loads(answer[2])

    async def act(self, path: str) -> int:
        line = Line(self.port)
        answer = await line.ask(f"POST {path} HTTP/1.1\r\ncontent-type: application/json\r\n", b"{}")
        line.close()
        return 0 if answer is None else answer[0]

    async def post(self, alert: Any, key: str = "") -> tuple[int, dict[str, str], Any]:
        """(status, headers, JSON); status 0 where no answer came."""
        line = Line(self.port)
        answer = await line.post(alert, key)
        line.close()
        return (0, {}, None) if answer is None else answer

    async def ahead(self) -> float:
        """By how many seconds its wall clock is before ours, give or take one: the Date of its answers tells."""
        line = Line(self.port)
        answer = await line.ask("GET /healthz HTTP/1.1\r\n")
        line.close()
        assert answer is not None
        return parsedate_to_datetime(answer[1]["date"]).timestamp() - time.time()

    async def metric(self, name: str) -> float:
        """The sum over all labels; 0 where there is none."""
        line = Line(self.port)
        answer = await line.ask("GET /metrics HTTP/1.1\r\n")
        line.close()
        assert answer is not None
        found = [one for one in answer[2].decode().splitlines() if one.startswith((name + " ", name + "{"))]
        return sum(float(one.rpartition(" ")[2]) for one in found)

    @property
    def memory_mib(self) -> float:
        line = next(one for one in Path(f"/proc/{self.pid}/status").read_text().splitlines() if one.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    @property
    def files(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


@dataclass
class House:
    """Gateways on one store, and who hears them."""

    folder: Path
    store: Store
    receiver: Receiver
    gateways: list[Gateway] = field(default_factory=list)

    @property
    def gateway(self) -> Gateway:
        return self.gateways[0]

    @property
    def ports(self) -> list[int]:
        return [gateway.port for gateway in self.gateways]

    async def judge(self, load: Load, path: str = "/team", seconds: float = 90.0) -> Verdict:
        """Wait for the drain (or so many seconds), and hold what was accepted against store and receiver."""
        names = set(load.accepted)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.store.unfinished() == 0 and names <= self.receiver.told(path):
                break
            await asyncio.sleep(0.3)
        lost = set(load.accepted.values()) - self.store.events()
        untold = names - self.receiver.told(path)
        unfinished = self.store.unfinished()
        return Verdict(
            len(names),
            len(lost),
            len(untold),
            unfinished,
            len(self.receiver.heard),
            self.receiver.extra,
            self.store.whole(),
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    accepted: int
    lost: int
    untold: int
    unfinished: int
    heard: int
    extra: int
    whole: bool

    @property
    def nothing_lost(self) -> bool:
        return self.accepted > 0 and self.whole and not (self.lost or self.untold or self.unfinished)

    @property
    def share(self) -> float:
        return self.extra / max(self.heard, 1)

    def __str__(self) -> str:
        damaged = "" if self.whole else ", DAMAGED"
        undone = f", {self.unfinished} undone" if self.unfinished else ""
        return (
            f"{self.accepted:,} accepted, {self.lost} lost, {self.untold} untold{undone}, "
            f"{self.extra} extra ({self.share:.2%}){damaged}"
        )

    def outcome(self, before: str = "", *, extra: float = 1.0, note: str = "") -> Outcome:
        """Held where nothing is lost and at most this share of the messages came twice."""
        return Outcome(self.nothing_lost and self.share <= extra, before + str(self), note)


@dataclass
class Run:
    """`ci`: the short part. `share`: of the repetitions that the whole figure asks for."""

    engine: Engine
    folder: Path
    ci: bool = False
    share: float = 1.0
    cluster: Callable[[], Cluster] | None = None

    def many(self, whole: int, ci: int) -> int:
        """How often to do it: what the figure asks for, or less where less is asked of us."""
        return ci if self.ci else max(round(whole * self.share), min(ci, whole))

    def whole(self, number: int, ci: int) -> int:
        """Seconds or times that decide the figure: all of them whatever the share, and less only in the short part."""
        return ci if self.ci else number

    def until(self, minutes: float) -> Callable[[], bool]:
        """Whether it is time to end what is repeated, lest others find no time: after the share of these minutes."""
        ends = time.monotonic() + 60 * minutes * self.share
        return lambda: time.monotonic() > ends

    def database(self, name: str = "tocsin") -> str:
        if self.engine == "sqlite":
            return f"sqlite:///{self.folder / name}.db"
        assert self.cluster is not None
        return self.cluster().fresh()

    @asynccontextmanager
    async def house(
        self, *, replicas: int = 1, routing: str = ROUTING, database: str = "", start: bool = True, **environ: str
    ) -> AsyncIterator[House]:
        """A receiver and so many gateways on one store. Whatever is left of them is killed at the end."""
        receiver = Receiver()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "routing.yaml").write_text(routing)
        database = database or self.database()
        async with receiver.listening() as url:
            gateways = [
                Gateway(self.folder, database, "abcdefgh"[number], RECEIVER=url, **environ)
                for number in range(replicas)
            ]
            house = House(self.folder, Store(database), receiver, gateways)
            try:
                if start:
                    for gateway in gateways:
                        await gateway.start()
                yield house
            finally:
                for gateway in gateways:
                    if gateway.alive:
                        with suppress(ProcessLookupError):
                            gateway.process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
                        await gateway.end(signal.SIGKILL)


async def until(done: Callable[[], object | Awaitable[object]], seconds: float, pause: float = 0.02) -> float:
    """Wait until it is true; how many seconds that took. Raises TimeoutError."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while True:
            answer = done()
            if await answer if isinstance(answer, Awaitable) else answer:
                return time.monotonic() - began
            await asyncio.sleep(pause)


async def took(done: Callable[[], object | Awaitable[object]], seconds: float, pause: float = 0.02) -> float:
    """As `until`, and infinity where it did not come."""
    try:
        return await until(done, seconds, pause)
    except TimeoutError:
        return float("inf")


def traces(gateways: Sequence[Gateway]) -> int:
    """How many tracebacks stand in their logs."""
    return sum(gateway.log.count("Traceback (most recent call last)") for gateway in gateways)


def silence() -> None:
    """What runs in this very process logs nothing: it would hide the table."""
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
