"""Threads for blocking sends: few, counted, and never waited for longer than we like.

Not a ThreadPoolExecutor: Python joins the threads of every pool when the process ends, so one service that
drips an answer would hold up the shutdown. These are daemons. A thread that is given up on still counts
until it ends, so a hanging service fills its own share and nobody else's.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from enum import Enum
from typing import Final, Generic, TypeVar

MOST_THREADS: Final = 64
"""In this process, all channels together."""

T = TypeVar("T")


class Fate(Enum):
    """What became of work that gave no result."""

    BUSY = "no thread was free, nothing was begun"
    LATE = "it was begun and goes on without us"


class Crew(Generic[T]):
    """One channel's share of the threads."""

    _everybody = 0
    _counting = threading.Lock()

    def __init__(self, most: int) -> None:
        self._most = most
        self._mine = 0

    async def run(self, work: Callable[[], T], seconds: float) -> T | Fate:
        """The result of `work`, run in a thread with a copy of this context; raises what it raises."""
        if not self._enter():
            return Fate.BUSY
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()

        def labour() -> None:
            try:
                outcome: T | BaseException = context.run(work)
            except BaseException as error:  # noqa: BLE001 - given on to the one who waits
                outcome = error
            self._leave()
            try:
                loop.call_soon_threadsafe(_tell, done, outcome)
            except RuntimeError:
                # The loop has been closed: nobody waits any more.
                return

        threading.Thread(target=labour, name="tocsin-apprise", daemon=True).start()
        try:
            return await asyncio.wait_for(done, seconds)
        except TimeoutError:
            return Fate.LATE

    def _enter(self) -> bool:
        with Crew._counting:
            if self._mine >= self._most or Crew._everybody >= MOST_THREADS:
                return False
            self._mine += 1
            Crew._everybody += 1
            return True

    def _leave(self) -> None:
        with Crew._counting:
            self._mine -= 1
            Crew._everybody -= 1


def _tell(done: asyncio.Future[T], outcome: T | BaseException) -> None:
    if done.done():
        return
    if isinstance(outcome, BaseException):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)
