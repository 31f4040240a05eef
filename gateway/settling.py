"""What was said is written down inside one transaction: the promise, the attempt, and what others must know of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from gateway.answering import Answering
from gateway.carrying import Moving
from gateway.contracts import Attempt, Channel, Ledger, Settled
from gateway.fields import Rate
from gateway.model import (
    GATEWAY,
    Change,
    Delivery,
    Event,
    Gathered,
    Incident,
    Millis,
    Receipt,
    Rejected,
    Sent,
    Timer,
)
from gateway.ringing import PUT_OFF, SAID_AT
from gateway.rules import own
from gateway.rules.deciding import Rules
from gateway.rules.retry import RetryPolicy, settle
from gateway.rules.routing import DEFAULT
from gateway.rules.wording import Voice
from gateway.telemetry import ATTEMPTS, DELIVERED, FAILED, FENCED, LAG, logger
from gateway.values import frozen

log = logger()

FAILS_OVER_AFTER = 3
"""Failures in a row after which a person's next channel is tried as well: some ten seconds."""
MOST_CRASHES = 5
"""Times a channel may raise, which is a bug of ours, before the message becomes a dead letter."""


_DELIVERED_AFTER = LAG.labels("delivered")


@frozen
class Outlet:
    """A channel as the pipeline uses it. `patience` bounds one send as a whole, all its calls together; None where a
    send is one call, which has a deadline of its own. `budget`: its storm budget. `paces`: how fast it may speak.
    `listens`: whoever reads a message there can act on it at once; by `links` where that is all they can follow."""

    name: str
    channel: Channel
    voice: Voice
    policy: RetryPolicy
    patience: Millis | None
    wants_links: bool = False
    budget: Rate | None = None
    listens: bool = False
    links: bool = False
    paces: tuple[Rate, ...] = ()


@frozen
class Claim:
    """One delivery taken to be said, with all that its message is composed of. `since` begins with the change
    that was said last, where there is one.

    `gathered`: what a digest's delivery is about; then `incident` is its face. `hushed`: the budget lets it change
    what stands, and ring no bell. `extra`: it rings beyond the plain budget."""

    delivery: Delivery
    incident: Incident
    since: tuple[Change, ...]
    links: Mapping[str, str]
    gathered: Gathered | None = None
    hushed: bool = False
    extra: bool = False


@frozen
class Said:
    """A claim, and what became of it. `crashed`: the channel raised, which it never should. `rang`: it was more than
    a quiet change of what stands."""

    claim: Claim
    receipt: Receipt
    started_at: Millis
    ended_at: Millis
    crashed: bool = False
    rang: bool = True


@frozen
class Settling:
    """The tools of one settling. `struggling`: why nothing has got through for a while; '' where something has.
    `woken`: channels that have something to say because of it. `raised`: alerts of the gateway's own."""

    outlet: Outlet
    rules: Rules
    now: Millis
    new_id: Callable[[], str]
    dice: Callable[[], float]
    struggling: str = ""
    woken: set[str] = field(default_factory=set)
    raised: list[Event] = field(default_factory=list)

    async def settle(self, ledger: Ledger, said: Sequence[Said]) -> None:
        pairs = [(one, self._settled(one)) for one in said]
        settled = [Settled(delivery, self._attempt(one, delivery)) for one, delivery in pairs]
        fenced = await ledger.outbox.settle(settled)
        for id_ in fenced:
            FENCED.labels(self.outlet.name).inc()
            log.warning("settlement fenced", delivery=id_, channel=self.outlet.name)
        # What follows from one that is another's by now, he sees to.
        ours = [(one, delivery) for one, delivery in pairs if delivery.id not in fenced]
        await self._tell_health(ledger, ours)
        await self._keep_on(ledger, ours)
        for one in said if self.rules.wants_links else ():
            await self._spread_link(ledger, one)
        self._count(said)
        for one, delivery in pairs:
            self._log(one, delivery)

    async def tell_buried(self, ledger: Ledger, buried: Sequence[tuple[Delivery, Incident]]) -> None:
        """Dead letters that no receipt made: nobody lived to see what became of them."""
        for delivery, _ in buried:
            FAILED.labels(self.outlet.name).inc()
            known = {"channel": self.outlet.name, "delivery": delivery.id, "incident": delivery.incident}
            log.error("delivery failed", **known, reason=delivery.reason)
        await self._tell_dead(ledger, buried)

    def _settled(self, one: Said) -> Delivery:
        before, receipt = one.claim.delivery, one.receipt
        result = settle(before, receipt, one.claim.incident.revision, self.now, self.outlet.policy, self.dice())
        state, reason = result.state, result.reason
        sent = isinstance(receipt, Sent)
        if isinstance(receipt, Sent) and receipt.missed:
            reason = receipt.missed
        if one.crashed and result.tries >= MOST_CRASHES:
            state, reason = "failed", f"given up after {result.tries} faults: {reason}"
        rang = sent and one.rang
        return replace(
            before,
            said_at=self.now if rang or (sent and before.is_digest) else before.said_at,
            said_severity=one.claim.incident.severity if sent else before.said_severity,
            spoken=before.spoken + rang,
            reached="unknown" if rang else before.reached,
            state=state,
            said=result.said,
            due_at=result.due_at,
            attempts=result.attempts,
            tries=result.tries,
            unknowns=result.unknowns,
            reason=reason,
            ref=result.ref,
        )

    def _attempt(self, one: Said, delivery: Delivery) -> Attempt:
        receipt, detail = one.receipt, delivery.reason
        if isinstance(receipt, Sent):
            both = receipt.missed and receipt.detail
            detail = f"{receipt.missed}; {receipt.detail}" if both else receipt.missed or receipt.detail
        return Attempt(
            id=self.new_id(),
            delivery=delivery.id,
            at=one.started_at,
            revision=one.claim.incident.revision,
            receipt=type(receipt).__name__.lower(),
            reason=detail,
            took=max(one.ended_at - one.started_at, 0),
        )

    async def _keep_on(self, ledger: Ledger, pairs: Sequence[tuple[Said, Delivery]]) -> None:
        """What follows from a message that rang, or never will: it counts, it is repeated, another channel is tried."""
        repeats: list[Timer] = []
        for one, delivery in pairs:
            if delivery.person and _does_not_reach(one, delivery):
                moving = Moving(self.rules, self.now, self.new_id)
                self.woken.update(await Answering(moving).fail_over(ledger, delivery, delivery.reason) or ())
            if not isinstance(one.receipt, Sent):
                continue
            again = await self._repeat(ledger, one, delivery)
            if again and (one.rang or (delivery.is_digest and not await self._has_repeat(ledger, delivery))):
                repeats += again
            if not one.rang:
                continue
            if self.outlet.budget is not None:
                extra = one.claim.extra and not delivery.is_digest
                forget = self.now - 2 * self.outlet.budget.window
                await ledger.digests.spend(self.outlet.name, self.now, self.new_id(), extra=extra, forget=forget)
        await ledger.timers.set(repeats)

    async def _repeat(self, ledger: Ledger, one: Said, delivery: Delivery) -> list[Timer]:
        """Say it again after a while, if it is open and unacknowledged then. How long a while is, another gateway may
        know, whose file has the route."""
        if one.claim.incident.state != "open":
            return []
        route, name = self.rules.routes.get(delivery.route), delivery.route
        about: dict[str, Any] = {"route": name, "person": delivery.person}
        after = 0
        if route is not None:
            after = route.repeats_after
        elif name not in ("", DEFAULT) and await ledger.shared.differ(self.rules.routing.configuration, self.now):
            after = PUT_OFF
            about[SAID_AT] = self.now
        return [Timer("repeat", delivery.incident, self.now + after, self.outlet.name, about=about)] if after else []

    async def _has_repeat(self, ledger: Ledger, delivery: Delivery) -> bool:
        """Whether a conversation is to be repeated already: one that was acknowledged as a whole may have grown."""
        timers = (await ledger.timers.of([delivery.incident])).get(delivery.incident, [])
        return any(timer.kind == "repeat" and timer.name == self.outlet.name for timer in timers)

    async def _tell_health(self, ledger: Ledger, pairs: Sequence[tuple[Said, Delivery]]) -> None:
        """A dead letter raises an alert, the next success ends it; a dead letter of the gateway's own raises none."""
        name = self.outlet.name
        if await self._tell_dead(ledger, [(d, one.claim.incident) for one, d in pairs if d.state == "failed"]):
            return
        failing = await ledger.incidents.living({(GATEWAY, own.channel_key(name))})
        sent = [one.receipt for one, _ in pairs if isinstance(one.receipt, Sent)]
        missed = [receipt.missed for receipt in sent if receipt.missed]
        if missed:
            await self._raise(ledger, own.channel_misses(name, missed[-1], self.new_id(), self.now))
        elif failing and sent:
            await self._raise(ledger, own.channel_works(name, self.new_id(), self.now))
        elif self.struggling and not failing:
            await self._raise(ledger, own.channel_struggles(name, self.struggling, self.new_id(), self.now))

    async def _tell_dead(self, ledger: Ledger, dead: Sequence[tuple[Delivery, Incident]]) -> bool:
        """Whether there was something to tell: a dead letter of the gateway's own raises nothing."""
        others = [(delivery, incident) for delivery, incident in dead if incident.source != GATEWAY]
        if others:
            worst = max(incident.severity for _, incident in others)
            reason = others[-1][0].reason
            await self._raise(ledger, own.channel_fails(self.outlet.name, reason, worst, self.new_id(), self.now))
        return bool(others)

    async def _raise(self, ledger: Ledger, event: Event) -> None:
        await ledger.inbox.add(event)
        self.raised.append(event)

    async def _spread_link(self, ledger: Ledger, one: Said) -> None:
        """A permalink that became known is news to the channels that show it: Notion's page names Slack's message."""
        fresh = isinstance(one.receipt, Sent) and one.receipt.ref.get("permalink")
        if not fresh or fresh == one.claim.delivery.ref.get("permalink"):
            return
        if one.claim.delivery.is_digest:
            return
        id_ = one.claim.incident.id
        showing = [
            delivery
            for delivery in (await ledger.outbox.of([id_])).get(id_, [])
            if delivery.channel in self.rules.wants_links and delivery.channel != self.outlet.name
        ]
        if not showing:
            return
        incident = (await ledger.incidents.by_id([id_]))[id_]
        moved = replace(incident, revision=incident.revision + 1)
        change = Change(
            self.new_id(),
            id_,
            moved.revision,
            self.now,
            "linked",
            moved.state,
            moved.severity,
            GATEWAY,
            self.outlet.name,
        )
        await ledger.incidents.save([], [moved])
        await ledger.changes.record([change], [])
        renewed = [replace(d, wanted=moved.revision, promised_at=self.now, due_at=0) for d in showing]
        await ledger.outbox.promise(renewed, [])

    def _count(self, said: Sequence[Said]) -> None:
        kinds = Counter(type(one.receipt) for one in said)
        for kind, many in kinds.items():
            ATTEMPTS.labels(self.outlet.name, kind.__name__.lower()).inc(many)
        if kinds[Sent]:
            DELIVERED.labels(self.outlet.name).inc(kinds[Sent])

    def _log(self, one: Said, delivery: Delivery) -> None:
        name = self.outlet.name
        known = {"channel": name, "delivery": delivery.id, "incident": delivery.incident}
        if isinstance(one.receipt, Sent):
            _DELIVERED_AFTER.observe(max(one.ended_at - delivery.promised_at, 0) / 1000)
            log.info("message delivered", **known, revision=delivery.said, attempts=delivery.attempts)
            if one.receipt.missed:
                log.warning("recipients missed", **known, reason=one.receipt.missed)
        elif delivery.state == "failed":
            FAILED.labels(name).inc()
            log.error("delivery failed", **known, reason=delivery.reason)
        elif isinstance(one.receipt, Rejected):
            log.warning("message rejected", **known, reason=delivery.reason)
        else:
            log.warning("message not delivered yet", **known, reason=delivery.reason, due_at=delivery.due_at)


def _does_not_reach(one: Said, delivery: Delivery) -> bool:
    """Whether a person is to be told over the next channel: this one has given up, does not know, or has failed a few
    times. It goes on trying; who must act should not wait for it."""
    if isinstance(one.receipt, Sent):
        return False
    return delivery.state in ("failed", "said") or delivery.tries == FAILS_OVER_AFTER
