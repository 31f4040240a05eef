"""One batch of events decided inside one transaction: read, fold, plan, promise, write down why."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field

from gateway.carrying import Movements, carry_out, recall
from gateway.contracts import Adapter, Ledger
from gateway.errors import NotJson, Unreadable, WrongType
from gateway.model import GATEWAY, Alert, Change, Event, Incident, Millis
from gateway.rules import own, reading
from gateway.rules.deciding import Deciding, Outcome, Rules
from gateway.rules.folding import OVERFLOW, Board
from gateway.telemetry import CHANGED, DECIDED, LAG, UNREADABLE, UNROUTED, logger
from gateway.values import frozen

log = logger()

MOST_ALERTS = 500
"""Alerts after which a batch takes no further event: one event may hold 1,000, and 64 of them in one transaction
would keep every sender and lane waiting."""
_AT_A_TIME = 50
"""Alerts that are folded before others on the loop get a turn."""
_READ_AT_A_TIME = 32 * 1024
"""Bytes that are read before that: about a millisecond."""


@frozen
class Readings:
    """What each event of a batch says, by event id; and for those that cannot be read, why."""

    alerts: dict[str, list[Alert]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


@frozen
class Decided:
    """How many of the events were decided, always the first of them, and the channels that now have something to
    say. `raised`: an event of the gateway's own waits because of them."""

    events: int
    channels: frozenset[str] = frozenset()
    raised: bool = False


@frozen
class Batch:
    """The tools of one deciding. `crowded`: sources with so many living incidents that new ones are gathered."""

    adapters: Mapping[str, Adapter]
    rules: Rules
    now: Millis
    new_id: Callable[[], str]
    crowded: Collection[str] = ()

    async def decide(self, ledger: Ledger, waiting: Sequence[Event]) -> Decided:
        """All that follows from these events; from so many of them as say some 500 alerts, but at least from one."""
        readings = await self._read(waiting)
        events = waiting[: len(readings.alerts) + len(readings.unreadable)]
        board = await self._board(ledger, events, readings)
        await self._fold(board, events, readings)
        deciding = await self._deciding(ledger, board)
        new, moved = board.settled(deciding.outcome)
        channels = await carry_out(ledger, deciding, Movements(new, moved, board.statements))
        await ledger.inbox.finish(list(readings.alerts), readings.unreadable)
        raised = await self._tell_unreadable(ledger, events, readings)
        self._count(events, readings, deciding.outcome, new)
        return Decided(len(events), channels, raised)

    async def _fold(self, board: Board, events: Sequence[Event], readings: Readings) -> None:
        folded = 0
        for event in events:
            said = readings.alerts.get(event.id, [])
            for start in range(0, len(said), _AT_A_TIME):
                some = said[start : start + _AT_A_TIME]
                board.fold(event, some)
                folded += len(some)
                if folded >= _AT_A_TIME:
                    folded = 0
                    await asyncio.sleep(0)

    async def _deciding(self, ledger: Ledger, board: Board) -> Deciding:
        """Every change of the board decided, in its order."""
        at_hand = {incident.id: incident for _, incident in board.changes}
        known = await recall(ledger, self.rules, at_hand.values(), board.new.keys(), self.now)
        deciding = Deciding(self.rules, known, self.now, self.new_id)
        for number, (change, incident) in enumerate(board.changes):
            deciding.decide(change, incident)
            if number % _AT_A_TIME == _AT_A_TIME - 1:
                await asyncio.sleep(0)
        return deciding

    async def _read(self, events: Sequence[Event]) -> Readings:
        """What the first of these events say, until it is enough for one batch."""
        readings = Readings()
        count = length = 0
        for event in events:
            if count >= MOST_ALERTS:
                break
            said = self._read_one(event)
            if isinstance(said, str):
                readings.unreadable[event.id] = said
            else:
                readings.alerts[event.id] = said
                count += len(said)
            length += len(event.body)
            if length >= _READ_AT_A_TIME:
                length = 0
                await asyncio.sleep(0)
        return readings

    def _read_one(self, event: Event) -> list[Alert] | str:
        """What the event says, or the sentence why it cannot be read. Catch-all 2 of 4: an adapter meets
        whatever a stranger sends."""
        adapter = self.adapters.get(event.adapter)
        if adapter is None:
            return f"no adapter {event.adapter!r} in this version"
        try:
            document = reading.normalise(reading.decode(event.headers.get("content-type", ""), event.body))
            return [own.as_meant(event, reading.bounded(alert)) for alert in adapter.parse(event, document)]
        except (Unreadable, NotJson, WrongType) as error:
            return str(error)
        except Exception as fault:
            log.exception("adapter failed", event_id=event.id, source=event.source, adapter=event.adapter)
            return f"the adapter failed: {type(fault).__name__}"

    async def _board(self, ledger: Ledger, events: Sequence[Event], readings: Readings) -> Board:
        keys = {(e.source, alert.fingerprint) for e in events for alert in readings.alerts.get(e.id, ())}
        keys |= {(source, OVERFLOW) for source in self.crowded}
        living = await ledger.incidents.living(keys)
        last = await ledger.incidents.last_resolved(keys - living.keys())
        return Board(self.rules, self.new_id, living, last, self.crowded)

    async def _tell_unreadable(self, ledger: Ledger, events: Sequence[Event], readings: Readings) -> bool:
        """One warning a source while something of it stands unreadable; a good second reading ends it. Whether there
        was one to tell."""
        unread = {event.source for event in events if event.id in readings.unreadable} - {GATEWAY}
        for source in sorted(unread):
            await ledger.inbox.add(own.unreadable(source, self.new_id(), self.now))
        # A reason on an event that could be read now says that it could not be at first.
        read = {event.source for event in events if event.reason and event.id in readings.alerts} - unread
        for source in sorted(read):
            if not await ledger.inbox.unreadable(source):
                await ledger.inbox.add(own.readable(source, self.new_id(), self.now))
        return bool(unread or read)

    def _count(self, events: Sequence[Event], readings: Readings, outcome: Outcome, new: Sequence[Incident]) -> None:
        lag = LAG.labels("decided")
        for event in events:
            if event.id in readings.unreadable:
                UNREADABLE.labels(event.source).inc()
                reason = readings.unreadable[event.id]
                log.warning("event unreadable", event_id=event.id, source=event.source, reason=reason)
            lag.observe(max(self.now - event.received_at, 0) / 1000)
        for source, many in Counter(event.source for event in events if event.id in readings.alerts).items():
            DECIDED.labels(source).inc(many)
        for what, many in Counter(change.what for change in outcome.changes).items():
            CHANGED.labels(what).inc(many)
        if log.is_enabled_for(logging.INFO):
            _log_changes(outcome.changes)
        for incident in new:
            if incident.unrouted:
                UNROUTED.labels(incident.source).inc()
                log.warning("incident unrouted", incident=incident.id, source=incident.source)


def _log_changes(changes: Sequence[Change]) -> None:
    for change in changes:
        told = [target.channel for target in change.decision.targets] if change.decision else []
        facts = {"incident": change.incident, "what": change.what, "severity": change.severity.word}
        log.info("incident changed", **facts, to=told)
