"""From a SQLite file to an empty PostgreSQL, under a gateway that runs.

    while it runs       a snapshot of the file, and all of its rows into one transaction of PostgreSQL's
    while it stands     what differs between the snapshot and the file by now; both sides counted; the commit

Whatever ends this before its end leaves the file as it was, the other database empty, and the gateway running.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from gateway.errors import TocsinError
from gateway.store.backup import copy_file
from gateway.store.engines.sqlite import Lock, real
from gateway.store.moving_note import Mover
from gateway.store.schema import metadata
from gateway.store.server_url import server_url
from gateway.store.transfer import source
from gateway.store.transfer.bound import Overdue, bounded
from gateway.store.transfer.target import Target, opened
from gateway.values import frozen

TABLES: Final = tuple(table for table in metadata.sorted_tables if table.name != "replicas")
"""Who runs on the old database says nothing about the new one."""
STAND_SECONDS: Final = 20.0
"""A gateway looks twice a second, and what it is sending may take ten seconds to end."""
_LOOK_SECONDS: Final = 0.02
_TOLD_EVERY: Final = 50_000
_STEPS: Final = 100_000
"""SQLite's, between two looks at whether the time is up: milliseconds."""

Tell = Callable[[str], None]


@frozen
class Transfer:
    """What was moved. `stood`: for how many seconds a gateway has taken nothing by now; None where none ran."""

    to: str
    rows: Mapping[str, int]
    after: int
    bulk_seconds: float
    stood: float | None

    @property
    def total(self) -> int:
        return sum(self.rows.values())


def transfer(path: Path, url: str, tell: Tell, folder: Path | None = None) -> Transfer:
    """Move the database at `path` to the PostgreSQL at `url`. The snapshot is made in `folder`, or beside the file.

    Raises TocsinError in one sentence; then the file is as it was, and so is the gateway on it."""
    server = server_url(url)
    source.refuse_other(path)
    path = real(path)
    snapshot = (folder or path.parent) / f"{path.name}.moving-copy"
    try:
        with Mover(path, uuid.uuid4().hex) as mover, opened(server.url) as target, _copy(path, snapshot, tell):
            began = time.monotonic()
            rows = _load(snapshot, target, tell)
            loaded = time.monotonic()
            with _still(path, mover, tell) as since:
                with bounded(since, target.cancel, tell) as over:
                    after = _catch_up(path, snapshot, target, rows, over)
                    _compare(path, target, over)
                target.commit()
                # From here on the other database is whole, and it is the one.
                _write_down(mover, server.shown)
                stood = None if since is None else time.monotonic() - since
    except (sqlite3.Error, OSError) as error:
        raise TocsinError(f"{path}: cannot be moved: {error}; it is as it was") from None
    return Transfer(server.shown, rows, after, loaded - began, stood)


@contextmanager
def _copy(path: Path, snapshot: Path, tell: Tell) -> Iterator[None]:
    """The file as it is now, for as long as it is needed. One that a killed command left is taken away."""
    snapshot.unlink(missing_ok=True)
    tell("copying the file …")
    copy_file(path, snapshot)
    try:
        yield
    finally:
        with suppress(OSError):  # all may be done by now; the next try takes it away
            snapshot.unlink(missing_ok=True)


def _load(snapshot: Path, target: Target, tell: Tell) -> dict[str, int]:
    rows = {}
    connection = source.connect(snapshot)
    try:
        for table in TABLES:
            rows[table.name] = target.load(table, _counted(table, source.rows(connection, table), tell))
        target.number_on(source.highest_number(connection))
    finally:
        connection.close()
    target.look_over()
    return rows


def _counted(table: sa.Table, rows: Iterator[source.Row], tell: Tell) -> Iterator[source.Row]:
    for count, row in enumerate(rows, 1):
        yield row
        if count % _TOLD_EVERY == 0:
            tell(f"{table.name}: {count:,} rows …")


@contextmanager
def _still(path: Path, mover: Mover, tell: Tell) -> Iterator[float | None]:
    """The file does not change within: a gateway that runs stands still, and none can start. Since when it does, on
    the clock of `monotonic`; None where none ran."""
    lock = Lock(path)
    mover.ask()
    until = time.monotonic() + STAND_SECONDS
    while not (mover.held or _taken(lock)):
        if time.monotonic() > until:
            raise TocsinError(
                f"{path}: the gateway on it does not stand still within {STAND_SECONDS:.0f} s (an older version, or it "
                "runs as another user); it goes on as before; stop it, and copy once more"
            )
        time.sleep(_LOOK_SECONDS)
    tell("nothing changes now; copying the rest …")
    try:
        yield time.monotonic() if mover.held else None
    finally:
        lock.release()


def _taken(lock: Lock) -> bool:
    try:
        lock.take()
    except TocsinError:
        return False
    return True


def _write_down(mover: Mover, to: str) -> None:
    try:
        mover.done(to)
    except OSError as error:
        raise TocsinError(
            f"all is in {to}, but that cannot be written down beside the file ({error}): the gateway goes on on the "
            "file; make that database empty before you copy once more"
        ) from None


def _catch_up(path: Path, snapshot: Path, target: Target, rows: dict[str, int], over: Overdue) -> int:
    """What came, changed and went since the snapshot; how many rows that was."""
    after = 0
    with source.beside(path, snapshot) as connection:
        connection.set_progress_handler(over, _STEPS)
        for table in TABLES:
            # All that has changed goes first: two rows may have exchanged what only one of them may have.
            removed = target.remove(table, source.gone(connection, table))
            added = target.load(table, source.new(connection, table))
            rows[table.name] += added - removed
            after += max(added, removed)
        target.number_on(source.highest_number(connection))
    return after


def _compare(path: Path, target: Target, over: Overdue) -> None:
    """Raises TocsinError where the two do not hold the same."""
    connection = source.connect(path)
    connection.set_progress_handler(over, _STEPS)
    try:
        for table in TABLES:
            here, there = source.total(connection, table), target.total(table)
            if here != there:
                raise TocsinError(
                    f"{table.name}: {here[0]:,} rows in the file, {there[0]:,} copied, or other ones; nothing was kept"
                )
    finally:
        connection.close()
