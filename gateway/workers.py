"""The tasks that keep the story moving: each is supervised, restarted within a second of a fault, and beats.

A beat that stops is how `/readyz` sees a lane that has died without a word.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from gateway.aside import tried
from gateway.clock import Steady
from gateway.errors import StoreUnavailable
from gateway.model import Key, Millis
from gateway.pipeline import BEFORE_ALL, Pipeline
from gateway.telemetry import BEATS, RESTARTS, logger
from gateway.values import frozen

log = logger()

TICK_SECONDS = 5.0
"""Nothing waits longer than this for its next look, whatever wake-up was missed."""
SILENT_SECONDS = 30.0
RESTART_SECONDS = 0.5
BATCH = 64
BATCH_UNDER_PRESSURE = 24
REST_UNDER_PRESSURE = 32.0
"""While senders queue, deciding rests this many times as long as it worked, `LONGEST_REST` at most: accepting goes
first."""
LATE: Millis = 20_000
"""From here on it rests no longer than it worked: a flood that lasts must not keep a page back for as long."""
LONGEST_REST = 1.0
POSTPONED_SECONDS = 1.0
"""After the store could not be written, until it is asked again."""
LOOK_SECONDS = 0.01
RUNG_AT_ONCE = 100
RING_SECONDS = 0.5
LEFT_SECONDS = 0.3
"""Whoever has left a timer to a gateway with another file comes so much after it the next time."""
CONSIDERED_AGAIN_SECONDS = 30.0
"""After a fault of ours kept what lives from being held against changed rules."""
CLOCK_SECONDS = 0.5


class Crew:
    """Background tasks by name. `silent` names those that have not beaten for 30 seconds: a task beats when a round of
    its work has ended well, or there was none to do, or the store is away: whether that can be written is asked of it
    itself."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._beats: dict[str, float] = {}

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` until stopped, again and again if it fails. It must call `beat(name)` after what went well."""
        self.beat(name)
        self._tasks[name] = asyncio.create_task(self._keep(name, work), name=name)

    async def stop(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        self._beats.pop(name, None)
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def beat(self, name: str) -> None:
        self._beats[name] = time.monotonic()
        BEATS.labels(name).set(time.time())

    def silent(self) -> list[str]:
        late = time.monotonic() - SILENT_SECONDS
        return sorted(name for name, beat in self._beats.items() if beat < late)

    def states(self) -> dict[str, str]:
        silent = set(self.silent())
        return {name: "silent" if name in silent else "alive" for name in sorted(self._beats)}

    async def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            outcome = await asyncio.gather(work(), return_exceptions=True)
            log.error("task restarted", task=name, exc_info=outcome[0])
            RESTARTS.labels(name).inc()
            await asyncio.sleep(RESTART_SECONDS)


async def process(
    pipeline: Pipeline, pressed: Callable[[], bool], wake: Callable[[frozenset[str]], None], beat: Callable[[], None]
) -> None:
    """Decide whatever waits. `pressed`: senders are queueing, so take little and rest; never nothing. What the store
    does not take is tried with half as many: it may be that so many take too long."""
    hurried, most = False, BATCH
    while True:
        started = time.monotonic()
        pipeline.arrived.clear()
        taken = min(most, BATCH_UNDER_PRESSURE) if hurried else most
        try:
            done = await pipeline.process(taken)
        except StoreUnavailable as error:
            log.warning("deciding postponed", reason=str(error))
            beat()
            most = max(taken // 2, 1)
            await asyncio.sleep(POSTPONED_SECONDS)
            continue
        most = min(most * 2, BATCH)
        beat()
        wake(done.channels)
        times = REST_UNDER_PRESSURE if done.behind < LATE else 1.0
        hurried = await _rest((time.monotonic() - started) * times, pressed)
        if not done.left:
            await waited(pipeline.arrived, pipeline.store.tick)


async def _rest(seconds: float, pressed: Callable[[], bool]) -> bool:
    """Let the senders go first, for as long as they queue: whether they did so to the end. Those that only waited for
    us are gone at once."""
    until = time.monotonic() + min(seconds, LONGEST_REST)
    while pressed():
        left = until - time.monotonic()
        if left <= 0:
            return True
        await asyncio.sleep(min(left, LOOK_SECONDS))
    return False


async def ring(
    pipeline: Pipeline,
    changed: asyncio.Event,
    pressed: Callable[[], bool],
    wake: Callable[[frozenset[str]], None],
    beat: Callable[[], None],
) -> None:
    """Act on every timer at its time. What another process arms is seen within half a second. `changed`: the rules
    have changed since what lives was held against them; that is done little by little beside it, more slowly while
    senders queue (`pressed`)."""
    held, left = Considered(), False
    while True:
        pipeline.rings.clear()
        if changed.is_set():
            changed.clear()
            held = Considered()
        if held.is_due() and held.upto is not None:
            held = await _consider(pipeline, held.upto, pressed)
        try:
            rung = await pipeline.ring(RUNG_AT_ONCE)
        except StoreUnavailable as error:
            log.warning("timers postponed", reason=str(error))
            beat()
            await asyncio.sleep(POSTPONED_SECONDS)
            continue
        beat()
        pipeline.has_stored(time.monotonic())
        wake(rung.channels)
        if rung.fired:
            left = rung.left
            continue
        wait = RING_SECONDS if rung.next_due is None else (rung.next_due - pipeline.now()) / 1000
        await waited(pipeline.rings, min(max(wait, 0.01) + LEFT_SECONDS * left, held.wait()))


async def _consider(pipeline: Pipeline, upto: Key, pressed: Callable[[], bool]) -> Considered:
    """Some more of what lives is held against changed rules. What cannot be is tried again; timers ring meanwhile."""
    started = time.monotonic()
    try:
        last = await tried(pipeline.reconsider(upto))
    except StoreUnavailable as error:
        log.warning("rules not held against what lives yet", reason=str(error))
        return Considered(upto, time.monotonic() + POSTPONED_SECONDS)
    now = time.monotonic()
    if isinstance(last, Exception):
        log.error("rules not held against what lives", after=upto, exc_info=last)
        return Considered(upto, now + CONSIDERED_AGAIN_SECONDS)
    rest = (now - started) * (REST_UNDER_PRESSURE if pressed() else 1.0)
    return Considered(last, now + min(rest, LONGEST_REST))


@frozen
class Considered:
    """How far what lives is held against changed rules: up to this source and fingerprint, None where all of it is. A
    task that begins anew begins this anew. `rests_until`: of time.monotonic, when to go on."""

    upto: Key | None = BEFORE_ALL
    rests_until: float = 0.0

    def is_due(self) -> bool:
        return self.upto is not None and time.monotonic() >= self.rests_until

    def wait(self) -> float:
        """Seconds until the next look."""
        if self.upto is None:
            return RING_SECONDS
        return min(max(self.rests_until - time.monotonic(), 0.001), RING_SECONDS)


async def follow_clock(pipeline: Pipeline, clock: Steady, beat: Callable[[], None]) -> None:
    """A wall clock that was put forward or back takes with it whatever waits for a span of time: nobody is called an
    hour early, or late, because a machine learned what time it is."""
    while True:
        jump = clock.jump()
        if jump:
            try:
                await pipeline.shift(jump)
            except StoreUnavailable as error:
                log.warning("clock followed later", reason=str(error))
            else:
                clock.follow(jump)
                log.warning("clock followed", milliseconds=jump)
                pipeline.rings.set()
        beat()
        await asyncio.sleep(CLOCK_SECONDS)


async def waited(event: asyncio.Event, seconds: float) -> None:
    """Until it is set, or so many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
