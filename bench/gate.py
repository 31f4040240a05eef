"""`make bench ARGS=--gate`: a few figures in a few minutes, so that a change which slows things does not land.

Fails where a ratio falls short of what must hold, or an absolute time is over twice its figure.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench import deciding, load, server
from bench.figures import percentile

CONNECTIONS = 64
MOST_DRAIN_SECONDS = 120.0
BARE_PORT, GATEWAY_PORT, RECEIVER_PORT = 18_480, 18_481, 18_482


@dataclass(frozen=True, slots=True)
class Figure:
    """One promise: at least (or at most) `hold`, as seen in each round. A ratio gates; a time at twice `hold`."""

    name: str
    unit: str
    hold: float
    seen: tuple[float, ...]
    at_least: bool = False
    gates_at: float = 0.0

    @property
    def median(self) -> float:
        return statistics.median(self.seen)

    @property
    def good(self) -> bool:
        return self.median >= self.hold if self.at_least else self.median <= self.hold

    @property
    def fails(self) -> bool:
        return not self.good if self.at_least else self.median > self.gates_at


class Bench:
    def __init__(self, folder: Path, rounds: int, seconds: float) -> None:
        self._folder = folder
        self._rounds = rounds
        self._seconds = seconds
        self._arrived: dict[str, float] = {}
        self._messages = 0

    async def run(self) -> list[Figure]:
        loop = asyncio.get_running_loop()
        receiver = await loop.create_server(lambda: load.Receiver(self._note), "127.0.0.1", RECEIVER_PORT)
        ratios, starts, memories = [], [], []
        accepts: list[float] = []
        delivers: list[float] = []
        for number in range(self._rounds):
            per_second = await self._bare(number)
            figures = await self._burst(number, per_second)
            ratios.append(figures[0])
            starts.append(figures[1])
            memories.append(figures[2])
        for number in range(self._rounds):
            accept, deliver = await self._latency(number)
            accepts.append(accept)
            delivers.append(deliver)
        receiver.close()
        crowded, routed, late = await deciding.ratios(self._rounds)
        return [
            # What is promised stands in bench/accepting.py and is missed so far: this keeps it from getting worse.
            Figure("durable accept of bare Starlette", "×", 0.2, tuple(ratios), at_least=True),
            Figure("202 p99 at 100/s", "ms", 25, tuple(accepts), gates_at=50),
            Figure("POST to receiver p99 at 100/s", "ms", 50, tuple(delivers), gates_at=100),
            Figure("start to first 202", "s", 1.5, tuple(starts), gates_at=3.0),
            Figure("memory at rest", "MiB", 90, tuple(memories), gates_at=180),
            Figure("deciding, 10,000 open to 10", "×", 1.5, tuple(crowded), gates_at=1.5),
            Figure("deciding, 500 routes to 10", "×", 1.5, tuple(routed), gates_at=1.5),
            Figure("timers late, 100,000 armed", "ms", 1_000, tuple(late), gates_at=2_000),
        ]

    async def _bare(self, number: int) -> float:
        process = server.bare(BARE_PORT, self._folder)
        try:
            await server.first_202(BARE_PORT, process)
            before = process.cpu_seconds
            tally, seconds = await load.burst(BARE_PORT, CONNECTIONS, self._seconds / 2, f"b{number}-")
            spent = process.cpu_seconds - before
        finally:
            process.stop()
        per_second = tally.accepted / seconds
        print(f"  bare Starlette     {per_second:8,.0f}/s  {1e6 * spent / tally.accepted:5.0f} µs CPU a request")
        return per_second

    async def _burst(self, number: int, bare: float) -> tuple[float, float, float]:
        process = server.gateway(GATEWAY_PORT, RECEIVER_PORT, self._folder)
        try:
            start = await server.first_202(GATEWAY_PORT, process)
            await asyncio.sleep(1.0)
            memory = process.memory_mib
            before = process.cpu_seconds
            told = self._messages
            tally, seconds = await load.burst(GATEWAY_PORT, CONNECTIONS, self._seconds, f"g{number}-")
            spent = process.cpu_seconds - before
            decided, waiting = self._decided()
            told_in_burst = self._messages - told
            drain = await self._drain(told + tally.accepted)
            after = process.memory_mib
        finally:
            process.stop()
        others = {status: count for status, count in tally.statuses.items() if status != 202}
        per_second = tally.accepted / seconds
        waits = sorted(tally.waits)
        print(
            f"  gateway, durable   {per_second:8,.0f}/s  {1e6 * spent / tally.accepted:5.0f} µs CPU a request"
            f"  p50 {1e3 * waits[len(waits) // 2]:.1f} ms  p99 {1e3 * percentile(waits, 0.99):.1f} ms"
            f"  ratio {per_second / bare:.3f}" + (f"  other answers {others}" if others else "")
        )
        print(
            f"    in the burst {decided:,} decided and {told_in_burst:,} told, {waiting:,} waiting at its end;"
            f" all told after another {drain:.1f} s ({(seconds + drain) / seconds:.1f} × the burst);"
            f" memory {memory:.0f} → {after:.0f} MiB"
        )
        return per_second / bare, start, memory

    async def _latency(self, number: int) -> tuple[float, float]:
        process = server.gateway(GATEWAY_PORT, RECEIVER_PORT, self._folder)
        sent_at: dict[str, float] = {}
        self._arrived.clear()
        run = f"l{number}-"
        try:
            await server.first_202(GATEWAY_PORT, process)
            await load.steady(GATEWAY_PORT, 100, 2, f"w{number}-", {})
            tally = await load.steady(GATEWAY_PORT, 100, self._seconds, run, sent_at)
        finally:
            process.stop()
        told = sorted(self._arrived[key] - at for key, at in sent_at.items() if key in self._arrived)
        waits = sorted(tally.waits)
        if len(told) < len(sent_at):
            print(f"    {len(sent_at) - len(told)} of {len(sent_at)} did not arrive in time")
        accept, deliver = (1e3 * percentile(numbers, 0.99) for numbers in (waits, told))
        print(
            f"  100/s              202 p50 {1e3 * waits[len(waits) // 2]:.1f} p99 {accept:.1f} ms;"
            f" to the receiver p50 {1e3 * told[len(told) // 2]:.1f} p99 {deliver:.1f} ms"
        )
        return accept, deliver

    def _note(self, body: bytes) -> None:
        self._messages += 1
        if b"sentry:issue:l" in body:
            key = json.loads(body)["incident"]["fingerprint"].removeprefix("sentry:issue:")
            self._arrived.setdefault(key, time.perf_counter())

    def _decided(self) -> tuple[int, int]:
        connection = sqlite3.connect(f"file:{self._folder / 'bench.db'}?mode=ro", uri=True)
        counts = dict(connection.execute("SELECT state, count(*) FROM events GROUP BY state").fetchall())
        connection.close()
        return counts.get("done", 0), counts.get("waiting", 0)

    async def _drain(self, wanted: int) -> float:
        started = time.perf_counter()
        while self._messages < wanted and time.perf_counter() - started < MOST_DRAIN_SECONDS:  # noqa: ASYNC110
            await asyncio.sleep(0.2)  # what arrives is counted by a protocol
        if self._messages < wanted:
            print(f"    {wanted - self._messages:,} messages had not arrived when the bench stopped waiting")
        return time.perf_counter() - started


def run(rounds: int, seconds: float) -> int:
    """The exit code: 1 where a figure fails. Nothing is written."""
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        figures = uvloop.run(Bench(Path(folder), rounds, seconds).run())
    print(f"\n{'figure':36} {'hold':>10} {'median':>10}   each round")
    for figure in figures:
        sign = "≥" if figure.at_least else "≤"
        each = " ".join(f"{value:.3g}" for value in figure.seen)
        verdict = "" if figure.good else "   MISSED"
        print(f"{figure.name:36} {sign} {figure.hold:6g} {figure.unit:2} {figure.median:9.3g}   {each}{verdict}")
    return 1 if any(figure.fails for figure in figures) else 0
