"""A gateway that stands still while its database is moved: nothing is taken, decided, told or changed.

`tocsin db copy` asks for it by a note beside the file (`store.moving_note`). It is answered once nothing changes any
more; where the command ends without `done`, the gateway goes on as before. Once it was `done`, or the file is not the
one that it was started on, only a restart ends it, whatever is removed meanwhile.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from gateway.store.moving_note import Note, acknowledge, look
from gateway.telemetry import logger

log = logger()

LOOK_SECONDS: Final = 0.5
REMOVED: Final = "the database's file was removed or replaced; the gateway must be started anew"


class Standstill:
    """`halt` brings everything to rest and gives whether it has; `go_on` starts it again; `refuse` has all that would
    be stored refused from now on, with this reason. Raises OSError where the database is no file yet."""

    def __init__(
        self,
        database: Path,
        halt: Callable[[], Awaitable[bool]],
        go_on: Callable[[], Awaitable[None]],
        refuse: Callable[[str], None],
    ) -> None:
        self._database = database
        self._file = database.stat()
        self._halt = halt
        self._go_on = go_on
        self._refuse = refuse
        self._resting = False
        self._over = False

    async def follow(self, beat: Callable[[], None]) -> None:
        """Do what the note asks for, until cancelled."""
        halted = False
        while True:
            beat()
            if not self._over:
                await self._look()
            if self._over and not halted:
                halted = await self._halt()
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        note = look(self._database)
        if note is not None and note.word == "done":
            log.error("database moved", to=note.to, todo="stop this gateway; start one on that database")
            self._over = True
        elif not self._in_place():
            # What is written now is in no file that anybody will open again.
            self._refuse(REMOVED)
            log.error("database removed", file=str(self._database), todo="put the right one there; start anew")
            self._over = True
        elif note is not None:
            await self._obey(note)

    def _in_place(self) -> bool:
        """Whether the file is there, and still the one that we hold open."""
        try:
            return os.path.samestat(self._file, self._database.stat())
        except FileNotFoundError:
            return False
        except OSError:
            return True  # that cannot be told now

    async def _obey(self, note: Note) -> None:
        if note.word == "asked":
            if not self._resting:
                log.warning("standing still", reason="the database is being moved")
                self._resting = True
            if await self._halt():
                try:
                    acknowledge(self._database, note)
                except OSError as error:
                    log.warning("cannot answer who moves the database", reason=str(error))
        elif note.word != "held" and self._resting:
            await self._go_on()
            self._resting = False
            log.warning("going on", reason="the database was not moved")
