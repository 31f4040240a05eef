"""Upgrades on PostgreSQL: from every released schema, in one transaction, whoever dies in its midst."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from gateway.errors import TocsinError
from gateway.store.engines import postgresql_schema
from gateway.store.schema import HEAD, metadata
from tests import postgres
from tests.store.test_schema import settings

RELEASED = [step.revision for step in ScriptDirectory.from_config(settings()).walk_revisions() if step.revision != HEAD]
ROOT = Path(__file__).parent.parent.parent
# Dies inside the transaction, when all steps are done and nothing is committed.
DIES = """
import os, signal, sys
from gateway.store import migrate
from gateway.store.engines import postgresql_schema
step = migrate.step
def killed(*arguments):
    step(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
migrate.step = killed
postgresql_schema.prepare(sys.argv[1])
"""


def engine_of(url: str) -> sa.Engine:
    return sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


def as_left_by(url: str, revision: str) -> None:
    """A database as a version with this schema left it, with an event in it."""
    engine = engine_of(url)
    with engine.begin() as connection:
        steps = settings()
        steps.attributes["connection"] = connection
        command.upgrade(steps, revision)
        event = "INSERT INTO events VALUES ('e1', 's', 'generic', 1, 'waiting', '', '{}', '\\x7b7d')"
        connection.exec_driver_sql(event)
    engine.dispose()


def query(url: str, sql: str) -> list[tuple[Any, ...]]:
    engine = engine_of(url)
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.exec_driver_sql(sql)]
    engine.dispose()
    return rows


def made_of(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every column, index and constraint, as PostgreSQL writes them."""
    here = "table_schema = 'public'"
    return {
        "columns": query(
            url,
            "SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity"  # noqa: S608
            f" FROM information_schema.columns WHERE {here} ORDER BY 1, 2",
        ),
        # Alembic gives the key of its own table a name of its own.
        "indexes": query(
            url,
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
            " ORDER BY 1",
        ),
        "constraints": query(
            url,
            "SELECT conrelid::regclass::text, contype::text, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2, 3",
        ),
    }


@pytest.mark.parametrize("revision", RELEASED)
def test_every_released_schema_becomes_the_newest_and_keeps_what_it_held(
    postgres_url: str, postgres_server: postgres.Server, revision: str
) -> None:
    as_left_by(postgres_url, revision)
    postgresql_schema.prepare(postgres_url)
    assert query(postgres_url, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert query(postgres_url, "SELECT id, body FROM events") == [("e1", b"{}")]
    fresh = postgres_server.fresh()
    try:
        postgresql_schema.prepare(fresh)
        assert made_of(postgres_url) == made_of(fresh)
        assert len(made_of(fresh)["columns"]) > 100
    finally:
        postgres_server.drop(fresh)


def test_an_upgrade_that_is_killed_leaves_the_old_schema_and_is_done_by_the_next(postgres_url: str) -> None:
    as_left_by(postgres_url, RELEASED[-1])
    before = made_of(postgres_url)
    done = subprocess.run([sys.executable, "-c", DIES, postgres_url], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert query(postgres_url, "SELECT version_num FROM alembic_version") == [(RELEASED[-1],)]
    assert made_of(postgres_url) == before
    postgresql_schema.prepare(postgres_url)
    assert query(postgres_url, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert query(postgres_url, "SELECT id FROM events") == [("e1",)]


def test_a_newer_schema_is_refused_and_left_alone(postgres_url: str) -> None:
    postgresql_schema.prepare(postgres_url)
    engine = engine_of(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    before = made_of(postgres_url)
    with pytest.raises(TocsinError, match=r"newer version of Tocsin \(schema 9999\); use that version, or a backup"):
        postgresql_schema.prepare(postgres_url)
    assert made_of(postgres_url) == before


def test_an_older_server_is_refused_in_a_sentence(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql_schema, "OLDEST", 99)
    with pytest.raises(TocsinError, match=r"^the database is PostgreSQL \d+; Tocsin needs 99 or newer$"):
        postgresql_schema.prepare(postgres_url)
    assert made_of(postgres_url)["columns"] == []


def waiting(session: psycopg.Connection[Any]) -> int:
    """How many sessions wait for a lock in this database."""
    asked = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database WHERE NOT granted AND datname = %s"
    ((count,),) = session.execute(asked, (session.info.dbname,)).fetchall()
    return int(count)


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


@contextmanager
def by_default(url: str, **settings: str) -> Iterator[psycopg.Connection[Any]]:
    """What the database has for a default, meanwhile; a session without them."""
    with psycopg.connect(url, autocommit=True) as session:
        for setting, value in settings.items():
            session.execute(f"ALTER DATABASE \"{name_of(url)}\" SET {setting} = '{value}'")
        yield session
        session.execute(f'ALTER DATABASE "{name_of(url)}" RESET ALL')


def test_four_that_wait_for_each_other_see_what_the_first_has_made(postgres_url: str) -> None:
    """However strictly the database isolates by default."""
    with by_default(postgres_url, default_transaction_isolation="repeatable read") as session:
        session.execute("SELECT pg_advisory_lock(%s)", (postgresql_schema._SCHEMA,))
        with ThreadPoolExecutor() as others:
            starts = [others.submit(postgresql_schema.prepare, postgres_url) for _ in range(4)]
            while waiting(session) < 4:
                time.sleep(0.01)
            session.execute("SELECT pg_advisory_unlock_all()")
            assert [start.result().pooled for start in starts] == [False] * 4


def test_an_upgrade_takes_longer_than_a_statement_may_by_default(postgres_url: str) -> None:
    as_left_by(postgres_url, RELEASED[0])
    patience = {"statement_timeout": "200ms", "lock_timeout": "200ms"}
    with by_default(postgres_url, **patience) as session, ThreadPoolExecutor() as others:
        with session.transaction():
            session.execute("LOCK TABLE events IN ROW EXCLUSIVE MODE")  # as somebody who writes
            start = others.submit(postgresql_schema.prepare, postgres_url)
            while not (waiting(session) or start.done()):
                time.sleep(0.01)
            time.sleep(0.6)
        start.result()
    assert query(postgres_url, "SELECT version_num FROM alembic_version") == [(HEAD,)]


@pytest.fixture
def role(postgres_url: str) -> Iterator[str]:
    """A role that may look around, and nothing else."""
    name = f"tocsin_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as session:
        session.execute(f"CREATE ROLE {name}")
        session.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        yield name
        session.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_a_role_that_may_only_read_is_told_what_it_lacks(postgres_url: str, role: str) -> None:
    postgresql_schema.prepare(postgres_url)
    as_it = f"{postgres_url}?options=-crole%3D{role}"

    def grant(what: str) -> None:
        with psycopg.connect(postgres_url, autocommit=True) as session:
            session.execute(f"GRANT {what} TO {role}")

    grant("SELECT ON ALL TABLES IN SCHEMA public")
    others = len(metadata.tables)
    lacks = f"^the database's role {role} lacks INSERT, UPDATE, DELETE, USAGE on alerts and {others} more; grant it"
    with pytest.raises(TocsinError, match=lacks):
        postgresql_schema.prepare(as_it)
    grant("INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public")
    with pytest.raises(TocsinError, match=r"lacks USAGE on public\.incidents_number_seq; grant it"):
        postgresql_schema.prepare(as_it)
    grant("USAGE ON ALL SEQUENCES IN SCHEMA public")
    postgresql_schema.prepare(as_it)


@pytest.mark.parametrize(
    ("path", "where"), [("", "the schema public"), ("%20-csearch_path%3Dnowhere", "any schema of its search_path")]
)
def test_a_role_that_may_not_create_is_told_so(postgres_url: str, role: str, path: str, where: str) -> None:
    with pytest.raises(TocsinError, match=f"^the database's role {role} may not create tables in {where}; grant it"):
        postgresql_schema.prepare(f"{postgres_url}?options=-crole%3D{role}{path}")
