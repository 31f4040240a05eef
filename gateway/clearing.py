"""A lane that a fault of ours has stopped is cleared: what causes it is found by trying each alone, and given up.

Where none can be taken up, it is not theirs: they are put off, and said once that is mended, or given up when their
time is over. Either way a person's next channel is told at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
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
_Work = Callable[[Ledger], Awaitable[Collection[Owed]]]

LOOKED_AT: Final = ABSORBED_AT_ONCE
"""Deliveries that are due: no turn takes up more."""
FAULT: Final = "a fault of the gateway"


async def settle_alone(pipeline: Pipeline, outlet: Outlet, said: Said) -> None:
    """Write down what became of one claim; where that cannot be, it is a dead letter. Raises StoreUnavailable."""
    settling = _settling(pipeline, outlet)
    fault = await tried(pipeline.store.write(lambda ledger: settling.settle(ledger, [said])))
    if isinstance(fault, Exception):
        heard = isinstance(said.receipt, Sent)
        await _Clearing(pipeline, outlet).give_up({_owed(said): fault}, "writing down what became of this", heard=heard)
        return
    pipeline.woken(frozenset(settling.woken))
    pipeline.arrived.set()


async def clear(pipeline: Pipeline, outlet: Outlet) -> bool:
    """Make dead letters of those that are due and cannot be taken up; put them off where none can. Whether there were
    such. Raises StoreUnavailable."""
    now, clearing = pipeline.now(), _Clearing(pipeline, outlet)
    faults: dict[Owed, Exception] = {}
    due = await pipeline.store.read(lambda ledger: ledger.outbox.look(outlet.name, now, LOOKED_AT))
    for owed in due:
        fault = await tried(pipeline.store.read(partial(_take_up, pipeline=pipeline, outlet=outlet, id_=owed.id)))
        if isinstance(fault, Exception):
            faults[owed] = fault
    late = [owed for owed in faults if now - owed.promised_at > outlet.policy.give_up_after]
    hopeless = late if len(faults) == len(due) > 1 else list(faults)
    if hopeless:
        await clearing.give_up({owed: faults[owed] for owed in hopeless}, "taking this up", heard=False)
    if len(faults) > len(hopeless):
        await clearing.put_off({owed: fault for owed, fault in faults.items() if owed not in hopeless})
    return bool(faults)


async def _take_up(ledger: Ledger, pipeline: Pipeline, outlet: Outlet, id_: str) -> None:
    """Read all that its message is composed of, and change nothing."""
    delivery = await ledger.outbox.get(id_)
    if delivery is not None:
        unbound = replace(outlet, budget=None)
        turning = Turning(unbound, pipeline.rules, pipeline.now(), pipeline.new_id)
        await turning.claims(ledger, _settling(pipeline, unbound), [delivery], None)


class _Clearing:
    """What becomes of those that a fault of ours keeps from being said."""

    def __init__(self, pipeline: Pipeline, outlet: Outlet) -> None:
        self._pipeline = pipeline
        self._outlet = outlet

    async def put_off(self, faults: Mapping[Owed, Exception]) -> None:
        fault = next(iter(faults.values()))
        reason, until = _reason("taking this up", fault), self._pipeline.now() + LATER
        held = [(owed.id, owed.token) for owed in faults]

        async def work(ledger: Ledger) -> Collection[Owed]:
            await ledger.outbox.put_off(held, reason, until)
            return faults

        first = [owed for owed in faults if not owed.reason.startswith(FAULT)]
        await self._write(work, first, reason)
        log.error("deliveries put off", channel=self._outlet.name, count=len(faults), exc_info=fault)

    async def give_up(self, faults: Mapping[Owed, Exception], doing: str, *, heard: bool) -> None:
        """`heard`: it was said, so no other channel need be told."""
        why = {(owed.id, owed.token): _reason(doing, fault) for owed, fault in faults.items()}

        async def work(ledger: Ledger) -> Collection[Owed]:
            failed = await ledger.outbox.fail(why)  # what another gateway holds by now is his
            return [owed for owed in faults if owed.id in failed]

        given_up = await self._write(work, [] if heard else list(faults), next(iter(why.values())))
        for owed in given_up:
            FAILED.labels(self._outlet.name).inc()
            known = {"channel": self._outlet.name, "delivery": owed.id}
            log.error("delivery failed", **known, exc_info=faults[owed])

    async def _write(self, work: _Work, missed: Collection[Owed], reason: str) -> Collection[Owed]:
        """In one transaction with it: the alert, and the next channels of those persons who miss it, where that can
        be."""
        woken: set[str] = set()

        async def with_all(ledger: Ledger) -> Collection[Owed]:
            woken.clear()
            done = await with_alert(ledger)
            for owed in done:
                if owed in missed:
                    woken.update(await self._fail_over(ledger, owed, reason))
            return done

        async def with_alert(ledger: Ledger) -> Collection[Owed]:
            done = await work(ledger)
            await self._tell(ledger, list(done), reason)
            return done

        done = await tried(self._pipeline.store.write(with_all))
        if isinstance(done, Exception):
            log.error("next channels not told", channel=self._outlet.name, exc_info=done)
            woken.clear()
            done = await self._pipeline.store.write(with_alert)
        self._pipeline.woken(frozenset(woken))
        self._pipeline.arrived.set()
        return done

    async def _tell(self, ledger: Ledger, owed: Sequence[Owed], reason: str) -> None:
        """An alert of the gateway's own; none where only such could not be told."""
        others = [one.severity for one in owed if one.source != GATEWAY]
        if others:
            new_id, now = self._pipeline.new_id(), self._pipeline.now()
            await ledger.inbox.add(own.channel_fails(self._outlet.name, reason, max(others), new_id, now))

    async def _fail_over(self, ledger: Ledger, owed: Owed, reason: str) -> frozenset[str]:
        now = self._pipeline.now()
        page = Delivery(
            owed.id,
            owed.incident,
            self._outlet.name,
            1,
            now,
            route=owed.route,
            person=owed.person,
            is_digest=owed.is_digest,
        )
        moving = Moving(self._pipeline.rules, now, self._pipeline.new_id)
        return await Answering(moving).fail_over(ledger, page, reason) or frozenset()


def _owed(said: Said) -> Owed:
    delivery, incident = said.claim.delivery, said.claim.incident
    return Owed(
        id=delivery.id,
        token=delivery.token,
        incident=delivery.incident,
        route=delivery.route,
        person=delivery.person,
        is_digest=delivery.is_digest,
        promised_at=delivery.promised_at,
        reason=delivery.reason,
        source=incident.source,
        severity=incident.severity,
    )


def _reason(doing: str, fault: Exception) -> str:
    return f"{FAULT} while {doing}: {type(fault).__name__}"


def _settling(pipeline: Pipeline, outlet: Outlet) -> Settling:
    return Settling(outlet, pipeline.rules, pipeline.now(), pipeline.new_id, pipeline.dice)
