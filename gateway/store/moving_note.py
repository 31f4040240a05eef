"""The note beside a SQLite file, by which the command that moves it and the gateway on it understand each other.

    copying     a move is under way; the gateway runs on
    asked       the gateway is to stand still
    held        it does: the file does not change any more
    done        the database is elsewhere: nobody is to run on this file

The mover holds a lock on the note for as long as it lives. Where the lock is free and the note does not say `done`,
nobody moves anything, whatever it says.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, TypeAlias

from gateway.errors import TocsinError
from gateway.values import frozen

Word: TypeAlias = Literal["", "copying", "asked", "held", "done"]

LOCK_SECONDS: Final = 2.0
"""The gateway holds the lock for an instant whenever it looks."""
_BYTES: Final = 1_024
"""One write of one block: whoever reads sees the old note or the new one."""


@frozen
class Note:
    """`mover` names one run of the command; `to` is where the database went, without a password."""

    word: Word = ""
    mover: str = ""
    to: str = ""


def place(database: Path) -> Path:
    """Where the note of this database is."""
    return database.with_name(f"{database.name}.moving")


def look(database: Path) -> Note | None:
    """What is wanted of the gateway now; an empty note where nothing is, None where that cannot be told yet."""
    try:
        file = os.open(place(database), os.O_RDONLY)
    except FileNotFoundError:
        return Note()
    except OSError:
        return None
    try:
        # First the lock, then the words: a mover writes `done` before it lets go.
        alive = not _lock(file, fcntl.LOCK_SH)
        note = _read(file)
    finally:
        os.close(file)
    if alive or (note is not None and note.word == "done"):
        return note
    return Note()


def acknowledge(database: Path, asked: Note) -> None:
    """Tell the mover that asked that nothing changes any more. Raises OSError."""
    file = os.open(place(database), os.O_RDWR)
    try:
        if _read(file) == asked:
            _write(file, replace(asked, word="held"))
    finally:
        os.close(file)


def refuse_moved(database: Path) -> None:
    """Raises TocsinError where nobody is to start on this file."""
    note = look(database)
    if note is None or note.word in ("asked", "held"):
        raise TocsinError(f"{database}: is being moved to PostgreSQL at this moment; wait for that command to end")
    if note.word == "done":
        raise TocsinError(
            f"{database}: was moved to {note.to}; start with --database naming that, or, to go back to this file "
            f"and lose what came since, remove {place(database)}"
        )


class Mover:
    """The note, held by who moves the database. A context: left without `done`, the note is gone.

    Entering raises TocsinError where the database was moved already, or is being moved."""

    def __init__(self, database: Path, name: str) -> None:
        self._database = database
        self._path = place(database)
        self._name = name
        self._file = -1
        self._done = False

    def __enter__(self) -> Mover:
        try:
            self._file = self._take()
        except OSError as error:
            raise TocsinError(
                f"{self._path}: cannot be written ({error.strerror}); run it as the gateway's user"
            ) from None
        note = _read(self._file)
        if note is not None and note.word == "done":
            os.close(self._file)
            refuse_moved(self._database)
        self._say("copying")
        return self

    def __exit__(self, *_: object) -> None:
        if not self._done:
            self._path.unlink(missing_ok=True)
        os.close(self._file)

    def ask(self) -> None:
        self._say("asked")

    @property
    def held(self) -> bool:
        """Whether the gateway stands still, for us."""
        return _read(self._file) == Note("held", self._name)

    def done(self, to: str) -> None:
        """From here on the database is elsewhere. Raises OSError."""
        _write(self._file, Note("done", self._name, to))
        os.fsync(self._file)
        self._done = True

    def _say(self, word: Word) -> None:
        _write(self._file, Note(word, self._name))

    def _take(self) -> int:
        until = time.monotonic() + LOCK_SECONDS
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            if _lock(file, fcntl.LOCK_EX) and _is_at(file, self._path):
                _give_to_owner(file, self._database)
                return file
            os.close(file)
            if time.monotonic() > until:
                raise TocsinError(f"{self._path}: another copy is under way; wait for it to end")
            time.sleep(0.05)


def _lock(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: int, path: Path) -> bool:
    """Whether the file that we hold is the one that others would open."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), path.stat())
    return False


def _give_to_owner(file: int, database: Path) -> None:
    """The gateway must be able to answer in it, whoever runs the command."""
    owner = database.stat()
    if os.geteuid() == 0:
        os.fchown(file, owner.st_uid, owner.st_gid)


def _read(file: int) -> Note | None:
    """None for what nobody of us wrote."""
    try:
        return Note(**json.loads(os.pread(file, _BYTES, 0)))
    except (ValueError, TypeError):
        return None


def _write(file: int, note: Note) -> None:
    said = json.dumps({"word": note.word, "mover": note.mover, "to": note.to}).encode()
    os.pwrite(file, said.ljust(_BYTES), 0)
