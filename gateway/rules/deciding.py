"""A batch of readings in, everything that follows from them out: pure, so that it can be one transaction.

First every alert is folded into its incident (`Board.fold`); then each change is planned and becomes
promises to channels (`Board.promise`), which needs to know who has heard of the incident before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from gateway.contracts import Statement
from gateway.model import Alert, Because, Change, Delivery, Event, Incident, Millis, Plan, Severity, Target
from gateway.rules.lifecycle import REOPEN_WITHIN, fold
from gateway.rules.routing import DEFAULT, Routing, plan

Key = tuple[str, str]
OVERFLOW = "overflow"
MOST_LIVING = 200_000
"""Living incidents of one source; beyond it new problems are gathered in one, so that a sender that invents a
new fingerprint for every alert cannot drown the rest."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a good configuration gives the deciding: one value, swapped whole.

    `edits`: channels that can change what they said. `wants_links`: channels that show where others hold it.
    `kinds`: each channel's kind, by name."""

    routing: Routing
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    reopen_within: Millis = REOPEN_WITHIN
    edits: frozenset[str] = frozenset()
    wants_links: frozenset[str] = frozenset()
    kinds: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Board:
    """The incidents of a batch while it is being decided. `living` and `last` come from the store."""

    rules: Rules
    new_id: Callable[[], str]
    living: dict[Key, Incident]
    last: dict[Key, Incident]
    crowded: Collection[str] = ()
    new: dict[str, Incident] = field(default_factory=dict)
    moved: dict[str, Incident] = field(default_factory=dict)
    statements: list[Statement] = field(default_factory=list)
    changes: list[tuple[Change, Incident]] = field(default_factory=list)

    def fold(self, event: Event, alerts: Iterable[Alert]) -> None:
        """Fold what one event says, in its order."""
        own = self.rules.labels.get(event.source, {})
        for said in alerts:
            alert = replace(said, labels={**said.labels, **own}) if own else said
            key = (event.source, alert.fingerprint)
            if event.source in self.crowded and key not in self.living and alert.status == "firing":
                alert = gathered(alert)
                key = (event.source, alert.fingerprint)
            self._fold_one(key, alert, event)

    def promise(
        self, existing: Mapping[str, list[Delivery]], now: Millis
    ) -> tuple[list[Change], list[Delivery], set[str]]:
        """Plan every change. The changes with their decisions, the promises to make, and the incidents among
        them that go first (critical and worse)."""
        decided: list[Change] = []
        promises: dict[tuple[str, str], Delivery] = {}
        heard: dict[str, dict[str, str]] = {
            id_: {delivery.channel: delivery.route for delivery in deliveries} for id_, deliveries in existing.items()
        }
        for change, incident in self.changes:
            known = heard.setdefault(incident.id, {})
            chosen = self._plan(change, incident, known, now)
            for target in chosen.targets:
                known.setdefault(target.channel, target.route)
                promises[incident.id, target.channel] = self._delivery(incident, change, target, now)
            if change.what in ("opened", "reopened", "worsened"):
                routed = any(route != DEFAULT for route in known.values())
                self._mark_unrouted(incident.id, chosen.unrouted and not routed)
            decided.append(replace(change, decision=chosen))
        urgent = {incident.id for _, incident in self.changes if incident.severity >= Severity.CRITICAL}
        return decided, list(promises.values()), urgent

    def _fold_one(self, key: Key, alert: Alert, event: Event) -> None:
        folded = fold(self.living.get(key), self.last.get(key), alert, event, self.new_id, self.rules.reopen_within)
        incident = "" if folded is None else folded.incident.id
        self.statements.append(Statement(self.new_id(), event.id, incident, event.received_at, alert))
        if folded is None:
            return
        if folded.incident.state == "resolved":
            self.living.pop(key, None)
            self.last[key] = folded.incident
        else:
            self.living[key] = folded.incident
        if folded.new or incident in self.new:
            self.new[incident] = folded.incident
        else:
            self.moved[incident] = folded.incident
        self.changes += [(change, folded.incident) for change in folded.changes]

    def _plan(self, change: Change, incident: Incident, known: Mapping[str, str], now: Millis) -> Plan:
        """Who hears this change. A rise reads the routes again; a resolve goes to all who heard; a fall only
        to those who can edit what they said."""
        before = tuple(Target(channel, route) for channel, route in known.items())
        if change.what in ("opened", "reopened", "worsened"):
            read = plan(incident, self.rules.routing, now)
            chosen = {target.channel for target in read.targets}
            return replace(read, targets=(*read.targets, *(t for t in before if t.channel not in chosen)))
        if change.what in ("eased", "linked"):
            before = tuple(target for target in before if target.channel in self.rules.edits)
        because = (
            () if incident.momentary else tuple(Because(t.route, note=f"{t.channel} has heard of it") for t in before)
        )
        return Plan(() if incident.momentary else before, because, self.rules.routing.configuration)

    def _delivery(self, incident: Incident, change: Change, target: Target, now: Millis) -> Delivery:
        wanted = 2 if incident.momentary else change.revision
        return Delivery(
            id=self.new_id(),
            incident=incident.id,
            channel=target.channel,
            route=target.route,
            wanted=wanted,
            promised_at=now,
            due_at=target.at,
        )

    def _mark_unrouted(self, incident: str, unrouted: bool) -> None:
        at = self.new if incident in self.new else self.moved
        at[incident] = replace(at[incident], unrouted=unrouted)


def gathered(alert: Alert) -> Alert:
    """The one alert that stands for every further new problem of a crowded source."""
    return Alert(
        fingerprint=OVERFLOW,
        title=f"More than {MOST_LIVING:,} open problems: new ones are gathered here",
        severity=max(alert.severity, Severity.ERROR),
        kind=OVERFLOW,
        body=f"The newest: {alert.title}",
    )
