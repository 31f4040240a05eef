"""Who writes: each connection that does has one task of its own, and commits in groups.

A request never holds a transaction: it leaves its work here and waits, so a client that vanishes can leave
nothing open. Accepting goes before everything else: what waits to be accepted is committed first, hundreds
of events in one transaction; then comes one group of other work. An engine that many gateways share has a
connection for each of the two: accepting never waits for the work of others.

Whoever is told that something is stored is told the truth about a power cut as well: what is accepted, and what a
person or a vendor asked for, is on the disk before the answer. What we do by ourselves (deciding, claiming, settling)
follows from what is there: it waits for no disk, and is on it with the next that does, within `LASTS_SECONDS`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from gateway.contracts import Accepted
from gateway.errors import StoreUnavailable
from gateway.model import Event, Millis
from gateway.store.driver import Connection, NotNewError
from gateway.store.engines import Engine, in_a_line, unavailable
from gateway.store.line import Line
from gateway.telemetry import logger
from gateway.values import frozen

log = logger()
T = TypeVar("T")

MOST_WAITING = 20_000
MOST_ACCEPTED_AT_ONCE = 512
FEWEST_AT_ONCE = 32
"""A commit takes half of what waits, but at least so many: while it is on its way to the disk, those that were answered
last are read. Taken all at once, senders that wait for their answers would all wait for the same disk."""
MOST_WORKS_AT_ONCE = 8
STUCK_SECONDS = 4.0
LONG_SECONDS = 1.0
"""Where a transaction failed after so long, those behind it have waited for as long, and would wait as long again."""
RECONNECT_SECONDS = 0.2
LASTS_SECONDS = 0.02
"""After so long a power cut takes nothing of what was committed; a message that was sent less long ago may then be
sent again."""
FAILED_SECONDS = 1.0
"""A disk that has just failed is asked for no more than that it is there, and so often: a full one fills no log."""
PRESSED_BY = 6
PRESSED_SECONDS = 0.01
"""So many events wait, or were in one commit so short a time ago: then senders are taken to be queueing."""

Entry = tuple[Event, str | None, Millis]
Accepting = Callable[[Connection, Sequence[Entry]], Awaitable[list[Accepted]]]
Entries = deque[tuple[Entry, asyncio.Future[Accepted]]]
Work = Callable[[Any], Awaitable[Any]]


@frozen
class Wish:
    """Work to be done in a transaction. `lasting`: who asks for it relies on it whatever happens to the machine."""

    work: Work
    lasting: bool


Works = deque[tuple[Wish, asyncio.Future[Any]]]


class Writer:
    """`accept` and `run` may be called from any task of the loop; `serve` is the one that writes. `accepting` may hope
    that what comes in is new: where it is not (NotNewError), `accepting_again` goes on in the same transaction."""

    def __init__(
        self,
        engine: Engine,
        accepting: Accepting,
        accepting_again: Accepting,
        ledger: Callable[[Connection], Any],
    ) -> None:
        self._faults = engine.faults
        self._defers = engine.defers
        self._accepting = accepting
        self._accepting_again = accepting_again
        self._ledger = ledger
        self._entries: Entries = deque()
        self._works: Works = deque()
        self._probes: Works = deque()
        if engine.shared:
            queues: list[tuple[Callable[[], Awaitable[Connection]], list[deque[Any]]]]
            queues = [(engine.accepting, [self._entries, self._probes]), (engine.writing, [self._works])]
        else:
            queues = [(engine.writing, [self._entries, self._probes, self._works])]
        self._lines = [Line(connect, engine.faults.passing, asked) for connect, asked in queues]
        self._pressed_at = -PRESSED_SECONDS
        self._patient: set[asyncio.Future[Any]] = set()

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be written, nothing is being, and all of it would outlive a power cut."""
        return not any(line.since is not None or line.waiting() or line.loose is not None for line in self._lines)

    @property
    def pressed(self) -> bool:
        """Whether senders queue."""
        return len(self._entries) >= PRESSED_BY or time.monotonic() - self._pressed_at < PRESSED_SECONDS

    async def accept(self, entry: Entry) -> Accepted:
        if len(self._entries) >= MOST_WAITING:
            raise StoreUnavailable("too many events wait to be stored")
        future: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self._entries.append((entry, future))
        self._lines[0].wake.set()
        return await future

    async def run(self, work: Callable[[Any], Awaitable[T]], *, lasting: bool = True) -> T:
        """What the work gives, once it is committed. `lasting`: and a power cut would not take it. What is not waits
        for as long as it takes: no sender does behind it, and what it had claimed would be nobody's."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if not lasting:
            self._patient.add(future)
            future.add_done_callback(self._patient.discard)
        self._works.append((Wish(work, lasting or not self._defers), future))
        self._lines[-1].wake.set()
        return await future

    async def probe(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """As `run`, on the connection that accepts."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._probes.append((Wish(work, lasting=True), future))
        self._lines[0].wake.set()
        return await future

    async def serve(self) -> None:
        """Write until cancelled; what already waits is written first."""
        try:
            if len(self._lines) == 1:
                await self._serve(self._lines[0])
                return
            async with asyncio.TaskGroup() as group:
                for line in self._lines:
                    group.create_task(self._serve(line))
        finally:
            for line in self._lines:
                self._fail(line.waiting(), "the gateway is stopping")
                await line.close()

    async def watch(self) -> None:
        """Answer those who wait on a commit that does not return: a disk that hangs must not hang the senders."""
        while True:
            await asyncio.sleep(0.5)
            for line in self._lines:
                if line.since is not None and time.monotonic() - line.since > STUCK_SECONDS:
                    hurried = [future for future in line.waiting() if future not in self._patient]
                    self._fail(hurried, "the database does not answer")
                    line.forget()

    async def _serve(self, line: Line) -> None:
        accepts = any(queue is self._entries for queue in line.queues)
        works = [queue for queue in line.queues if queue is not self._entries]
        while True:
            await line.wake.wait()
            line.wake.clear()
            while any(line.queues):
                if not await self._connected(line):
                    continue
                if accepts:
                    await self._accept_some(line)
                for queue in works:
                    if queue:
                        await self._work_some(line, queue)
                self._watch_over(line)

    async def _connected(self, line: Line) -> bool:
        """Whether there is a connection; one that broke is made anew. Where none can be had, whoever waits is told."""
        if line.connection is not None and not line.connection.broken:
            return True
        await line.close()
        line.since = time.monotonic()
        try:
            line.connection = await line.connect()
        except self._faults.passing as error:
            fault = unavailable(error)
            for future in line.waiting():
                if not future.done():
                    future.set_exception(fault)
            line.forget()
            log.warning("database not reached", reason=str(fault))
            await asyncio.sleep(RECONNECT_SECONDS)
        line.since = None
        return line.connection is not None

    async def _accept_some(self, line: Line) -> None:
        group = _take(self._entries, min(max(len(self._entries) // 2, FEWEST_AT_ONCE), MOST_ACCEPTED_AT_ONCE))
        if len(group) >= PRESSED_BY:
            self._pressed_at = time.monotonic()
        if group:
            await self._accept(line, group)
            await asyncio.sleep(0)  # whoever was answered goes on before other work begins

    async def _accept(
        self,
        line: Line,
        group: list[tuple[Entry, asyncio.Future[Accepted]]],
        beside: Sequence[asyncio.Future[Accepted]] = (),
    ) -> None:
        """`beside`: who waits for his turn meanwhile."""
        futures = [future for _, future in group]
        try:
            await line.begin([*futures, *beside])
            accepted = await self._store(line, [entry for entry, _ in group])
        except self._faults.unfit as fault:
            await self._roll_back(line)
            await self._accept_apart(line, group, fault)
            return
        except self._faults.passing as error:
            await self._abandon(line, error, futures)
            return
        for future, answer in zip(futures, accepted, strict=True):
            if not future.done():
                future.set_result(answer)

    async def _store(self, line: Line, entries: Sequence[Entry]) -> list[Accepted]:
        try:
            accepted = await self._accepting(line.open(), entries)
            await line.commit()
        except NotNewError:
            accepted = await self._accepting_again(line.open(), entries)
            await line.commit()
        return accepted

    async def _accept_apart(
        self, line: Line, group: list[tuple[Entry, asyncio.Future[Accepted]]], fault: Exception
    ) -> None:
        """One of them cannot be stored at all: the others must not pay for it."""
        if len(group) > 1:
            futures = [future for _, future in group]
            for number, one in enumerate(group, 1):
                if not one[1].done():  # who has been refused meanwhile must not be stored
                    await self._accept(line, [one], futures[number:])
        elif not group[0][1].done():
            group[0][1].set_exception(fault)

    async def _work_some(self, line: Line, queue: Works) -> None:
        group = _take(queue, MOST_WORKS_AT_ONCE)
        if len(group) == 1:
            await self._work_alone(line, *group[0])
        elif group:
            await self._work_together(line, group)

    async def _work_alone(self, line: Line, wish: Wish, future: asyncio.Future[Any]) -> None:
        result: Any = None
        fault: BaseException | None = None
        try:
            await line.begin([future], lasting=wish.lasting)
            result, fault = await _outcome(wish.work(self._ledger(line.open())))
            if fault is None:
                await line.commit(lasting=wish.lasting)
        except (*self._faults.passing, *self._faults.unfit) as error:  # what was put may be refused as late as here
            fault = error
        if isinstance(fault, self._faults.passing) and not isinstance(fault, self._faults.unfit):
            await self._abandon(line, fault, [future])
            return
        if fault is not None:
            await self._roll_back(line)
        _answer(future, result, fault)

    async def _work_together(self, line: Line, group: list[tuple[Wish, asyncio.Future[Any]]]) -> None:
        futures = [future for _, future in group]
        lasting = any(wish.lasting for wish, _ in group)
        outcomes: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []
        try:
            await line.begin(futures, lasting=lasting)
            for wish, future in group:
                if not future.done():
                    outcomes.append((future, *await self._one(line.open(), wish.work)))
            await line.commit(lasting=lasting)
        except self._faults.passing as error:
            await self._abandon(line, error, futures)
            return
        for future, result, fault in outcomes:
            _answer(future, result, fault)

    async def _one(self, connection: Connection, work: Work) -> tuple[Any, BaseException | None]:
        """One work inside the group's transaction; if it fails, its neighbours do not, and its asker learns why."""
        await connection.control("SAVEPOINT one")
        result, fault = await _outcome(self._whole(connection, work))
        if fault is None:
            return result, None
        await connection.control("ROLLBACK TO one")
        passing = isinstance(fault, self._faults.passing) and not isinstance(fault, self._faults.unfit)
        return None, unavailable(fault) if passing else fault

    async def _whole(self, connection: Connection, work: Work) -> Any:
        result = await work(self._ledger(connection))
        await connection.settle()  # what is wrong with it shows here, and not in its neighbour
        return result

    def _watch_over(self, line: Line) -> None:
        """See that what is loose is not so for long."""
        if line.loose is not None and line.watched is None:
            line.watched = asyncio.get_running_loop().call_later(LASTS_SECONDS, self._make_last, line)

    def _make_last(self, line: Line) -> None:
        line.watched = None
        if line.loose is None:
            return
        if time.monotonic() - line.loose < LASTS_SECONDS:
            self._watch_over(line)  # that of before is safe, this is newer
            return
        nobody: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        nobody.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._works.append((Wish(_beat, lasting=True), nobody))
        line.wake.set()

    async def _abandon(self, line: Line, error: Exception, futures: list[asyncio.Future[Any]]) -> None:
        long = line.since is not None and time.monotonic() - line.since > LONG_SECONDS
        await self._roll_back(line)
        if line.loose is not None:
            line.loose = time.monotonic() + FAILED_SECONDS
        behind = [future for future in line.waiting() if future not in self._patient] if long else []
        for future in (*futures, *behind):
            if not future.done():
                future.set_exception(unavailable(error))
        line.forget()
        log.warning("transaction failed", fault=in_a_line(error))

    async def _roll_back(self, line: Line) -> None:
        try:
            await line.roll_back()
        except self._faults.passing:
            log.debug("nothing rolled back")  # it never began, or the engine has done it itself

    @staticmethod
    def _fail(futures: Sequence[asyncio.Future[Any]], why: str) -> None:
        for future in futures:
            if not future.done():
                future.set_exception(StoreUnavailable(f"what was to be stored may not be: {why}"))


def _answer(future: asyncio.Future[Any], result: Any, fault: BaseException | None) -> None:
    if future.done():
        return
    if fault is None:
        future.set_result(result)
    else:
        future.set_exception(fault)


async def _outcome(work: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """What came of it, a fault of whatever kind included: whoever asked for it is told. Catch-all 4 of 4: one work
    must not end the task that writes for all."""
    try:
        return await work, None
    except asyncio.CancelledError as fault:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise  # it is we who are to end
        return None, fault
    except Exception as fault:  # noqa: BLE001  # it is handed on, to the asker
        return None, fault


async def _beat(ledger: Any) -> None:
    await ledger.beat()


def _take(queue: deque[tuple[T, asyncio.Future[Any]]], most: int) -> list[tuple[T, asyncio.Future[Any]]]:
    """The next so many for which somebody still waits: who was cancelled, or told that the disk hangs, is gone."""
    group: list[tuple[T, asyncio.Future[Any]]] = []
    while queue and len(group) < most:
        one = queue.popleft()
        if not one[1].done():
            group.append(one)
    return group
