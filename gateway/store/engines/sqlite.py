"""SQLite: one file, one process, one connection that writes."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

import sqlalchemy as sa

from gateway.errors import TocsinError
from gateway.store.driver import Connection
from gateway.store.engines import Faults
from gateway.store.engines.sqlite_file import File, Thread
from gateway.store.moving_note import refuse_moved
from gateway.store.schema import HEAD, VERSION_TABLE, metadata
from gateway.telemetry import logger

log = logger()

BUSY_SECONDS = 1.0
# 3.7.0 to 3.51.2 can corrupt a WAL when two connections write at once (sqlite.org, 3.51.3 of March 2026).
# One process, one writing connection and its own checkpoints keep that from happening here.
_WAL_FIXED = (3, 51, 3)
_WRITING = (
    "journal_mode = WAL",
    "synchronous = FULL",  # NORMAL loses acknowledged commits at a power cut: 170 of 180 images did
    "cache_size = -16000",
    "temp_store = MEMORY",
    "journal_size_limit = 67108864",
    "wal_autocheckpoint = 4000",
)
_READING = ("query_only = ON", "cache_size = -4000")


def database_path(url: str) -> Path:
    """The file a `sqlite:///…` URL names, there already or not. Raises TocsinError for anything else."""
    prefix = "sqlite:///"
    if not url.startswith(prefix) or len(url) == len(prefix) or ":memory:" in url:
        raise TocsinError(
            "the database must be named like sqlite:///tocsin.db, sqlite:////data/tocsin.db or postgresql://user@host/name"
        )
    if "?" in url or "#" in url:  # taken for a part of the name, it would be a new and empty database
        raise TocsinError("a sqlite:/// URL names a file and nothing more; leave out what begins with ? or #")
    path = Path(url.removeprefix(prefix))
    if url.endswith("/") or _is_something_else(path):
        raise TocsinError(f"{path}: is no file; name one, like sqlite:////data/tocsin.db")
    return path


def _is_something_else(path: Path) -> bool:
    """Than a file: a folder, a pipe, a device."""
    with suppress(OSError):  # the lock will say why
        return path.exists() and not path.is_file()
    return False


def real(path: Path) -> Path:
    """The file itself: whoever comes by a symbolic link must meet the same lock."""
    return Path(os.path.realpath(path))


class Lock:
    """One process, one file: a second gateway on the same database refuses to start."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".lock")
        self._file: IO[str] | None = None

    def take(self) -> None:
        try:
            self._file = self._path.open("a+")
        except OSError as error:
            raise TocsinError(f"{self._path}: cannot be written ({error.strerror}); check the folder") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise TocsinError(
                f"{self._path.with_suffix('')}: another gateway is running on this database; stop it first"
            ) from None

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def prepare(path: Path) -> None:
    """Bring the file to the newest schema: made new, left alone, or upgraded after a backup beside it.

    Raises TocsinError in one sentence where it cannot be used; then nothing was touched."""
    if sqlite3.sqlite_version_info < _WAL_FIXED:
        log.info("old sqlite noted", version=sqlite3.sqlite_version, fixed="3.51.3", guard="one writer")
    if path.exists() and path.stat().st_nlink > 1:
        raise TocsinError(f"{path}: has a second name (a hard link), whose gateway this lock cannot see; remove one")
    try:
        current = _revision(path)
        if current == HEAD:
            return
        if current is None:
            _create(path)
            return
        from gateway.store.migrate import upgrade  # Alembic costs 150 ms: only where there is something to do

        upgrade(path, current)
    except (sqlite3.Error, sa.exc.DBAPIError, OSError) as error:
        cause = getattr(error, "orig", None) or error
        raise TocsinError(f"{path}: cannot be used as a database: {cause}") from None


class SQLite:
    """See `engines.Engine`."""

    shared = False
    defers = True
    told_clock = None
    # The driver raises the last three for a value that it cannot bind.
    faults = Faults(
        passing=(sqlite3.Error,),
        unfit=(
            sqlite3.IntegrityError,
            sqlite3.InterfaceError,
            sqlite3.ProgrammingError,
            sqlite3.DataError,
            OverflowError,
            TypeError,
            ValueError,
        ),
    )

    def __init__(self, path: Path) -> None:
        self.path = real(path)
        self.file: Path | None = self.path
        self._lock = Lock(self.path)

    def open(self) -> None:
        self._lock.take()
        try:
            refuse_moved(self.path)
            prepare(self.path)
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        self._lock.release()

    async def accepting(self) -> Connection:
        """The one that writes: there is no other."""
        return await self.writing()

    async def writing(self) -> Connection:
        return await _connect(_address(self.path), _WRITING)

    async def reading(self) -> Connection:
        """It can neither write nor checkpoint."""
        return await _connect(f"{_address(self.path)}?mode=ro", _READING)

    def hint(self, topics: Sequence[str]) -> None:
        """Nobody else is there."""

    async def listen(self, _heard: Callable[[frozenset[str]], None]) -> None:
        """Nobody else is there."""
        await asyncio.Event().wait()


async def _connect(database: str, pragmas: Sequence[str]) -> File:
    """A connection with a thread of its own. Transactions are begun by hand."""
    raw = Thread(lambda: sqlite3.connect(database, uri=True, isolation_level=None, timeout=BUSY_SECONDS), 64)
    await raw
    try:
        for pragma in pragmas:
            await raw.execute(f"PRAGMA {pragma}")
    except BaseException:
        await raw.close()  # its thread would keep the process from ending
        raise
    return File(raw)


def _revision(path: Path) -> str | None:
    """The schema's revision in the file; None where there is no schema yet."""
    if not path.exists() or path.stat().st_size == 0:
        if not os.access(path.parent, os.W_OK):
            raise TocsinError(f"{path.parent}: the folder does not exist or cannot be written")
        return None
    connection = sqlite3.connect(f"{_address(path)}?mode=ro", uri=True, timeout=BUSY_SECONDS)
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "alembic_version" not in tables:
            if tables:
                raise TocsinError(f"{path}: is a database of something else; name another file")
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else None
    finally:
        connection.close()


def _address(path: Path) -> str:
    return f"file:{quote(str(path.absolute()))}"


def _create(path: Path) -> None:
    """The whole schema in one transaction, marked as the newest revision: no history to replay."""
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            metadata.create_all(connection, checkfirst=False)
            connection.exec_driver_sql(VERSION_TABLE)
            connection.execute(sa.text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
            connection.exec_driver_sql("COMMIT")
    finally:
        engine.dispose()
    with suppress(OSError):
        path.chmod(0o600)
