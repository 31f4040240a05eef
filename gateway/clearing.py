"""A lane that a fault of ours has stopped is cleared: what causes it is found by trying each alone, and given up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from gateway.aside import tried
from gateway.contracts import Ledger
from gateway.model import Severity
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
        delivery = said.claim.delivery
        await _give_up(pipeline, outlet, {(delivery.id, delivery.token): fault}, "writing down what became of this")
        return
    pipeline.woken(frozenset(settling.woken))
    pipeline.arrived.set()


async def clear(pipeline: Pipeline, outlet: Outlet) -> None:
    """Make dead letters of those that are due and cannot be taken up. Raises StoreUnavailable."""
    store, now = pipeline.store, pipeline.now()
    faults: dict[tuple[str, int], Exception] = {}
    for id_, token in await store.read(lambda ledger: ledger.outbox.look(outlet.name, now, LOOKED_AT)):
        fault = await tried(store.read(partial(_take_up, pipeline=pipeline, outlet=outlet, id_=id_)))
        if isinstance(fault, Exception):
            faults[id_, token] = fault
    if faults:
        await _give_up(pipeline, outlet, faults, "taking this up")


async def _take_up(ledger: Ledger, pipeline: Pipeline, outlet: Outlet, id_: str) -> None:
    """Read all that its message is composed of, and change nothing."""
    delivery = await ledger.outbox.get(id_)
    if delivery is not None:
        unbound = replace(outlet, budget=None)
        turning = Turning(unbound, pipeline.rules, pipeline.now(), pipeline.new_id)
        await turning.claims(ledger, _settling(pipeline, unbound), [delivery], None)


async def _give_up(pipeline: Pipeline, outlet: Outlet, faults: Mapping[tuple[str, int], Exception], doing: str) -> None:
    why = {held: f"a fault of the gateway while {doing}: {type(fault).__name__}" for held, fault in faults.items()}
    reason = next(iter(why.values()))

    async def work(ledger: Ledger) -> None:
        await ledger.outbox.fail(why)
        failing = own.channel_fails(outlet.name, reason, Severity.ERROR, pipeline.new_id(), pipeline.now())
        await ledger.inbox.add(failing)

    await pipeline.store.write(work)
    pipeline.arrived.set()
    for (id_, _), fault in faults.items():
        FAILED.labels(outlet.name).inc()
        log.error("delivery failed", channel=outlet.name, delivery=id_, exc_info=fault)


def _settling(pipeline: Pipeline, outlet: Outlet) -> Settling:
    return Settling(outlet, pipeline.rules, pipeline.now(), pipeline.new_id, pipeline.dice)
