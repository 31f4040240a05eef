"""One task owns the one writing connection, and commits in groups.

A request never holds a transaction: it leaves its work here and waits, so a client that vanishes can leave
nothing open. Accepting goes before everything else: what waits to be accepted is committed first, hundreds
of events in one transaction; then comes one group of other work.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from gateway.contracts import Accepted
from gateway.errors import StoreUnavailable
from gateway.model import Event, Millis
from gateway.store.driver import Connection
from gateway.store.engine import unavailable
from gateway.telemetry import logger

log = logger()
T = TypeVar("T")

MOST_WAITING = 20_000
MOST_ACCEPTED_AT_ONCE = 512
MOST_WORKS_AT_ONCE = 8
STUCK_SECONDS = 5.0
# What is wrong with the work itself, so that no waiting mends it; the driver raises the last three for a value
# that it cannot bind. Every other sqlite3.Error (locked, full, broken) is the disk's and may pass.
_UNFIT = (
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    sqlite3.DataError,
    OverflowError,
    TypeError,
    ValueError,
)

Entry = tuple[Event, str | None, Millis]
Accepting = Callable[[Connection, Sequence[Entry]], Awaitable[list[Accepted]]]


class Writer:
    """`accept` and `run` may be called from any task of the loop; `serve` is the one that writes."""

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], accepting: Accepting, ledger: Callable[[Connection], Any]
    ) -> None:
        self._connect = connect
        self._accepting = accepting
        self._ledger = ledger
        self._entries: deque[tuple[Entry, asyncio.Future[Accepted]]] = deque()
        self._works: deque[tuple[Callable[[Any], Awaitable[Any]], asyncio.Future[Any]]] = deque()
        self._wake = asyncio.Event()
        self._under_way: list[asyncio.Future[Any]] = []
        self._since: float | None = None
        self.last_group = 0

    async def accept(self, entry: Entry) -> Accepted:
        if len(self._entries) >= MOST_WAITING:
            raise StoreUnavailable("too many events wait to be stored")
        future: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self._entries.append((entry, future))
        self._wake.set()
        return await future

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._works.append((work, future))
        self._wake.set()
        return await future

    async def serve(self) -> None:
        """Write until cancelled; what already waits is written first."""
        connection = await self._connect()
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._entries or self._works:
                    await self._accept_some(connection)
                    await self._work_some(connection)
        finally:
            self._fail([*self._under_way, *self._waiting()], "the gateway is stopping")
            self._since, self._under_way = None, []
            await connection.close()

    async def watch(self) -> None:
        """Answer those who wait on a commit that does not return: a disk that hangs must not hang the senders."""
        while True:
            await asyncio.sleep(0.5)
            if self._since is not None and time.monotonic() - self._since > STUCK_SECONDS:
                self._fail([*self._under_way, *self._waiting()], "the disk does not answer")

    async def _accept_some(self, connection: Connection) -> None:
        group = _take(self._entries, MOST_ACCEPTED_AT_ONCE)
        self.last_group = len(group)
        if group:
            await self._accept(connection, group)

    async def _accept(self, connection: Connection, group: list[tuple[Entry, asyncio.Future[Accepted]]]) -> None:
        futures = [future for _, future in group]
        try:
            await self._begin(connection, futures)
            accepted = await self._accepting(connection, [entry for entry, _ in group])
            await self._end(connection, "COMMIT")
        except _UNFIT as fault:
            await self._roll_back(connection)
            await self._accept_apart(connection, group, fault)
            return
        except sqlite3.Error as error:
            await self._abandon(connection, error, futures)
            return
        for future, answer in zip(futures, accepted, strict=True):
            if not future.done():
                future.set_result(answer)

    async def _accept_apart(
        self, connection: Connection, group: list[tuple[Entry, asyncio.Future[Accepted]]], fault: Exception
    ) -> None:
        """One of them cannot be stored at all: the others must not pay for it."""
        if len(group) > 1:
            for one in group:
                await self._accept(connection, [one])
        elif not group[0][1].done():
            group[0][1].set_exception(fault)

    async def _work_some(self, connection: Connection) -> None:
        group = _take(self._works, MOST_WORKS_AT_ONCE)
        if not group:
            return
        futures = [future for _, future in group]
        outcomes: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []
        try:
            await self._begin(connection, futures)
            for work, future in group:
                outcomes.append((future, *await self._one(connection, work, alone=len(group) == 1)))
            await self._end(connection, "COMMIT")
        except sqlite3.Error as error:
            await self._abandon(connection, error, futures)
            return
        for future, result, fault in outcomes:
            if future.done():
                continue
            if fault is None:
                future.set_result(result)
            else:
                future.set_exception(fault)

    async def _one(
        self, connection: Connection, work: Callable[[Any], Awaitable[Any]], *, alone: bool
    ) -> tuple[Any, BaseException | None]:
        """One work inside the group's transaction; if it fails, its neighbours do not, and its asker learns why."""
        if not alone:
            await connection.control("SAVEPOINT one")
        outcome = await asyncio.gather(work(self._ledger(connection)), return_exceptions=True)
        result: Any = outcome[0]
        if not isinstance(result, BaseException):
            return result, None
        passing = isinstance(result, sqlite3.Error) and not isinstance(result, _UNFIT)
        if alone and passing:
            raise result
        await connection.control("ROLLBACK" if alone else "ROLLBACK TO one")
        if alone:
            await connection.control("BEGIN IMMEDIATE")
        return None, unavailable(result) if passing else result

    async def _begin(self, connection: Connection, futures: list[asyncio.Future[Any]]) -> None:
        self._since, self._under_way = time.monotonic(), futures
        await connection.control("BEGIN IMMEDIATE")

    async def _end(self, connection: Connection, how: str) -> None:
        await connection.control(how)
        self._since, self._under_way = None, []

    async def _abandon(self, connection: Connection, error: sqlite3.Error, futures: list[asyncio.Future[Any]]) -> None:
        await self._roll_back(connection)
        for future in futures:
            if not future.done():
                future.set_exception(unavailable(error))
        log.warning("transaction failed", fault=str(error))

    async def _roll_back(self, connection: Connection) -> None:
        try:
            await self._end(connection, "ROLLBACK")
        except sqlite3.Error:
            self._since, self._under_way = None, []  # it never began, or the engine has rolled it back itself

    def _waiting(self) -> list[asyncio.Future[Any]]:
        return [*(future for _, future in self._entries), *(future for _, future in self._works)]

    @staticmethod
    def _fail(futures: Sequence[asyncio.Future[Any]], why: str) -> None:
        for future in futures:
            if not future.done():
                future.set_exception(StoreUnavailable(f"what was to be stored may not be: {why}"))


def _take(queue: deque[tuple[T, asyncio.Future[Any]]], most: int) -> list[tuple[T, asyncio.Future[Any]]]:
    """The next so many for which somebody still waits: who was cancelled, or told that the disk hangs, is gone."""
    group: list[tuple[T, asyncio.Future[Any]]] = []
    while queue and len(group) < most:
        one = queue.popleft()
        if not one[1].done():
            group.append(one)
    return group
