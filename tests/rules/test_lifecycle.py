"""One alert folded into its incident: how a problem lives, and what of it may never go wrong."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import GATEWAY, Alert, Event, Incident, Severity
from gateway.rules.lifecycle import REOPEN_WITHIN, Folded, fold
from tests.stage import HOUR, MINUTE, NOON


def an_alert(**changes: Any) -> Alert:
    return replace(Alert("disk", "Disk full"), **changes)


def fold_in(
    alert: Alert, living: Incident | None = None, last: Incident | None = None, at: int = NOON, **changes: Any
) -> Folded | None:
    numbers = count(1)
    return fold(living, last, alert, Event("e1", "s", "generic", at, {}, b""), lambda: f"n{next(numbers)}", **changes)


def opened(**changes: Any) -> Incident:
    folded = fold_in(an_alert(**changes))
    assert folded is not None
    return folded.incident


def closed(at: int = NOON, **changes: Any) -> Incident:
    folded = fold_in(an_alert(status="resolved"), living=opened(**changes), at=at)
    assert folded is not None
    return folded.incident


class TestOpening:
    def test_a_new_problem_opens(self) -> None:
        alert = an_alert(
            severity=Severity.CRITICAL, kind="disk", service="db", labels={"a": "b"}, value=1.5, url="http://x"
        )
        folded = fold_in(alert)
        assert folded is not None
        incident, (change,) = folded.incident, folded.changes
        assert folded.new
        assert (incident.state, incident.revision, incident.count) == ("open", 1, 1)
        assert (incident.severity, incident.worst) == (Severity.CRITICAL, Severity.CRITICAL)
        assert (incident.kind, incident.service, incident.labels, incident.value) == ("disk", "db", {"a": "b"}, 1.5)
        assert (incident.opened_at, incident.updated_at, incident.previous) == (NOON, NOON, "")
        assert (change.what, change.revision, change.state, change.by, change.at) == ("opened", 1, "open", "e1", NOON)

    def test_a_resolve_of_nothing_is_nothing(self) -> None:
        assert fold_in(an_alert(status="resolved")) is None
        assert fold_in(an_alert(status="resolved"), last=closed()) is None
        assert fold_in(an_alert(status="resolved", momentary=True)) is None

    def test_what_nothing_can_resolve_is_resolved_by_the_gateway_at_once(self) -> None:
        folded = fold_in(an_alert(momentary=True), last=closed())
        assert folded is not None
        assert folded.new
        assert [(c.what, c.revision, c.state, c.by) for c in folded.changes] == [
            ("opened", 1, "open", "e1"),
            ("resolved", 2, "resolved", GATEWAY),
        ]
        incident = folded.incident
        assert (incident.state, incident.resolved_at, incident.revision) == ("resolved", NOON, 2)
        assert (incident.momentary, incident.previous) == (True, "")


class TestReopening:
    @pytest.mark.parametrize("later", [0, 1, REOPEN_WITHIN])
    def test_soon_it_is_the_same_incident(self, later: int) -> None:
        last = closed()
        folded = fold_in(an_alert(), last=last, at=NOON + later)
        assert folded is not None
        assert not folded.new
        assert (folded.incident.id, folded.incident.state, folded.incident.resolved_at) == (last.id, "open", None)
        assert [(change.what, change.revision) for change in folded.changes] == [("reopened", 3)]

    @pytest.mark.parametrize("later", [-1, REOPEN_WITHIN + 1, HOUR])
    def test_later_or_before_it_is_another_that_names_the_last(self, later: int) -> None:
        last = closed()
        folded = fold_in(an_alert(), last=last, at=NOON + later)
        assert folded is not None
        assert folded.new
        assert folded.incident.previous == last.id

    def test_the_time_is_the_files(self) -> None:
        folded = fold_in(an_alert(), last=closed(), at=NOON + HOUR, reopen_within=HOUR)
        assert folded is not None
        assert not folded.new

    def test_what_was_momentary_is_never_reopened(self) -> None:
        moment = fold_in(an_alert(momentary=True))
        assert moment is not None
        folded = fold_in(an_alert(), last=moment.incident)
        assert folded is not None
        assert folded.new
        assert not folded.incident.momentary

    def test_who_acknowledged_agreed_to_less(self) -> None:
        last = replace(closed(), acknowledged_at=1, acknowledged_by="kim")
        folded = fold_in(an_alert(), last=last)
        assert folded is not None
        assert (folded.incident.acknowledged_at, folded.incident.acknowledged_by) == (None, "")


class TestMoving:
    @pytest.mark.parametrize("state", ["open", "acknowledged"])
    @pytest.mark.parametrize(
        ("severity", "what"),
        [(Severity.WARNING, "eased"), (Severity.ERROR, "repeated"), (Severity.CRITICAL, "worsened")],
    )
    def test_severity_decides_how_it_moves(self, state: Any, severity: Severity, what: str) -> None:
        living = replace(opened(), state=state, acknowledged_by="kim")
        folded = fold_in(an_alert(severity=severity), living=living, at=NOON + MINUTE)
        assert folded is not None
        incident = folded.incident
        assert [change.what for change in folded.changes] == ([] if what == "repeated" else [what])
        assert incident.revision == 1 + (what != "repeated")
        assert (incident.severity, incident.worst) == (severity, max(severity, Severity.ERROR))
        assert (incident.count, incident.updated_at) == (2, NOON + MINUTE)
        assert (incident.state, incident.acknowledged_by) == (("open", "") if what == "worsened" else (state, "kim"))

    def test_a_resolve_leaves_what_was_wrong_to_be_read(self) -> None:
        living = opened(severity=Severity.CRITICAL, labels={"a": "b"}, kind="disk")
        over = an_alert(status="resolved", title="all well", severity=Severity.INFO, labels={"c": "d"}, body="20 %")
        folded = fold_in(over, living=living, at=NOON + MINUTE)
        assert folded is not None
        incident = folded.incident
        assert (incident.title, incident.severity, incident.labels) == ("Disk full", Severity.CRITICAL, {"a": "b"})
        assert (incident.state, incident.resolved_at, incident.body) == ("resolved", NOON + MINUTE, "20 %")
        assert [(change.what, change.state) for change in folded.changes] == [("resolved", "resolved")]

    def test_what_an_alert_leaves_out_stays(self) -> None:
        living = opened(
            kind="k",
            service="s",
            environment="e",
            body="b",
            url="http://x",
            value=1.0,
            occurred_at=5,
            fields={"a": "1"},
        )
        folded = fold_in(an_alert(title="newer", fields={"b": "2"}), living=living)
        assert folded is not None
        assert folded.incident == replace(living, title="newer", fields={"a": "1", "b": "2"}, count=2)

    def test_what_an_alert_brings_replaces(self) -> None:
        newer = an_alert(kind="K", service="S", environment="E", body="B", url="http://y", value=0.0, occurred_at=0)
        folded = fold_in(newer, living=opened(kind="k", service="s", value=1.0, occurred_at=5))
        assert folded is not None
        incident = folded.incident
        assert (incident.kind, incident.service, incident.environment, incident.body) == ("K", "S", "E", "B")
        assert (incident.url, incident.value, incident.occurred_at) == ("http://y", 0.0, 0)

    @pytest.mark.parametrize(("part", "most"), [("labels", 64), ("fields", 100)])
    def test_names_invented_for_every_alert_do_not_add_up(self, part: str, most: int) -> None:
        """The newest alert's own stay whole, then the older ones in their order."""
        living = opened(**{part: {f"first-{number}": "x" for number in range(50)}})
        for turn in range(10):
            newest = {f"{turn}-{number}": "x" for number in range(60)}
            folded = fold_in(an_alert(**{part: newest}), living=living)
            assert folded is not None
            living = folded.incident
        kept = list(getattr(living, part))
        assert len(kept) == most
        assert kept[:60] == list(newest)
        assert kept[60:] == [f"8-{number}" for number in range(most - 60)]

    def test_an_alert_with_more_labels_than_that_keeps_its_own(self) -> None:
        """A source's labels come on top of the bound of an alert."""
        many = {str(number): "x" for number in range(70)}
        folded = fold_in(an_alert(labels=many), living=opened(labels={"old": "x"}))
        assert folded is not None
        assert folded.incident.labels == many

    def test_time_never_runs_backwards_within_an_incident(self) -> None:
        living = opened()
        folded = fold_in(an_alert(status="resolved"), living=living, at=NOON - HOUR)
        assert folded is not None
        assert (folded.incident.updated_at, folded.incident.resolved_at) == (NOON, NOON)


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["firing", "resolved"]),
        st.sampled_from(list(Severity)),
        st.integers(-HOUR, HOUR),
        st.booleans(),
    ),
    max_size=30,
)


@given(MOVES)
def test_whatever_is_said_in_whatever_order_the_story_holds_together(
    moves: list[tuple[Any, Severity, int, bool]],
) -> None:
    living: Incident | None = None
    last: Incident | None = None
    numbers = count(1)
    at = NOON
    for status, severity, later, momentary in moves:
        at += later
        alert = an_alert(status=status, severity=severity, momentary=momentary)
        event = Event("e", "s", "generic", at, {}, b"")
        before = living or last
        folded = fold(living, last, alert, event, lambda: f"n{next(numbers)}")
        if folded is None:
            assert (living, status) == (None, "resolved")
            continue
        incident = folded.incident
        if not folded.new:
            assert before is not None
            assert (incident.id, incident.count) == (before.id, before.count + 1)
            assert incident.revision == before.revision + len(folded.changes)
        assert incident.worst >= incident.severity
        assert incident.updated_at >= incident.opened_at
        assert (incident.resolved_at is not None) == (incident.state == "resolved")
        assert [change.revision for change in folded.changes] == list(
            range(incident.revision - len(folded.changes) + 1, incident.revision + 1)
        )
        living, last = (None, incident) if incident.state == "resolved" else (incident, last)
