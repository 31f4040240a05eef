"""Part c: how many distinct alerts a second are told for as long as they come, and what happens beyond that."""

from __future__ import annotations

from pathlib import Path

from bench import bodies, driving, fleet
from bench.figures import Chart, Figure, Part, median, ratios, sign
from bench.plan import Plan

STEPS = (125, 250, 500, 1_000, 2_000, 4_000)
TOCSIN, PEER = "Tocsin", "Alertmanager"
_KEPT_UP = 0.9
"""Of what was sent in a step, this much must have been told by its end; else it is saturated."""


class Sustaining:
    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._ear = driving.Ear()
        self._rates: dict[str, list[float]] = {}
        self._cpu: dict[str, list[float]] = {}
        self._memory: dict[str, list[float]] = {}
        self._steps: dict[str, dict[int, list[float]]] = {}
        self._most: dict[str, list[float]] = {}

    async def run(self) -> Part:
        port = await self._ear.listen()
        names = [TOCSIN] + ([PEER] if fleet.find_alertmanager() else [])
        for number in range(self._plan.rounds):
            for name in names:
                await self._window(name, number, port)
            for name in names:
                await self._climb(name, number, port)
        self._ear.close()
        return self._part(names)

    async def _window(self, name: str, number: int, receiver: int) -> None:
        peer = name == PEER
        make = (bodies.Alertmanager if peer else bodies.Sentry)(f"c{number}")
        self._ear.forget()
        start = fleet.alertmanager if peer else fleet.tocsin
        async with start(self._folder, receiver) as one:
            before = one.process.cpu_seconds
            rate = await driving.window([one.port], make, self._plan.sustain / 3, self._plan.sustain, self._ear)
            spent, memory = one.process.cpu_seconds - before, one.process.memory_mib
        self._rates.setdefault(name, []).append(rate)
        self._cpu.setdefault(name, []).append(1e6 * spent / max(len(self._ear.heard), 1))
        self._memory.setdefault(name, []).append(memory)
        print(f"  {name:13} {rate:8,.0f} told/s, sustained; {self._cpu[name][-1]:.0f} µs CPU an alert", flush=True)

    async def _climb(self, name: str, number: int, receiver: int) -> None:
        """Twice as many each step, until it no longer keeps up."""
        peer = name == PEER
        start = fleet.alertmanager if peer else fleet.tocsin
        self._ear.forget()
        reached = self._steps.setdefault(name, {})
        most = 0.0
        async with start(self._folder, receiver) as one:
            for rate in STEPS:
                run = f"s{number}{rate:04}"
                make = (bodies.Alertmanager if peer else bodies.Sentry)(run)
                tally = await driving.steady(one.port, rate, self._plan.step, make, run, self._ear)
                told = tally.in_time / self._plan.step
                reached.setdefault(rate, []).append(told)
                most = max(most, told)
                print(f"  {name:13} {rate:6,}/s sent: {told:8,.0f}/s told meanwhile", flush=True)
                if tally.in_time < _KEPT_UP * tally.sent:
                    break
        self._most.setdefault(name, []).append(most)

    def _told(self, name: str, rate: int) -> float | None:
        told = self._steps[name].get(rate)
        return median(told) if told else None

    def _part(self, names: list[str]) -> Part:
        theirs = self._rates.get(PEER, [])
        return Part(
            "c. Sustained, until saturation",
            how=(
                f"Sustained: {self._plan.sustain:g} s after a warm-up, never more than {driving.WINDOW:,} alerts posted"
                " and not yet told, so that the server sets the pace and nothing piles up. Beyond: an open loop that"
                f" doubles every {self._plan.step:g} s until less than {_KEPT_UP:.0%} of a step was told while it"
                " lasted; senders then go first with Tocsin, and telling comes after."
            ),
            head=[
                "server",
                "told/s, sustained",
                "each round",
                "CPU µs/alert",
                "memory MiB",
                "told/s at each rate sent",
            ],
            rows=[
                [
                    name,
                    f"{median(self._rates[name]):,.0f}",
                    ", ".join(f"{one:,.0f}" for one in self._rates[name]),
                    sign(median(self._cpu[name])),
                    f"{median(self._memory[name]):.0f}",
                    ", ".join(f"{rate:,}: {median(told):,.0f}" for rate, told in self._steps[name].items()),
                ]
                for name in names
            ],
            figures=[
                Figure(
                    "sustained distinct alerts told per second, of Alertmanager's",
                    "×",
                    0.5,
                    1.5,
                    ratios(self._rates[TOCSIN], theirs),
                    at_least=True,
                    because="" if theirs else "prometheus-alertmanager is not installed",
                ),
                Figure(
                    "the most told per second while more are sent than can be, of Alertmanager's",
                    "×",
                    None,
                    None,
                    ratios(self._most[TOCSIN], self._most.get(PEER, [])),
                    at_least=True,
                ),
            ],
            charts=[
                Chart(
                    "sustained.svg",
                    "lines",
                    "Told a second, by distinct alerts sent a second",
                    "sent/s",
                    "told/s",
                    list(STEPS),
                    {name: [self._told(name, rate) for rate in STEPS] for name in names},
                    log=True,
                )
            ],
        )
