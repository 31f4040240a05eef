"""One connection to SQLite's file: aiosqlite's thread, asked as seldom as can be."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import aiosqlite

from gateway.store.driver import NONE, SQLITE, Connection, Control, NotNewError, Prepared, Row, Rows
from gateway.values import frozen


class File(Connection):
    """One connection to the file. What is put and where a transaction begins waits for the next that is asked, or the
    end: all of it is one hop to its thread and back, which costs more than most statements."""

    broken = False

    def __init__(self, raw: Thread) -> None:
        self._raw = raw
        self._owed: list[Said] = []

    async def all(self, statement: Prepared, given: Mapping[str, Any] | None = None) -> list[Row]:
        compiled = statement.on(SQLITE)
        answer = await self._say((compiled.sql, [compiled.listed(given or {})], _ANY))
        # A row of sqlite3 seeks a name among its columns one by one: of 30 columns that costs more than this.
        names = answer.names
        return [dict(zip(names, row, strict=True)) for row in answer.rows]

    async def run(self, statement: Prepared, given: Mapping[str, Any] | None = None) -> int:
        compiled = statement.on(SQLITE)
        return (await self._say((compiled.sql, [compiled.listed(given or {})], _ANY))).touched

    async def many(self, statement: Prepared, rows: Iterable[Mapping[str, Any]]) -> int:
        return (await self._say(_said(statement, rows))).touched

    async def add(self, statement: Rows, rows: Sequence[Mapping[str, Any]], more: Mapping[str, Any] = NONE) -> int:
        return (await self._say(*_laid_out(statement, rows, more))).touched

    async def put(self, statement: Prepared | Rows, rows: Sequence[Mapping[str, Any]]) -> None:
        if isinstance(statement, Rows):
            self._owed += _laid_out(statement, rows, NONE)
        elif rows:
            self._owed.append(_said(statement, rows))

    async def put_new(self, statement: Rows, rows: Sequence[Mapping[str, Any]], more: Mapping[str, Any] = NONE) -> None:
        self._owed += statement.laid_out(rows, more, SQLITE)

    async def settle(self) -> None:
        if self._owed:
            await self._say()

    async def begin(self, *, lasting: bool = True) -> None:
        self._owed = [FULL if lasting else NORMAL, _BEGIN]

    async def control(self, word: Control) -> None:
        match word:
            case "SAVEPOINT one":
                self._owed.append(_SAVEPOINT)
            case "COMMIT":
                await self._say((word, _NOTHING, _ANY))
            case "ROLLBACK TO one" if _SAVEPOINT in self._owed:
                del self._owed[self._owed.index(_SAVEPOINT) + 1 :]
            case _:
                begun, self._owed = _BEGIN not in self._owed, []
                if begun:
                    await self._say((word, _NOTHING, _ANY))

    async def close(self) -> None:
        await self._raw.close()

    async def _say(self, *asked: Said) -> Answer:
        owed, self._owed = self._owed, []
        return await self._raw.say(owed, asked)


Said = tuple[str, Sequence[Sequence[Any]], int]
"""A statement, the values of each of its runs, and how many rows they must touch where it is owed."""
_ANY: Final = -1
"""However many it touches: sqlite3 says -1 of what is no change."""
_NOTHING: Final[Sequence[Sequence[Any]]] = ((),)
# A deferred BEGIN that turns to writing fails at once when somebody else writes, whatever the busy time-out.
_BEGIN: Final[Said] = ("BEGIN IMMEDIATE", _NOTHING, _ANY)
_SAVEPOINT: Final[Said] = ("SAVEPOINT one", _NOTHING, _ANY)
FULL: Final[Said] = ("PRAGMA synchronous = FULL", _NOTHING, _ANY)
NORMAL: Final[Said] = ("PRAGMA synchronous = NORMAL", _NOTHING, _ANY)


@frozen
class Answer:
    """Of what was asked: the rows that the last gave, by these names, and how many rows all of it touched."""

    names: Sequence[str]
    rows: Sequence[Sequence[Any]]
    touched: int


class Thread(aiosqlite.Connection):
    """aiosqlite's, whose every call is one statement, with a call for many."""

    async def say(self, owed: Sequence[Said], asked: Sequence[Said]) -> Answer:
        """Run what is owed, then what is asked. Raises sqlite3.Error at the first that fails, NotNewError at the first
        that touches too few rows; the others are not run then."""
        answer: Answer = await self._execute(self._run, owed, asked)  # type: ignore[no-untyped-call]
        return answer

    def _run(self, owed: Sequence[Said], asked: Sequence[Said]) -> Answer:
        connection, touched = self._conn, 0
        for sql, runs, least in owed:
            if _cursor(connection, sql, runs).rowcount < least:
                raise NotNewError
        cursor = None
        for sql, runs, _ in asked:
            cursor = _cursor(connection, sql, runs)
            touched += cursor.rowcount
        if cursor is None or cursor.description is None:
            return Answer((), (), touched)
        return Answer([column[0] for column in cursor.description], cursor.fetchall(), touched)


def _cursor(connection: sqlite3.Connection, sql: str, runs: Sequence[Sequence[Any]]) -> sqlite3.Cursor:
    return connection.execute(sql, runs[0]) if len(runs) == 1 else connection.executemany(sql, runs)


def _said(statement: Prepared, rows: Iterable[Mapping[str, Any]]) -> Said:
    compiled = statement.on(SQLITE)
    listed = compiled.listed
    return compiled.sql, [listed(row) for row in rows], _ANY


def _laid_out(statement: Rows, rows: Sequence[Mapping[str, Any]], more: Mapping[str, Any]) -> list[Said]:
    return [(sql, runs, _ANY) for sql, runs, _ in statement.laid_out(rows, more, SQLITE)]
