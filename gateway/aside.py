"""What a fault of ours keeps from being done is found by trying each alone, and set aside: it is neither lost, nor in
the way of anything else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from gateway.carrying import Moving
from gateway.contracts import Ledger, Store
from gateway.errors import StoreUnavailable
from gateway.model import Millis, Timer
from gateway.ringing import Rung, act_on
from gateway.rules import own
from gateway.telemetry import PUT_OFF, logger

log = logger()
T = TypeVar("T")

LATER: Final[Millis] = 600_000
"""Until what a fault of ours has kept from being done is tried again."""


async def tried(work: Awaitable[T]) -> T | Exception:
    """What came of it; a fault of ours is a value. Raises StoreUnavailable, for that is none."""
    (done,) = await asyncio.gather(work, return_exceptions=True)
    if isinstance(done, BaseException) and (isinstance(done, StoreUnavailable) or not isinstance(done, Exception)):
        raise done
    return done


async def ring_alone(store: Store, moving: Callable[[], Moving], most: int) -> Rung:
    """Act on the timers that are due, each in a transaction of its own, and put off those that cannot be."""
    due = await store.read(lambda ledger: ledger.timers.look(moving().now, most))
    rung: list[Rung] = []
    stuck: list[tuple[Timer, Exception]] = []
    for timer in due:
        done = await tried(store.write(partial(_ring, moving=moving(), timer=timer), lasting=False))
        if isinstance(done, Exception):
            stuck.append((timer, done))
        else:
            rung.append(done)
    if stuck:
        await store.write(lambda ledger: _put_off(ledger, moving(), [timer for timer, _ in stuck]))
    for timer, fault in stuck:
        PUT_OFF.labels(timer.kind).inc()
        log.error("timer put off", kind=timer.kind, subject=timer.subject, name=timer.name, exc_info=fault)
    channels = frozenset(name for one in rung for name in one.channels)
    return Rung(len(due), channels, left=any(one.left for one in rung))


async def _ring(ledger: Ledger, moving: Moving, timer: Timer) -> Rung:
    taken = await ledger.timers.take(timer, moving.now)
    return Rung() if taken is None else await act_on(ledger, moving, [taken])


async def _put_off(ledger: Ledger, moving: Moving, timers: Sequence[Timer]) -> None:
    await ledger.timers.put_off(timers, moving.now, moving.now + LATER)
    await ledger.inbox.add(own.timers_put_off(timers, LATER, moving.new_id(), moving.now))
