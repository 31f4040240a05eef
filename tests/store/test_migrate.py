"""Upgrades go forward only, in one transaction, with a copy of the file beside it first."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import TocsinError
from gateway.store import migrate
from gateway.store.engines import sqlite as engine
from gateway.store.schema import HEAD

SCRIPTS = Path(migrate.__file__).parent / "migrations"

NEXT = """
import sqlalchemy as sa
from alembic import op
revision = "9000"
down_revision = "0004"
def upgrade():
    op.add_column("events", sa.Column("size", sa.Integer()))
    op.create_table("sizes", sa.Column("id", sa.Text(), primary_key=True))
    {last}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with an event in it, as a released version left it."""
    path = tmp_path / "t.db"
    engine.prepare(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO events VALUES ('e1', 's', 'generic', 1, 'waiting', '', '{}', x'7b7d')")
    return path


def steps(folder: Path, monkeypatch: pytest.MonkeyPatch, last: str = "") -> None:
    """A version of the program that has one step more."""
    scripts = folder / "migrations"
    shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "9000_next.py").write_text(NEXT.format(last=last))
    monkeypatch.setattr(migrate, "_SCRIPTS", scripts)
    monkeypatch.setattr(engine, "HEAD", "9000")


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_an_older_file_is_copied_and_upgraded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps(path.parent, monkeypatch)
    mask = os.umask(0)
    try:
        engine.prepare(path)
    finally:
        os.umask(mask)
    assert query(path, "SELECT id, size FROM events") == [("e1", None)]
    assert query(path, "SELECT version_num FROM alembic_version") == [("9000",)]
    backup = path.with_name("t.db.before-0004")
    assert backup.stat().st_mode & 0o777 == 0o600
    assert query(backup, "SELECT id FROM events") == [("e1",)]
    assert query(backup, "SELECT version_num FROM alembic_version") == [(HEAD,)]


def test_an_upgrade_that_breaks_in_the_midst_leaves_the_file_as_it_was_and_can_be_run_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        steps(path.parent, patch, last="op.execute('SELECT * FROM nowhere')")
        with pytest.raises(TocsinError, match=r"cannot be used as a database: no such table: nowhere"):
            engine.prepare(path)
    assert query(path, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert query(path, "SELECT name FROM sqlite_master WHERE name = 'sizes'") == []
    shutil.rmtree(path.parent / "migrations")
    steps(path.parent, monkeypatch)
    engine.prepare(path)
    assert query(path, "SELECT version_num FROM alembic_version") == [("9000",)]


def test_a_newer_file_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = path.read_bytes()
    with pytest.raises(TocsinError, match=r"newer version of Tocsin \(schema 9999\); use that version, or a backup"):
        engine.prepare(path)
    assert path.read_bytes() == before
    assert not path.with_name("t.db.before-9999").exists()
