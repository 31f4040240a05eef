"""The lanes of the channels that are configured: opened, swapped by a reload, let rest, and closed in good order."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping
from contextlib import suppress
from typing import Any

from gateway.config import ChannelEntry, Configuration
from gateway.contracts import Announcer, Channel, ChannelSettings, Listener
from gateway.explaining import surroundings_of, voice_of
from gateway.lane import Lane, wake_lanes
from gateway.model import Json, Receipt, Ref, Sent
from gateway.pipeline import Pipeline
from gateway.rules import wording
from gateway.rules.deciding import Rules
from gateway.rules.retry import RetryPolicy
from gateway.settling import Outlet
from gateway.telemetry import logger
from gateway.workers import Crew

log = logger()

DRAIN_SECONDS = 5.5
"""What is being sent at a stop of the process has so long. At a reload it has as long as it takes."""
STANDSTILL_SECONDS = 10.0
"""As long at a standstill: whoever waits for it does so for twenty."""
CLOSE_SECONDS = 1.0


class Lanes:
    """Every awake channel with its lane, by name. The lanes' tasks are of the crew."""

    def __init__(self, pipeline: Pipeline, crew: Crew) -> None:
        self._pipeline = pipeline
        self._crew = crew
        self._lanes: dict[str, Lane] = {}
        self._entries: dict[str, tuple[ChannelEntry, str]] = {}
        self._channels: dict[str, Channel] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._finishing: dict[str, tuple[ChannelEntry, Lane]] = {}
        self._hurry = asyncio.Event()

    async def apply(self, configuration: Configuration) -> None:
        """Those of this configuration, and no others; what has not changed speaks on."""
        wanted = {name: (entry, configuration.public_url) for name, entry in configuration.channels.items()}
        changed = [name for name, built in self._entries.items() if built != wanted.get(name)]
        before = {**self._finishing, **{name: await self._close(name) for name in changed}}
        for name, built in wanted.items():
            if name not in self._entries:
                self._entries[name] = built
                self._open(*built, before.get(name))

    def rules(self, configuration: Configuration) -> Rules:
        """What deciding needs to know, of the file and of the channels."""
        channels = self._channels.items()
        return Rules(
            routing=configuration.routing,
            labels={name: source.settings.labels for name, source in configuration.sources.items()},
            reopen_within=configuration.reopen_within,
            edits=frozenset(name for name, channel in channels if channel.edits),
            wants_links=frozenset(name for name, channel in channels if getattr(channel, "wants_links", False)),
            kinds={name: entry.kind.name for name, entry in configuration.channels.items()},
        )

    def wake(self, names: Collection[str] | None) -> None:
        """These have something to say; None: each may have."""
        wake_lanes(self._lanes, frozenset(self._lanes if names is None else names))

    def listener(self, name: str) -> tuple[str, Listener] | None:
        """The kind and the channel of this name, where its people can answer."""
        channel, built = self._channels.get(name), self._entries.get(name)
        if built is None or not isinstance(channel, Listener) or not channel.listens:
            return None
        return built[0].kind.name, channel

    async def agrees(self, name: str, where: Mapping[str, Json], ref: Ref) -> bool:
        found = self.listener(name)
        return found is not None and await found[1].agrees(where, ref)

    async def test(self, name: str) -> Receipt | None:
        """Send a real test message; None where there is no such channel."""
        channel, built = self._channels.get(name), self._entries.get(name)
        if channel is None or built is None:
            return None
        voice = voice_of(built[0], channel.escape, built[1])
        return await channel.send(wording.test_message(name, voice, self._pipeline.now()), {})

    async def rest(self) -> None:
        """Begin nothing new."""
        for name in self._lanes:
            await self._crew.stop(f"lane {name}")

    async def drain(self) -> bool:
        """After `rest`, for a standstill: let what is being sent end, and write it down. Whether all of it is."""
        self._hurry.set()
        drained = await asyncio.gather(*(lane.drain(STANDSTILL_SECONDS) for lane in self._lanes.values()))
        if self._ending:  # channels that a reload has just closed
            await asyncio.wait(self._ending, timeout=DRAIN_SECONDS + CLOSE_SECONDS)
        return all(drained)

    def go_on(self) -> None:
        """After `rest`, as before it."""
        self._hurry = asyncio.Event()
        for name, lane in self._lanes.items():
            self._serve(name, lane)

    async def end(self) -> None:
        """After `rest`: what is under way ends or is given back."""
        self._hurry.set()
        lanes = (end(lane, self._channels[name]) for name, lane in self._lanes.items())
        await asyncio.gather(*lanes, *self._ending, return_exceptions=True)

    def _open(self, entry: ChannelEntry, public_url: str, before: tuple[ChannelEntry, Lane] | None) -> None:
        settings = entry.settings
        surroundings = surroundings_of(entry, public_url, self._pipeline.now)
        channel = self._channels[entry.name] = entry.kind.connect(settings, surroundings)
        outlet = Outlet(
            name=entry.name,
            channel=channel,
            voice=voice_of(entry, channel.escape, public_url),
            policy=RetryPolicy(settings.give_up_after, channel.unknown_again),
            patience=None if getattr(channel, "one_call", False) else max(60_000, 6 * settings.timeout),
            wants_links=getattr(channel, "wants_links", False),
            budget=settings.max_messages,
            listens=bool(public_url) and (getattr(channel, "listens", False) or getattr(channel, "links", False)),
            links=getattr(channel, "links", False),
            paces=channel.paces if settings.pace is None else settings.pace,
        )
        lane = self._lanes[entry.name] = Lane(self._pipeline, outlet)
        if before is not None:
            lane.follow(before[1])
            if _speaks_to_the_same(before[0], entry):
                lane.inherit(before[1])
        self._serve(entry.name, lane)
        if outlet.listens and isinstance(channel, Announcer):
            self._announce(entry.name, channel.announce())

    def _serve(self, channel: str, lane: Lane) -> None:
        name = f"lane {channel}"
        self._crew.start(name, lambda: lane.serve(lambda: self._crew.beat(name)))

    def _announce(self, name: str, calling: Coroutine[Any, Any, Receipt]) -> None:
        """Tell the vendor where to call us, beside everything else: nothing waits for that."""

        async def announce() -> None:
            receipt = await calling
            if isinstance(receipt, Sent):
                log.info("callback announced", channel=name)
            else:
                log.warning("callback not announced", channel=name, reason=receipt.reason)

        self._later(announce(), f"announce {name}")

    async def _close(self, name: str) -> tuple[ChannelEntry, Lane]:
        """Take nothing new. What is being sent ends in its own time: a channel that hangs delays no reload."""
        await self._crew.stop(f"lane {name}")
        entry, _ = self._entries.pop(name)
        lane, channel = self._lanes.pop(name), self._channels.pop(name)
        self._finishing[name] = entry, lane

        async def finish() -> None:
            try:
                await lane.finish(self._hurry)
                await end(lane, channel)
            finally:
                lane.ended = True
                if self._finishing.get(name) == (entry, lane):
                    del self._finishing[name]

        self._later(finish(), f"end of {name}")
        return entry, lane

    def _later(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


def _speaks_to_the_same(before: ChannelEntry, after: ChannelEntry) -> bool:
    """Whether all is as before that is a kind's own: where it leads, and as whom. Else what the vendor asked of us
    there is nobody's wish here."""
    both = [
        (entry.kind.name, entry.settings.model_dump(exclude=set(ChannelSettings.model_fields)))
        for entry in (before, after)
    ]
    return both[0] == both[1]


async def end(lane: Lane, channel: Channel) -> None:
    await lane.drain(DRAIN_SECONDS)
    with suppress(TimeoutError):  # a vendor that does not say goodbye: the connection ends with us
        async with asyncio.timeout(CLOSE_SECONDS):
            await channel.close()
