"""What deciding costs, by how many incidents are open and how many routes the file has; and how late timers ring.

The real pipeline over a real store, without a network: what is measured is reading, folding, planning, promising and
writing down why.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.clock import new_id, now_ms
from gateway.contracts import Keep
from gateway.model import Event, Timer
from gateway.pipeline import Pipeline
from gateway.plugins import adapters
from gateway.rules.deciding import Rules
from gateway.rules.routing import RouteSettings, Routing
from gateway.store.safe import Ledger, Safe
from gateway.telemetry import hush

EVENTS = 640
ARMED = 100_000
RINGING = 200
RING_SECONDS = 4.0


async def ratios(rounds: int) -> tuple[list[float], list[float], list[float]]:
    """(10,000 open incidents to 10, 500 routes to 10, the worst lateness of a timer in ms), each of every round."""
    hush()
    crowded, routed, late = [], [], []
    for number in range(rounds):
        few = await _cost(open_=10, routes=10)
        crowded.append(await _cost(open_=10_000, routes=10) / few)
        routed.append(await _cost(open_=10, routes=500) / few)
        late.append(await _lateness())
        print(
            f"  deciding           {1e6 * few:5.0f} µs an event; 10,000 open {crowded[number]:.2f} ×,"
            f" 500 routes {routed[number]:.2f} ×; timers at most {late[number]:.0f} ms late"
        )
    return crowded, routed, late


def rules(routes: int) -> Rules:
    """So many routes of which the last one takes everything; the others ask for a service and a severity."""
    asking = [
        {"name": f"team {n}", "match": {"service": f"svc-{n}-*", "severity": ">=error"}, "to": ["out"]}
        for n in range(routes - 1)
    ]
    read = tuple(RouteSettings.model_validate(route) for route in [*asking, {"name": "all", "to": ["out"]}])
    return Rules(Routing(read, configuration=f"{routes} routes"))


@asynccontextmanager
async def _pipeline(routes: int) -> AsyncIterator[Pipeline]:
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        store = Safe(f"sqlite:///{folder}/deciding.db")
        store.open()
        writing = asyncio.create_task(store.writer.serve())
        try:
            yield Pipeline(store, adapters(), rules(routes), now_ms, new_id, random.random)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            await store.close()


async def _cost(open_: int, routes: int) -> float:
    """Seconds an event, the median of batches of 64."""
    async with _pipeline(routes) as pipeline:
        await _post(pipeline, open_, "open")
        while (await pipeline.process(64)).events:
            pass
        await _post(pipeline, EVENTS, "new")
        batches = []
        while True:
            started = time.perf_counter()
            done = await pipeline.process(64)
            if not done.events:
                return statistics.median(batches)
            batches.append((time.perf_counter() - started) / done.events)


async def _post(pipeline: Pipeline, many: int, name: str) -> None:
    async def one(number: int) -> None:
        alert = {"title": f"{name} {number}", "service": f"web-{number}", "severity": "error", "body": "x" * 500}
        body = json.dumps(alert).encode()
        await pipeline.receive(Event(new_id(), "generic", "generic", now_ms(), {}, body), Keep())

    for start in range(0, many, 500):
        await asyncio.gather(*(one(number) for number in range(start, min(start + 500, many))))


async def _lateness() -> float:
    """How many milliseconds after its time the latest of 200 timers rang, with 100,000 armed behind them."""
    async with _pipeline(10) as pipeline:
        far = now_ms() + 86_400_000
        for start in range(0, ARMED, 5_000):
            await pipeline.store.write(lambda ledger, start=start: _arm(ledger, far, start))  # type: ignore[misc]
        begin = now_ms() + 500
        dues = [begin + round(1000 * RING_SECONDS * number / RINGING) for number in range(RINGING)]
        soon = [Timer("expire", f"soon {number}", due) for number, due in enumerate(dues)]
        await pipeline.store.write(lambda ledger: ledger.timers.set(soon))
        worst, rung = 0.0, 0
        while rung < RINGING:
            done = await pipeline.ring(100)
            now = now_ms()
            worst = max([worst, *(now - due for due in dues[rung : rung + done.fired])])
            rung += done.fired
            if not done.fired and done.next_due is not None:
                await asyncio.sleep(min(max((done.next_due - now_ms()) / 1000, 0.001), 0.5))
        return worst


async def _arm(ledger: Ledger, far: int, start: int) -> None:
    await ledger.timers.set([Timer("expire", f"far {start + number}", far + number) for number in range(5_000)])
