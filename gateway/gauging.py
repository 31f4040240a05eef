"""The gauges of `/metrics`: what the store holds, looked at every few seconds."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.model import Millis, Replica
from gateway.store.safe import Ledger
from gateway.telemetry import (
    CONFIGURATIONS,
    INBOX_DEPTH,
    INBOX_OLDEST,
    INCIDENTS,
    OUTBOX_DEAD,
    OUTBOX_DEPTH,
    OUTBOX_OLDEST,
    REPLICAS,
)

ABSENT_AFTER: Millis = 15_000
"""A gateway that has said nothing for so long is not there."""


async def inbox(ledger: Ledger, now: Millis) -> None:
    waiting, oldest = await ledger.inbox.depth()
    INBOX_DEPTH.set(waiting)
    INBOX_OLDEST.set(max(now - oldest, 0) / 1000 if oldest is not None else 0)


async def incidents(ledger: Ledger) -> dict[str, int]:
    """How many live, by source."""
    living = await ledger.incidents.count_living()
    INCIDENTS.clear()
    for source, count in living.items():
        INCIDENTS.labels(source).set(count)
    return living


async def replicas(ledger: Ledger, now: Millis) -> Sequence[Replica]:
    """The gateways that are there."""
    present = [one for one in await ledger.shared.replicas() if one.seen_at > now - ABSENT_AFTER]
    REPLICAS.set(len(present))
    CONFIGURATIONS.set(len({one.configuration for one in present}))
    return present


async def outbox(ledger: Ledger, now: Millis) -> None:
    for gauge in (OUTBOX_DEPTH, OUTBOX_OLDEST, OUTBOX_DEAD):
        gauge.clear()
    for channel, state, count, since in await ledger.outbox.depths():
        if state == "failed":
            OUTBOX_DEAD.labels(channel).set(count)
        else:
            OUTBOX_DEPTH.labels(channel).set(count)
            OUTBOX_OLDEST.labels(channel).set(max(now - since, 0) / 1000)
