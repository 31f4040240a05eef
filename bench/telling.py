"""Part b: from POST to receiver, when so many distinct alerts come a second, whatever the server does with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bench import bodies, driving, fleet
from bench.figures import Chart, Figure, Part, median, percentile, ratios, sign
from bench.plan import Plan

RATES = (100, 500, 1_000)
TOCSIN, PEER = "Tocsin", "Alertmanager"
_WARM = 1.0


@dataclass(slots=True)
class _Seen:
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    accept: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    behind: list[float] = field(default_factory=list)
    sent: int = 0
    lost: int = 0
    refused: int = 0
    memory: list[float] = field(default_factory=list)


class Telling:
    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._ear = driving.Ear()
        self._seen: dict[tuple[str, int], _Seen] = {}

    async def run(self) -> Part:
        port = await self._ear.listen()
        names = [TOCSIN] + ([PEER] if fleet.find_alertmanager() else [])
        for number in range(self._plan.rounds):
            for rate in RATES:
                for name in names:
                    await self._one(name, rate, number, port)
        self._ear.close()
        return self._part(names)

    async def _one(self, name: str, rate: int, number: int, receiver: int) -> None:
        peer = name == PEER
        kind = bodies.Alertmanager if peer else bodies.Sentry
        self._ear.forget()
        start = fleet.alertmanager if peer else fleet.tocsin
        async with start(self._folder, receiver) as one:
            warm, run = f"w{number}r{rate:04}", f"b{number}r{rate:04}"
            await driving.steady(one.port, 50, _WARM, kind(warm), warm, self._ear)
            before = one.process.cpu_seconds
            tally = await driving.steady(one.port, rate, self._plan.rate, kind(run), run, self._ear)
            spent, memory = one.process.cpu_seconds - before, one.process.memory_mib
        seen = self._seen.setdefault((name, rate), _Seen())
        seen.p50.append(1e3 * percentile(tally.told, 0.5))
        seen.p99.append(1e3 * percentile(tally.told, 0.99))
        seen.accept.append(1e3 * percentile(tally.waits, 0.99))
        seen.behind.append(1e3 * percentile(tally.behind, 0.99))
        seen.cpu.append(1e6 * spent / tally.sent)
        seen.memory.append(memory)
        seen.sent += tally.sent
        seen.lost += tally.lost
        seen.refused += tally.refused
        print(
            f"  {name:13} {rate:5,}/s  to the receiver p50 {seen.p50[-1]:7.1f}  p99 {seen.p99[-1]:8.1f} ms"
            f"  accept p99 {seen.accept[-1]:6.1f} ms  {seen.cpu[-1]:5.0f} µs CPU  {tally.lost} of {tally.sent} lost",
            flush=True,
        )

    def _part(self, names: list[str]) -> Part:
        without = "" if PEER in names else "prometheus-alertmanager is not installed"
        figures = []
        for rate in RATES:
            ours, theirs = (self._seen[name, rate].p99 if name in names else [] for name in (TOCSIN, PEER))
            if rate != 500:
                figures.append(
                    Figure(
                        f"POST to receiver p99 at {rate:,}/s, of Alertmanager's",
                        "×",
                        1.5,
                        1.0,
                        ratios(ours, theirs),
                        because=without,
                    )
                )
        behind = max(max(seen.behind) for seen in self._seen.values())
        return Part(
            "b. From POST to receiver",
            how=(
                f"Open loop: {self._plan.rate:g} s at each rate after a warm-up, every alert distinct, one alert a"
                " post, whatever the answers do. The same receiver for both knows each alert again by its id. What did"
                f" not arrive {driving.LEEWAY:g} s after the last was sent is lost, and counts in the percentiles with"
                " the wait that it had by then."
            ),
            head=[
                "alerts/s",
                "server",
                "p50 ms",
                "p99 ms",
                "p99, lowest to highest",
                "accept p99 ms",
                "CPU µs/alert",
                "memory MiB",
                "sent",
                "lost or late",
                "refused",
            ],
            rows=[
                [
                    f"{rate:,}",
                    name,
                    sign(median(seen.p50)),
                    sign(median(seen.p99)),
                    f"{sign(min(seen.p99))} to {sign(max(seen.p99))}",
                    sign(median(seen.accept)),
                    sign(median(seen.cpu)),
                    f"{median(seen.memory):.0f}",
                    f"{seen.sent:,}",
                    f"{seen.lost:,}",
                    str(seen.refused),
                ]
                for rate in RATES
                for name in names
                for seen in [self._seen[name, rate]]
            ],
            figures=figures,
            notes=[
                f"Alerts left at most {behind:.1f} ms late (p99 of the worst run); waits count from when they left."
            ],
            charts=[
                Chart(
                    "latency.svg",
                    "lines",
                    "From POST to receiver, p99, by rate",
                    "distinct alerts a second",
                    "ms",
                    list(RATES),
                    {name: [median(self._seen[name, rate].p99) for rate in RATES] for name in names},
                    log=True,
                )
            ],
        )
