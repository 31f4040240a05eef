"""Sees when a file of the configuration has changed, however that was done.

Looking twice a second at a handful of files costs nothing and sees what notifications miss: a rename
over the file, a ConfigMap's switched link, a bind mount, a network disk. docs/decisions/0003.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final, TypeAlias

from gateway.config.files import ABSENT, Contents, digest, read_bytes

EVERY_SECONDS: Final = 0.5
_SETTLE: Final = 0.2  # of that

_Stamp: TypeAlias = tuple[int, int, int, int, int]


class Watch:
    """Waits for the files of a configuration to hold something else than when they were read."""

    def __init__(self, contents: Contents, every: float = EVERY_SECONDS) -> None:
        self._every = every
        self.follow(contents)

    def follow(self, contents: Contents) -> None:
        """From now on these files, as they were when they were read."""
        self._known = dict(contents)
        self._last: dict[Path, _Stamp] = {}
        self._settled: dict[Path, _Stamp] = {}

    async def changed(self) -> None:
        """Returns once some file holds something new, and has come to rest: within a second of the save.

        A file that is away is waited for: between two names of a rename, or until a secret is put back,
        what it held last stays true."""
        while not await self._look():  # noqa: ASYNC110  (no event tells of a save: that is the point)
            await asyncio.sleep(self._every)

    async def _look(self) -> bool:
        # In a thread: a disk that hangs must not stop the gateway.
        found = await asyncio.to_thread(self._differing)
        while found:
            await asyncio.sleep(self._every * _SETTLE)
            again = await asyncio.to_thread(self._differing)
            if again == found:
                self._known.update(found)
                return True
            found = again  # a save is under way
        return False

    def _differing(self) -> Contents:
        """The files that hold something new.

        A file is read again until it was the same twice under one stamp (two saves within one tick of
        the disk's clock share it), and then only once its stamp moves."""
        found: dict[Path, str] = {}
        for path, known in self._known.items():
            stamp = _stamp(path)
            if stamp is None or stamp == self._settled.get(path):
                continue
            now = _digest(path)
            if now not in (ABSENT, known):
                found[path] = now
            elif now == known and stamp == self._last.get(path):
                self._settled[path] = stamp
            self._last[path] = stamp
        return found


def _digest(path: Path) -> str:
    try:
        return digest(read_bytes(path))
    except OSError:
        return ABSENT


def _stamp(path: Path) -> _Stamp | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino, stat.st_dev
