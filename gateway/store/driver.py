"""Statements are written once, in SQLAlchemy Core, compiled once for each engine, and run by the driver itself.

SQLAlchemy's own async layer takes several hops between threads for a statement (cursor, execute, fetch, close); a
webhook's whole way is two dozen statements. What the engines write differently in a statement is here; how they are
reached, made safe and locked is in `engines`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol

import sqlalchemy as sa
from pydantic_core import to_json
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from gateway.values import frozen

SQLITE: Final[sa.Dialect] = sqlite.dialect()
POSTGRESQL: Final[sa.Dialect] = psycopg.dialect()  # type: ignore[no-untyped-call]

# Its clauses (on_conflict_do_update and the like) are compiled by SQLite's compiler as well; SQLite's own insert is
# not by PostgreSQL's.
insert = postgresql.insert


NONE: Final[Mapping[str, Any]] = MappingProxyType({})
Control = Literal["COMMIT", "ROLLBACK", "SAVEPOINT one", "ROLLBACK TO one"]


class Row(Protocol):
    """Read by name: `row["id"]`; `dict(row)` is all of it."""

    def __getitem__(self, name: str, /) -> Any: ...

    def keys(self) -> Iterable[str]: ...


@frozen
class Compiled:
    """`order`: the names of the values in the order of the question marks. `fixed`: values that stand in the
    statement itself."""

    sql: str
    order: tuple[str, ...]
    fixed: Mapping[str, Any]

    def listed(self, given: Mapping[str, Any]) -> tuple[Any, ...]:
        """The given values, and the fixed ones, in the order of the question marks."""
        fixed = self.fixed
        return tuple([given[name] if name in given else fixed.get(name) for name in self.order])

    def named(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The given values, and the fixed ones, by name."""
        return {**self.fixed, **given}


class Prepared:
    """A Core statement, compiled at its first use by each engine. Every value it takes is a named bindparam."""

    def __init__(self, statement: sa.ClauseElement) -> None:
        self._statement = statement
        self._compiled: dict[str, Compiled] = {}

    def on(self, dialect: sa.Dialect) -> Compiled:
        """The statement as this engine writes it."""
        found = self._compiled.get(dialect.name)
        if found is None:
            compiled = self._statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
            found = self._compiled[dialect.name] = Compiled(
                str(compiled),
                tuple(getattr(compiled, "positiontup", None) or ()),
                {name: value for name, value in compiled.params.items() if value is not None},
            )
        return found


class Rows:
    """An INSERT of many rows, said in statements of 32, 8 and 1 rows, each compiled once: one that inserts row by row
    hands SQLite's thread and ours to each other at every row. `make` gives the INSERT of some rows of bindparams;
    every column's value is given, under its name."""

    SIZES: Final = (32, 8, 1)

    def __init__(self, make: Callable[[list[dict[str, Any]]], sa.ClauseElement], columns: Sequence[str]) -> None:
        self._columns = tuple(columns)
        self._statements = {
            size: Prepared(make([{name: sa.bindparam(f"{name}_{row}") for name in columns} for row in range(size)]))
            for size in self.SIZES
        }
        self._names = {size: [f"{name}_{row}" for row in range(size) for name in columns] for size in self.SIZES}

    def split(
        self, rows: Sequence[Mapping[str, Any]], more: Mapping[str, Any]
    ) -> Iterator[tuple[Prepared, list[Mapping[str, Any]]]]:
        """The statements to run, each with the values of its runs; `more` are further values of every one."""
        for size, runs in self._runs(rows):
            names = self._names[size]
            yield self._statements[size], [{**dict(zip(names, run, strict=True)), **more} for run in runs]

    def laid_out(
        self, rows: Sequence[Mapping[str, Any]], more: Mapping[str, Any], dialect: sa.Dialect
    ) -> Iterator[tuple[str, list[Sequence[Any]], int]]:
        """As `split`, for an engine that counts its question marks: the values in their order, which is that of the
        rows and then `more`; and how many rows that makes."""
        for size, runs in self._runs(rows):
            compiled = self._statements[size].on(dialect)
            further = [more[name] for name in compiled.order[size * len(self._columns) :]]
            yield compiled.sql, [run + further for run in runs] if further else runs, size * len(runs)

    def _runs(self, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, list[Any]]]:
        """How many rows a statement has, and for each of its runs the values of all of them, row by row."""
        at, columns = 0, self._columns
        for size in self.SIZES:
            runs = []
            while len(rows) - at >= size:
                runs.append([row[name] for row in rows[at : at + size] for name in columns])
                at += size
            if runs:
                yield size, runs


class NotNewError(Exception):
    """Not each of the rows that were put as new ones is. What was put behind them is not run; the transaction goes
    on."""


class Connection(ABC):
    """One connection, in one transaction at a time."""

    @abstractmethod
    async def all(self, statement: Prepared, given: Mapping[str, Any] | None = None) -> list[Row]: ...

    @abstractmethod
    async def run(self, statement: Prepared, given: Mapping[str, Any] | None = None) -> int:
        """How many rows it touched."""

    @abstractmethod
    async def many(self, statement: Prepared, rows: Iterable[Mapping[str, Any]]) -> int:
        """Run it once for each row; how many rows of the table that touched."""

    async def add(self, statement: Rows, rows: Sequence[Mapping[str, Any]], more: Mapping[str, Any] = NONE) -> int:
        """Insert many rows; how many rows of the table that touched."""
        return sum([await self.many(prepared, runs) for prepared, runs in statement.split(rows, more)])

    async def put(self, statement: Prepared | Rows, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run it for each row, where nobody asks what it touched: at once, or together with what comes next in the
        transaction, its end at the latest. A fault of it shows then."""
        if isinstance(statement, Rows):
            await self.add(statement, rows)
        elif rows:
            await self.many(statement, rows)

    async def put_new(self, statement: Rows, rows: Sequence[Mapping[str, Any]], more: Mapping[str, Any] = NONE) -> None:
        """As `put`, where each row is to touch one of the table. Raises NotNewError where one does not: at once, or
        with what comes next in the transaction, its end at the latest."""
        if await self.add(statement, rows, more) < len(rows):
            raise NotNewError

    async def settle(self) -> None:  # noqa: B027  # there is nothing where all that is put is run at once
        """Run what was put and has not been run."""

    @abstractmethod
    async def begin(self, *, lasting: bool = True) -> None:
        """A transaction that may write; what it reads, nobody changes meanwhile. `lasting`: once it is committed it
        outlives a power cut; else it outlives the process, and a power cut once a lasting one was committed after
        it. An engine may make every transaction a lasting one."""

    @abstractmethod
    async def control(self, word: Control) -> None:
        """Where a savepoint is set, it takes the place of the one before."""

    @property
    @abstractmethod
    def broken(self) -> bool:
        """Whether it is good for nothing any more; another is to be made."""

    @abstractmethod
    async def close(self) -> None: ...

    async def one(self, statement: Prepared, given: Mapping[str, Any] | None = None) -> Row | None:
        rows = await self.all(statement, given)
        return rows[0] if rows else None


class among(sa.ColumnElement[bool]):  # noqa: N801  # reads as SQL does: among(table.c.id, "ids")
    """`column` (or each of several columns) is in the list bound under `name`: see `listed`. The statement is the
    same for any length of the list, so it is compiled once."""

    inherit_cache = False
    type: Any = sa.types.NullType()  # of a boolean SQLAlchemy would make `… = 1`, which no index serves

    def __init__(self, column: sa.ColumnElement[Any] | Sequence[sa.ColumnElement[Any]], name: str) -> None:
        self.columns = tuple(column) if isinstance(column, (tuple, list)) else (column,)
        self.list = sa.bindparam(name, type_=sa.Text())


class each(sa.sql.functions.GenericFunction[Any]):  # noqa: N801  # a function of SQL
    """The items of the list bound under `name`, a row each; `item` takes them apart."""

    inherit_cache = True
    type = sa.types.NullType()

    def __init__(self, name: str) -> None:
        super().__init__(sa.bindparam(name, type_=sa.Text()))


class item(sa.ColumnElement[Any]):  # noqa: N801  # as above
    """What stands at `place` of one of `each`'s rows, as text or as a whole number."""

    inherit_cache = False

    def __init__(self, row: sa.ColumnElement[Any], place: int, type_: sa.types.TypeEngine[Any]) -> None:
        self.row = row
        self.place = place
        self.type = type_


class greatest(sa.sql.functions.GenericFunction[Any]):  # noqa: N801  # as above
    """The greatest of several values in one row."""

    inherit_cache = True


def written(value: Any) -> str:
    """JSON as it stands in a column."""
    return to_json(value).decode()


def listed(items: Collection[Any]) -> str:
    """The value for `among` and `each`: a list of texts, or of tuples."""
    return json.dumps(list(items))


@compiles(among, "sqlite")
def _among_sqlite(element: among, compiler: SQLCompiler, **named: Any) -> str:
    # Without the cast the list has no type, and SQLite then compares without the column's index.
    columns, bound = _parts(element, compiler, **named)
    if len(columns) == 1:
        return f"{columns[0]} IN (SELECT CAST(value AS TEXT) FROM json_each({bound}))"  # noqa: S608  # names and a question mark
    parts = ", ".join(f"CAST(json_extract(value, '$[{place}]') AS TEXT)" for place in range(len(columns)))
    return f"({', '.join(columns)}) IN (SELECT {parts} FROM json_each({bound}))"  # noqa: S608  # as above


@compiles(among, "postgresql")
def _among_postgresql(element: among, compiler: SQLCompiler, **named: Any) -> str:
    columns, bound = _parts(element, compiler, **named)
    if len(columns) == 1:
        return f"{columns[0]} IN (SELECT json_array_elements_text(CAST({bound} AS json)))"  # as above
    parts = ", ".join(f"value ->> {place}" for place in range(len(columns)))
    return f"({', '.join(columns)}) IN (SELECT {parts} FROM json_array_elements(CAST({bound} AS json)))"  # noqa: S608  # as above


def _parts(element: among, compiler: SQLCompiler, **named: Any) -> tuple[list[str], str]:
    columns = [compiler.process(column, **named) for column in element.columns]
    return columns, compiler.process(element.list, **named)


@compiles(each, "sqlite")
def _each_sqlite(element: each, compiler: SQLCompiler, **named: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **named)})"


@compiles(each, "postgresql")
def _each_postgresql(element: each, compiler: SQLCompiler, **named: Any) -> str:
    return f"json_array_elements(CAST({compiler.process(element.clauses, **named)} AS json))"


@compiles(item, "sqlite")
def _item_sqlite(element: item, compiler: SQLCompiler, **named: Any) -> str:
    row = compiler.process(element.row, **named)
    return f"CAST(json_extract({row}, '$[{element.place}]') AS {element.type.compile(SQLITE)})"


@compiles(item, "postgresql")
def _item_postgresql(element: item, compiler: SQLCompiler, **named: Any) -> str:
    row = compiler.process(element.row, **named)
    return f"CAST({row} ->> {element.place} AS {element.type.compile(POSTGRESQL)})"


@compiles(greatest, "sqlite")
def _greatest_sqlite(element: greatest, compiler: SQLCompiler, **named: Any) -> str:
    return f"max({compiler.process(element.clauses, **named)})"
