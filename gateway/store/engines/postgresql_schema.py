"""PostgreSQL at a start: what kind of server this is, whether it keeps what it commits, and its schema."""

from __future__ import annotations

from typing import Any, Final, LiteralString

import psycopg
import sqlalchemy as sa

from gateway.errors import TocsinError
from gateway.store.schema import HEAD, VERSION_TABLE, metadata
from gateway.telemetry import logger
from gateway.values import frozen

log = logger()

OLDEST: Final = 14
_WAITS: Final = 5
_SCHEMA: Final = 7_220_170_952
"""The name of the advisory lock under which the schema is made or upgraded: held by the transaction, so that it goes
with it, and a pooler cannot lose it."""
_OWN_WAY: Final = (
    # Whatever the role or the database has for a default: who waited here must see what was made meanwhile, and an
    # upgrade of many rows, or the wait for another's, takes its time.
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL lock_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
)
_NEEDED: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
_KEEPS: Final[tuple[LiteralString, ...]] = ("on", "local", "remote_write", "remote_apply")


@frozen
class Found:
    """`now`: its clock, in milliseconds since 1970. `pooled`: a pooler stands between. `commit`: how our transactions
    are to be committed."""

    now: int
    pooled: bool
    commit: LiteralString


def prepare(url: str) -> Found:
    """Look at the server and bring the database to the newest schema, however many gateways start at once.

    Raises TocsinError in one sentence; then nothing was touched."""
    try:
        with psycopg.connect(url, connect_timeout=_WAITS, prepare_threshold=None) as connection:
            found = _look(connection)
            connection.rollback()
    except psycopg.Error as error:
        raise TocsinError(f"the database cannot be reached: {sentence(error)}") from None
    try:
        _upgrade(url)
    except (psycopg.Error, sa.exc.DBAPIError) as error:
        cause = getattr(error, "orig", None) or error
        raise TocsinError(f"the database cannot be used: {sentence(cause)}") from None
    return found


def sentence(error: BaseException) -> str:
    """What the driver said, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__


def _look(connection: psycopg.Connection[Any]) -> Found:
    version = connection.info.server_version
    if version < OLDEST * 10_000:
        raise TocsinError(f"the database is PostgreSQL {version // 10_000}; Tocsin needs {OLDEST} or newer")
    settings = {
        name: connection.execute("SELECT current_setting(%s)", (name,)).fetchone()[0]  # type: ignore[index]
        for name in ("transaction_read_only", "synchronous_commit", "fsync", "server_encoding")
    }
    if settings["transaction_read_only"] == "on":
        raise TocsinError("the database is read-only (a standby, or a role that may only read); name the primary")
    if settings["server_encoding"] != "UTF8":
        raise TocsinError(f"the database's encoding is {settings['server_encoding']}; it must be UTF8")
    if settings["fsync"] == "off":
        log.warning("database may lose what it committed", setting="fsync = off")
    commit = next((word for word in _KEEPS if word == settings["synchronous_commit"]), None)
    if commit is None:
        log.warning("commits made synchronous", setting="synchronous_commit = off", ours="on")
    asked = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, pg_backend_pid()"
    now, process = connection.execute(asked).fetchone() or (0, 0)
    # A pooler tells a process number of its own.
    return Found(int(now), pooled=process != connection.info.backend_pid, commit=commit or "on")


def _upgrade(url: str) -> None:
    """In one transaction under one lock: others that start meanwhile wait, and find it done."""
    engine = sa.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(url, connect_timeout=_WAITS, prepare_threshold=None)
    )
    try:
        with engine.begin() as connection:
            for setting in _OWN_WAY:
                connection.exec_driver_sql(setting)
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:name)"), {"name": _SCHEMA})
            current = _revision(connection)
            if current == HEAD:
                _refuse_lacking(connection)
                return
            if current is None:
                _refuse_not_creating(connection)
                metadata.create_all(connection, checkfirst=False)
                connection.exec_driver_sql(VERSION_TABLE)
                connection.execute(sa.text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
                log.info("schema made", revision=HEAD)
                return
            from gateway.store.migrate import step  # Alembic costs 150 ms: only where there is something to do

            # Behind a statement that waits for a table, everybody else's wait too.
            connection.exec_driver_sql("SET LOCAL lock_timeout = '30s'")
            step(connection, current, "the database")
            log.info("schema upgraded", before=current, revision=HEAD)
    finally:
        engine.dispose()


def _revision(connection: sa.Connection) -> str | None:
    tables = set(sa.inspect(connection).get_table_names())
    if "alembic_version" in tables:
        row = connection.execute(sa.text("SELECT version_num FROM alembic_version")).fetchone()
        if row is not None:
            return str(row[0])
    ours = tables & set(metadata.tables)
    if ours:
        raise TocsinError("the database holds tables of something else with our names; name another database or schema")
    return None


def _refuse_lacking(connection: sa.Connection) -> None:
    """Raises TocsinError where our role may not do with the tables what a gateway does."""
    asked = """
        SELECT name, privilege FROM unnest(CAST(:names AS text[])) AS name, unnest(CAST(:needed AS text[])) AS privilege
        WHERE NOT has_table_privilege(name, privilege)
        UNION ALL
        SELECT sequence, 'USAGE' FROM pg_get_serial_sequence('incidents', 'number') AS sequence
        WHERE NOT has_sequence_privilege(sequence, 'USAGE')"""
    found = connection.execute(sa.text(asked), {"names": list(metadata.tables), "needed": list(_NEEDED)}).all()
    if found:
        lacking = ", ".join(dict.fromkeys(privilege for _, privilege in found))
        names = sorted({name for name, _ in found})
        on = f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]
        raise TocsinError(
            f"the database's role {_role(connection)} lacks {lacking} on {on}; grant it that on all tables and "
            "sequences, or name the role that made them"
        )


def _refuse_not_creating(connection: sa.Connection) -> None:
    """Raises TocsinError where our role may not make the tables that are not there yet."""
    asked = "SELECT current_schema(), has_schema_privilege(current_schema(), 'CREATE')"
    schema, may = connection.execute(sa.text(asked)).one()
    if not may:
        where = f"the schema {schema}" if schema else "any schema of its search_path"
        raise TocsinError(
            f"the database's role {_role(connection)} may not create tables in {where}; grant it CREATE there, or "
            "start once as a role that may"
        )


def _role(connection: sa.Connection) -> str:
    return str(connection.execute(sa.text("SELECT current_user")).scalar_one())
