"""A batch of readings folded into incidents: how each problem moved, before anybody decides who hears. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

from gateway.contracts import Statement
from gateway.model import Alert, Change, Event, Incident, Key, Severity
from gateway.rules.deciding import Outcome, Rules
from gateway.rules.lifecycle import fold

OVERFLOW = "overflow"
MOST_LIVING = 200_000
"""Living incidents of one source; beyond it new problems are gathered in one, so that a sender that invents a
new fingerprint for every alert cannot drown the rest."""


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

    def settled(self, outcome: Outcome) -> tuple[list[Incident], list[Incident]]:
        """The new and the moved incidents as deciding left them: it may mute them, and add changes of its own."""
        return (
            [_as_decided(incident, outcome.incidents.get(id_)) for id_, incident in self.new.items()],
            [_as_decided(incident, outcome.incidents.get(id_)) for id_, incident in self.moved.items()],
        )

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


def gathered(alert: Alert) -> Alert:
    """The one alert that stands for every further new problem of a crowded source."""
    return Alert(
        fingerprint=OVERFLOW,
        title=f"More than {MOST_LIVING:,} open problems: new ones are gathered here",
        severity=max(alert.severity, Severity.ERROR),
        kind=OVERFLOW,
        body=f"The newest: {alert.title}",
    )


def _as_decided(incident: Incident, decided: Incident | None) -> Incident:
    if decided is None or decided is incident:
        return incident
    return replace(incident, revision=decided.revision, muted_by=decided.muted_by, unrouted=decided.unrouted)
