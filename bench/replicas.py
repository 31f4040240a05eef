"""Part d: two gateways on one PostgreSQL against one, which waits for the disk at each commit."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from bench import bodies, driving, fleet, server
from bench.figures import Chart, Figure, Part, median, ratios
from bench.plan import Plan
from tests.postgres import Cluster, why_none

CONNECTIONS = 64


class Replicas:
    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._ear = driving.Ear()
        self._accepted: dict[int, list[float]] = {1: [], 2: []}
        self._told: dict[int, list[float]] = {1: [], 2: []}
        self._refused: dict[int, int] = {1: 0, 2: 0}

    async def run(self) -> Part:
        if reason := why_none():
            return Part("d. Two replicas on PostgreSQL", notes=[f"Not measured: {reason}."])
        receiver = await self._ear.listen()
        with Cluster(durable=True) as cluster:
            if cluster.pid and server.can_pin():
                server.pin(cluster.pid, _database_core())
            for number in range(self._plan.rounds):
                for many in (1, 2):
                    await self._accept(cluster, many, number, receiver)
                    await self._tell(cluster, many, number, receiver)
        self._ear.close()
        return self._part()

    async def _start(self, stack: AsyncExitStack, database: str, many: int, receiver: int) -> list[int]:
        ports = []
        for number in range(many):
            folder = self._folder / f"replica-{number}"
            folder.mkdir(exist_ok=True)
            core = server.SERVER_CORE if number == 0 else _second_core()
            one = await stack.enter_async_context(fleet.tocsin(folder, receiver, database, core))
            ports.append(one.port)
        return ports

    async def _accept(self, cluster: Cluster, many: int, number: int, receiver: int) -> None:
        database = cluster.fresh()
        self._ear.forget()
        async with AsyncExitStack() as stack:
            ports = await self._start(stack, database, many, receiver)
            tallies = await asyncio.gather(*(
                driving.burst(port, CONNECTIONS // many, self._plan.step, bodies.Sentry(f"d{number}m{many}p{place}"))
                for place, port in enumerate(ports)
            ))  # fmt: skip
        cluster.drop(database)
        self._accepted[many].append(sum(tally.per_second for tally in tallies))
        self._refused[many] += sum(tally.refused for tally in tallies)
        print(f"  {many} on PostgreSQL     {self._accepted[many][-1]:8,.0f}/s accepted", flush=True)

    async def _tell(self, cluster: Cluster, many: int, number: int, receiver: int) -> None:
        database = cluster.fresh()
        self._ear.forget()
        async with AsyncExitStack() as stack:
            ports = await self._start(stack, database, many, receiver)
            make = bodies.Sentry(f"t{number}m{many}")
            rate = await driving.window(ports, make, self._plan.sustain / 3, self._plan.sustain, self._ear)
        cluster.drop(database)
        self._told[many].append(rate)
        print(f"  {many} on PostgreSQL     {rate:8,.0f}/s told, sustained", flush=True)

    def _part(self) -> Part:
        cores = len(server.CORES)
        pinned = (
            "Each replica and PostgreSQL had a core of their own, and so had the driver."
            if cores > 3
            else "There are too few cores for all: the first replica had one to itself, the second shared the other"
            " with PostgreSQL, the driver and the receiver. So this shows whether two hinder each other, and not how it"
            " scales."
            if cores > 1
            else "All shared one core."
        )
        return Part(
            "d. Two replicas on PostgreSQL",
            how=(
                f"Accepted: {self._plan.step:g} s, {CONNECTIONS} connections in all, split over the replicas. Told:"
                f" {self._plan.sustain:g} s with at most {driving.WINDOW:,} posted and not yet told, as in part c. A"
                f" fresh database each time, with fsync and synchronous_commit on. {pinned}"
            ),
            head=["replicas", "accepted/s", "each round", "told/s, sustained", "each round", "refused"],
            rows=[
                [
                    str(many),
                    f"{median(self._accepted[many]):,.0f}",
                    _each(self._accepted[many]),
                    f"{median(self._told[many]):,.0f}",
                    _each(self._told[many]),
                    str(self._refused[many]),
                ]
                for many in (1, 2)
            ],
            figures=[
                Figure(name, "×", None, None, ratios(rates[2], rates[1]), at_least=True)
                for name, rates in (
                    ("accepted by two replicas, of one", self._accepted),
                    ("told by two replicas, of one", self._told),
                )
            ],
            charts=[
                Chart(
                    "replicas.svg",
                    "bars",
                    "One replica and two on PostgreSQL",
                    "",
                    "a second",
                    ["accepted", "told"],
                    {
                        f"{many} replica{'s' * (many > 1)}": [median(self._accepted[many]), median(self._told[many])]
                        for many in (1, 2)
                    },
                )
            ],
        )


def _each(rates: list[float]) -> str:
    return ", ".join(f"{one:,.0f}" for one in rates)


def _second_core() -> int:
    return server.CORES[2] if len(server.CORES) > 2 else server.LOAD_CORE


def _database_core() -> int:
    return server.CORES[3] if len(server.CORES) > 3 else server.LOAD_CORE
