"""The story: receive, process, deliver, act. It reads from top to bottom and data flows one way.

    receive   a request became an event, safe on disk                        → inbox
    process   one transaction: read, fold, plan, promise, write down why      inbox → outbox
    deliver   one lane a channel: claim, compose, send, settle               outbox → the vendor
    act       a person lets something be read or sent again                   → inbox, outbox

It knows sockets (`contracts`), never plugs.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from gateway.batch import Batch
from gateway.contracts import Accepted, Adapter, Keep, Ledger, Store
from gateway.errors import StoreUnavailable
from gateway.model import GATEWAY, Event, Message, Millis, Receipt, Rejected, Retry, Sent, Unknown
from gateway.rules import own, wording
from gateway.rules.deciding import Rules
from gateway.settling import Claim, Outlet, Said, Settling
from gateway.telemetry import logger

log = logger()

SENDER_ID_KEPT: Millis = 7 * 86_400_000
SAME_BODY_KEPT: Millis = 86_400_000
LEASE_BEYOND_PATIENCE: Millis = 30_000


@dataclass(frozen=True, slots=True)
class Processed:
    """How many events a batch decided, and which channels have something to say now."""

    events: int
    channels: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Turn:
    """What a lane has to say now; if nothing, when its next delivery is due (None: none waits)."""

    claims: tuple[Claim, ...] = ()
    next_due: Millis | None = None


class Pipeline:
    """`adapters` are all there are, by name. `now`, `new_id` and `dice` (0 ≤ x < 1) are the only clock and chance.

    `rules` is swapped whole by a reload. `crowded` names sources with too many living incidents. `arrived` is
    set when there is something to process."""

    def __init__(
        self,
        store: Store,
        adapters: Mapping[str, Adapter],
        rules: Rules,
        now: Callable[[], Millis],
        new_id: Callable[[], str],
        dice: Callable[[], float],
    ) -> None:
        self.store = store
        self.adapters = adapters
        self.rules = rules
        self.now = now
        self.new_id = new_id
        self.dice = dice
        self.crowded: Collection[str] = ()
        self.arrived = asyncio.Event()

    async def receive(self, event: Event, keep: Keep) -> Accepted:
        """Put the event on disk, once. Raises StoreUnavailable."""
        key, until = None, 0
        if keep.delivery_id is not None:
            key, until = f"id:{keep.delivery_id}", event.received_at + SENDER_ID_KEPT
        elif keep.once_per_body:
            key, until = f"body:{hashlib.sha256(event.body).hexdigest()}", event.received_at + SAME_BODY_KEPT
        accepted = await self.store.accept(event, key, until)
        self.arrived.set()
        return accepted

    async def process(self, most: int) -> Processed:
        """Decide the oldest waiting events in one transaction. Raises StoreUnavailable.

        If a fault of ours stops the batch, each event is decided alone, and one that cannot be is set aside."""
        (done,) = await asyncio.gather(
            self.store.write(lambda ledger: self._process_waiting(ledger, most)), return_exceptions=True
        )
        if isinstance(done, Processed):
            return done
        if isinstance(done, StoreUnavailable | asyncio.CancelledError):
            raise done
        log.error("batch not decided", exc_info=done)
        return await self._one_by_one(most)

    async def turn(
        self, outlet: Outlet, said: Sequence[Said], most: int, *, recovered: bool = False, struggling: str = ""
    ) -> Turn:
        """One transaction for one lane: settle what was said, then claim what is due, at most so many.

        `recovered`: the vendor answers again, so nobody need wait in backoff. `struggling`: why nothing has got
        through for a while. Raises StoreUnavailable."""
        return await self.store.write(
            lambda ledger: self._turn(ledger, outlet, said, most, recovered=recovered, struggling=struggling)
        )

    async def say(self, outlet: Outlet, claim: Claim) -> Said:
        """Compose the newest message and send it. Catch-all 3 of 3: a bug in a channel costs this message a
        few tries, never the lane."""
        started = self.now()
        crashed = False
        receipt: Receipt
        try:
            message = self.compose(outlet, claim)
            if message.quiet and not outlet.channel.edits:
                return Said(claim, Sent(claim.delivery.ref, "nothing new to say aloud"), started, started)
            async with asyncio.timeout(outlet.patience / 1000):
                receipt = fit(await outlet.channel.send(message, claim.delivery.ref))
        except TimeoutError:
            receipt = Unknown(f"not finished within {outlet.patience // 1000} s")
        except Exception as fault:
            log.exception("channel failed", channel=outlet.name, delivery=claim.delivery.id)
            receipt, crashed = Retry(f"a fault of the gateway: {type(fault).__name__}"), True
        return Said(claim, receipt, started, self.now(), crashed)

    def compose(self, outlet: Outlet, claim: Claim) -> Message:
        return wording.message(claim.delivery, claim.incident, claim.since, outlet.voice, claim.links, self.now())

    async def tell(self, event: Event) -> None:
        """An event of the gateway's own, on the way of all others."""
        await self.receive(event, Keep())

    async def _process_waiting(self, ledger: Ledger, most: int) -> Processed:
        return await self._process(ledger, await ledger.inbox.waiting(most))

    async def _process(self, ledger: Ledger, events: Sequence[Event]) -> Processed:
        if not events:
            return Processed(0)
        batch = Batch(self.adapters, self.rules, self.now(), self.new_id, self.crowded)
        decided = await batch.decide(ledger, events)
        return Processed(decided.events, decided.channels)

    async def _one_by_one(self, most: int) -> Processed:
        channels: frozenset[str] = frozenset()
        events = await self.store.read(lambda ledger: ledger.inbox.waiting(most))
        for event in events:
            done = await self._alone(event)
            channels |= done.channels
        return Processed(len(events), channels)

    async def _alone(self, event: Event) -> Processed:
        (done,) = await asyncio.gather(
            self.store.write(lambda ledger: self._process(ledger, [event])), return_exceptions=True
        )
        if isinstance(done, Processed):
            return done
        if isinstance(done, StoreUnavailable | asyncio.CancelledError):
            raise done
        log.error("event not decided", event_id=event.id, source=event.source, exc_info=done)
        why = f"a fault of the gateway while deciding: {type(done).__name__}"
        await self.store.write(lambda ledger: self._set_aside(ledger, event, why))
        return Processed(1)

    async def _set_aside(self, ledger: Ledger, event: Event, why: str) -> None:
        await ledger.inbox.finish([], {event.id: why})
        if event.source != GATEWAY:
            await ledger.inbox.add(own.unreadable(event.source, self.new_id(), self.now()))

    async def _turn(
        self, ledger: Ledger, outlet: Outlet, said: Sequence[Said], most: int, *, recovered: bool, struggling: str
    ) -> Turn:
        now = self.now()
        settling = Settling(outlet, self.rules, now, self.new_id, self.dice, struggling)
        if said:
            await settling.settle(ledger, said)
        if recovered:
            await ledger.outbox.wake(outlet.name)
        if not most:
            return Turn()
        claimed = await ledger.outbox.claim(outlet.name, now, outlet.patience + LEASE_BEYOND_PATIENCE, most)
        if not claimed:
            return Turn(next_due=await ledger.outbox.next_due(outlet.name))
        ids = {delivery.incident for delivery in claimed}
        incidents = await ledger.incidents.by_id(ids)
        history = await ledger.changes.of({delivery.incident: delivery.said for delivery in claimed})
        links = await self._links(ledger, ids) if outlet.wants_links else {}
        await settling.tell_buried(ledger, [(d, incidents[d.incident]) for d in claimed if d.state == "failed"])
        return Turn(
            tuple(
                Claim(
                    delivery,
                    incidents[delivery.incident],
                    tuple(change for change in history[delivery.incident] if change.revision >= delivery.said),
                    links.get(delivery.incident, {}),
                )
                for delivery in claimed
                if delivery.state == "waiting"
            )
        )

    async def _links(self, ledger: Ledger, incidents: Collection[str]) -> dict[str, dict[str, str]]:
        """Where other channels hold these incidents, by kind of channel: {"slack": url}."""
        kinds = self.rules.kinds
        found: dict[str, dict[str, str]] = {}
        for incident, deliveries in (await ledger.outbox.of(incidents)).items():
            for delivery in deliveries:
                link = delivery.ref.get("permalink")
                if isinstance(link, str) and delivery.channel in kinds:
                    found.setdefault(incident, {}).setdefault(kinds[delivery.channel], link)
        return found


def fit(receipt: Receipt) -> Receipt:
    """The receipt, if it can be written down. Raises TypeError or ValueError for a channel's fault."""
    if not isinstance(receipt, Sent | Retry | Rejected | Unknown):
        raise TypeError(f"a receipt is none: {type(receipt).__name__}")
    if receipt.ref:
        json.dumps(dict(receipt.ref))
    return receipt
