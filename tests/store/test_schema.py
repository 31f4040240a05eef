"""The tables are written down twice, whole in `schema` and step by step in `migrations`: both give the same."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from gateway.store import migrate
from gateway.store.engines.sqlite import prepare
from gateway.store.schema import HEAD


def settings() -> Config:
    made = Config()
    made.set_main_option("script_location", str(migrate._SCRIPTS))
    return made


def by_steps(path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        steps = settings()
        steps.attributes["connection"] = connection
        command.upgrade(steps, "head")
    engine.dispose()


def made_of(path: Path) -> dict[str, object]:
    """Every table with its columns and its own words of shape, and every index as it was written."""
    with closing(sqlite3.connect(path)) as database:
        listed = database.execute("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
        tables = [name for kind, name, _ in listed if kind == "table"]
        columns: dict[str, object] = {
            name: database.execute(f"PRAGMA table_info({name})").fetchall() for name in tables
        }
        unique = {f"{name} unique": _unique(database, name) for name in tables}
        written = {name: re.sub(r"\s+", " ", sql) for kind, name, sql in listed if kind == "index" and sql}
        shape = {f"{name} shape": re.findall(r"WITHOUT ROWID|AUTOINCREMENT", sql) for _, name, sql in listed if sql}
    return {**columns, **unique, **written, **shape}


def _unique(database: sqlite3.Connection, table: str) -> list[list[str]]:
    indexes = [row for row in database.execute(f"PRAGMA index_list({table})").fetchall() if row[2]]
    return sorted([name for _, _, name in database.execute(f"PRAGMA index_info({row[1]})")] for row in indexes)


def test_a_fresh_database_and_one_brought_up_by_steps_are_the_same(tmp_path: Path) -> None:
    prepare(tmp_path / "fresh.db")
    by_steps(tmp_path / "steps.db")
    fresh = made_of(tmp_path / "fresh.db")
    assert len(fresh) > 20
    assert fresh == made_of(tmp_path / "steps.db")


def test_the_newest_step_is_the_one_that_a_fresh_database_is_marked_with(tmp_path: Path) -> None:
    assert ScriptDirectory.from_config(settings()).get_heads() == [HEAD]
    prepare(tmp_path / "fresh.db")
    with closing(sqlite3.connect(tmp_path / "fresh.db")) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]
