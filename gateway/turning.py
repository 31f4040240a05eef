"""One lane's turn, inside one transaction: settle what was said, keep to the storm budget, claim what is due."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from gateway.contracts import Attempt, Ledger
from gateway.model import Delivery, Digest, Incident, Millis, Severity
from gateway.rules.budget import Budget, Room, may_grow, room
from gateway.rules.deciding import Rules
from gateway.rules.digesting import face
from gateway.rules.pace import Pacer
from gateway.rules.quieting import digest_due
from gateway.rules.retry import HOUR
from gateway.settling import Claim, Outlet, Said, Settling
from gateway.telemetry import HELD, logger
from gateway.values import frozen

log = logger()

LEASE: Millis = 30_000
"""How long a claim is held without a word of its holder; while it is being sent, it is renewed."""
ABSORBED_AT_ONCE = 500
NAMED = 10
"""Incidents that a digest's message names."""
FULL = 20_000
"""A summary with so many members takes no more, the next one does: all are counted for each of its messages."""
GATHERING: Millis = 5_000
"""How long a summary of what is not critical waits for more of it before it is said first."""


@frozen
class Turn:
    """What a lane has to say now; if nothing, when its next delivery is due (None: none waits). `woken`: other
    channels that have something to say because of what was settled. `raised`: an alert of the gateway's own waits."""

    claims: tuple[Claim, ...] = ()
    next_due: Millis | None = None
    woken: frozenset[str] = frozenset()
    raised: bool = False


@frozen
class Condition:
    """How a lane is doing. `recovered`: its vendor answers again, so nobody need wait in backoff. `struggling`: why
    nothing has got through for a while. `ringing`: how many messages are under way. `asked_until`: when the vendor's
    wish to be let alone ends. `held`: what is being sent, to be held for longer. `back`: the store was away until a
    moment ago, for the other gateways as well."""

    recovered: bool = False
    struggling: str = ""
    ringing: int = 0
    asked_until: Millis = 0
    held: tuple[Claim, ...] = ()
    back: bool = False


FINE: Final = Condition()


@frozen
class Turning:
    """The tools of one turn. `shared`: other gateways send over the same channel."""

    outlet: Outlet
    rules: Rules
    now: Millis
    new_id: Callable[[], str]
    condition: Condition = FINE
    shared: bool = False

    async def turn(self, ledger: Ledger, settling: Settling, said: Sequence[Said], most: int) -> Turn:
        if self.condition.held:
            held = [(one.delivery.id, one.delivery.token) for one in self.condition.held]
            await ledger.outbox.renew(held, self.now + LEASE)
        if said:
            await settling.settle(ledger, said)
        if self.condition.recovered:
            await ledger.outbox.wake(self.outlet.name)
        left = await self._keep_budget(ledger) if self.outlet.budget is not None else None
        pacer = Pacer(self.outlet.paces)
        rests, rest_until = await self._together(ledger, pacer) if self.shared else (0, 0)
        if not most:
            return Turn()
        if rests:
            return Turn(next_due=self.now + rests)
        allowed = most if left is None else min(most, left.plain or 1)
        # Whoever holds what is over now may only have been kept from holding it for longer, or from writing it down.
        ended = 0 if self.shared and self.condition.back else self.now
        claimed = await ledger.outbox.claim(self.outlet.name, self.now, LEASE, allowed, ended)
        if not claimed:
            return Turn(next_due=await ledger.outbox.next_due(self.outlet.name))
        if self.shared and self.outlet.paces:
            for _ in claimed:
                pacer.spent(self.now)
            await ledger.shared.set_lane(self.outlet.name, pacer.starts(), rest_until)
        return Turn(await self.claims(ledger, settling, claimed, left))

    async def _together(self, ledger: Ledger, pacer: Pacer) -> tuple[Millis, Millis]:
        """How long all gateways must let the channel rest: for its pace, or because its vendor asked one of them. And
        until when the vendor asked."""
        starts, rest_until = await ledger.shared.lane(self.outlet.name)
        pacer.recall(starts)
        if self.condition.asked_until > rest_until:
            await ledger.shared.set_lane(self.outlet.name, starts, self.condition.asked_until)
        asked = max(rest_until, self.condition.asked_until)
        resting = asked - self.now
        return max(pacer.wait(self.now), resting if resting <= HOUR else 0, 0), asked

    async def claims(
        self, ledger: Ledger, settling: Settling, claimed: Sequence[Delivery], left: Room | None
    ) -> tuple[Claim, ...]:
        """Everything that the messages are composed of."""
        alone = [delivery for delivery in claimed if not delivery.is_digest]
        ids = {delivery.incident for delivery in alone}
        incidents = await ledger.incidents.by_id(ids)
        gathered = await ledger.digests.gathered({d.incident for d in claimed if d.is_digest}, NAMED)
        asked = {delivery.incident: delivery.said for delivery in alone if self._has_history(delivery, incidents)}
        history = await ledger.changes.of(asked) if asked else {}
        links = await self._links(ledger, ids) if self.outlet.wants_links else {}
        buried = [(d, incidents[d.incident]) for d in alone if d.state == "failed"]
        await settling.tell_buried(ledger, buried)
        claims = []
        for delivery in claimed:
            if delivery.state != "waiting":
                continue
            if delivery.is_digest:
                known = gathered[delivery.incident]
                if await self._may_say(ledger, delivery, known.digest):
                    claims.append(Claim(delivery, face(known), (), {}, known))
                continue
            changes = history.get(delivery.incident, ())
            since = tuple(change for change in changes if change.revision >= delivery.said)
            incident = incidents[delivery.incident]
            hushed = left is not None and not left.plain and not (left.extra and _critical(incident.severity))
            found = links.get(delivery.incident, {})
            claims.append(
                Claim(delivery, incident, since, found, hushed=hushed, extra=left is not None and not left.plain)
            )
        return tuple(claims)

    def _has_history(self, delivery: Delivery, incidents: Mapping[str, Incident]) -> bool:
        """Whether there is more to tell than that it opened. Our words say that without being shown the change; a
        channel's own templates may name it."""
        own = self.outlet.voice.templates is not None
        return own or delivery.said > 0 or incidents[delivery.incident].revision > 1

    async def _may_say(self, ledger: Ledger, delivery: Delivery, digest: Digest) -> bool:
        """Whether the budget has room for a digest's message. Where it has none, mere growth and a reminder wait for
        the oldest of the window to be forgotten; an edit rings for nobody, and needs no room."""
        budget, name = self.outlet.budget, self.outlet.name
        grows = delivery.said and digest.worst <= (delivery.said_severity or Severity.INFO) and not digest.closed
        reminds = delivery.remind > delivery.said
        if budget is None or not grows or (self.outlet.channel.edits and not reminds):
            return True
        spent = await ledger.digests.spent(name, self.now - budget.window)
        if reminds:
            left = room(budget, spent, self.condition.ringing, None)
            fits = bool(left.plain or (left.extra and _critical(digest.worst)))
        else:
            fits = may_grow(budget, spent, self.condition.ringing, digest.worst)
        if not spent or fits:
            return True
        await ledger.outbox.release([(delivery.id, delivery.token)])
        await ledger.outbox.promise([replace(delivery, due_at=spent[0][0] + budget.window)], [])
        return False

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

    # --- the storm budget ---------------------------------------------------------------------------------

    async def _keep_budget(self, ledger: Ledger) -> Room:
        """How many messages may still ring; what may not is put into the channel's summary."""
        budget: Budget = self.outlet.budget  # type: ignore[assignment]  # the caller has looked
        name, edits = self.outlet.name, self.outlet.channel.edits
        spent = await ledger.digests.spent(name, self.now - budget.window)
        summary = (await ledger.digests.open_by_key([_key(name)])).get(_key(name))
        if summary is not None and (
            summary.members >= FULL or (self.now - summary.opened_at > budget.window and summary.open == 0)
        ):
            summary = None
        left = room(budget, spent, self.condition.ringing, summary.worst if summary is not None else None)
        if left.plain:
            return left
        held = await ledger.outbox.held(name, self.now, ABSORBED_AT_ONCE, urgent=not left.extra, heard_too=not edits)
        if held:
            await self._absorb(ledger, held, summary, budget)
        return left

    async def _absorb(self, ledger: Ledger, held: Sequence[Delivery], summary: Digest | None, budget: Budget) -> None:
        incidents = await ledger.incidents.by_id({delivery.incident for delivery in held})
        fresh = summary is None
        if summary is None:
            summary = Digest(self.new_id(), "storm", _key(self.outlet.name), "", "", self.now, self.now, 0)
        known = await ledger.digests.of(incidents)
        joining = [
            one for one in incidents.values() if summary.id not in {digest.id for digest in known.get(one.id, ())}
        ]
        worst = max((one.severity for one in incidents.values()), default=Severity.INFO)
        grown = replace(
            summary,
            revision=summary.revision + 1,
            updated_at=self.now,
            worst=max(summary.worst, worst),
            members=summary.members + len(joining),
            open=summary.open + sum(one.state != "resolved" for one in joining),
            closed=False,
        )
        await ledger.digests.save([grown], {(grown.id, one.id) for one in joining})
        reason = f"the budget of {budget} is used up: told in summary {grown.id}"
        await ledger.outbox.absorb(held, grown.id, [self._held(one, reason) for one in held])
        await self._promise(ledger, grown, None if fresh else summary)
        HELD.labels(self.outlet.name).inc(len(held))
        log.info("messages held by budget", channel=self.outlet.name, count=len(held), summary=grown.id)

    async def _promise(self, ledger: Ledger, grown: Digest, before: Digest | None) -> None:
        """The summary has something to say: at once where it pages, else when more of it has come."""
        pages = grown.worst >= Severity.CRITICAL and (before is None or grown.worst > before.worst)
        found = (await ledger.outbox.of([grown.id])).get(grown.id, [])
        standing = found[0] if found else None
        due = digest_due(
            "worse" if pages else "more",
            standing,
            self.now if pages else grown.opened_at + GATHERING,
            self.now,
            edits=self.outlet.channel.edits,
        )
        if standing is None:
            standing = Delivery(self.new_id(), grown.id, self.outlet.name, grown.revision, self.now, is_digest=True)
        promised = replace(standing, wanted=grown.revision, promised_at=self.now, due_at=due, state="waiting")
        await ledger.outbox.promise([promised], [grown.id] if grown.worst >= Severity.CRITICAL else [])

    def _held(self, delivery: Delivery, reason: str) -> Attempt:
        return Attempt(self.new_id(), delivery.id, self.now, delivery.wanted, "held", reason)


def _key(channel: str) -> str:
    return f"storm {channel}"


def _critical(severity: Severity) -> bool:
    return severity >= Severity.CRITICAL
