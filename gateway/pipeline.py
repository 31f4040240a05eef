"""The story: receive, process, deliver, act. It reads from top to bottom and data flows one way.

    receive   a request became an event, safe on disk                        → inbox
    process   one transaction: read, fold, plan, promise, write down why      inbox → outbox
    deliver   one lane a channel: claim, compose, send, settle               outbox → the vendor
    ring      a timer fires: the next step, a repeat, the end of a mute       timers → outbox
    act       a person acknowledges, resolves, silences                       → changes, outbox

It knows sockets (`contracts`), never plugs.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from gateway.answering import Answered, Answering
from gateway.aside import ring_alone, tried
from gateway.batch import Batch
from gateway.carrying import Moving, reconsider
from gateway.contracts import MOST_BYTES, Accepted, Adapter, Keep, Ledger, Pressed, Reported, Store
from gateway.model import (
    GATEWAY,
    Act,
    Action,
    Event,
    Incident,
    Json,
    Key,
    Message,
    Millis,
    Receipt,
    Ref,
    Rejected,
    Retry,
    Sent,
    Silence,
    Unknown,
)
from gateway.ringing import Rung, ring
from gateway.rules import digesting, links, own, wording
from gateway.rules.deciding import Rules
from gateway.settling import Claim, Outlet, Said, Settling
from gateway.telemetry import logger
from gateway.turning import FINE, LEASE, Condition, Turn, Turning
from gateway.values import frozen

__all__ = ["FINE", "LEASE", "Condition", "Pipeline", "Processed", "Turn", "fit"]

log = logger()

Agrees: TypeAlias = Callable[[str, Mapping[str, Json], Ref], Awaitable[bool]]

SENDER_ID_KEPT: Millis = 7 * 86_400_000
SAME_BODY_KEPT: Millis = 86_400_000
VERBS: tuple[links.LinkVerb, ...] = ("acknowledge", "resolve", "silence")
LINK_LASTS: Millis = 3 * 86_400_000
CONSIDERED_AT_ONCE = 200
AWAY_SECONDS = 25.0
"""The store was away for so long that claims, which last for thirty, may have ended with nobody to hold them."""
BACK_SECONDS = 10.0
"""After that the other gateways have so long to write down what they said meanwhile."""
BEFORE_ALL: Final[Key] = ("", "")
_RECEIPTS = (Sent, Retry, Rejected, Unknown)


@frozen
class Processed:
    """How many events a batch decided, which channels have something to say now, whether more events may wait, and how
    long the oldest of these had waited."""

    events: int
    channels: frozenset[str] = frozenset()
    left: bool = False
    behind: Millis = 0


class Pipeline:
    """`adapters` are all there are, by name. `now`, `new_id` and `dice` (0 ≤ x < 1) are the only clock and chance.

    `rules` is swapped whole by a reload. `crowded` names sources with too many living incidents. `arrived` is
    set when there is something to process, `rings` when a timer may be due sooner than was known; `woken` is told
    which channels have something to say. `link_key` signs links. `agrees`: whether what was pressed in a channel is
    the message that a ref names."""

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
        self.rings = asyncio.Event()
        self._stored_at = math.inf
        self._back_until = 0.0
        self.woken: Callable[[frozenset[str]], None] = lambda _channels: None
        self.link_key = b""
        self.agrees: Agrees = _nothing_agrees

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

    def has_stored(self, at: float) -> None:
        """A transaction ended well at this instant, in seconds on the clock of `monotonic`."""
        if at - self._stored_at > AWAY_SECONDS:
            self._back_until = at + BACK_SECONDS
        self._stored_at = at

    def was_away(self, at: float) -> bool:
        """Whether the store has been away until a moment ago, for so long that other gateways' claims may have ended
        though they said what they had claimed."""
        return at < self._back_until or at - self._stored_at > AWAY_SECONDS

    async def process(self, most: int) -> Processed:
        """Decide the oldest waiting events in one transaction. Raises StoreUnavailable.

        If a fault of ours stops the batch, each event is decided alone, and one that cannot be is set aside."""
        done = await tried(self.store.write(lambda ledger: self._process_waiting(ledger, most), lasting=False))
        if isinstance(done, Processed):
            return done
        log.error("batch not decided", exc_info=done)
        return await self._one_by_one(most)

    async def turn(
        self,
        outlet: Outlet,
        said: Sequence[Said],
        most: int,
        condition: Condition = FINE,
    ) -> Turn:
        """One transaction for one lane: settle what was said, then claim what is due, at most so many.

        Raises StoreUnavailable."""

        async def work(ledger: Ledger) -> Turn:
            now = self.now()
            settling = Settling(outlet, self.rules, now, self.new_id, self.dice, condition.struggling)
            turning = Turning(outlet, self.rules, now, self.new_id, condition, shared=self.store.shared)
            turn = await turning.turn(ledger, settling, said, most)
            return replace(turn, woken=frozenset(settling.woken), raised=bool(settling.raised))

        turn = await self.store.write(work, lasting=False)
        if turn.woken:
            self.woken(turn.woken)
        if turn.raised:
            self.arrived.set()
        return turn

    async def say(self, outlet: Outlet, claim: Claim) -> Said:
        """Compose the newest message and send it. Catch-all 3 of 4: a bug in a channel costs this message a
        few tries, never the lane."""
        started = self.now()
        crashed, rang = False, True
        receipt: Receipt
        try:
            message = self.compose(outlet, claim)
            await asyncio.sleep(0)  # those beside it are composed first: between sends it costs twice as much
            rang = not message.quiet
            if message.quiet and not outlet.channel.edits:
                return Said(claim, Sent(claim.delivery.ref, "nothing new to say aloud"), started, started, rang=False)
            receipt = fit(await _sent(outlet, message, claim.delivery.ref))
        except Exception as fault:
            log.exception("channel failed", channel=outlet.name, delivery=claim.delivery.id)
            receipt, crashed = Retry(f"a fault of the gateway: {type(fault).__name__}"), True
        return Said(claim, receipt, started, self.now(), crashed, rang)

    def compose(self, outlet: Outlet, claim: Claim) -> Message:
        """The words, in the language and the time of whose channel it is."""
        voice, now = self._voice(outlet, claim.delivery.person), self.now()
        actions = self._actions(outlet, claim)
        if claim.gathered is not None:
            aloud = not outlet.channel.edits
            return digesting.digest_message(claim.delivery, claim.gathered, voice, now, actions, aloud=aloud)
        said = wording.message(claim.delivery, claim.incident, claim.since, voice, claim.links, now, actions)
        return replace(said, quiet=True) if claim.hushed else said

    def _voice(self, outlet: Outlet, person: str) -> wording.Voice:
        known = self.rules.routing.people.get(person)
        if known is None:
            return outlet.voice
        return replace(
            outlet.voice, language=known.language or outlet.voice.language, zone=known.time_zone or outlet.voice.zone
        )

    def _actions(self, outlet: Outlet, claim: Claim) -> tuple[Action, ...]:
        """What can be done from a message, where somebody would hear of it."""
        if not outlet.listens:
            return ()
        subject, delivery, expires = claim.incident.id, claim.delivery.id, self.now() + LINK_LASTS
        return tuple(
            Action(verb, "", self._link(outlet, links.Link(subject, verb, outlet.name, delivery, expires)))
            for verb in VERBS
        )

    def _link(self, outlet: Outlet, link: links.Link) -> str:
        if not (self.link_key and outlet.voice.public_url and outlet.links):
            return ""
        return f"{outlet.voice.public_url}/links/{links.sign(link, self.link_key)}"

    async def ring(self, most: int) -> Rung:
        """Act on the timers that are due, at most so many, in one transaction. Raises StoreUnavailable.

        If a fault of ours stops it, each is acted on alone, and one that cannot be is put off."""
        rung = await tried(self.store.write(lambda ledger: ring(ledger, self._moving(), most), lasting=False))
        if isinstance(rung, Exception):
            log.warning("timers not rung together", exc_info=rung)
            rung = await ring_alone(self.store, self._moving, most)
        if rung.fired:
            self.arrived.set()  # one may have raised an alert of the gateway's own
        return rung

    async def reconsider(self, after: Key) -> Key | None:
        """Hold some of what lives against rules that have changed; `after` is the last one's of before, BEFORE_ALL at
        the beginning. The last one's now, None at the end. Raises StoreUnavailable."""
        last = await self.store.write(
            lambda ledger: reconsider(ledger, self._moving(), after, CONSIDERED_AT_ONCE), lasting=False
        )
        if last is None:
            self.rings.set()
        return last

    async def shift(self, by: Millis) -> None:
        """The clock is about to be put forward by so much: what waits for a span of time moves with it."""

        async def work(ledger: Ledger) -> None:
            await ledger.timers.shift(by)
            await ledger.outbox.shift(by)

        await self.store.write(work)

    # --- act: people, over the API, a button, a reply, a link ----------------------------------------------

    async def act(self, name: str, wish: Act) -> Incident:
        """`name` is an incident's id or number. Raises NotFound, Conflict, BadField or StoreUnavailable."""
        done = await self._answer(lambda answering, ledger: answering.act(ledger, name, wish))
        return done.incidents[0]

    async def pressed(self, channel: str, pressed: Pressed) -> str:
        """What came of a button, a reply or a keypress, in one line; '' where it was taken before."""
        meant = await self.store.read(lambda ledger: Answering(self._moving()).meant(ledger, channel, pressed))
        # Looked at outside of any transaction: a channel may have to ask its vendor where it speaks.
        if meant is not None and pressed.subject and not await self.agrees(channel, pressed.where, meant.ref):
            meant = None
        return (await self._answer(lambda a, ledger: a.pressed(ledger, channel, pressed, meant))).line

    async def follow_link(self, link: links.Link, key: str) -> str:
        """As `pressed`, for a link in a letter. Raises Conflict("used") where it was, NotFound."""
        return (await self._answer(lambda answering, ledger: answering.follow(ledger, link, key))).line

    async def reported(self, channel: str, reported: Reported) -> None:
        """What a vendor tells of a message."""
        answering = Answering(self._moving())
        self.woken(await self.store.write(lambda ledger: answering.reported(ledger, channel, reported)))
        self.arrived.set()

    async def silence(self, silence: Silence) -> None:
        """Put it in force, over what lives already as well."""
        await self.store.write(lambda ledger: Answering(self._moving()).silence(ledger, silence))
        self.rings.set()
        after: Key | None = BEFORE_ALL
        while after is not None:
            after = await self.store.write(
                lambda ledger, after=after: Answering(self._moving()).silence_some(  # type: ignore[misc]
                    ledger, silence, after, CONSIDERED_AT_ONCE
                )
            )

    async def end_silence(self, id_: str) -> Silence:
        """Before its time. Raises NotFound."""
        ended = await self.store.write(lambda ledger: Answering(self._moving()).end_silence(ledger, id_))
        self.rings.set()
        return ended

    async def _answer(self, work: Callable[[Answering, Ledger], Awaitable[Answered]]) -> Answered:
        answering = Answering(self._moving())
        done = await self.store.write(lambda ledger: work(answering, ledger))
        self.woken(done.channels)
        self.rings.set()
        return done

    def _moving(self) -> Moving:
        return Moving(self.rules, self.now(), self.new_id)

    async def tell(self, event: Event) -> None:
        """An event of the gateway's own, on the way of all others."""
        await self.receive(event, Keep())

    async def _process_waiting(self, ledger: Ledger, most: int) -> Processed:
        waiting = await ledger.inbox.waiting(most)
        done = await self._process(ledger, waiting)
        cut = len(waiting) == most or sum(len(event.body) for event in waiting) >= MOST_BYTES
        return replace(done, left=True) if cut else done

    async def _process(self, ledger: Ledger, events: Sequence[Event]) -> Processed:
        if not events:
            return Processed(0)
        batch = Batch(self.adapters, self.rules, self.now(), self.new_id, self.crowded)
        decided = await batch.decide(ledger, events)
        left = decided.raised or decided.events < len(events)
        return Processed(decided.events, decided.channels, left, batch.now - events[0].received_at)

    async def _one_by_one(self, most: int) -> Processed:
        channels: frozenset[str] = frozenset()
        events = await self.store.read(lambda ledger: ledger.inbox.waiting(most))
        for event in events:
            done = await self._alone(event)
            channels |= done.channels
        return Processed(len(events), channels, left=bool(events))

    async def _alone(self, event: Event) -> Processed:
        done = await tried(self.store.write(lambda ledger: self._process_if_waiting(ledger, event)))
        if isinstance(done, Processed):
            return done
        log.error("event not decided", event_id=event.id, source=event.source, exc_info=done)
        why = f"a fault of the gateway while deciding: {type(done).__name__}"
        await self.store.write(lambda ledger: self._set_aside(ledger, event, why))
        return Processed(1)

    async def _process_if_waiting(self, ledger: Ledger, event: Event) -> Processed:
        return await self._process(ledger, [event] if await self._waits(ledger, event) else [])

    @staticmethod
    async def _waits(ledger: Ledger, event: Event) -> bool:
        """Whether nobody else has decided it since it was read."""
        now = await ledger.inbox.get(event.id)
        return now is not None and now.state == "waiting"

    async def _set_aside(self, ledger: Ledger, event: Event, why: str) -> None:
        if not await self._waits(ledger, event):
            return
        await ledger.inbox.finish([], {event.id: why})
        if event.source != GATEWAY:
            await ledger.inbox.add(own.unreadable(event.source, self.new_id(), self.now()))


async def _nothing_agrees(_channel: str, _where: Mapping[str, Json], _ref: Ref) -> bool:
    return False


async def _sent(outlet: Outlet, message: Message, ref: Ref) -> Receipt:
    if outlet.patience is None:
        return await outlet.channel.send(message, ref)
    try:
        async with asyncio.timeout(outlet.patience / 1000):
            return await outlet.channel.send(message, ref)
    except TimeoutError:
        return Unknown(f"not finished within {outlet.patience // 1000} s")


def fit(receipt: Receipt) -> Receipt:
    """The receipt, if it can be written down. Raises TypeError or ValueError for a channel's fault."""
    if not isinstance(receipt, _RECEIPTS):
        raise TypeError(f"a receipt is none: {type(receipt).__name__}")
    if receipt.ref:
        json.dumps(dict(receipt.ref))
    return receipt
