"""What waited for a channel that the configuration has no more, and what becomes of it when the channel is back."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from gateway.clock import new_id
from gateway.model import GATEWAY, Millis
from gateway.rules import own
from gateway.store.safe import Ledger
from gateway.telemetry import logger

log = logger()

REASON: Final = "channel removed"


async def take_back(ledger: Ledger, known: Collection[str], now: Millis) -> frozenset[str]:
    """A channel may have been away only because a file was half written: what waited for it waits again.
    The channels that have something to say now."""
    back = await ledger.outbox.take_back(known, REASON, now)
    told = await ledger.incidents.living({(GATEWAY, own.removed_key(name)) for name in known})
    # The alert of a moment ago may be undecided still, so that no incident lives yet.
    for name in sorted(name for name in known if name in back or (GATEWAY, own.removed_key(name)) in told):
        await ledger.inbox.add(own.channel_back(name, new_id(now), now))
    for name, count in back.items():
        log.info("deliveries promised again", channel=name, count=count, reason="the channel is back")
    return frozenset(back)


async def abandon(ledger: Ledger, known: Collection[str], configuration: str, now: Millis) -> None:
    """Give up what waits for channels that nobody configures any more, and say so. `configuration` is the hash of our
    file: while a gateway lives that has another one, it may know them, and they stand."""
    if await ledger.shared.differ(configuration, now):
        return
    orphans = await ledger.outbox.orphans(known, now)
    if orphans:
        await ledger.outbox.abandon(known, REASON, now)
    for name, count in orphans.items():
        log.warning("deliveries abandoned", channel=name, count=count, reason=REASON)
        if count:
            await ledger.inbox.add(own.channel_removed(name, count, new_id(now), now))
