"""Upgrades on PostgreSQL: from every released schema, in one transaction, whoever dies in its midst."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from gateway.errors import TocsinError
from gateway.store.engines import postgresql_schema
from gateway.store.schema import HEAD
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
