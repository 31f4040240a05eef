"""A copy of the SQLite file, page for page, of one moment, while a gateway writes to it or not.

The whole copy is made inside one read transaction. Without it SQLite begins anew whenever another process has written
between two steps, and under load never ends: docs/decisions/0017.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from gateway.errors import TocsinError
from gateway.store.server_url import names_server, server_url

STEP_PAGES: Final = 2_000  # 8 MiB: between two steps progress is told and a Ctrl-C is heard
_BUSY_SECONDS: Final = 5.0  # while a gateway that starts reads its log anew

Progress = Callable[[int, int], None]
"""Told after each step: pages left, pages in all."""


def copy_file(path: Path, to: Path, progress: Progress = lambda _left, _all: None) -> None:
    """Copy the database at `path` to the new file `to`, readable by its owner alone; `to` is whole or not there.

    Reads only: it neither checkpoints nor keeps a gateway from writing. Raises TocsinError in one sentence."""
    if not path.exists():
        raise TocsinError(f"{path}: there is no such database")
    _refuse_taken(to)
    if not to.absolute().parent.is_dir():
        raise TocsinError(f"{to.parent}: there is no such folder")
    try:
        with _partial(to) as partial:
            _copy(path, partial, progress)
            _prove(partial)
    except (OSError, sqlite3.Error) as error:
        raise TocsinError(f"{path} could not be copied to {to}: {error}") from None


def refuse_server(url: str, to: Path) -> None:
    """Raises TocsinError with the command to use instead, where `url` names a PostgreSQL database."""
    if not names_server(url):
        return
    shown = server_url(url).shown
    _refuse_taken(to)
    raise TocsinError(
        "PostgreSQL has its own tool for that, with the password in PGPASSWORD or ~/.pgpass: "
        f"pg_dump --format=custom --file={shlex.quote(str(to))} {shlex.quote(shown)}"
    )


def _refuse_taken(to: Path) -> None:
    if os.path.lexists(to):
        raise TocsinError(f"{to}: exists already; name a new file")


@contextmanager
def _partial(to: Path) -> Iterator[Path]:
    """A file beside `to` that gets its name once the block has ended well, and is removed where it has not."""
    partial = to.with_name(f"{to.name}.partial")
    held = os.open(partial, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        # One that was killed left its part behind without this lock; one that runs has it.
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise TocsinError(f"{partial}: another copy is being written there; wait, or name another file") from None
    try:
        os.fchmod(held, 0o600)
        os.ftruncate(held, 0)
        yield partial
        os.fsync(held)
        _publish(partial, to)
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            partial.with_name(partial.name + suffix).unlink(missing_ok=True)
        os.close(held)


def _copy(path: Path, partial: Path, progress: Progress) -> None:
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    reading = sqlite3.connect(address, uri=True, isolation_level=None, timeout=_BUSY_SECONDS)
    with closing(reading) as source, closing(sqlite3.connect(partial, isolation_level=None)) as target:
        target.execute("PRAGMA journal_mode = OFF")  # a part is thrown away, never rolled back
        target.execute("PRAGMA synchronous = OFF")  # synced once, at the end
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchall()  # now, and not with the first step
        source.backup(target, pages=STEP_PAGES, progress=lambda _status, left, total: progress(left, total))
        source.execute("COMMIT")


def _prove(partial: Path) -> None:
    """Read the copy once as a whole, and leave one file that needs no other beside it."""
    with closing(sqlite3.connect(partial, isolation_level=None)) as copy:
        copy.execute("PRAGMA journal_mode = DELETE")  # it came as WAL, which wants two more files to be read
        ((verdict,), *_) = copy.execute("PRAGMA quick_check(1)").fetchall()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"the copy is damaged, and so may be the database: {verdict}")


def _publish(partial: Path, to: Path) -> None:
    """Give it its name, which by now must still be free."""
    try:
        os.link(partial, to)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        partial.rename(to)  # a disk without hard links
    folder = os.open(to.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
