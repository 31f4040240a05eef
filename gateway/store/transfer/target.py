"""The PostgreSQL that a database is moved to: one transaction from the first row to the last, so that whatever ends
it before its end leaves it empty."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, LiteralString

import psycopg
import sqlalchemy as sa
from psycopg import sql

from gateway.errors import TocsinError
from gateway.store.engines.postgresql_schema import prepare, sentence
from gateway.store.schema import metadata
from gateway.store.transfer.source import HASH_BYTES, Row, Sum, keys_of

CONNECT_SECONDS: Final = 5
CANCEL_SECONDS: Final = 5
_NO_HISTORY: Final = ("beats", "keys", "lanes", "replicas")
"""Of a gateway that was started here and has taken nothing: that it could write, how it would sign links, what its
channels have sent within the last minute, and who it was."""
HERE_SECONDS: Final = 15
"""A gateway that has said nothing for so long is not there; see `gauging`."""
_SHUT_DOWN: Final = "57"
"""Of SQLSTATE: the server, or somebody at it, has ended the session."""
_LIVELY: Final = {
    # A line that swallows everything is given up within seconds: a gateway stands still meanwhile.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_LIMITS: LiteralString = (
    "SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = 0;"
    " SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL synchronous_commit = {commit}"
)
_TYPES: Final = ((sa.Boolean, "bool"), (sa.LargeBinary, "bytea"), (sa.Float, "float8"), (sa.SmallInteger, "int2"))


class Target:
    """The database within its one transaction. Every call raises TocsinError in one sentence."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def load(self, table: sa.Table, rows: Iterable[Row]) -> int:
        """How many it took."""
        count = 0
        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
        into = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(sql.Identifier(table.name), names)
        with self._connection.cursor() as cursor, cursor.copy(into) as copy:
            copy.set_types([_type(column) for column in table.columns])
            write = copy.write_row
            for count, row in enumerate(rows, 1):  # noqa: B007  # the last is asked for
                write(row)
        return count

    def remove(self, table: sa.Table, keys: Iterable[Row]) -> int:
        """Take away the rows of these keys; how many it was."""
        which = sql.SQL(" AND ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in keys_of(table))
        statement = sql.SQL("DELETE FROM {} WHERE {}").format(sql.Identifier(table.name), which)
        with self._connection.cursor() as cursor:
            listed = list(keys)
            if listed:
                cursor.executemany(statement, listed)
            return len(listed)

    def total(self, table: sa.Table) -> Sum:
        """See `source.total`."""
        parts = [sql.SQL("{}::text").format(sql.Identifier(name)) for name in keys_of(table)]
        key = sql.SQL(" || chr(31) || ").join(parts)
        hashed = sql.SQL("('x' || left(encode(sha256(convert_to({}, 'UTF8')), 'hex'), {}))::bit({})::bigint").format(
            key, sql.Literal(HASH_BYTES * 2), sql.Literal(HASH_BYTES * 8)
        )
        asked = sql.SQL("SELECT count(*), coalesce(sum({}), 0)::bigint FROM {}").format(
            hashed, sql.Identifier(table.name)
        )
        count, summed = self._connection.execute(asked).fetchone() or (0, 0)
        return int(count), int(summed)

    def number_on(self, after: int) -> None:
        """The next incident's number is above `after`."""
        if after:
            self._connection.execute("SELECT setval(pg_get_serial_sequence('incidents', 'number'), %s)", (after,))

    def commit(self) -> None:
        try:
            self._connection.commit()
        except psycopg.OperationalError as error:
            if not (error.sqlstate or _SHUT_DOWN).startswith(_SHUT_DOWN):
                raise  # the server's own word that it was not
            raise TocsinError(
                f"the line broke at the commit ({sentence(error)}): all is in the database to copy to, or nothing; the "
                "gateway goes on on the file; make that database empty before you copy once more"
            ) from None

    def cancel(self) -> None:
        """End what is under way, from another thread. Where that cannot be said, nothing happens."""
        with suppress(psycopg.Error):
            self._connection.cancel_safe(timeout=CANCEL_SECONDS)

    def look_over(self) -> None:
        """Let the server learn what is in the tables, before a gateway asks it."""
        for table in metadata.sorted_tables:
            self._connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table.name)))


@contextmanager
def opened(url: str) -> Iterator[Target]:
    """The database, with the newest schema and without a row, for us alone until `commit`; without that it stays
    as it was. Raises TocsinError in one sentence."""
    _look_first(url)
    found = prepare(url)
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_SECONDS, prepare_threshold=None, **_LIVELY) as connection:  # type: ignore[arg-type]
            connection.execute(_LIMITS.format(commit=found.commit))
            _lock(connection)
            _refuse_history(connection)
            for name in _NO_HISTORY:
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))
            yield Target(connection)
            connection.rollback()
    except psycopg.Error as error:
        raise TocsinError(f"the database to copy to failed: {sentence(error)}; nothing was copied") from None


def _look_first(url: str) -> None:
    """Before an older schema is upgraded: what is refused is left as it is. Raises as `_refuse_history`."""
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_SECONDS, prepare_threshold=None) as connection:
            _refuse_history(connection)
    except psycopg.Error as error:
        raise TocsinError(f"the database to copy to cannot be looked at: {sentence(error)}") from None


def _lock(connection: psycopg.Connection[Any]) -> None:
    names = sql.SQL(", ").join(sql.Identifier(table.name) for table in metadata.sorted_tables)
    try:
        connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(names))
    except psycopg.errors.LockNotAvailable:
        raise TocsinError("the database to copy to is in use; name an empty one") from None


def _refuse_history(connection: psycopg.Connection[Any]) -> None:
    """Raises TocsinError where anything stands in the tables that are there, or a gateway runs on them."""
    for table in metadata.sorted_tables:
        if table.name not in _NO_HISTORY and _one(connection, table.name, sql.SQL("true")):
            raise TocsinError(
                f"the database to copy to is not empty (there are {table.name} in it already); name an empty one"
            )
    seen = sql.SQL("seen_at > (extract(epoch FROM clock_timestamp()) - {}) * 1000").format(HERE_SECONDS)
    if _one(connection, "replicas", seen):
        raise TocsinError(
            f"a gateway runs on the database to copy to, or did within the last {HERE_SECONDS} s; stop it first"
        )


def _one(connection: psycopg.Connection[Any], name: str, condition: sql.Composable) -> bool:
    """Whether there is such a row; there is none in a table that is not there."""
    there = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (name,)).fetchone()
    asked = sql.SQL("SELECT 1 FROM {} WHERE {} LIMIT 1").format(sql.Identifier(name), condition)
    return there == (True,) and connection.execute(asked).fetchone() is not None


def _type(column: sa.Column[Any]) -> str:
    for kind, name in _TYPES:
        if isinstance(column.type, kind):
            return name
    if isinstance(column.type, sa.BigInteger):
        return "int8"
    return "int4" if isinstance(column.type, sa.Integer) else "text"
