"""Simulated time, and stations at which jobs wait for a server: what bench/queue.py is built of."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Work = Callable[[int], float]
"""Seconds that a server is taken by so many jobs at once."""


@dataclass(slots=True)
class Job:
    born: float
    key: int = 0
    queued: float = 0.0
    begun: Callable[[], None] = field(default=lambda: None)
    after: Callable[[Job], None] = field(default=lambda _job: None)


class Time:
    """What happens next, and when. Two things of one instant happen in the order they were asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self._coming: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def after(self, seconds: float, then: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._coming, (self.now + seconds, self._number, then))

    def run(self, until: float) -> None:
        while self._coming and self._coming[0][0] <= until:
            self.now, _, then = heapq.heappop(self._coming)
            then()
        self.now = until


class Station:
    """Queues before `servers` that take up to `most` jobs at once. The first `urgent` queues go before all others, one
    before the next; of the others that one is served whose first job has waited longest.

    `work` tells how long, one function for each queue. `pace` is the shortest time between two starts."""

    def __init__(
        self,
        time: Time,
        work: Sequence[Work],
        servers: int = 1,
        most: Sequence[int] = (1,),
        pace: float = 0.0,
        urgent: int = 0,
    ) -> None:
        self._time, self._work, self._most, self._pace = time, work, most, pace
        self._urgent = urgent
        self._queues: list[deque[Job]] = [deque() for _ in work]
        self._free = self._servers = servers
        self._next_start = 0.0
        self._woken = False
        self.waits: list[float] = []
        self.busy = 0.0
        self.since = 0.0

    @property
    def waiting(self) -> int:
        return sum(map(len, self._queues))

    @property
    def utilisation(self) -> float:
        return self.busy / ((self._time.now - self.since) * self._servers)

    def forget(self) -> None:
        """Measure from now on."""
        self.waits, self.busy, self.since = [], 0.0, self._time.now

    def take(self, job: Job, queue: int = 0) -> None:
        job.queued = self._time.now
        self._queues[queue].append(job)
        self._serve()

    def _serve(self) -> None:
        while self._free and self.waiting:
            early = self._next_start - self._time.now
            if early > 1e-12:
                self._wake(early)
                return
            self._next_start = self._time.now + self._pace
            number = self._next()
            queue = self._queues[number]
            jobs = [queue.popleft() for _ in range(min(len(queue), self._most[number]))]
            self._start(jobs, self._work[number](len(jobs)))

    def _next(self) -> int:
        """The number of the queue whose turn it is."""
        some = [place for place, queue in enumerate(self._queues) if queue]
        return some[0] if some[0] < self._urgent else min(some, key=lambda place: self._queues[place][0].queued)

    def _start(self, jobs: list[Job], seconds: float) -> None:
        self.waits += [self._time.now - job.queued for job in jobs]
        for job in jobs:
            job.begun()
        self._free -= 1
        self.busy += seconds
        self._time.after(seconds, lambda: self._end(jobs))

    def _end(self, jobs: list[Job]) -> None:
        self._free += 1
        for job in jobs:
            job.after(job)
        self._serve()

    def _wake(self, seconds: float) -> None:
        if not self._woken:
            self._woken = True
            self._time.after(seconds, self._awake)

    def _awake(self) -> None:
        self._woken = False
        self._serve()
