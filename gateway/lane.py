"""One channel's way out: settle what was said, claim what is due, send it, each lane at its own pace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.aside import tried
from gateway.clearing import clear, settle_alone
from gateway.errors import StoreUnavailable
from gateway.model import Millis, Sent
from gateway.pipeline import LEASE, Condition, Pipeline, Turn
from gateway.rules import retry
from gateway.rules.pace import Pacer
from gateway.settling import Claim, Outlet, Said
from gateway.telemetry import logger
from gateway.workers import TICK_SECONDS, waited

log = logger()

RENEW_SECONDS = 5.0
"""A sixth of the lease: several may fail before it ends."""
HAND_IN_SECONDS = 0.5
GATHER_SECONDS = 0.005
"""What was said waits so long for what is being said: one transaction writes down all of it."""
STRUGGLES_AFTER: Millis = 15 * 60_000


class Lane:
    """One channel's way out: its own pace, its own width, its own troubles. It delays no other."""

    def __init__(self, pipeline: Pipeline, outlet: Outlet) -> None:
        self.outlet = outlet
        self._pipeline = pipeline
        self._paced = bool(outlet.paces)
        self._pacer = Pacer(outlet.paces)
        self._renewed_at = 0.0
        self._health = retry.Lane()
        self._failing_since: Millis | None = None
        self._recovered = False
        self._fell = False
        self._unbound = False
        self._wake = asyncio.Event()
        self._quiet = asyncio.Event()
        self._sending: dict[asyncio.Task[Said], Claim] = {}
        self._said: list[Said] = []
        self._turning: tuple[asyncio.Future[Turn], list[Said]] | None = None
        self._back: list[tuple[str, int]] = []
        self._heir: Lane | None = None
        self._before: Lane | None = None
        self._shares = False
        self.ended = False

    def follow(self, before: Lane) -> None:
        """It takes the place of one that may have something under way still: that is not said a second time."""
        self._before = before

    @property
    def before(self) -> Lane | None:
        """The one before it that has not ended."""
        if self._before is not None and self._before.ended:
            self._before = self._before.before
        return self._before

    def inherit(self, before: Lane) -> None:
        """It speaks to whom the lane before spoke to: its pace, its rest and what the vendor asked for are ours, so is
        what its last sends teach, and what it is sending still takes of our room."""
        before._heir = self
        self._shares = True
        self._pacer.recall(before._pacer.starts())
        self._health, self._failing_since = before._health, before._failing_since
        self._recovered = before._recovered

    def wake(self) -> None:
        self._wake.set()

    async def serve(self, beat: Callable[[], None]) -> None:
        await self._resume()
        while True:
            if self._said and self._sending and not self._paced:
                self._quiet.clear()
                await waited(self._quiet, GATHER_SECONDS)
            self._wake.clear()
            try:
                if self._fell:
                    await self._clear()
                wait = await self._once()
            except StoreUnavailable as error:
                log.warning("lane postponed", channel=self.outlet.name, reason=str(error))
                wait = 1.0
                self._wake.clear()
            beat()
            if wait > 0:
                await waited(self._wake, min(wait, self._pipeline.store.tick))

    async def drain(self, seconds: float) -> bool:
        """Take nothing new, let what is being sent end, write down what was said, give the rest back. A store that is
        away is asked again until the time is over: what was said and is not written down is said again. Whether all of
        it is."""
        over = time.monotonic() + seconds
        under_way = self._under_way()
        if under_way:
            await asyncio.wait(under_way, timeout=seconds)
        self._give_back([claim for task, claim in self._sending.items() if not task.done()])
        self._give_back(await self._cut_short())
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        while True:
            try:
                await self._hand_in()
            except StoreUnavailable as error:
                if time.monotonic() + HAND_IN_SECONDS > over:
                    log.warning("lane left unsettled", channel=self.outlet.name, reason=str(error))
                    return False
                await asyncio.sleep(HAND_IN_SECONDS)
            else:
                return True

    async def finish(self, hurry: asyncio.Event) -> None:
        """Take nothing new. What is being sent ends in its own time, is held for as long, and is written down as it
        ends. Until `hurry` is set: `drain` does the rest."""
        hurried = asyncio.ensure_future(hurry.wait())
        try:
            while not hurry.is_set():
                wait = await self._finish_some()
                if not (self._said or self._back or self._under_way()):
                    return
                await asyncio.wait({hurried, *self._under_way()}, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hurried.cancel()

    async def _finish_some(self) -> float:
        """Write down what has ended, hold what has not. How many seconds until it is time to do so again."""
        if self._turning is not None and self._turning[0].done():
            self._give_back(await self._cut_short())
        try:
            if self._said or self._back:
                await self._hand_in()
                self._pipeline.woken(frozenset({self.outlet.name}))  # whoever speaks there now may have more to say
            await self._hold()
        except StoreUnavailable as error:
            log.warning("lane postponed", channel=self.outlet.name, reason=str(error))
            return HAND_IN_SECONDS
        return 0.0 if self._said else RENEW_SECONDS

    def _under_way(self) -> set[asyncio.Future[Any]]:
        return {*self._sending, *(() if self._turning is None else self._turning[:1])}

    def _give_back(self, claims: Sequence[Claim]) -> None:
        self._back += [(claim.delivery.id, claim.delivery.token) for claim in claims]

    async def _hold(self) -> None:
        """Hold what is being sent for longer, where it is time to. Raises StoreUnavailable."""
        held = [(claim.delivery.id, claim.delivery.token) for claim in self._held()]
        if held:
            until = self._pipeline.now() + LEASE
            await self._pipeline.store.write(lambda ledger: ledger.outbox.renew(held, until))

    async def _hand_in(self) -> None:
        """Write down what was said, and give back what nobody says. Raises StoreUnavailable; then both are kept."""
        if self._said:
            said = list(self._said)
            fault = await tried(self._pipeline.turn(self.outlet, said, 0))
            if isinstance(fault, Exception):
                await self._settle_alone()
            else:
                self._forget(said)
        if self._back:
            back = self._back
            await self._pipeline.store.write(lambda ledger: ledger.outbox.release(back))
            self._back = self._back[len(back) :]

    async def _once(self) -> float:
        """One turn: settle, claim, start sending. How many seconds to wait if nothing wakes us."""
        now = self._pipeline.now()
        most, wait = self._room(now)
        said, self._said = self._said, []
        held = self._held()
        if not most and not said and not held:
            return wait
        recovered, self._recovered = self._recovered, False
        began = time.monotonic()
        turning = asyncio.ensure_future(
            self._pipeline.turn(
                replace(self.outlet, budget=None) if self._unbound else self.outlet,
                said,
                most,
                Condition(
                    recovered=recovered,
                    struggling=self._struggling(said, now),
                    ringing=self.at_work(),
                    asked_until=self._health.asked_until,
                    held=held,
                    back=self._pipeline.was_away(began),
                ),
            )
        )
        self._turning = turning, said
        try:
            turn = await asyncio.shield(turning)
        except asyncio.CancelledError:
            raise  # we are stopped in its midst: `drain` looks what came of it
        except BaseException as fault:
            self._turning = None
            self._fell = not isinstance(fault, StoreUnavailable)
            self._renewed_at = 0.0
            self._said, self._recovered = said + self._said, recovered or self._recovered
            raise
        self._turning, self._unbound = None, False
        self._pipeline.has_stored(time.monotonic())
        self._say(turn.claims)
        if len(turn.claims) == most and most:
            return 0.0
        if turn.claims:
            return 1.0
        return wait if turn.next_due is None else max((turn.next_due - self._pipeline.now()) / 1000, 0.01)

    def _say(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            holder = self.holder(claim.delivery.id)
            if holder is not None:
                holder.renew(claim)
                continue
            if self._paced:
                self._pacer.spent(self._pipeline.now())
            task = asyncio.create_task(self._pipeline.say(self.outlet, claim), name=f"send:{claim.delivery.id}")
            self._sending[task] = claim
            task.add_done_callback(self._finished)

    async def _resume(self) -> None:
        """A turn in whose midst this lane fell goes on to its end: what it claimed is said, and what it could not
        write down is written by the next one."""
        if self._turning is None:
            return
        turning, said = self._turning
        await asyncio.wait({turning})
        self._turning = None
        if turning.cancelled() or turning.exception() is not None:
            self._said = said + self._said
        else:
            self._say(turning.result().claims)

    async def _clear(self) -> None:
        """A fault of ours has stopped a turn: what causes it is set aside, and the lane goes on with all else."""
        await self._settle_alone()
        # Where no delivery is to blame, it may be what keeps to the storm budget: better too loud than mute.
        self._unbound = not await clear(self._pipeline, self.outlet)
        self._fell = False

    async def _settle_alone(self) -> None:
        while self._said:
            one = self._said[0]
            await settle_alone(self._pipeline, self.outlet, one)
            self._forget([one])

    def _forget(self, said: Sequence[Said]) -> None:
        """They are written down; one that was claimed anew meanwhile is not, and stays."""
        self._said = [one for one in self._said if not any(one is other for other in said)]

    def _held(self) -> tuple[Claim, ...]:
        """What is being sent, when it is time to hold it for longer."""
        now = time.monotonic()
        if not self._sending:
            self._renewed_at = now
        if now - self._renewed_at < RENEW_SECONDS:
            return ()
        self._renewed_at = now
        return tuple(self._sending.values())

    def holder(self, id_: str) -> Lane | None:
        """Which lane of this channel sends that delivery still, or has just said it: this one, or one before it that
        has not ended."""
        if any(held.delivery.id == id_ for held in self._sending.values()):
            return self
        if any(one.claim.delivery.id == id_ for one in self._said):
            return self
        return None if self.before is None else self.before.holder(id_)

    def at_work(self) -> int:
        """How many are being sent over this channel."""
        return len(self._sending) + (self.before.at_work() if self.before is not None and self._shares else 0)

    def renew(self, claim: Claim) -> None:
        """A clock that jumped has ended the lease of what is being sent still, or was just said: it is not sent
        twice, and the newer token settles it."""
        for task, held in self._sending.items():
            if held.delivery.id == claim.delivery.id:
                self._sending[task] = _with_token_of(claim, held)
        for place, one in enumerate(self._said):
            if one.claim.delivery.id == claim.delivery.id:
                self._said[place] = replace(one, claim=_with_token_of(claim, one.claim))

    async def _cut_short(self) -> tuple[Claim, ...]:
        """What a turn that we were stopped in has claimed all the same: nobody will send it."""
        if self._turning is None:
            return ()
        turning, said = self._turning
        self._turning = None
        turning.cancel()  # where the disk hangs
        (turn,) = await asyncio.gather(turning, return_exceptions=True)
        if isinstance(turn, Turn):
            return turn.claims
        self._said = said + self._said
        return ()

    def _room(self, now: Millis) -> tuple[int, float]:
        """How many may start now; if none, how many seconds until that may change."""
        rest = retry.resting(self._health, now)
        if rest:
            return 0, rest / 1000
        paced = self._pacer.wait(now)
        if paced:
            return 0, paced / 1000
        width = 1 if self._health.failures >= 3 else self.outlet.channel.width
        free = max(width - self.at_work(), 0)
        return (min(free, 1) if self._paced else free), TICK_SECONDS

    def _finished(self, task: asyncio.Task[Said]) -> None:
        claim = self._sending.pop(task)
        if not self._sending:
            self._quiet.set()
        if task.cancelled():
            return
        said = task.result()
        if said.claim is not claim:
            said = replace(said, claim=claim)  # it was claimed anew meanwhile
        self._said.append(said)
        self.learn(said)
        self._wake.set()

    def learn(self, said: Said) -> None:
        """What it teaches of the vendor, who speaks to him next is to know."""
        if self._heir is not None:
            self._heir.learn(said)
            return
        now = said.ended_at
        before, self._health = self._health, retry.after(self._health, said.receipt, now, self._pipeline.dice())
        self._recovered = self._recovered or retry.recovered(before, self._health)
        if self._health.failures == 0:
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = now

    def _struggling(self, said: Sequence[Said], now: Millis) -> str:
        """Why nothing has got through for a quarter of an hour; '' where something has."""
        if self._failing_since is None or now - self._failing_since < STRUGGLES_AFTER:
            return ""
        reasons = [one.receipt.reason for one in said if not isinstance(one.receipt, Sent)]
        return reasons[-1] if reasons else ""


def _with_token_of(newer: Claim, held: Claim) -> Claim:
    return replace(held, delivery=replace(held.delivery, token=newer.delivery.token))


def wake_lanes(lanes: Mapping[str, Lane], channels: frozenset[str]) -> None:
    for channel in channels:
        lane = lanes.get(channel)
        if lane is not None:
            lane.wake()
