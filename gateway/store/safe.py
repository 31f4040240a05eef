"""The store put together: one writer, a few readers, and the rooms of the ledger."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy.dialects.sqlite import insert

from gateway.contracts import Accepted
from gateway.model import Event, Millis
from gateway.store import engine, inbox
from gateway.store.changes import Changes
from gateway.store.digests import Digests
from gateway.store.driver import Connection, Prepared
from gateway.store.inbox import Inbox
from gateway.store.incidents import Incidents
from gateway.store.outbox import Outbox
from gateway.store.quiet import Quiet
from gateway.store.schema import beats
from gateway.store.timers import Timers
from gateway.store.writer import Writer

T = TypeVar("T")

READERS: Final = 3
_NEW_BEAT = insert(beats).values(name="probe", count=1)
_BEAT = Prepared(_NEW_BEAT.on_conflict_do_update(index_elements=[beats.c.name], set_={"count": beats.c.count + 1}))


class Ledger:
    """One transaction's view of the tables. See `contracts.Ledger`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.inbox = Inbox(connection)
        self.incidents = Incidents(connection)
        self.changes = Changes(connection)
        self.outbox = Outbox(connection)
        self.timers = Timers(connection)
        self.quiet = Quiet(connection)
        self.digests = Digests(connection)

    async def beat(self) -> None:
        """Write one row, to know that writing works."""
        await self._connection.run(_BEAT)


class Safe:
    """The `contracts.Store` in one SQLite file. `open` it, run `writer.serve` and `writer.watch`, `close` it."""

    def __init__(self, url: str) -> None:
        self.path: Path = engine.real(engine.database_path(url))
        self._lock = engine.Lock(self.path)
        self._readers: list[Connection] = []
        self._reading = asyncio.Semaphore(READERS)
        self.writer = Writer(lambda: engine.writing(self.path), inbox.accept, Ledger)

    def open(self) -> None:
        """Take the file and bring it to the newest schema. Raises TocsinError in one sentence; then nothing
        was touched."""
        self._lock.take()
        try:
            engine.prepare(self.path)
        except BaseException:
            self._lock.release()
            raise

    async def close(self) -> None:
        readers, self._readers = self._readers, []
        for reader in readers:
            await reader.close()
        self._lock.release()

    async def accept(self, event: Event, key: str | None, until: Millis) -> Accepted:
        return await self.writer.accept((event, key, until))

    async def write(self, work: Callable[[Ledger], Awaitable[T]]) -> T:
        return await self.writer.run(work)

    async def read(self, work: Callable[[Ledger], Awaitable[T]]) -> T:
        try:
            async with self._reading:
                reader = self._readers.pop() if self._readers else await engine.reading(self.path)
                try:
                    return await work(Ledger(reader))
                finally:
                    self._readers.append(reader)
        except sqlite3.Error as error:
            raise engine.unavailable(error) from None
