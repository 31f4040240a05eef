"""kill -9 under load: what was accepted is there, and is told. SIGTERM: nothing is lost, and nothing is said twice.

Figures are printed: pytest -s tests/test_crash.py
"""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import time
from collections import Counter
from pathlib import Path

import httpx2

from tests.fakes.receiver import Receiver
from tests.process import Gateway
from tests.stage import until

ROUTING = """
sources:
  scripts: {{adapter: generic, token: "${{TOKEN}}"}}
channels:
  team: {{kind: webhook, url: "{url}", pace: none}}
routes:
  - {{name: all, to: [team]}}
"""
CONNECTIONS = 8
PAUSE_SECONDS = 0.03
"""Of each connection between two posts, so that telling keeps up with accepting: 200 alerts a second in all."""
KILLS = 10
STOPS = 5
BETWEEN = 250
"""Messages told between one start and the next kill, at the least."""


class Senders:
    """So many connections that post without a pause; what is not answered is posted again under the same key."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._numbers = itertools.count()
        self.accepted: dict[str, str] = {}
        self.stopped = asyncio.Event()

    async def send(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(self._send())

    async def _send(self) -> None:
        async with self._gateway.client(timeout=15) as client:
            while not self.stopped.is_set():
                name = f"disk {next(self._numbers)}"
                while name not in self.accepted:
                    await asyncio.sleep(PAUSE_SECONDS)
                    event = await self._post(client, name)
                    if event is not None:
                        self.accepted[name] = event

    async def _post(self, client: httpx2.AsyncClient, name: str) -> str | None:
        alert = {"title": name, "fingerprint": name, "severity": "critical"}
        try:
            answer = await client.post("/webhooks/scripts", json=alert, headers={"idempotency-key": name})
        except httpx2.TransportError:
            return None
        return str(answer.json()["event"]) if answer.status_code == 202 else None


async def test_killed_ten_times_under_load_it_loses_nothing_and_hardly_repeats_itself(tmp_path: Path) -> None:
    receiver = Receiver()
    started = time.monotonic()
    async with receiver.listening() as url, Gateway(tmp_path, ROUTING.format(url=url)).running() as gateway:
        senders = Senders(gateway)
        sending = asyncio.create_task(senders.send())
        for _ in range(KILLS):
            told = len(receiver.heard)
            await asyncio.sleep(2 + random.random() * 0.5)
            await until(lambda told=told: len(receiver.heard) >= told + BETWEEN, 15)
            assert await gateway.end(signal.SIGKILL) == -signal.SIGKILL
            await gateway.start("--log-level", "error")
        senders.stopped.set()
        await sending
        all_told = set(senders.accepted)
        await until(lambda: all_told <= {heard.document["incident"]["fingerprint"] for heard in receiver.heard}, 20)
        await until(lambda: not gateway.sql("SELECT 1 FROM deliveries WHERE state != 'said'"))
        lost = lost_events(gateway, senders)
        assert gateway.sql("PRAGMA integrity_check") == [("ok",)]
        waiting = gateway.sql("SELECT count(*) FROM events WHERE state != 'done'")
    extra = extra_messages(receiver)
    share = extra / len(receiver.heard)
    print(  # noqa: T201
        f"\n{KILLS} kills: {len(senders.accepted)} accepted, {len(lost)} lost, {len(receiver.heard)} messages, "
        f"{extra} extra ({share:.2%}), {time.monotonic() - started:.0f} s"
    )
    assert (lost, waiting) == (set(), [(0,)])
    assert share <= 0.01


async def test_stopped_five_times_under_load_it_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    receiver = Receiver()
    tooks: list[float] = []
    async with receiver.listening() as url, Gateway(tmp_path, ROUTING.format(url=url)).running() as gateway:
        senders = Senders(gateway)
        sending = asyncio.create_task(senders.send())
        for _ in range(STOPS):
            told = len(receiver.heard)
            await asyncio.sleep(random.random() * 0.5)
            await until(lambda told=told: len(receiver.heard) >= told + 100, 15)
            stopping = time.monotonic()
            await gateway.end(signal.SIGTERM)
            tooks.append(time.monotonic() - stopping)
            await gateway.start("--log-level", "error")
        senders.stopped.set()
        await sending
        await until(lambda: not gateway.sql("SELECT 1 FROM events WHERE state = 'waiting'"), 20)
        await until(lambda: not gateway.sql("SELECT 1 FROM deliveries WHERE state != 'said'"), 20)
        lost = lost_events(gateway, senders)
    told_of = {heard.document["incident"]["fingerprint"] for heard in receiver.heard}
    print(  # noqa: T201
        f"\n{STOPS} stops: {len(senders.accepted)} accepted, {len(lost)} lost, {len(receiver.heard)} messages, "
        f"{extra_messages(receiver)} extra, at most {max(tooks):.2f} s"
    )
    assert lost == set()
    assert set(senders.accepted) <= told_of
    assert extra_messages(receiver) == 0
    assert max(tooks) < 10


def lost_events(gateway: Gateway, senders: Senders) -> set[str]:
    """The events that were answered with 202 and are not in the database."""
    return set(senders.accepted.values()) - {id_ for (id_,) in gateway.sql("SELECT id FROM events")}


def extra_messages(receiver: Receiver) -> int:
    """How often something was said again: the same incident at the same revision."""
    said = Counter((heard.document["incident"]["id"], heard.document["change"]["revision"]) for heard in receiver.heard)
    return sum(times - 1 for times in said.values())
