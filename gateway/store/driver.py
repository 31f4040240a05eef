"""Statements are written once, in SQLAlchemy Core, compiled once, and run by the driver itself in one hop.

SQLAlchemy's own async layer over aiosqlite takes four hops between threads for a statement (cursor, execute,
fetch, close); a webhook's whole way is two dozen statements. This is the room of dialect differences.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import aiosqlite
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

DIALECT: Final = sqlite.dialect()


class Prepared:
    """A Core statement, compiled at its first use. Every value it takes is a named bindparam."""

    def __init__(self, statement: sa.ClauseElement) -> None:
        self._statement = statement
        self._sql = ""
        self._order: tuple[str, ...] = ()
        self._fixed: Mapping[str, Any] = {}

    @property
    def sql(self) -> str:
        if not self._sql:
            compiled = self._statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True})
            self._order = tuple(getattr(compiled, "positiontup", None) or ())
            self._fixed = {name: value for name, value in compiled.params.items() if value is not None}
            self._sql = str(compiled)
        return self._sql

    def values(self, given: Mapping[str, Any]) -> tuple[Any, ...]:
        """The given values, and those that stand in the statement, in the order of its question marks."""
        fixed = self._fixed
        return tuple([given[name] if name in given else fixed.get(name) for name in self._order])


class Connection:
    """One connection to the file; every call is one hop to its thread. Rows are read by name: `row["id"]`."""

    def __init__(self, raw: aiosqlite.Connection) -> None:
        self._raw = raw

    async def all(self, statement: Prepared, given: Mapping[str, Any] | None = None) -> list[sqlite3.Row]:
        sql = statement.sql
        return list(await self._raw.execute_fetchall(sql, statement.values(given or {})))

    async def one(self, statement: Prepared, given: Mapping[str, Any] | None = None) -> sqlite3.Row | None:
        rows = await self.all(statement, given)
        return rows[0] if rows else None

    async def run(self, statement: Prepared, given: Mapping[str, Any] | None = None) -> int:
        """How many rows it touched."""
        sql = statement.sql
        return (await self._raw.execute(sql, statement.values(given or {}))).rowcount

    async def many(self, statement: Prepared, rows: Iterable[Mapping[str, Any]]) -> int:
        """Run it once for each row; how many rows of the table that touched."""
        sql, values = statement.sql, statement.values
        return (await self._raw.executemany(sql, [values(row) for row in rows])).rowcount

    async def control(self, word: str) -> None:
        """BEGIN IMMEDIATE, COMMIT, SAVEPOINT …"""
        await self._raw.execute(word)

    async def close(self) -> None:
        await self._raw.close()


async def connect(database: str, pragmas: Sequence[str], busy_seconds: float) -> Connection:
    """A connection of its own thread. Transactions are begun by hand: a deferred BEGIN that turns to writing
    fails at once when somebody else writes, whatever the busy time-out."""
    raw = await aiosqlite.connect(database, uri=True, isolation_level=None, timeout=busy_seconds)
    raw.row_factory = sqlite3.Row
    try:
        for pragma in pragmas:
            await raw.execute(f"PRAGMA {pragma}")
    except BaseException:
        await raw.close()  # its thread would keep the process from ending
        raise
    return Connection(raw)


class among(sa.ColumnElement[bool]):  # noqa: N801  # reads as SQL does: among(table.c.id, "ids")
    """`column` (or each of several columns) is in the list bound under `name`: see `listed`. The statement is the
    same for any length of the list, so it is compiled once."""

    inherit_cache = False
    type: Any = sa.types.NullType()  # of a boolean SQLAlchemy would make `… = 1`, which no index serves

    def __init__(self, column: sa.ColumnElement[Any] | Sequence[sa.ColumnElement[Any]], name: str) -> None:
        self.columns = tuple(column) if isinstance(column, (tuple, list)) else (column,)
        self.list = sa.bindparam(name, type_=sa.Text())


@compiles(among, "sqlite")
def _among(element: among, compiler: SQLCompiler, **named: Any) -> str:
    # Without the cast the list has no type, and SQLite then compares without the column's index.
    columns = [compiler.process(column, **named) for column in element.columns]
    bound = compiler.process(element.list, **named)
    if len(columns) == 1:
        return f"{columns[0]} IN (SELECT CAST(value AS TEXT) FROM json_each({bound}))"  # noqa: S608  # names and a question mark
    parts = ", ".join(f"CAST(json_extract(value, '$[{place}]') AS TEXT)" for place in range(len(columns)))
    return f"({', '.join(columns)}) IN (SELECT {parts} FROM json_each({bound}))"  # noqa: S608  # as above


def listed(items: Collection[Any]) -> str:
    """The value for `among`: a list of texts, or of tuples."""
    return json.dumps(list(items))
