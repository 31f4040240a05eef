"""What is old is deleted, a bite at a time: beside everything else, and behind it.

A bite waits for its turn like any other work of the writer, after what waits to be accepted; then the sweeper rests for
several times as long as the bite took. So a sweep of a million takes hours, and nobody notices.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from gateway.errors import StoreUnavailable
from gateway.model import Millis
from gateway.rules.retention import Bounds
from gateway.store import retention
from gateway.store.retention import Kind
from gateway.store.safe import Safe
from gateway.telemetry import RETENTION_BITES, RETENTION_DELETED, logger

log = logger()
T = TypeVar("T")

KINDS: Final = (retention.EVENT, retention.INCIDENT, retention.DIGEST, retention.SILENCE, retention.OVERRIDE)
REST: Final = 4.0
"""The sweeper rests this many times as long as its bite took, waiting for its turn included."""
SHORTEST_REST_SECONDS: Final = 0.03
LONGEST_REST_SECONDS: Final = 2.0
BETWEEN_SWEEPS_SECONDS: Final = 600.0
BETWEEN_SWEEPS: Final = 0.1
"""Of the shorter span, where that is less; at least a second."""
LEAP: Final[Millis] = 86_400_000
LEAP_MILLIS: Final = 3_600_000
"""A clock that is put forward by a day or more is not believed for an hour: what it makes old would be gone for
good."""
FIRST_REST_SECONDS: Final = 5.0
"""A start has other things to do."""
TICK_SECONDS: Final = 5.0


class Sweeper:
    """`serve` sweeps, rests, and sweeps again. `bounds` is asked anew for each bite, and `changed` ends a rest: a saved
    file counts at once."""

    def __init__(
        self,
        store: Safe,
        bounds: Callable[[], Bounds],
        now: Callable[[], Millis],
        beat: Callable[[], None],
        changed: asyncio.Event,
    ) -> None:
        self._store = store
        self._bounds = bounds
        self._now = now
        self._beat = beat
        self._changed = changed
        self._ahead = now() - _ran()
        self._believes_at = 0

    async def serve(self) -> None:
        await self._rest(FIRST_REST_SECONDS)
        while True:
            self._changed.clear()
            try:
                await self.sweep()
            except StoreUnavailable as error:
                log.warning("sweep postponed", reason=str(error))
            await self._rest(self._between(), self._changed)

    def _believe(self) -> None:
        """Raises StoreUnavailable for an hour after the clock was put forward by a day or more."""
        before, self._ahead = self._ahead, self._now() - _ran()
        if self._ahead - before >= LEAP:
            self._believes_at = _ran() + LEAP_MILLIS
        if _ran() < self._believes_at:
            raise StoreUnavailable("the clock was put forward by a day or more")

    def _between(self) -> float:
        """Seconds from a sweep to the next."""
        if _ran() < self._believes_at:
            return (self._believes_at - _ran()) / 1_000
        bounds = self._bounds()
        shorter = (self._now() - max(bounds.events, bounds.incidents)) / 1_000
        return min(BETWEEN_SWEEPS_SECONDS, max(BETWEEN_SWEEPS * shorter, 1.0))

    async def sweep(self) -> Counter[str]:
        """Once through everything that is old. How many went, by kind. Raises StoreUnavailable."""
        gone: Counter[str] = Counter()
        started = time.monotonic()
        try:
            await self._keys(gone)
            for kind in KINDS:
                await self._all(kind, gone)
        finally:
            if gone:
                counts = {f"{kind}s": count for kind, count in gone.items()}
                log.info("old things deleted", seconds=round(time.monotonic() - started, 1), **counts)
        return gone

    async def _keys(self, gone: Counter[str]) -> None:
        count = retention.ROWS_OF_A_BITE
        while count == retention.ROWS_OF_A_BITE:
            count = await self._bite(lambda: retention.forget_keys(self._store, self._now()))
            self._count(retention.KEY, count, gone)

    async def _all(self, kind: Kind, gone: Counter[str]) -> None:
        async for ids in self._found(kind):
            more = True
            while more:
                count, more = await self._bite(lambda ids=ids: retention.bite(self._store, kind, self._bounds(), ids))  # type: ignore[misc]
                self._count(kind.name, count, gone)

    async def _found(self, kind: Kind) -> AsyncIterator[tuple[str, ...]]:
        place: retention.Place | None = retention.START
        while place is not None:
            self._beat()
            self._believe()
            looked = await retention.look(self._store, kind, self._bounds(), place)
            place = looked.place
            if looked.ids:
                yield looked.ids
            else:
                await asyncio.sleep(SHORTEST_REST_SECONDS)

    async def _bite(self, work: Callable[[], Awaitable[T]]) -> T:
        self._beat()
        self._believe()
        started = time.perf_counter()
        done = await work()
        took = time.perf_counter() - started
        RETENTION_BITES.observe(took)
        await asyncio.sleep(min(max(REST * took, SHORTEST_REST_SECONDS), LONGEST_REST_SECONDS))
        return done

    @staticmethod
    def _count(kind: str, count: int, gone: Counter[str]) -> None:
        if count:
            gone[kind] += count
            RETENTION_DELETED.labels(kind).inc(count)

    async def _rest(self, seconds: float, ended: asyncio.Event | None = None) -> None:
        ended = ended or asyncio.Event()
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not ended.is_set():
            self._beat()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, TICK_SECONDS)):
                    await ended.wait()


def _ran() -> Millis:
    return int(time.monotonic() * 1_000)
