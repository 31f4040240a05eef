"""How long things wait, by load: a model of the way of a webhook, event by event, in simulated time.

    python -m bench.queue                        the table of docs/scaling.md
    python -m bench.queue --replicas 4 --rate 800 --burst 2000 --every 60

Each replica has one core (receiving goes before deciding and telling) and one writer that commits in
groups. Where there are several, what is decided, and what a lane settles and claims, is done by one of them at a time,
under one lock of the database's; receiving and sending is done side by side. The lanes of all replicas share a vendor's
patience: its width for each replica, its latency, and its pace for all of them together. While a problem's message
waits, more news of it enter that message: a delivery is a standing promise. Costs default to those measured;
docs/scaling.md names their source, and tests/test_queue.py holds the model against what theory knows.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.stations import Job, Station, Time

TURN = 16
"""Messages that a turn of a lane settles and claims at most: the width of a webhook's lane."""


@dataclass(frozen=True, slots=True)
class House:
    """Loads a second, costs in seconds. One event is one alert, about one of `problems` at random, told in each lane.
    `settle` is the part of `say` that belongs to the turn; `away` is how many times as much deciding and turns cost
    where several replicas share a PostgreSQL.

    `speed` says how many times as fast the core is as the one of the costs; the disk stays as it is."""

    rate: float = 100.0
    burst: int = 0
    every: float = 60.0
    replicas: int = 1
    problems: int = 100_000
    lanes: int = 1
    width: int = 8
    latency: float = 0.1
    pace: float = 0.0
    speed: float = 1.0
    intake: float = 380e-6
    commit: float = 280e-6
    row: float = 17e-6
    batch: float = 2.7e-3
    decide: float = 570e-6
    turn: float = 3.4e-3
    say: float = 530e-6
    settle: float = 180e-6
    away: float = 1.75


@dataclass(frozen=True, slots=True)
class Seen:
    """Waits in seconds, sorted; `core`, `turns`, `writer`, `lane`: how much of their time they were busy. `turns` of
    one replica are its core's; those of several are shared out evenly among their cores, and wait for none of them."""

    accepted: list[float]
    told: list[float]
    alerts: int
    messages: int
    core: float
    turns: float
    writer: float
    lane: float
    left: int


class Run:
    """One house, simulated."""

    def __init__(self, house: House, seed: int) -> None:
        self._house = house
        self._random = random.Random(seed)
        self.time = Time()
        once, speed = self._random.expovariate, house.speed
        shared = house.replicas > 1
        said = house.say - house.settle if shared else house.say
        at_base = speed / house.away if shared else speed

        def receive(n: int) -> float:
            return n * house.intake / speed

        def decide(n: int) -> float:
            return (house.batch + n * house.decide) / at_base

        def turn(n: int) -> float:
            return (house.turn + n * (house.settle if shared else said)) / at_base

        if shared:  # what any has accepted is decided by whoever holds the lock; a lane's turn is its own
            lanes = house.replicas * house.lanes
            self.turns = [Station(self.time, [decide, *[turn] * lanes], most=(64, *[TURN] * lanes))]
            core = [receive, lambda n: n * said / speed]
            self.cores = [Station(self.time, core, most=(1, 1), urgent=1) for _ in range(house.replicas)]
        else:
            self.turns = []
            self.cores = [Station(self.time, [receive, decide, turn], most=(1, 64, TURN), urgent=1)]
        self.writers = [
            Station(self.time, [lambda n: house.commit + n * house.row], most=(512,)) for _ in range(house.replicas)
        ]
        width = house.width * house.replicas
        self.lanes = [
            Station(self.time, [lambda _n: once(1 / house.latency)], servers=width, pace=house.pace)
            for _ in range(house.lanes)
        ]
        self._pending: list[dict[int, list[float]]] = [{} for _ in range(house.lanes)]
        self.accepted: list[float] = []
        self.told: list[float] = []
        self.alerts = self.messages = 0

    def run(self, seconds: float, warm: float) -> Seen:
        self._arrive()
        if self._house.burst:
            self.time.after(self._house.every / 2, self._burst)
        self.time.run(warm)
        for station in self._stations():
            station.forget()
        self.accepted, self.told, self.alerts, self.messages = [], [], 0, 0
        self.time.run(warm + seconds)
        return Seen(
            sorted(self.accepted),
            sorted(self.told),
            self.alerts,
            self.messages,
            busy(self.cores) + (busy(self.turns) / self._house.replicas if self.turns else 0),
            busy(self.turns) if self.turns else busy(self.cores),
            busy(self.writers),
            busy(self.lanes),
            sum(station.waiting for station in self._stations()),
        )

    def _stations(self) -> list[Station]:
        return [*self.cores, *self.turns, *self.writers, *self.lanes]

    def _arrive(self) -> None:
        if self._house.rate:
            self.time.after(self._random.expovariate(self._house.rate), self._arrived)

    def _arrived(self) -> None:
        self._event()
        self._arrive()

    def _burst(self) -> None:
        for _ in range(self._house.burst):
            self._event()
        self.time.after(self._house.every, self._burst)

    def _event(self) -> None:
        place = self._random.randrange(self._house.replicas)
        self.alerts += 1
        job = Job(self.time.now, self._random.randrange(self._house.problems))
        job.after = lambda job: self._received(job, place)
        self.cores[place].take(job, 0)

    def _received(self, job: Job, place: int) -> None:
        job.after = lambda job: self._stored(job, place)
        self.writers[place].take(job)

    def _stored(self, job: Job, place: int) -> None:
        self.accepted.append(self.time.now - job.born)
        job.after = lambda job: self._decided(job, place)
        if self.turns:
            self.turns[0].take(job, 0)
        else:
            self.cores[place].take(job, 1)

    def _decided(self, job: Job, place: int) -> None:
        for number, pending in enumerate(self._pending):
            if job.key in pending:  # it enters the message that waits
                pending[job.key].append(job.born)
                continue
            pending[job.key] = news = [job.born]
            message = Job(job.born, job.key)
            message.begun = lambda pending=pending, key=job.key: pending.pop(key)
            message.after = lambda message, news=news, lane=number: self._answered(message, news, place, lane)
            self.lanes[number].take(message)

    def _answered(self, message: Job, news: list[float], place: int, lane: int) -> None:
        """What telling and writing it down took of the core is counted here, at once."""
        message.begun = lambda: None
        message.after = lambda _message: self._told(news)
        if not self.turns:
            self.cores[place].take(message, 2)
            return
        spoken = Job(message.born)
        spoken.after = lambda _spoken: self.turns[0].take(message, 1 + place * self._house.lanes + lane)
        self.cores[place].take(spoken, 1)

    def _told(self, news: list[float]) -> None:
        self.messages += 1
        self.told += [self.time.now - born for born in news]


def busy(stations: Sequence[Station]) -> float:
    return max(station.utilisation for station in stations)


def simulate(house: House, seconds: float = 60.0, warm: float = 10.0, seed: int = 1) -> Seen:
    return Run(house, seed).run(seconds, warm)


def at(ordered: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed; 0 where there are none."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def row(house: House, seen: Seen) -> str:
    cells = [f"{house.replicas}", f"{house.speed:g}", f"{house.rate:,.0f}", f"{house.burst:,}", f"{house.problems:,}"]
    cells += [f"{1e3 * at(waits, share):,.1f}" for waits in (seen.accepted, seen.told) for share in (0.5, 0.99)]
    cells += [f"{100 * seen.core:.0f} %", f"{100 * seen.turns:.0f} %" if house.replicas > 1 else "–"]
    cells += [f"{100 * share:.0f} %" for share in (seen.writer, seen.lane)]
    return "| " + " | ".join([*cells, f"{seen.alerts:,} → {seen.messages:,}", f"{seen.left:,}"]) + " |"


HEAD = (
    "| replicas | speed | events/s | burst | problems | 202 p50 ms | 202 p99 ms | told p50 ms | told p99 ms "
    "| core | lock | writer | lane | alerts → messages | waiting at the end |\n"
    "|" + "---|" * 15
)
PAGE = (
    *(House(rate=rate, width=64) for rate in (10, 50, 100, 200, 300, 400, 500)),
    House(rate=100, burst=1_000, width=64),
    *(House(rate=rate, width=256, speed=1.7) for rate in (100, 500, 700, 900)),
    *(House(rate=rate, replicas=replicas, width=64) for rate, replicas in ((100, 2), (300, 2), (500, 2), (500, 4))),
    House(rate=700, replicas=4, width=64),
    House(rate=100, problems=20, pace=1.0, width=2),
    House(rate=100, problems=2_000, pace=1.0, width=2),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = House()
    for name in House.__slots__:
        default = getattr(defaults, name)
        parser.add_argument(f"--{name}", type=type(default), help=f"{default}")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    asked = vars(parser.parse_args())
    seconds, seed = asked.pop("seconds"), asked.pop("seed")
    given = {name: value for name, value in asked.items() if value is not None}
    print(HEAD)
    for house in [replace(defaults, **given)] if given else PAGE:
        print(row(house, simulate(house, seconds, seed=seed)), flush=True)


if __name__ == "__main__":
    main()
