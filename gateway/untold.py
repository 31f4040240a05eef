"""What the gateway has to say of itself: alerts of its own, on the way of all others."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import replace

from gateway.errors import StoreUnavailable
from gateway.model import Event
from gateway.pipeline import Pipeline


class Untold:
    """A problem of the gateway's own that is not told, or whose end is not, would stand wrong for ever: what cannot be
    stored now waits for a better moment."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._telling = asyncio.Lock()
        self.events: deque[Event] = deque()

    async def tell(self, event: Event) -> None:
        """Store it, now or by one of the next calls of `tell_rest`."""
        self.events.append(event)
        with suppress(StoreUnavailable):
            await self.tell_rest()

    async def tell_rest(self) -> None:
        """In order, one at a time. Raises StoreUnavailable; what is untold then stays."""
        async with self._telling:
            while self.events:
                # Each try has its own id: one whose outcome is unknown may have been stored.
                await self._pipeline.tell(replace(self.events[0], id=self._pipeline.new_id()))
                self.events.popleft()
