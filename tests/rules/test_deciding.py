"""A batch of readings in, all that follows out: without a store, so that every corner can be seen."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from itertools import count
from typing import Any

from gateway.model import Alert, Change, Delivery, Event, Incident, Plan, Severity
from gateway.rules.deciding import Deciding, Known, Rules, _decided
from gateway.rules.folding import MOST_LIVING, Board, gathered
from tests.stage import NOON, routing

ALL = {"name": "all", "to": ["team"]}
CRITICAL = {"name": "critical", "match": {"severity": ">=critical"}, "to": ["oncall"]}


def board(
    *routes: Mapping[str, Any], default: Collection[str] = (), crowded: Collection[str] = (), **rules: Any
) -> Board:
    numbers = count(1)
    read = Rules(routing(*(routes or (ALL,)), default=list(default)), **rules)
    return Board(read, lambda: f"n{next(numbers)}", {}, {}, crowded)


def say(on: Board, *alerts: Alert, at: int = NOON, source: str = "s") -> None:
    on.fold(Event(f"e{at}", source, "generic", at, {}, b""), alerts)


def an_alert(**changes: Any) -> Alert:
    return Alert(**{"fingerprint": "disk", "title": "Disk full", **changes})


def promised(
    on: Board, existing: Mapping[str, list[Delivery]] | None = None
) -> tuple[list[Change], dict[str, Delivery], set[str]]:
    deciding = Deciding(on.rules, Known(deliveries=existing or {}), NOON, on.new_id)
    for change, incident in on.changes:
        deciding.decide(change, incident)
    new, moved = on.settled(deciding.outcome)
    on.new = {incident.id: incident for incident in new}
    on.moved = {incident.id: incident for incident in moved}
    deliveries = list(deciding.outcome.promises.values())
    assert len({(one.incident, one.channel) for one in deliveries}) == len(deliveries)
    return deciding.outcome.changes, {one.channel: one for one in deliveries}, deciding.outcome.urgent


def living(on: Board) -> Incident:
    (incident,) = [*on.new.values(), *on.moved.values()]
    return incident


def later(before: Board, *routes: Mapping[str, Any], **rules: Any) -> tuple[Board, dict[str, list[Delivery]]]:
    """The next batch: what the first one left, read back."""
    _, deliveries, _ = promised(before)
    after = board(*routes, **rules)
    incident = living(before)
    (after.last if incident.state == "resolved" else after.living)["s", "disk"] = incident
    return after, {incident.id: list(deliveries.values())}


class TestFolding:
    def test_every_statement_is_kept_even_one_that_moved_nothing(self) -> None:
        on = board()
        say(on, an_alert(), an_alert(), an_alert(fingerprint="other", status="resolved"))
        assert [bool(one.incident) for one in on.statements] == [True, True, False]
        assert {one.event for one in on.statements} == {f"e{NOON}"}
        assert [change.what for change, _ in on.changes] == ["opened"]
        assert living(on).count == 2

    def test_a_sources_own_labels_win(self) -> None:
        on = board(labels={"s": {"team": "data"}})
        say(on, an_alert(labels={"team": "web", "host": "db"}))
        say(on, an_alert(), source="other")
        assert [incident.labels for incident in on.new.values()] == [{"team": "data", "host": "db"}, {}]

    def test_an_incident_that_is_new_in_this_batch_stays_new(self) -> None:
        on = board()
        say(on, an_alert(), an_alert(severity=Severity.CRITICAL), an_alert(status="resolved"), an_alert())
        assert (len(on.new), len(on.moved)) == (1, 0)
        assert [change.what for change, _ in on.changes] == ["opened", "worsened", "resolved", "reopened"]

    def test_an_incident_that_was_there_moves(self) -> None:
        first = board()
        say(first, an_alert())
        on, _ = later(first)
        say(on, an_alert(status="resolved"), at=NOON + 1)
        assert (len(on.new), len(on.moved), on.living) == (0, 1, {})
        say(on, an_alert(), at=NOON + 2)
        assert (len(on.new), len(on.moved)) == (0, 1)
        assert list(on.living) == [("s", "disk")]

    def test_a_crowded_sources_new_problems_are_gathered_in_one(self) -> None:
        on = board(crowded={"s"})
        say(on, an_alert(), an_alert(fingerprint="cpu"), an_alert(fingerprint="gone", status="resolved"))
        say(on, an_alert(), source="other")
        assert [(i.source, i.fingerprint, i.count) for i in on.new.values()] == [
            ("s", "overflow", 2),
            ("other", "disk", 1),
        ]

    def test_a_crowded_sources_known_problems_live_on(self) -> None:
        first = board()
        say(first, an_alert())
        on, _ = later(first, crowded={"s"})
        on.crowded = {"s"}
        say(on, an_alert(severity=Severity.CRITICAL))
        assert living(on).fingerprint == "disk"

    def test_what_is_gathered_is_at_least_an_error_and_names_the_newest(self) -> None:
        alert = gathered(an_alert(severity=Severity.INFO))
        assert (alert.severity, alert.body) == (Severity.ERROR, "The newest: Disk full")
        assert f"{MOST_LIVING:,}" in alert.title
        assert gathered(an_alert(severity=Severity.EMERGENCY)).severity == Severity.EMERGENCY


class TestPromising:
    def test_a_new_problem_is_promised_to_whom_the_routes_name(self) -> None:
        on = board(CRITICAL, ALL)
        say(on, an_alert(severity=Severity.CRITICAL))
        (change,), deliveries, urgent = promised(on)
        assert {name: (one.route, one.wanted) for name, one in deliveries.items()} == {
            "oncall": ("critical", 1),
            "team": ("all", 1),
        }
        assert change.decision is not None
        assert [because.matched for because in change.decision.because] == [True, True]
        assert urgent == {living(on).id}

    def test_what_is_not_critical_is_not_urgent(self) -> None:
        on = board()
        say(on, an_alert(severity=Severity.ERROR))
        assert promised(on)[2] == set()

    def test_several_changes_of_one_batch_are_one_promise_of_the_newest(self) -> None:
        on = board()
        say(on, an_alert(), an_alert(severity=Severity.CRITICAL), an_alert(status="resolved"))
        changes, deliveries, _ = promised(on)
        assert deliveries["team"].wanted == 3
        assert [change.revision for change in changes] == [1, 2, 3]

    def test_a_rise_reads_the_routes_again_and_keeps_who_heard(self) -> None:
        first = board(ALL)
        say(first, an_alert())
        on, existing = later(first, CRITICAL)
        say(on, an_alert(severity=Severity.CRITICAL))
        _, deliveries, _ = promised(on, existing)
        assert {name: one.route for name, one in deliveries.items()} == {"oncall": "critical", "team": "all"}

    def test_a_resolve_goes_to_all_who_heard_and_says_so(self) -> None:
        first = board(ALL)
        say(first, an_alert())
        on, existing = later(first, CRITICAL)
        say(on, an_alert(status="resolved"))
        (change,), deliveries, _ = promised(on, existing)
        assert list(deliveries) == ["team"]
        assert change.decision is not None
        assert [(because.route, because.note) for because in change.decision.because] == [
            ("all", "team has heard of it")
        ]

    def test_a_fall_goes_only_to_those_who_can_edit(self) -> None:
        both = {"name": "both", "to": ["team", "board"]}
        first = board(both)
        say(first, an_alert(severity=Severity.CRITICAL))
        on, existing = later(first, both, edits=frozenset({"board"}))
        say(on, an_alert(severity=Severity.INFO))
        assert list(promised(on, existing)[1]) == ["board"]

    def test_a_momentary_problem_is_promised_once_with_both_its_changes(self) -> None:
        on = board()
        say(on, an_alert(momentary=True))
        (opened, resolved), deliveries, _ = promised(on)
        assert deliveries["team"].wanted == 2
        assert opened.decision is not None
        assert resolved.decision is not None
        assert (len(opened.decision.targets), resolved.decision.targets, resolved.decision.because) == (1, (), ())


class TestUnrouted:
    def test_what_no_route_takes_is_unrouted_whether_or_not_default_hears(self) -> None:
        silent, heard = board(CRITICAL), board(CRITICAL, default=["team"])
        say(silent, an_alert())
        say(heard, an_alert())
        assert promised(silent)[1] == {}
        assert promised(heard)[1]["team"].route == "default"
        assert living(silent).unrouted
        assert living(heard).unrouted

    def test_a_route_that_takes_it_later_ends_that(self) -> None:
        first = board(CRITICAL, default=["team"])
        say(first, an_alert())
        on, existing = later(first, CRITICAL)
        say(on, an_alert(severity=Severity.CRITICAL))
        promised(on, existing)
        assert not living(on).unrouted

    def test_what_a_route_has_taken_before_stays_routed(self) -> None:
        first = board(ALL)
        say(first, an_alert())
        on, existing = later(first, {"name": "others", "match": {"source": "x"}, "to": ["oncall"]})
        say(on, an_alert(severity=Severity.CRITICAL))
        promised(on, existing)
        assert not living(on).unrouted


def test_a_change_is_recorded_whole() -> None:
    """It is built field by field, which costs less than `replace`: none may be forgotten when the model grows."""
    changed = Change(
        id="c",
        incident="i",
        revision=7,
        at=NOON,
        what="acknowledged",
        state="acknowledged",
        severity=Severity.CRITICAL,
        by="kim",
        note="on it",
        via="slack",
    )
    plan = Plan((), (), "a file")
    assert _decided(changed, plan) == replace(changed, decision=plan)
    unset = {one.name for one in fields(Change) if getattr(changed, one.name) in ("", None)}
    assert unset == {"decision"}, "a new field of Change: give it a value here"
