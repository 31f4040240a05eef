"""kill -9 under load: what was accepted is there, and is told. SIGTERM: nothing is lost, and nothing is said twice.

Figures are printed: pytest -s tests/test_crash.py
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fakes.receiver import Receiver
from tests.process import TOKEN, Gateway
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
PAUSE_SECONDS = 0.08
"""Of each connection between two posts, so that telling keeps up with accepting: 90 alerts a second in all."""
KILLS = 10
STOPS = 5
BETWEEN = 200
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
        line = Line(self._gateway.port)
        while not self.stopped.is_set():
            name = f"disk {next(self._numbers)}"
            while name not in self.accepted:
                await asyncio.sleep(PAUSE_SECONDS)
                answer = await line.post({"title": name, "fingerprint": name, "severity": "critical"}, key=name)
                if answer is not None:
                    self.accepted[name] = answer["event"]
        line.close()


class Line:
    """One connection, kept; a light one, so that what is measured is the gateway."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, alert: Any, key: str) -> Any:
        """The answer where it is a 202; None where it is another, or none came."""
        body = json.dumps(alert).encode()
        head = (
            f"POST /webhooks/scripts HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n"
            f"idempotency-key: {key}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(15):
                if self._streams is None:
                    self._streams = await asyncio.open_connection("127.0.0.1", self._port)
                reader, writer = self._streams
                writer.write(head.encode() + body)
                answered = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(answered.split(b"content-length: ")[1].split(b"\r\n")[0])
                answer = json.loads(await reader.readexactly(length))
        except (OSError, asyncio.IncompleteReadError):  # a timeout is an OSError
            self.close()
            return None
        return answer if b" 202 " in answered else None

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def test_killed_ten_times_under_load_it_loses_nothing_and_hardly_repeats_itself(tmp_path: Path) -> None:
    receiver = Receiver()
    started = time.monotonic()
    async with receiver.listening() as url, Gateway(tmp_path, ROUTING.format(url=url)).running() as gateway:
        senders = Senders(gateway)
        sending = asyncio.create_task(senders.send())
        for _ in range(KILLS):
            told = len(receiver.heard)
            await asyncio.sleep(3 + random.random() * 0.5)
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
