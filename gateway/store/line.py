"""One connection that writes, a transaction at a time, and who waits for it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from gateway.errors import StoreUnavailable
from gateway.store.driver import Connection


class Line:
    """One connection that writes, and what waits for it. `since`: when the transaction under way began; `under_way`:
    who waits for it, until he is answered. `loose`: since when there is something committed that a power cut would
    take; then `watched` is when that is looked at."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        passing: tuple[type[Exception], ...],
        queues: Sequence[deque[Any]],
    ) -> None:
        self.connect = connect
        self._passing = passing
        self.queues = queues
        self.wake = asyncio.Event()
        self.connection: Connection | None = None
        self.under_way: list[asyncio.Future[Any]] = []
        self.since: float | None = None
        self.loose: float | None = None
        self.watched: asyncio.TimerHandle | None = None

    def open(self) -> Connection:
        """The connection, within a transaction's work."""
        if self.connection is None:
            raise StoreUnavailable("there is no connection")
        return self.connection

    async def begin(self, futures: list[asyncio.Future[Any]], *, lasting: bool = True) -> None:
        """A connection that was hung up on while nobody spoke is found out here, and made anew once: nothing of this
        transaction has been said yet. Raises what the engine raises."""
        self.since, self.under_way = time.monotonic(), futures
        try:
            if self.connection is None:
                self.connection = await self.connect()
            await self.connection.begin(lasting=lasting)
        except self._passing:
            refused = all(future.done() for future in futures)  # it took so long that nobody waits any more
            if self.connection is None or not self.connection.broken or refused:
                raise
            await self.close()
            self.since = time.monotonic()
            self.connection = await self.connect()
            await self.connection.begin(lasting=lasting)

    async def commit(self, *, lasting: bool = True) -> None:
        await self.open().control("COMMIT")
        self.since, self.under_way = None, []
        if lasting:
            self.loose = None
        elif self.loose is None:
            self.loose = time.monotonic()

    async def roll_back(self) -> None:
        try:
            if self.connection is not None:
                await self.connection.control("ROLLBACK")
        finally:
            self.since = None

    async def close(self) -> None:
        self.since = None
        if self.watched is not None:
            self.watched.cancel()
            self.watched = None
        connection, self.connection = self.connection, None
        if connection is not None:
            await connection.close()

    def waiting(self) -> list[asyncio.Future[Any]]:
        asked = [future for future in self.under_way if not future.done()]
        return [*asked, *(future for queue in self.queues for _, future in queue)]

    def forget(self) -> None:
        """Let go of what nobody waits for any more, and of what it holds."""
        for queue in self.queues:
            left = [one for one in queue if not one[1].done()]
            queue.clear()
            queue.extend(left)
