"""Between the store and the deciding, inside one transaction: what is known of the incidents at hand is fetched, and
what was decided is carried out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from gateway.contracts import Ledger, Statement
from gateway.model import Change, Incident, Key, Millis
from gateway.rules import silencing
from gateway.rules.deciding import Deciding, Known, Rules
from gateway.rules.matching import Seen
from gateway.rules.quieting import group_key
from gateway.values import frozen


@frozen
class Movements:
    """What is written beside the decisions: incidents that are new or have moved, and what was said of them."""

    new: Sequence[Incident] = ()
    moved: Sequence[Incident] = ()
    statements: Sequence[Statement] = ()


async def recall(
    ledger: Ledger, rules: Rules, incidents: Collection[Incident], fresh: Collection[str], now: Millis
) -> Known:
    """What the store knows of these incidents, as they are after they moved. `fresh` are the ids of new ones, of
    which it knows nothing but what waits for those that they follow."""
    routing = rules.routing
    known = {incident.id for incident in incidents} - set(fresh)
    groups = [(name, route) for name, route in rules.routes.items() if route.group_by]
    by_key = await ledger.digests.open_by_key(
        {group_key(name, route, incident) for name, route in groups for incident in incidents}
    )
    of = await ledger.digests.of(known)
    digests = {digest.id for digest in by_key.values()} | {digest.id for many in of.values() for digest in many}
    deliveries = await ledger.outbox.of(known | digests)
    bearing: set[str] = set()
    if routing.inhibit:
        for incident in incidents:
            bearing |= silencing.bearing(Seen(incident, routing.calendars, now), routing.inhibit).keys()
    return Known(
        deliveries={id_: many for id_, many in deliveries.items() if id_ in known},
        timers=await ledger.timers.of(known | {one.previous for one in incidents if one.previous and one.id in fresh}),
        digests_of=of,
        digests_by_key=by_key,
        digest_deliveries={id_: many for id_, many in deliveries.items() if id_ in digests},
        silences=await ledger.quiet.silences(now),
        overrides=await ledger.quiet.overrides(now) if routing.rotations else (),
        marked=await ledger.quiet.marked(bearing),
    )


async def carry_out(ledger: Ledger, deciding: Deciding, movements: Movements) -> frozenset[str]:
    """Write all of it. The channels that have something to say now."""
    outcome, gathering = deciding.outcome, deciding.gathering
    await ledger.incidents.save(movements.new, movements.moved)
    await ledger.changes.record(outcome.changes, movements.statements)
    promises = [*outcome.promises.values(), *gathering.promises.values()]
    await ledger.outbox.promise(promises, outcome.urgent | gathering.urgent)
    await ledger.outbox.withdraw(outcome.withdrawn)
    for kind in sorted({kind for _, kind in outcome.cancelled}):
        await ledger.timers.cancel({id_ for id_, cancelled in outcome.cancelled if cancelled == kind}, [kind])
    await ledger.timers.set(list(outcome.timers.values()))
    if gathering.moved or gathering.joined or outcome.hidden:
        await ledger.digests.save(gathering.moved, gathering.joined | outcome.hidden)
    await ledger.quiet.mark(outcome.marks, outcome.unmarked)
    await ledger.timers.hasten("unmute", outcome.freed, deciding.now)
    return frozenset(delivery.channel for delivery in promises)


@frozen
class Moving:
    """Something other than an alert moves incidents: a person, a timer, a vendor's report."""

    rules: Rules
    now: Millis
    new_id: Callable[[], str]

    async def deciding(self, ledger: Ledger, incidents: Collection[Incident]) -> Deciding:
        return Deciding(self.rules, await recall(ledger, self.rules, incidents, (), self.now), self.now, self.new_id)

    async def carry_out(self, ledger: Ledger, deciding: Deciding) -> frozenset[str]:
        return await carry_out(ledger, deciding, Movements(moved=list(deciding.outcome.incidents.values())))

    async def move(self, ledger: Ledger, incident: Incident, change: Change) -> tuple[Incident, frozenset[str]]:
        """One incident that has moved, and the channels that have something to say of it."""
        deciding = await self.deciding(ledger, [incident])
        moved = deciding.decide(change, incident)
        return moved, await self.carry_out(ledger, deciding)


async def reconsider(ledger: Ledger, moving: Moving, after: Key, most: int) -> Key | None:
    """Hold the next living incidents against rules that have changed: whom they inhibit, when they expire. Until its
    turn comes, each stands as the rules of before have it. The last one's key, None where there are no more."""
    routing = moving.rules.routing
    incidents = await ledger.incidents.living_after(after, most)
    deciding = Deciding(moving.rules, Known(), moving.now, moving.new_id)
    for incident in incidents:
        deciding.expire(incident)
    pairs = {
        (mark, incident.id)
        for incident in incidents
        for mark in silencing.marks(Seen(incident, routing.calendars, moving.now), routing.inhibit)
    }
    await ledger.quiet.mark(pairs, {incident.id for incident in incidents})
    await ledger.timers.set(list(deciding.outcome.timers.values()))
    if len(incidents) == most:
        return incidents[-1].source, incidents[-1].fingerprint
    await ledger.timers.hasten("unmute", None, moving.now)
    return None
