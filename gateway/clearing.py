"""A lane that a fault of ours has stopped is cleared: what causes it is found by trying each alone, and given up.

Where none can be taken up, it is not theirs: they are put off, and all of them are said once that is mended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from gateway.answering import Answering
from gateway.aside import LATER, tried
from gateway.carrying import Moving
from gateway.contracts import Ledger, Owed
from gateway.model import GATEWAY, Delivery, Sent
from gateway.pipeline import Pipeline
from gateway.rules import own
from gateway.settling import Outlet, Said, Settling
from gateway.telemetry import FAILED, logger
from gateway.turning import ABSORBED_AT_ONCE, Turning

log = logger()

LOOKED_AT: Final = ABSORBED_AT_ONCE
"""Deliveries that are due: no turn takes up more."""


async def settle_alone(pipeline: Pipeline, outlet: Outlet, said: Said) -> None:
    """Write down what became of one claim; where that cannot be, it is a dead letter. Raises StoreUnavailable."""
    settling = _settling(pipeline, outlet)
    fault = await tried(pipeline.store.write(lambda ledger: settling.settle(ledger, [said])))
    if isinstance(fault, Exception):
        delivery, incident = said.claim.delivery, said.claim.incident
        about = (delivery.incident, delivery.route, delivery.person, incident.source, incident.severity)
        owed = Owed(delivery.id, delivery.token, *about)
        missed = not isinstance(said.receipt, Sent)
        await _give_up(pipeline, outlet, {owed: fault}, "writing down what became of this", missed=missed)
        return
    pipeline.woken(frozenset(settling.woken))
    pipeline.arrived.set()


async def clear(pipeline: Pipeline, outlet: Outlet) -> bool:
    """Make dead letters of those that are due and cannot be taken up; put them off where none can. Whether there were
    such. Raises StoreUnavailable."""
    store, now = pipeline.store, pipeline.now()
    faults: dict[Owed, Exception] = {}
    due = await store.read(lambda ledger: ledger.outbox.look(outlet.name, now, LOOKED_AT))
    for owed in due:
        fault = await tried(store.read(partial(_take_up, pipeline=pipeline, outlet=outlet, id_=owed.id)))
        if isinstance(fault, Exception):
            faults[owed] = fault
    if faults and len(faults) == len(due) > 1:
        await _put_off(pipeline, outlet, faults)
    elif faults:
        await _give_up(pipeline, outlet, faults, "taking this up", missed=True)
    return bool(faults)


async def _take_up(ledger: Ledger, pipeline: Pipeline, outlet: Outlet, id_: str) -> None:
    """Read all that its message is composed of, and change nothing."""
    delivery = await ledger.outbox.get(id_)
    if delivery is not None:
        unbound = replace(outlet, budget=None)
        turning = Turning(unbound, pipeline.rules, pipeline.now(), pipeline.new_id)
        await turning.claims(ledger, _settling(pipeline, unbound), [delivery], None)


async def _put_off(pipeline: Pipeline, outlet: Outlet, faults: Mapping[Owed, Exception]) -> None:
    fault = next(iter(faults.values()))
    reason = _reason("taking this up", fault)

    async def work(ledger: Ledger) -> None:
        until = pipeline.now() + LATER
        await ledger.outbox.put_off([(owed.id, owed.token) for owed in faults], reason, until)
        await _tell(ledger, pipeline, outlet, list(faults), reason)

    await pipeline.store.write(work)
    pipeline.arrived.set()
    log.error("deliveries put off", channel=outlet.name, count=len(faults), exc_info=fault)


async def _give_up(
    pipeline: Pipeline, outlet: Outlet, faults: Mapping[Owed, Exception], doing: str, *, missed: bool
) -> None:
    """`missed`: nobody has heard of them, so a person's next channel is told."""
    why = {owed: _reason(doing, fault) for owed, fault in faults.items()}

    async def work(ledger: Ledger) -> None:
        await ledger.outbox.fail({(owed.id, owed.token): reason for owed, reason in why.items()})
        await _tell(ledger, pipeline, outlet, list(faults), next(iter(why.values())))

    await pipeline.store.write(work)
    pipeline.arrived.set()
    for owed, fault in faults.items():
        FAILED.labels(outlet.name).inc()
        log.error("delivery failed", channel=outlet.name, delivery=owed.id, exc_info=fault)
        if missed:
            await _tell_next(pipeline, outlet, owed, why[owed])


async def _tell_next(pipeline: Pipeline, outlet: Outlet, owed: Owed, reason: str) -> None:
    """A person whose page it was hears of it over his next channel."""
    now = pipeline.now()
    page = Delivery(owed.id, owed.incident, outlet.name, 1, now, route=owed.route, person=owed.person)
    answering = Answering(Moving(pipeline.rules, now, pipeline.new_id))
    channels = await tried(pipeline.store.write(lambda ledger: answering.fail_over(ledger, page, reason)))
    if isinstance(channels, Exception):
        log.error("nobody else was told", delivery=owed.id, exc_info=channels)
    else:
        pipeline.woken(channels or frozenset())


async def _tell(ledger: Ledger, pipeline: Pipeline, outlet: Outlet, owed: Sequence[Owed], reason: str) -> None:
    """An alert of the gateway's own; none where only such could not be told."""
    others = [one.severity for one in owed if one.source != GATEWAY]
    if others:
        worst = max(others)
        await ledger.inbox.add(own.channel_fails(outlet.name, reason, worst, pipeline.new_id(), pipeline.now()))


def _reason(doing: str, fault: Exception) -> str:
    return f"a fault of the gateway while {doing}: {type(fault).__name__}"


def _settling(pipeline: Pipeline, outlet: Outlet) -> Settling:
    return Settling(outlet, pipeline.rules, pipeline.now(), pipeline.new_id, pipeline.dice)
