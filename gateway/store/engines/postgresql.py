"""PostgreSQL: many gateways, one database, its clock.

Everything is said within a transaction and nothing is kept in a session, so that a pooler which hands out connections
by the transaction (PgBouncer) serves as well. What is not accepting is done by one gateway at a time, in turns of a
few milliseconds: the store decides as it does where it is one process's own. A gateway that stops in the midst of its
turn, or is cut off, loses it: the server ends its transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, LiteralString, TypeVar

import psycopg
from psycopg.pq import PipelineStatus
from psycopg.rows import DictRow, dict_row

from gateway.clock import Told
from gateway.errors import TocsinError
from gateway.store.driver import POSTGRESQL, Connection, Control, Prepared, Row
from gateway.store.engines import Faults
from gateway.store.engines.postgresql_schema import prepare, sentence
from gateway.telemetry import logger

log = logger()
T = TypeVar("T")

OFF: Final = PipelineStatus.OFF
CONNECT_SECONDS: Final = 3
STATEMENT_SECONDS: Final = 6.0
"""Beyond this a statement is taken for lost: the line is dead, or the server is."""
NOTES: Final = "tocsin"
HINT_SECONDS: Final = 0.02
_OTHERS: Final = (
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedTable,
)
"""What no connection to the database that we were started on would say."""
_ONE_AT_A_TIME: Final = 7_220_170_951
"""The name of the advisory lock under which all is done that is not accepting."""
_LIMITS: LiteralString = (
    # Whatever the role or the database has for a default: who waited for his turn must see what was done meanwhile.
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '4s';"
    " SET LOCAL idle_in_transaction_session_timeout = '5s';"
    # What was acknowledged is on disk, whatever the server or the role was told.
    " SET LOCAL synchronous_commit = {commit};"
)
_CLOCK: LiteralString = " SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now"
_LOCK: LiteralString = " SELECT pg_advisory_xact_lock({lock});"


class Session(Connection):
    """One connection. `tell` learns the server's clock at each transaction's beginning."""

    def __init__(
        self, raw: psycopg.AsyncConnection[DictRow], beginning: LiteralString, tell: Callable[[int], None]
    ) -> None:
        self._raw = raw
        self._beginning = beginning
        self._tell = tell
        self._given_up = False
        self._lost = False

    @property
    def broken(self) -> bool:
        # Where the server says goodbye in the midst of many rows, psycopg may leave the connection as one that seems
        # well and takes nothing any more: still within its pipeline.
        return self._lost or self._raw.broken or self._raw.closed or self._raw.pgconn.pipeline_status != OFF

    async def all(self, statement: Prepared, given: Mapping[str, Any] | None = None) -> list[Row]:
        compiled = statement.on(POSTGRESQL)
        cursor = await self._soon(self._raw.execute(compiled.sql, compiled.named(given or {})))
        return list(await cursor.fetchall())

    async def run(self, statement: Prepared, given: Mapping[str, Any] | None = None) -> int:
        compiled = statement.on(POSTGRESQL)
        cursor = await self._soon(self._raw.execute(compiled.sql, compiled.named(given or {})))
        return cursor.rowcount

    async def many(self, statement: Prepared, rows: Iterable[Mapping[str, Any]]) -> int:
        compiled = statement.on(POSTGRESQL)
        named = compiled.named
        cursor = self._raw.cursor()
        await self._soon(cursor.executemany(compiled.sql, [named(row) for row in rows]))
        return cursor.rowcount

    async def begin(self, *, lasting: bool = True) -> None:  # noqa: ARG002  # the server outlives no gateway: all last
        cursor = await self._soon(self._raw.execute(self._beginning))
        await cursor.set_result(-1)
        row = await cursor.fetchone()
        if row is not None:
            self._tell(row["now"])

    async def control(self, word: Control) -> None:
        try:
            await self._soon(self._raw.execute(word))
        except psycopg.Error:
            self._lost = self._lost or word == "ROLLBACK"  # a healthy one takes that whatever there was before
            raise

    async def only_read(self) -> None:
        """Refuse to write from now on, and end what takes so long that nobody waits for it any more."""
        await self._soon(self._raw.execute("SET default_transaction_read_only = on; SET statement_timeout = '6s'"))

    async def close(self) -> None:
        with suppress(psycopg.Error):
            await self._raw.close()

    async def _soon(self, saying: Awaitable[T]) -> T:
        """What the server answers. Where it does not, the connection is dropped: a line that swallows everything
        would hold us for as long as TCP hopes."""
        task: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]  # we are in one
        handle = asyncio.get_running_loop().call_later(STATEMENT_SECONDS, self._give_up, task)
        try:
            return await saying
        except asyncio.CancelledError:
            if not self._given_up or task.uncancel():
                raise  # it is not we alone who wish it to end
            raise psycopg.OperationalError("the database does not answer") from None
        except _OTHERS as error:
            # A standby, or rights that are gone: where the address leads to by now may be another server.
            self._lost = True
            raise psycopg.OperationalError(sentence(error)) from None
        finally:
            handle.cancel()

    def _give_up(self, task: asyncio.Task[Any]) -> None:
        self._given_up = True
        self._raw.pgconn.finish()  # else cancelling would wait for the server to confirm it
        task.cancel()


class PostgreSQL:
    """See `engines.Engine`."""

    shared = True
    defers = False
    file = None
    faults = Faults(
        passing=(psycopg.Error, OSError),
        unfit=(
            psycopg.IntegrityError,
            psycopg.DataError,
            psycopg.ProgrammingError,
            psycopg.NotSupportedError,
            OverflowError,
            TypeError,
            ValueError,
        ),
    )

    def __init__(self, url: str) -> None:
        self._url = url
        self._clock = Told()
        self.told_clock: Callable[[], int] = self._clock
        self._pooled = False
        self._commit: LiteralString = "on"
        self._topics: set[str] = set()
        self._hinted = asyncio.Event()

    def open(self) -> None:
        found = prepare(self._url)
        self._clock.tell(found.now)
        self._pooled, self._commit = found.pooled, found.commit

    def close(self) -> None:
        """Nothing is held."""

    async def accepting(self) -> Connection:
        return await self._session(_LIMITS.format(commit=self._commit) + _CLOCK)

    async def writing(self) -> Connection:
        return await self._session(_LIMITS.format(commit=self._commit) + _LOCK.format(lock=_ONE_AT_A_TIME) + _CLOCK)

    async def reading(self) -> Connection:
        """Each statement by itself, and no transaction: `begin` is not for it."""
        reader = await self._session("")
        if not self._pooled:  # there a session is another's the next moment
            await reader.only_read()
        return reader

    async def _session(self, beginning: LiteralString) -> Session:
        return Session(await self._connect(), beginning, self._clock.tell)

    async def _connect(self) -> psycopg.AsyncConnection[DictRow]:
        try:
            async with asyncio.timeout(CONNECT_SECONDS + 1):
                return await psycopg.AsyncConnection.connect(
                    self._url,
                    autocommit=True,
                    row_factory=dict_row,
                    connect_timeout=CONNECT_SECONDS,
                    # A pooler gives each transaction another session, which knows nothing of what was prepared.
                    prepare_threshold=None if self._pooled else 5,
                )
        except TimeoutError:
            raise psycopg.OperationalError("the database does not answer") from None
        except psycopg.Error as error:
            raise psycopg.OperationalError(sentence(error)) from None

    # --- hints: who has stored something lets the others know, and nobody relies on it ------------------------

    def hint(self, topics: Sequence[str]) -> None:
        if not self._pooled:
            self._topics.update(topics)
            self._hinted.set()

    async def listen(self, _heard: Callable[[frozenset[str]], None]) -> None:
        if self._pooled:  # LISTEN needs a session of one's own: looking again and again has to do
            await asyncio.Event().wait()
        while True:
            try:
                await self._listen(_heard)
            except* (psycopg.Error, OSError) as group:
                log.warning("hints not heard", reason=sentence(group.exceptions[0]))
            await asyncio.sleep(1)

    async def _listen(self, heard: Callable[[frozenset[str]], None]) -> None:
        async with await self._connect() as ear, await self._connect() as mouth:
            await ear.execute(f"LISTEN {NOTES}")
            own = mouth.info.backend_pid
            async with asyncio.TaskGroup() as group:
                group.create_task(self._speak(mouth))
                async for note in ear.notifies():
                    if note.pid != own:
                        heard(frozenset(note.payload.split("\n")))
                raise psycopg.OperationalError("the database has hung up")

    async def _speak(self, mouth: psycopg.AsyncConnection[DictRow]) -> None:
        while True:
            await self._hinted.wait()
            self._hinted.clear()
            topics, self._topics = self._topics, set()
            said = "\n".join(sorted(topics))
            await mouth.execute("SELECT pg_notify(%s, %s)", (NOTES, said if len(said) < 7_000 else "*"))
            await asyncio.sleep(HINT_SECONDS)


__all__ = ["PostgreSQL", "Session", "TocsinError"]
