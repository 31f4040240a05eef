"""Part a: how fast an alert is taken in, safe on disk, against a bare route and against Alertmanager's memory."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

from bench import bodies, driving, fleet
from bench.figures import Chart, Figure, Part, median, percentile, ratios, sign
from bench.plan import Plan

CONNECTIONS = (1, 16, 64, 256)
MAIN = 64
BARE, TOCSIN, PEER = "bare Starlette", "Tocsin", "Alertmanager"
_DRAIN = 5.0
"""Lengths of the burst to wait, after it, for the last to be told."""

_TELLS_AFTER = "30s"
"""Alertmanager's own default: while the burst lasts it accepts and tells nothing."""


@dataclass(slots=True)
class _Seen:
    per_second: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    rest: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    refused: int = 0


class Accepting:
    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._ear = driving.Ear()
        self._port = 0
        self._seen: dict[tuple[str, int], _Seen] = {}
        self._lengths: list[float] = []
        self._driver = 0.0
        self._notes: list[str] = []

    async def run(self) -> Part:
        self._port = await self._ear.listen()
        names = [BARE, TOCSIN] + ([PEER] if fleet.find_alertmanager() else [])
        for number in range(self._plan.rounds):
            for connections in CONNECTIONS:
                for name in names:
                    await self._one(name, connections, number)
        self._ear.close()
        return self._part(names)

    def _start(self, name: str) -> AbstractAsyncContextManager[fleet.Running]:
        if name == BARE:
            return fleet.bare(self._folder)
        if name == TOCSIN:
            return fleet.tocsin(self._folder, self._port)
        return fleet.alertmanager(self._folder, self._port, _TELLS_AFTER)

    async def _one(self, name: str, connections: int, number: int) -> None:
        seconds = self._plan.burst if connections == MAIN else self._plan.short
        run = f"a{number}c{connections:03}"
        make = bodies.Alertmanager(run) if name == PEER else bodies.Sentry(run)
        self._ear.forget()
        async with self._start(name) as one:
            rest, before = one.process.memory_mib, one.process.cpu_seconds
            tally = await driving.burst(one.port, connections, seconds, make)
            spent, after = one.process.cpu_seconds - before, one.process.memory_mib
            if name == TOCSIN and connections == MAIN:
                await self._drain(tally, number)
        self._driver = max(self._driver, tally.cpu)
        seen = self._seen.setdefault((name, connections), _Seen())
        seen.per_second.append(tally.per_second)
        seen.cpu.append(1e6 * spent / max(len(tally.waits), 1))
        seen.p50.append(1e3 * percentile(tally.waits, 0.5))
        seen.p99.append(1e3 * percentile(tally.waits, 0.99))
        seen.rest.append(rest)
        seen.after.append(after)
        seen.refused += tally.refused
        print(
            f"  {name:15} {connections:4} connections {tally.per_second:9,.0f}/s  {seen.cpu[-1]:5.0f} µs CPU"
            f"  p50 {seen.p50[-1]:6.1f}  p99 {seen.p99[-1]:6.1f} ms  {rest:.0f} → {after:.0f} MiB",
            flush=True,
        )

    async def _drain(self, tally: driving.Burst, number: int) -> None:
        """How many times the length of the burst it took until the last of it was told."""
        accepted = len(tally.waits) - tally.refused
        decided, told = fleet.decided(self._folder), len(self._ear.heard)
        started = time.perf_counter()
        most = _DRAIN * tally.seconds
        while len(self._ear.heard) < accepted and time.perf_counter() - started < most:  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # what arrives is counted by a protocol
        self._lengths.append((tally.seconds + time.perf_counter() - started) / tally.seconds)
        left = accepted - len(self._ear.heard)
        ending = f"all told after {self._lengths[-1]:.1f} × the burst"
        if left > 0:
            ending = f"{left:,} not yet told after {self._lengths[-1]:.1f} × the burst, when the bench stopped waiting"
        note = (
            f"Round {number + 1}, {MAIN} connections: {accepted:,} accepted in {tally.seconds:.1f} s; by then"
            f" {decided:,} decided and {told:,} told; {ending}."
        )
        self._notes.append(note)
        print(f"    {note}", flush=True)

    def _part(self, names: list[str]) -> Part:
        main = {name: self._seen[name, MAIN].per_second for name in names}
        peer = ratios(main[TOCSIN], main.get(PEER, []))
        without = "" if peer else "prometheus-alertmanager is not installed"
        rows = []
        for connections in CONNECTIONS:
            for name in names:
                seen = self._seen[name, connections]
                low, high = min(seen.per_second), max(seen.per_second)
                rows.append([
                    str(connections), name, f"{median(seen.per_second):,.0f}", f"{low:,.0f} to {high:,.0f}",
                    sign(median(seen.cpu)), sign(median(seen.p50)), sign(median(seen.p99)),
                    f"{median(seen.rest):.0f} → {median(seen.after):.0f}", str(seen.refused),
                ])  # fmt: skip
        return Part(
            "a. Accepting",
            how=(
                f"Closed loop: each connection posts the next alert when its last was answered. {self._plan.burst:g} s"
                f" at {MAIN} connections, {self._plan.short:g} s at the others, each on a fresh server and store."
                " Tocsin verifies the signature and answers once the event is on disk (`synchronous = FULL`), and"
                " decides and tells meanwhile; Alertmanager keeps all in memory and tells nothing before its"
                f" `group_wait` of {_TELLS_AFTER}; the bare route reads and answers."
            ),
            head=[
                "connections",
                "server",
                "accepted/s",
                "lowest to highest",
                "CPU µs/request",
                "p50 ms",
                "p99 ms",
                "memory MiB",
                "refused",
            ],
            rows=rows,
            figures=[
                Figure(
                    f"durable accept, {MAIN} connections, of bare Starlette",
                    "×",
                    0.36,
                    0.50,
                    ratios(main[TOCSIN], main[BARE]),
                    at_least=True,
                ),
                Figure("the burst's backlog decided and told, burst's length times", "×", 5, 2, self._lengths),
                Figure(
                    f"durable accept, {MAIN} connections, of Alertmanager's in memory",
                    "×",
                    0.9,
                    1.3,
                    peer,
                    at_least=True,
                    because=without,
                ),
            ],
            notes=[
                *self._notes,
                f"The driver used at most {100 * self._driver:.0f} % of its core"
                + (": there, it and not the server may be what was measured." if self._driver > 0.9 else "."),
            ],
            charts=[
                Chart(
                    "accept.svg",
                    "lines",
                    "Alerts accepted a second, by connections",
                    "connections",
                    "accepted/s",
                    list(CONNECTIONS),
                    {name: [median(self._seen[name, at].per_second) for at in CONNECTIONS] for name in names},
                    log=True,
                )
            ],
        )
