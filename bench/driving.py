"""The one driver for every server: closed loop, open loop, and a window of alerts that have not been told yet.

All of it is raw protocols on one loop and one core; `Ear` is the receiver that all of them tell.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.bodies import Make, found, mark
from bench.load import Receiver, Sender
from bench.server import LOAD_CORE

WINDOW = 512
"""Alerts posted and not yet told, at most, where the server sets the pace."""
CONNECTIONS = 64
LEEWAY = 10.0
"""Seconds that stragglers have after the last was sent."""
STALLED = 5.0
__all__ = ["LOAD_CORE", "Burst", "Ear", "Rate", "burst", "steady", "window"]


class Ear:
    """The receiver: when each mark was first heard, and how many messages came in all."""

    def __init__(self) -> None:
        self.messages = 0
        self.heard: dict[str, float] = {}
        self.on_new: Callable[[str], None] | None = None
        self._server: asyncio.Server | None = None

    async def listen(self) -> int:
        """The port it listens on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Receiver(self._hear), "127.0.0.1", 0, backlog=1024)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def forget(self) -> None:
        self.heard.clear()
        self.messages = 0
        self.on_new = None

    def _hear(self, body: bytes) -> None:
        self.messages += 1
        name = found(body)
        if name is None or name in self.heard:
            return
        self.heard[name] = time.perf_counter()
        if self.on_new is not None:
            self.on_new(name)


@dataclass(slots=True)
class Burst:
    """A closed loop: seconds it took, each answer's wait in seconds, and the answers that were no 2xx."""

    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)
    refused: int = 0
    cpu: float = 0.0
    """The share of its core that the driver itself used: near 1.0 it is the driver that was measured."""

    @property
    def per_second(self) -> float:
        return (len(self.waits) - self.refused) / self.seconds


@dataclass(slots=True)
class Rate:
    """An open loop: seconds from POST to receiver for each that was told, how many were not, and how late it left."""

    sent: int = 0
    told: list[float] = field(default_factory=list)
    lost: int = 0
    waits: list[float] = field(default_factory=list)
    refused: int = 0
    behind: list[float] = field(default_factory=list)
    in_time: int = 0
    """Told before the sending was over."""


async def burst(port: int, connections: int, seconds: float, make: Make) -> Burst:
    """Each connection posts its next alert when its last was answered."""
    loop = asyncio.get_running_loop()
    numbers = itertools.count()
    seen = Burst()
    over = loop.create_future()
    living = connections
    cpu, started = time.process_time(), time.perf_counter()

    def answered(sender: Sender, status: int, wait: float) -> None:
        nonlocal living
        seen.waits.append(wait)
        seen.refused += not 200 <= status < 300
        if time.perf_counter() - started < seconds:
            sender.send(make(next(numbers)))
            return
        sender.transport.close()
        living -= 1
        if living == 0 and not over.done():
            over.set_result(None)

    senders = [await _connect(port, answered) for _ in range(connections)]
    cpu, started = time.process_time(), time.perf_counter()
    for sender in senders:
        sender.send(make(next(numbers)))
    await asyncio.wait_for(over, seconds + 30)
    seen.seconds = time.perf_counter() - started
    seen.cpu = (time.process_time() - cpu) / seen.seconds
    return seen


async def steady(port: int, per_second: float, seconds: float, make: Make, run: str, ear: Ear) -> Rate:
    """Alerts leave on time whatever the answers do; `LEEWAY` after the last, what is not told counts as lost.

    A lost one has the wait it had by then, so that a percentile is not the better for it."""
    seen = Rate()
    free: list[Sender] = []
    made: list[Sender] = []
    sent_at: list[float] = []

    def answered(sender: Sender, status: int, wait: float) -> None:
        seen.waits.append(wait)
        seen.refused += not 200 <= status < 300
        free.append(sender)

    requests = [make(number) for number in range(int(per_second * seconds))]  # nothing is left to do while it runs
    started = time.perf_counter() + 0.01
    for number, request in enumerate(requests):
        due = started + number / per_second
        pause = due - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        elif number % 64 == 0:
            await asyncio.sleep(0)
        while free and free[-1].transport.is_closing():
            free.pop()
        if not free:
            free.append(await _connect(port, answered))
            made.append(free[-1])
        now = time.perf_counter()
        seen.behind.append(now - due)
        sent_at.append(now)
        free.pop().send(request)
    seen.sent = len(sent_at)
    end = time.perf_counter()
    names = [mark(run, number) for number in range(seen.sent)]
    while time.perf_counter() - end < LEEWAY and not all(map(ear.heard.__contains__, reversed(names))):  # noqa: ASYNC110
        await asyncio.sleep(0.1)  # what arrives is noted by a protocol
    now = time.perf_counter()
    for name, at in zip(names, sent_at, strict=True):
        arrived = ear.heard.get(name)
        seen.lost += arrived is None
        seen.in_time += arrived is not None and arrived <= end
        seen.told.append((now if arrived is None else arrived) - at)
    for sender in made:
        sender.transport.close()
    return seen


async def window(ports: list[int], make: Make, warm: float, seconds: float, ear: Ear) -> float:
    """Distinct alerts told a second, once warm, with never more than `WINDOW` that wait to be told."""
    numbers = itertools.count()
    idle: deque[Sender] = deque()
    outstanding, told, last = 0, 0, time.perf_counter()
    over = False

    def pump() -> None:
        nonlocal outstanding
        while idle and outstanding < WINDOW and not over:
            sender = idle.popleft()
            if not sender.transport.is_closing():  # else the server let go of one that was idle
                outstanding += 1
                sender.send(make(next(numbers)))

    def answered(sender: Sender, status: int, _wait: float) -> None:
        nonlocal outstanding
        outstanding -= not 200 <= status < 300
        idle.append(sender)
        pump()

    def new(_name: str) -> None:
        nonlocal outstanding, told, last
        outstanding, told, last = max(outstanding - 1, 0), told + 1, time.perf_counter()
        pump()

    ear.on_new = new

    async def tend(until: float) -> None:
        """Connections that were closed are opened again; what it has dropped frees its place."""
        nonlocal outstanding, last
        while (left := until - time.perf_counter()) > 0:
            for place, sender in enumerate(senders):
                if sender.transport.is_closing():
                    senders[place] = await _connect(ports[place % len(ports)], answered)
                    idle.append(senders[place])
            if time.perf_counter() - last > STALLED:
                outstanding, last = 0, time.perf_counter()
            pump()
            await asyncio.sleep(min(0.2, left))

    senders = [await _connect(ports[number % len(ports)], answered) for number in range(CONNECTIONS)]
    idle.extend(senders)
    await tend(time.perf_counter() + warm)
    before, started = told, time.perf_counter()
    await tend(started + seconds)
    rate = (told - before) / (time.perf_counter() - started)
    over, ear.on_new = True, None
    for sender in senders:
        sender.transport.close()
    return rate


async def _connect(port: int, answered: Callable[[Sender, int, float], None]) -> Sender:
    loop = asyncio.get_running_loop()
    return (await loop.create_connection(lambda: Sender(answered), "127.0.0.1", port))[1]
