"""The composition root: the only file that knows concrete parts. It puts the house together, starts it,
swaps its configuration, and takes it down in good order."""

from __future__ import annotations

import asyncio
import gc
import random
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import __version__, gauging, removed, sweeping, workers
from gateway.answering import LINKS
from gateway.clock import Steady, new_id, now_ms
from gateway.config import Configuration
from gateway.errors import StoreUnavailable
from gateway.following import Following
from gateway.lanes import Lanes
from gateway.model import GATEWAY, Millis, Replica
from gateway.pipeline import LEASE, Pipeline
from gateway.plugins import adapters
from gateway.rules import own, retention
from gateway.rules.deciding import Rules
from gateway.rules.folding import MOST_LIVING
from gateway.rules.retry import LONGEST
from gateway.standstill import Standstill
from gateway.store.safe import EVENTS, Ledger, Safe
from gateway.telemetry import logger
from gateway.untold import Untold
from gateway.values import frozen
from gateway.web.app import Face
from gateway.web.house import House

log = logger()

TIDY_SECONDS = 5.0
CLOCK_SLACK: Millis = 60_000
GONE_AFTER: Millis = 600_000
BEING_MOVED = "the database is being moved; send it again"


@frozen
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
        self._returning = False
        self.fault = ""
        self._clock = Steady()
        self._id = new_id()
        self._changed = asyncio.Event()
        self._respanned = asyncio.Event()
        self.store = Safe(options.database)
        told = self.store.engine.told_clock
        now, make_id = (self._clock, new_id) if told is None else (told, lambda: new_id(told()))
        self.pipeline = Pipeline(self.store, adapters(), Rules(configuration.routing), now, make_id, random.random)
        self._lanes = Lanes(self.pipeline, self._crew)
        self.pipeline.woken = self._wake
        self.pipeline.agrees = self._lanes.agrees
        self.house = House(
            pipeline=self.pipeline,
            store=self.store,
            configuration=configuration,
            admin_token=options.environ.get("TOCSIN_ADMIN_TOKEN", ""),
            metrics_token=options.environ.get("TOCSIN_METRICS_TOKEN", ""),
            lanes=self._crew.states,
            test=self._lanes.test,
            wake=self._wake,
            listener=self._lanes.listener,
            link_used=self._link_used,
            started_at=now_ms(),
        )
        self._untold = Untold(self.pipeline)
        self._sweeper = sweeping.Sweeper(
            self.store, self._bounds, self.pipeline.now, lambda: self._crew.beat("retention"), self._respanned
        )
        self._following = Following(options.config, options.environ, self.house, self._apply, self._untold)

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
        self._set_out()
        if self.store.engine.file is not None:
            standstill = Standstill(self.store.engine.file, self._halt, self._go_on, self.store.refuse)
            self._crew.start("standstill", lambda: standstill.follow(lambda: self._crew.beat("standstill")))
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)

    def _set_out(self) -> None:
        self._crew.start("process", self._process)
        self._crew.start("timers", self._ring)
        if self.store.engine.told_clock is None:
            self._crew.start("clock", self._follow_clock)
        self._crew.start("tidy", self._tidy)
        self._crew.start("retention", self._retain)
        self._crew.start("configuration", lambda: self._following.serve(lambda: self._crew.beat("configuration")))

    async def _rest(self) -> None:
        """Begin nothing new."""
        for name in ("configuration", "retention", "tidy", "process", "timers", "clock"):
            await self._crew.stop(name)
        await self._lanes.rest()

    async def _halt(self) -> bool:
        """Begin nothing, let what is being sent end and write it down; only then take nothing any more. Whether
        nothing is written now; to be asked again where something may be."""
        await self._rest()
        return await self._lanes.drain() and await self.store.halt(BEING_MOVED)

    async def _go_on(self) -> None:
        """After `_halt`, as before it."""
        self.store.go_on()
        self._changed.set()
        self._lanes.go_on()
        self._set_out()

    async def _begin(self, ledger: Ledger) -> None:
        """Nobody lives who held a lease, but other gateways on a database that we share; and the configuration that we
        start with is a good one."""
        if not self.store.shared:
            await ledger.outbox.release_all(self.pipeline.now())
        self.pipeline.link_key = self.house.link_key = await ledger.quiet.key("links")
        if await ledger.incidents.living({(GATEWAY, own.CONFIGURATION)}):
            await ledger.inbox.add(own.configuration_taken(self.pipeline.new_id(), self.pipeline.now()))

    async def stop(self) -> None:
        """What is under way ends or is given back; within ten seconds, as SIGTERM allows."""
        self.house.stopping = True
        await self._crew.stop("standstill")
        await self._rest()
        await self._lanes.end()
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
            lambda: self.store.writer.pressed,
            self._wake,
            lambda: self._crew.beat("process"),
        )

    async def _ring(self) -> None:
        await workers.ring(
            self.pipeline,
            self._changed,
            lambda: self.store.writer.pressed,
            self._wake,
            lambda: self._crew.beat("timers"),
        )

    async def _follow_clock(self) -> None:
        await workers.follow_clock(self.pipeline, self._clock, lambda: self._crew.beat("clock"))

    async def _link_used(self, mark: str) -> bool:
        return await self.store.read(lambda ledger: ledger.inbox.burned(LINKS, mark))

    def _wake(self, channels: frozenset[str]) -> None:
        self._lanes.wake(channels)
        if channels:
            self.store.engine.hint(sorted(channels))

    async def _listen(self) -> None:
        await self.store.engine.listen(self._hinted)

    def _hinted(self, topics: frozenset[str]) -> None:
        """Another gateway has something to do, or has made something to do."""
        self._lanes.wake(None if "*" in topics else topics)
        self.pipeline.rings.set()
        if topics & {EVENTS, "*"}:
            self.pipeline.arrived.set()

    async def _apply(self, configuration: Configuration) -> None:
        """Make a good configuration the one in force: at once for deciding, lane by lane for telling."""
        await self._lanes.apply(configuration)
        self.house.configuration = configuration
        if self.store.shared:  # the others know of this file before anything is promised by it
            with suppress(StoreUnavailable):
                await self.store.write(self._report)
        self.pipeline.rules = self._lanes.rules(configuration)
        self._changed.set()
        self._respanned.set()
        self.pipeline.rings.set()
        self._returning = True
        with suppress(StoreUnavailable):  # the next sweep does it
            await self._keep_promises()

    async def _keep_promises(self) -> None:
        """Hold the promises against the channels there are now. Raises StoreUnavailable."""
        configuration, known = self.house.configuration, self._known()

        async def work(ledger: Ledger) -> frozenset[str]:
            back = await removed.take_back(ledger, known, self.pipeline.now())
            await removed.abandon(ledger, known, configuration.hash, self.pipeline.now())
            return back

        back = await self.store.write(work)
        if configuration is self.house.configuration:
            self._returning = False
        self._wake(back)
        self.pipeline.arrived.set()

    def _known(self) -> set[str]:
        """The channels that are configured, asleep or not."""
        return {*self.house.configuration.channels, *self.house.configuration.sleeping_channels}

    async def _tidy(self) -> None:
        while True:
            with suppress(StoreUnavailable):
                await self._untold.tell_rest()
                await self.store.write(self._report)
                if self._returning:
                    await self._keep_promises()
                if await self.store.read(self._strays):
                    await self.store.write(self._sweep)
                await self.store.read(self._measure)
                self._crew.beat("tidy")
            await asyncio.sleep(TIDY_SECONDS)

    async def _retain(self) -> None:
        await self._sweeper.serve()

    def _bounds(self) -> retention.Bounds:
        inforce = self.house.configuration
        return retention.bounds(inforce.retention, self.pipeline.now(), inforce.reopen_within, inforce.routing.routes)

    async def _report(self, ledger: Ledger) -> None:
        """That we live, and who does not any more."""
        now = self.pipeline.now()
        replica = self._replica(now)
        if not await ledger.shared.counted(replica):  # they may have given up what is for our channels
            self._returning = True
        await ledger.shared.seen(replica)
        await ledger.shared.forget(now - GONE_AFTER)

    async def _strays(self, ledger: Ledger) -> bool:
        """Whether there is anything to sweep. A reader looks: of a storm's backlog that takes longer than the one who
        writes should be held up."""
        now = self.pipeline.now()
        differ = await ledger.shared.differ(self.house.configuration.hash, now)
        known = None if differ else self._known()
        return await ledger.outbox.strays(known, now, now + LONGEST + CLOCK_SLACK, now + LEASE + CLOCK_SLACK)

    async def _sweep(self, ledger: Ledger) -> None:
        now = self.pipeline.now()
        freed = await ledger.outbox.unstrand(now + LONGEST + CLOCK_SLACK, now + LEASE + CLOCK_SLACK)
        if freed:
            log.warning("deliveries unstranded", count=freed, reason="the clock was put back")
        # A resolve goes to whoever heard: his channel may be gone.
        await removed.abandon(ledger, self._known(), self.house.configuration.hash, now)

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
        await gauging.inbox(ledger, now)
        living = await gauging.incidents(ledger)
        self.pipeline.crowded = frozenset(source for source, count in living.items() if count >= MOST_LIVING)
        self.house.replicas = await gauging.replicas(ledger, now)
        await gauging.outbox(ledger, now)
