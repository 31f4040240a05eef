"""The store put together: one writer, a few readers, and the four rooms of the ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.contracts import Accepted
from gateway.model import Event, Millis
from gateway.store import engine, inbox
from gateway.store.changes import Changes
from gateway.store.inbox import Inbox
from gateway.store.incidents import Incidents
from gateway.store.outbox import Outbox
from gateway.store.schema import beats
from gateway.store.writer import Writer

T = TypeVar("T")


class Ledger:
    """One transaction's view of the tables. See `contracts.Ledger`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.inbox = Inbox(connection)
        self.incidents = Incidents(connection)
        self.changes = Changes(connection)
        self.outbox = Outbox(connection)

    async def beat(self) -> None:
        """Write one byte's worth, to know that writing works."""
        new = insert(beats).values(name="probe", count=1)
        beat = new.on_conflict_do_update(index_elements=[beats.c.name], set_={"count": beats.c.count + 1})
        await self.connection.execute(beat)


class Safe:
    """The `contracts.Store` in one SQLite file. `open` it, run `writer.serve` and `writer.watch`, `close` it."""

    def __init__(self, url: str) -> None:
        self.path: Path = engine.database_path(url)
        self._lock = engine.Lock(self.path)
        self._writing = engine.writing(self.path)
        self._reading = engine.reading(self.path)
        self.writer = Writer(self._writing, inbox.accept, Ledger)

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
        await self._reading.dispose()
        await self._writing.dispose()
        self._lock.release()

    async def accept(self, event: Event, key: str | None, until: Millis) -> Accepted:
        return await self.writer.accept((event, key, until))

    async def write(self, work: Callable[[Ledger], Awaitable[T]]) -> T:
        return await self.writer.run(work)

    async def read(self, work: Callable[[Ledger], Awaitable[T]]) -> T:
        try:
            async with self._reading.connect() as connection:
                return await work(Ledger(connection))
        except DBAPIError as error:
            raise engine.unavailable(error) from None
