"""From an older schema to the newest: forward only, one transaction a step, a copy of the file beside it first."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from gateway.errors import TocsinError
from gateway.telemetry import logger

log = logger()

_SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(path: Path, current: str) -> None:
    """Bring the SQLite file at `path`, now at revision `current`, to the newest revision.

    Raises TocsinError for a revision this version does not know: a newer program made it."""
    known(current, str(path))
    backup = path.with_name(f"{path.name}.before-{current}")
    backup.unlink(missing_ok=True)
    # SQLite takes an empty file for a new one, and would make its own readable by everybody.
    os.close(os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(path)) as plain:
        plain.execute("VACUUM INTO ?", (str(backup),))
    log.info("backup made before the upgrade", file=str(backup))
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)))
    sa.event.listen(engine, "connect", _no_implicit_transactions)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as connection:
            step(connection, current, str(path))
    finally:
        engine.dispose()


def step(connection: sa.Connection, current: str, name: str) -> None:
    """Every step from revision `current` to the newest, in the transaction of `connection`. Raises as `known`."""
    known(current, name)
    settings = _settings()
    settings.attributes["connection"] = connection
    command.upgrade(settings, "head")


def known(current: str, name: str) -> None:
    """Raises TocsinError where the database `name` is at a revision that this version does not know."""
    try:
        ScriptDirectory.from_config(_settings()).get_revision(current)
    except CommandError:
        raise TocsinError(
            f"{name}: was written by a newer version of Tocsin (schema {current}); use that version, or a backup"
        ) from None


def _settings() -> Config:
    settings = Config()
    settings.set_main_option("script_location", str(_SCRIPTS))
    return settings


def _no_implicit_transactions(connection: Any, _record: object) -> None:
    # By default sqlite3 commits before DDL: a crash in mid-migration would leave half of it for ever.
    connection.isolation_level = None
