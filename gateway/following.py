"""routing.yaml as it is saved again and again: taken where it is right, refused whole where it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from gateway import config, rehearsing
from gateway.config import Configuration
from gateway.config.watch import Watch
from gateway.errors import BadConfiguration
from gateway.model import Millis
from gateway.rules import own
from gateway.telemetry import RELOADS, logger
from gateway.untold import Untold
from gateway.web.house import House, RefusedFile
from gateway.workers import TICK_SECONDS

log = logger()

SECOND_LOOK_SECONDS = 0.7


class Following:
    """The file at `path`. `apply` puts one that is right in force; the house keeps which that is, and what was wrong
    with one that was refused since."""

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        house: House,
        apply: Callable[[Configuration], Awaitable[None]],
        untold: Untold,
    ) -> None:
        self._path = path
        self._environ = environ
        self._house = house
        self._apply = apply
        self._untold = untold

    async def serve(self, beat: Callable[[], None]) -> None:
        """Take every saved file that is right; keep the last good one where it is wrong, and say so."""
        watch = Watch(self._house.configuration.contents)
        await self._warn(self._house.configuration)
        while True:
            changed = asyncio.ensure_future(watch.changed())
            try:
                while not changed.done():
                    beat()
                    await asyncio.wait({changed}, timeout=TICK_SECONDS)
            finally:
                changed.cancel()  # where it is done that does nothing
            changed.result()
            fresh = await self._read()
            if isinstance(fresh, BadConfiguration):
                # A file saved in two strokes is wrong for a moment: that is no reason to page anybody.
                await asyncio.sleep(SECOND_LOOK_SECONDS)
                fresh = await self._read()
            if isinstance(fresh, BadConfiguration):
                await self._refuse(fresh)
                watch.follow({**self._house.configuration.contents, **getattr(fresh, "contents", {})})
            else:
                await self._take(fresh)
                watch.follow(fresh.contents)

    async def _read(self) -> Configuration | BadConfiguration:
        try:
            return await asyncio.to_thread(self._rehearsed)
        except BadConfiguration as refused:
            return refused

    def _rehearsed(self) -> Configuration:
        """The file, if it can be used and its own tests come true. Raises BadConfiguration. Blocks."""
        fresh = config.load(self._path, self._environ)
        failed = rehearsing.problems(fresh, self._path)
        if failed:
            raise config.Refused(BadConfiguration(failed), fresh.contents)
        return fresh

    async def _refuse(self, refused: BadConfiguration) -> None:
        problems = [str(problem) for problem in refused.problems]
        self._house.refused = RefusedFile(self._now(), problems)
        RELOADS.labels("refused").inc()
        log.error("configuration refused", problems=problems, in_force=self._house.configuration.hash)
        await self._untold.tell(own.configuration_refused(problems, self._new_id(), self._now()))

    async def _take(self, fresh: Configuration) -> None:
        await self._apply(fresh)
        RELOADS.labels("taken").inc()
        log.info("configuration taken", hash=fresh.hash)
        await self._warn(fresh)
        if self._house.refused is not None:
            self._house.refused = None
            await self._untold.tell(own.configuration_taken(self._new_id(), self._now()))

    async def _warn(self, configuration: Configuration) -> None:
        """A file that was good does not turn bad because time passes: `tocsin check` refuses it, we go on with it."""
        outdated = await asyncio.to_thread(config.outdated, configuration, self._now())
        if outdated:
            log.warning("configuration outdated", problems=outdated, hash=configuration.hash)

    def _now(self) -> Millis:
        return self._house.pipeline.now()

    def _new_id(self) -> str:
        return self._house.pipeline.new_id()
