"""The store put together: one writer, a few readers, and the rooms of the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

import sqlalchemy as sa

from gateway.clock import new_id
from gateway.contracts import Accepted
from gateway.errors import StoreUnavailable
from gateway.model import Event, Millis
from gateway.store import inbox
from gateway.store.changes import Changes
from gateway.store.digests import Digests
from gateway.store.driver import NONE, Connection, Prepared, insert
from gateway.store.engines import engine_of, unavailable
from gateway.store.inbox import Inbox
from gateway.store.incidents import Incidents
from gateway.store.outbox import Outbox
from gateway.store.quiet import Quiet
from gateway.store.schema import beats
from gateway.store.shared import Shared
from gateway.store.timers import Timers
from gateway.store.writer import Writer

T = TypeVar("T")

EVENTS: Final = "events"
"""The hint that something came in; all others are names of channels."""
READERS: Final = 3
TURN_SECONDS: Final = 4.0
"""Who asks for a reader while all of them wait for a database that hangs is told so after this."""
IDLE_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.005
ALONE_TICK: Final = 5.0
SHARED_TICK: Final = 1.0
_NEW_BEAT = insert(beats).values(name="probe", count=1)
_BEAT = Prepared(_NEW_BEAT.on_conflict_do_update(index_elements=[beats.c.name], set_={"count": beats.c.count + 1}))
_PROBE = Prepared(sa.insert(beats).values(name=sa.bindparam("named"), count=0))
_NO_PROBE = Prepared(sa.delete(beats).where(beats.c.name == sa.bindparam("named")))


class Ledger:
    """One transaction's view of the tables. See `contracts.Ledger`. `alone`: no other gateway uses the database."""

    def __init__(self, connection: Connection, *, alone: bool) -> None:
        self._connection = connection
        self.inbox = Inbox(connection)
        self.incidents = Incidents(connection)
        self.changes = Changes(connection)
        self.outbox = Outbox(connection)
        self.timers = Timers(connection)
        self.quiet = Quiet(connection)
        self.digests = Digests(connection)
        self.shared = Shared(connection, alone=alone)

    async def beat(self) -> None:
        """Write one row, to know that writing works."""
        await self._connection.put(_BEAT, [NONE])

    async def probe(self, name: str) -> None:
        """Write a row that nobody else does and take it away: gateways that ask at once do not wait for each other."""
        await self._connection.put(_PROBE, [{"named": name}])
        await self._connection.put(_NO_PROBE, [{"named": name}])


class Safe:
    """The `contracts.Store` in one database. `open` it, run `writer.serve` and `writer.watch`, `close` it."""

    def __init__(self, url: str) -> None:
        self.engine = engine_of(url)
        self.tick = SHARED_TICK if self.engine.shared else ALONE_TICK
        self._readers: list[Connection] = []
        self._reading = asyncio.Semaphore(READERS)
        self._ledger = partial(Ledger, alone=not self.engine.shared)
        self.writer = Writer(self.engine, inbox.accept_new, inbox.accept, self._ledger)
        self.halted = ""

    @property
    def shared(self) -> bool:
        return self.engine.shared

    def open(self) -> None:
        """Take the database and bring it to the newest schema. Raises TocsinError in one sentence; then nothing
        was touched."""
        self.engine.open()

    async def close(self) -> None:
        readers, self._readers = self._readers, []
        for reader in readers:
            await reader.close()
        self.engine.close()

    def refuse(self, why: str) -> None:
        """Write nothing from now on; whoever asks is told why, as he is told first."""
        self.halted = self.halted or why

    async def halt(self, why: str) -> bool:
        """As `refuse`. Whether what was to be written is; where a disk hangs it is not within five seconds."""
        self.refuse(why)
        for _ in range(round(IDLE_SECONDS / LOOK_SECONDS)):
            if self.writer.idle:
                return True
            await asyncio.sleep(LOOK_SECONDS)
        return False

    def go_on(self) -> None:
        """Accept and write again."""
        self.halted = ""

    async def accept(self, event: Event, key: str | None, until: Millis) -> Accepted:
        if self.halted:
            raise StoreUnavailable(self.halted)
        accepted = await self.writer.accept((event, key, until))
        self.engine.hint([EVENTS])
        return accepted

    async def write(self, work: Callable[[Ledger], Awaitable[T]], *, lasting: bool = True) -> T:
        if self.halted:
            raise StoreUnavailable(self.halted)
        return await self.writer.run(work, lasting=lasting)

    async def probe(self) -> None:
        """Write one row over the connection that accepts. Raises StoreUnavailable where accepting would."""
        if self.halted:
            raise StoreUnavailable(self.halted)
        await self.writer.probe(lambda ledger: ledger.probe(new_id()))

    async def read(self, work: Callable[[Ledger], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._reading.acquire()
        except TimeoutError:
            raise StoreUnavailable("the database does not answer") from None
        try:
            return await self._read(work)
        except self.engine.faults.passing as error:
            raise unavailable(error) from None
        finally:
            self._reading.release()

    async def _read(self, work: Callable[[Ledger], Awaitable[T]]) -> T:
        """A reader that was hung up on while nobody asked it is found out here: then another one is asked."""
        if self._readers:
            reader = self._readers.pop()
            try:
                return await self._ask(reader, work)
            except self.engine.faults.passing:
                if not reader.broken:
                    raise
        return await self._ask(await self.engine.reading(), work)

    async def _ask(self, reader: Connection, work: Callable[[Ledger], Awaitable[T]]) -> T:
        try:
            found = await work(self._ledger(reader))
            await reader.settle()  # whoever would write is refused here
            return found
        finally:
            await self._put_back(reader)

    async def _put_back(self, reader: Connection) -> None:
        if reader.broken:
            await reader.close()
        else:
            self._readers.append(reader)
