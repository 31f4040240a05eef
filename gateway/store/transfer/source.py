"""The SQLite file that is moved: read, never written to."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from gateway.errors import TocsinError
from gateway.store.schema import HEAD

Row = tuple[Any, ...]
Sum = tuple[int, int]
"""How many rows, and the sum over their keys' hashes: in whatever order they come."""

HASH_BYTES = 4
"""So that the sum over two thousand million rows still fits into SQLite's integer."""
BUSY_SECONDS = 5.0


def keys_of(table: sa.Table) -> list[str]:
    return [column.name for column in table.primary_key.columns]


def refuse_other(path: Path) -> None:
    """Raises TocsinError where the file is no database of this version."""
    if not path.exists():
        raise TocsinError(f"{path}: there is no such database")
    try:
        with closing(connect(path)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "alembic_version" not in tables:
                raise TocsinError(f"{path}: is no database of Tocsin's")
            (current,) = connection.execute("SELECT version_num FROM alembic_version").fetchone() or ("none",)
    except sqlite3.Error as error:
        raise TocsinError(f"{path}: cannot be read: {error}") from None
    if current != HEAD:
        from gateway.store.migrate import known  # Alembic costs 150 ms

        known(str(current), str(path))
        raise TocsinError(
            f"{path}: is of an older version (schema {current}); start this version on it once, then copy"
        )


def connect(path: Path) -> sqlite3.Connection:
    """It can only read."""
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=BUSY_SECONDS)
    connection.create_function("key_hash", 1, _hash, deterministic=True)
    return connection


@contextmanager
def beside(path: Path, snapshot: Path) -> Iterator[sqlite3.Connection]:
    """The file as it is, in one read transaction, and an older copy of it as `old`."""
    with closing(connect(path)) as connection:
        connection.execute("ATTACH ? AS old", (f"file:{quote(str(snapshot.absolute()))}?mode=ro",))
        connection.execute("PRAGMA cache_size = -64000")
        connection.execute("BEGIN")
        yield connection


def rows(connection: sqlite3.Connection, table: sa.Table) -> Iterator[Row]:
    """Every row, as PostgreSQL takes it."""
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    return converted(table, connection.execute(f'SELECT {names} FROM "{table.name}"'))  # noqa: S608  # our own names


def gone(connection: sqlite3.Connection, table: sa.Table) -> Iterator[Row]:
    """The keys that `old` has, and that are not there any more or whose rows have changed."""
    chosen = ", ".join(f'a."{name}"' for name in keys_of(table))
    return iter(connection.execute(_differing(table, chosen, "old", "main")))


def new(connection: sqlite3.Connection, table: sa.Table) -> Iterator[Row]:
    """The rows that `old` has not, or has otherwise."""
    chosen = ", ".join(f'a."{column.name}"' for column in table.columns)
    return converted(table, connection.execute(_differing(table, chosen, "main", "old")))


def _differing(table: sa.Table, chosen: str, one: str, other: str) -> str:
    """What to say for the rows of one that the other has not, or has otherwise."""
    name = table.name
    same = " AND ".join(f'a."{key}" = b."{key}"' for key in keys_of(table))
    if table.dialect_options["sqlite"]["with_rowid"]:
        same = "a.rowid = b.rowid"  # read from front to back, without an index
    differs = " OR ".join(f'a."{column.name}" IS NOT b."{column.name}"' for column in table.columns)
    return f'SELECT {chosen} FROM {one}."{name}" a LEFT JOIN {other}."{name}" b ON {same} WHERE {differs}'  # noqa: S608


def total(connection: sqlite3.Connection, table: sa.Table) -> Sum:
    key = " || char(31) || ".join(f'CAST("{name}" AS TEXT)' for name in keys_of(table))
    asked = f'SELECT count(*), coalesce(sum(key_hash({key})), 0) FROM main."{table.name}"'  # noqa: S608
    count, hashed = connection.execute(asked).fetchone()
    return count, hashed


def highest_number(connection: sqlite3.Connection) -> int:
    """The highest number that an incident ever had."""
    (number,) = connection.execute(
        "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'incidents'"
    ).fetchone()
    return int(number)


def converted(table: sa.Table, found: Iterator[Row] | sqlite3.Cursor) -> Iterator[Row]:
    """SQLite keeps truth as 0 and 1, and a NUL within a text, which PostgreSQL does not take."""
    ways = [(place, _way(column)) for place, column in enumerate(table.columns) if _way(column) is not None]
    for row in found:
        values = list(row)
        for place, way in ways:
            value = values[place]
            if value is not None:
                values[place] = way(value)  # type: ignore[misc]  # those without are left out above
        yield tuple(values)


def _way(column: sa.Column[Any]) -> Callable[[Any], Any] | None:
    if isinstance(column.type, sa.Boolean):
        return bool
    if isinstance(column.type, sa.Float):
        return float
    return clean if isinstance(column.type, sa.Text) else None


def clean(text: str) -> str:
    return text.replace("\0", "\ufffd") if "\0" in text else text


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.sha256(clean(key).encode()).digest()[:HASH_BYTES])
