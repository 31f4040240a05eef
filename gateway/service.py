"""The composition root: the only file that knows concrete parts. It puts the house together, starts it,
swaps its configuration, and takes it down in good order."""

from __future__ import annotations

import asyncio
import gc
import random
import socket
from collections import deque
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import __version__, config, rehearsing, removed, sweeping, workers
from gateway.answering import LINKS
from gateway.clock import Steady, new_id, now_ms
from gateway.config import ChannelEntry, Configuration
from gateway.config.watch import Watch
from gateway.contracts import Announcer, Channel, Listener
from gateway.errors import BadConfiguration, StoreUnavailable
from gateway.explaining import surroundings_of, voice_of
from gateway.model import GATEWAY, Event, Json, Millis, Receipt, Ref, Replica, Sent
from gateway.pipeline import LEASE, Pipeline
from gateway.plugins import adapters
from gateway.rules import own, retention, wording
from gateway.rules.deciding import Rules
from gateway.rules.folding import MOST_LIVING
from gateway.rules.retry import LONGEST, RetryPolicy
from gateway.settling import Outlet
from gateway.store.safe import EVENTS, Ledger, Safe
from gateway.telemetry import (
    CONFIGURATIONS,
    INBOX_DEPTH,
    INBOX_OLDEST,
    INCIDENTS,
    OUTBOX_DEAD,
    OUTBOX_DEPTH,
    OUTBOX_OLDEST,
    RELOADS,
    REPLICAS,
    logger,
)
from gateway.web.app import Face
from gateway.web.house import House, RefusedFile

log = logger()

DRAIN_SECONDS = 5.5
CLOSE_SECONDS = 1.0
TIDY_SECONDS = 5.0
SECOND_LOOK_SECONDS = 0.7
CLOCK_SLACK: Millis = 60_000
ABSENT_AFTER: Millis = 15_000
GONE_AFTER: Millis = 600_000
PRESSED_BY = 6
"""Events in one commit from which on senders are taken to be queueing."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `tocsin serve` was told. `environ` is where routing.yaml's `${NAME}` come from."""

    config: Path
    database: str
    host: str
    port: int
    environ: Mapping[str, str]


class Service:
    """One gateway. `open` before the loop serves, `start` within it, `stop` at the end. `fault`: why it could not
    start."""

    def __init__(self, options: Options, configuration: Configuration) -> None:
        self._options = options
        self._crew = workers.Crew()
        self._store_crew = workers.Crew()
        self._lanes: dict[str, workers.Lane] = {}
        self._entries: dict[str, tuple[ChannelEntry, str]] = {}
        self._channels: dict[str, Channel] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._returning = False
        self._untold: deque[Event] = deque()
        self._telling = asyncio.Lock()
        self.fault = ""
        self._clock = Steady()
        self._id = new_id()
        self._changed = asyncio.Event()
        self.store = Safe(options.database)
        now = self.store.engine.told_clock or self._clock
        self.pipeline = Pipeline(self.store, adapters(), Rules(configuration.routing), now, new_id, random.random)
        self.pipeline.woken = self._wake
        self.pipeline.agrees = self._agrees
        self.house = House(
            pipeline=self.pipeline,
            store=self.store,
            configuration=configuration,
            admin_token=options.environ.get("TOCSIN_ADMIN_TOKEN", ""),
            metrics_token=options.environ.get("TOCSIN_METRICS_TOKEN", ""),
            lanes=self._crew.states,
            test=self._test,
            wake=self._wake,
            listener=self._listener,
            link_used=self._link_used,
            started_at=now_ms(),
        )

    def app(self) -> ASGIApp:
        face = Face(self.house)

        async def whole(scope: Scope, receive: Receive, send: Send) -> None:
            await (self._live(receive, send) if scope["type"] == "lifespan" else face(scope, receive, send))

        return whole

    async def start(self) -> None:
        self._store_crew.start("writer", self.store.writer.serve)
        self._store_crew.start("writer watch", self.store.writer.watch)
        self._store_crew.start("hints", self._listen)
        await self.store.write(self._begin)
        await self._apply(self.house.configuration)
        self._crew.start("process", self._process)
        self._crew.start("timers", self._ring)
        if self.store.engine.told_clock is None:
            self._crew.start("clock", self._follow_clock)
        self._crew.start("tidy", self._tidy)
        self._crew.start("retention", self._retain)
        self._crew.start("configuration", self._follow)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)

    async def _begin(self, ledger: Ledger) -> None:
        """Nobody lives who held a lease, but other gateways on a database that we share; and the configuration that we
        start with is a good one."""
        if not self.store.shared:
            await ledger.outbox.release_all()
        self.pipeline.link_key = self.house.link_key = await ledger.quiet.key("links")
        if await ledger.incidents.living({(GATEWAY, own.CONFIGURATION)}):
            await ledger.inbox.add(own.configuration_taken(new_id(), self.pipeline.now()))

    async def stop(self) -> None:
        """What is under way ends or is given back; within ten seconds, as SIGTERM allows."""
        self.house.stopping = True
        lanes_of_crew = (f"lane {lane}" for lane in self._lanes)
        for name in ("configuration", "retention", "tidy", "process", "timers", "clock", *lanes_of_crew):
            await self._crew.stop(name)
        lanes = (_end(lane, self._channels[name]) for name, lane in self._lanes.items())
        await asyncio.gather(*lanes, *self._ending, return_exceptions=True)
        with suppress(StoreUnavailable):
            await self.store.write(lambda ledger: ledger.shared.leave(self._id))
        await self._store_crew.stop("hints")
        await self._store_crew.stop("writer watch")
        await self._store_crew.stop("writer")
        await self.store.close()
        log.info("gateway stopped")

    async def _live(self, receive: Receive, send: Send) -> None:
        """ASGI's lifespan, in our own words: Starlette's would print a traceback above the sentence of a fault."""
        # Draining belongs here: uvicorn re-raises SIGTERM after serving, and code behind it never runs.
        await receive()
        try:
            await self.start()
        except StoreUnavailable as fault:
            self.fault = str(fault)
            await send({"type": "lifespan.startup.failed"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _process(self) -> None:
        await workers.process(
            self.pipeline,
            lambda: self.store.writer.last_group >= PRESSED_BY,
            self._wake,
            lambda: self._crew.beat("process"),
        )

    async def _ring(self) -> None:
        await workers.ring(self.pipeline, self._changed, self._wake, lambda: self._crew.beat("timers"))

    async def _follow_clock(self) -> None:
        await workers.follow_clock(self.pipeline, self._clock, lambda: self._crew.beat("clock"))

    def _listener(self, name: str) -> tuple[str, Listener] | None:
        """The kind and the channel of this name, where its people can answer."""
        channel, entry = self._channels.get(name), self.house.configuration.channels.get(name)
        if entry is None or not isinstance(channel, Listener) or not channel.listens:
            return None
        return entry.kind.name, channel

    async def _agrees(self, name: str, where: Mapping[str, Json], ref: Ref) -> bool:
        found = self._listener(name)
        return found is not None and await found[1].agrees(where, ref)

    async def _link_used(self, mark: str) -> bool:
        return await self.store.read(lambda ledger: ledger.inbox.burned(LINKS, mark))

    def _wake(self, channels: frozenset[str]) -> None:
        workers.wake_lanes(self._lanes, channels)
        if channels:
            self.store.engine.hint(sorted(channels))

    async def _listen(self) -> None:
        await self.store.engine.listen(self._hinted)

    def _hinted(self, topics: frozenset[str]) -> None:
        """Another gateway has something to do, or has made something to do."""
        workers.wake_lanes(self._lanes, frozenset(self._lanes) if "*" in topics else topics)
        self.pipeline.rings.set()
        if topics & {EVENTS, "*"}:
            self.pipeline.arrived.set()

    async def _apply(self, configuration: Configuration) -> None:
        """Make a good configuration the one in force: at once for deciding, lane by lane for telling."""
        wanted = {name: (entry, configuration.public_url) for name, entry in configuration.channels.items()}
        for name in [name for name, built in self._entries.items() if built != wanted.get(name)]:
            await self._close_lane(name)
        for name, built in wanted.items():
            if name not in self._entries:
                self._entries[name] = built
                self._open_lane(*built)
        self.pipeline.rules = self._rules(configuration)
        self.house.configuration = configuration
        self._changed.set()
        self.pipeline.rings.set()
        self._returning = True
        with suppress(StoreUnavailable):  # the next sweep does it
            await self._keep_promises()

    async def _keep_promises(self) -> None:
        """Hold the promises against the channels there are now. Raises StoreUnavailable."""
        configuration, known = self.house.configuration, self._known()

        async def work(ledger: Ledger) -> frozenset[str]:
            back = await removed.take_back(ledger, known, self.pipeline.now())
            await removed.abandon(ledger, known, self.pipeline.now())
            return back

        back = await self.store.write(work)
        if configuration is self.house.configuration:
            self._returning = False
        self._wake(back)
        self.pipeline.arrived.set()

    def _known(self) -> set[str]:
        """The channels that are configured, asleep or not."""
        return {*self.house.configuration.channels, *self.house.configuration.sleeping_channels}

    def _rules(self, configuration: Configuration) -> Rules:
        return Rules(
            routing=configuration.routing,
            labels={name: source.settings.labels for name, source in configuration.sources.items()},
            reopen_within=configuration.reopen_within,
            edits=frozenset(name for name, channel in self._channels.items() if channel.edits),
            wants_links=frozenset(
                name for name, channel in self._channels.items() if getattr(channel, "wants_links", False)
            ),
            kinds={name: entry.kind.name for name, entry in configuration.channels.items()},
        )

    def _open_lane(self, entry: ChannelEntry, public_url: str) -> None:
        settings = entry.settings
        surroundings = surroundings_of(entry, public_url, self.pipeline.now)
        channel = self._channels[entry.name] = entry.kind.connect(settings, surroundings)
        outlet = Outlet(
            name=entry.name,
            channel=channel,
            voice=voice_of(entry, channel.escape, public_url),
            policy=RetryPolicy(settings.give_up_after, channel.unknown_again),
            patience=max(60_000, 6 * settings.timeout),
            wants_links=getattr(channel, "wants_links", False),
            budget=settings.max_messages,
            listens=bool(public_url) and (getattr(channel, "listens", False) or getattr(channel, "links", False)),
            links=getattr(channel, "links", False),
            paces=channel.paces if settings.pace is None else settings.pace,
        )
        lane = workers.Lane(self.pipeline, outlet)
        name = f"lane {entry.name}"
        self._lanes[entry.name] = lane
        self._crew.start(name, lambda: lane.serve(lambda: self._crew.beat(name)))
        if outlet.listens and isinstance(channel, Announcer):
            self._announce(entry.name, channel.announce())

    def _announce(self, name: str, calling: Coroutine[Any, Any, Receipt]) -> None:
        """Tell the vendor where to call us, beside everything else: nothing waits for that."""

        async def announce() -> None:
            receipt = await calling
            if isinstance(receipt, Sent):
                log.info("callback announced", channel=name)
            else:
                log.warning("callback not announced", channel=name, reason=receipt.reason)

        task = asyncio.create_task(announce(), name=f"announce {name}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _close_lane(self, name: str) -> None:
        """Take nothing new. What is being sent ends in its own time: a channel that hangs delays no reload."""
        await self._crew.stop(f"lane {name}")
        del self._entries[name]
        ending = asyncio.create_task(_end(self._lanes.pop(name), self._channels.pop(name)), name=f"end of {name}")
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _test(self, name: str) -> Receipt | None:
        channel, entry = self._channels.get(name), self.house.configuration.channels.get(name)
        if channel is None or entry is None:
            return None
        voice = voice_of(entry, channel.escape, self.house.configuration.public_url)
        return await channel.send(wording.test_message(name, voice, self.pipeline.now()), {})

    async def _follow(self) -> None:
        """Take every saved file that is right; keep the last good one where it is wrong, and say so."""
        watch = Watch(self.house.configuration.contents)
        await self._warn(self.house.configuration)
        while True:
            changed = asyncio.ensure_future(watch.changed())
            while not changed.done():
                self._crew.beat("configuration")
                await asyncio.wait({changed}, timeout=workers.TICK_SECONDS)
            changed.result()
            fresh = await self._read()
            if isinstance(fresh, BadConfiguration):
                # A file saved in two strokes is wrong for a moment: that is no reason to page anybody.
                await asyncio.sleep(SECOND_LOOK_SECONDS)
                fresh = await self._read()
            if isinstance(fresh, BadConfiguration):
                await self._refuse(fresh)
                watch.follow({**self.house.configuration.contents, **getattr(fresh, "contents", {})})
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
        fresh = config.load(self._options.config, self._options.environ)
        failed = rehearsing.problems(fresh, self._options.config)
        if failed:
            raise config.Refused(BadConfiguration(failed), fresh.contents)
        return fresh

    async def _refuse(self, refused: BadConfiguration) -> None:
        problems = [str(problem) for problem in refused.problems]
        self.house.refused = RefusedFile(self.pipeline.now(), problems)
        RELOADS.labels("refused").inc()
        log.error("configuration refused", problems=problems, in_force=self.house.configuration.hash)
        await self._tell(own.configuration_refused(problems, new_id(), self.pipeline.now()))

    async def _take(self, fresh: Configuration) -> None:
        await self._apply(fresh)
        RELOADS.labels("taken").inc()
        log.info("configuration taken", hash=fresh.hash)
        await self._warn(fresh)
        if self.house.refused is not None:
            self.house.refused = None
            await self._tell(own.configuration_taken(new_id(), self.pipeline.now()))

    async def _warn(self, configuration: Configuration) -> None:
        """A file that was good does not turn bad because time passes: `tocsin check` refuses it, we go on with it."""
        outdated = await asyncio.to_thread(config.outdated, configuration, self.pipeline.now())
        if outdated:
            log.warning("configuration outdated", problems=outdated, hash=configuration.hash)

    async def _tell(self, event: Event) -> None:
        """Store an event of our own, now or by one of the next sweeps: a problem that is not told, or whose end is
        not, would stand wrong for ever."""
        self._untold.append(event)
        with suppress(StoreUnavailable):
            await self._tell_rest()

    async def _tell_rest(self) -> None:
        """In order, one at a time. Raises StoreUnavailable; what is untold then stays."""
        async with self._telling:
            while self._untold:
                # Each try has its own id: one whose outcome is unknown may have been stored.
                await self.pipeline.tell(replace(self._untold[0], id=new_id()))
                self._untold.popleft()

    async def _tidy(self) -> None:
        while True:
            self._crew.beat("tidy")
            with suppress(StoreUnavailable):
                await self._tell_rest()
                if self._returning:
                    await self._keep_promises()
                await self.store.write(self._sweep)
                await self.store.read(self._measure)
            await asyncio.sleep(TIDY_SECONDS)

    async def _retain(self) -> None:
        now = self.pipeline.now
        await sweeping.Sweeper(self.store, self._bounds, now, lambda: self._crew.beat("retention")).serve()

    def _bounds(self) -> retention.Bounds:
        inforce = self.house.configuration
        return retention.bounds(inforce.retention, self.pipeline.now(), inforce.reopen_within, inforce.routing.routes)

    async def _sweep(self, ledger: Ledger) -> None:
        now = self.pipeline.now()
        freed = await ledger.outbox.unstrand(now + LONGEST + CLOCK_SLACK, now + LEASE + CLOCK_SLACK)
        if freed:
            log.warning("deliveries unstranded", count=freed, reason="the clock was put back")
        await ledger.inbox.forget_keys(now)
        await ledger.shared.seen(self._replica(now))
        await ledger.shared.forget(now - GONE_AFTER)
        await removed.abandon(ledger, self._known(), now)  # a resolve goes to whoever heard: his channel may be gone

    def _replica(self, now: Millis) -> Replica:
        house = self.house
        return Replica(
            id=self._id,
            name=f"{socket.gethostname()}:{self._options.port}",
            version=__version__,
            configuration=house.configuration.hash,
            refused=house.refused is not None,
            started_at=house.started_at,
            seen_at=now,
        )

    async def _measure(self, ledger: Ledger) -> None:
        """The gauges, and which sources have too many living incidents."""
        now = self.pipeline.now()
        waiting, oldest = await ledger.inbox.depth()
        INBOX_DEPTH.set(waiting)
        INBOX_OLDEST.set(max(now - oldest, 0) / 1000 if oldest is not None else 0)
        living = await ledger.incidents.count_living()
        INCIDENTS.clear()
        for source, count in living.items():
            INCIDENTS.labels(source).set(count)
        self.pipeline.crowded = frozenset(source for source, count in living.items() if count >= MOST_LIVING)
        self.house.replicas = [one for one in await ledger.shared.replicas() if one.seen_at > now - ABSENT_AFTER]
        REPLICAS.set(len(self.house.replicas))
        CONFIGURATIONS.set(len({one.configuration for one in self.house.replicas}))
        for gauge in (OUTBOX_DEPTH, OUTBOX_OLDEST, OUTBOX_DEAD):
            gauge.clear()
        for channel, state, count, since in await ledger.outbox.depths():
            if state == "failed":
                OUTBOX_DEAD.labels(channel).set(count)
            else:
                OUTBOX_DEPTH.labels(channel).set(count)
                OUTBOX_OLDEST.labels(channel).set(max(now - since, 0) / 1000)


async def _end(lane: workers.Lane, channel: Channel) -> None:
    await lane.drain(DRAIN_SECONDS)
    with suppress(TimeoutError):  # a vendor that does not say goodbye: the connection ends with us
        async with asyncio.timeout(CLOSE_SECONDS):
            await channel.close()
