"""The history is appended to and read back: who moved what, why it was decided so, and what was said."""

from __future__ import annotations

import dataclasses

import pytest

from gateway.clock import new_id
from gateway.contracts import Statement, Store
from gateway.model import Alert, Because, Change, Missed, Plan, Severity, Target
from tests.stage import NOON
from tests.store.things import a_change, an_incident


async def record(store: Store, changes: list[Change], said: list[Statement]) -> None:
    await store.write(lambda ledger: ledger.changes.record(changes, said))


def a_statement(event: str, incident: str = "", **fields: object) -> Statement:
    return Statement(new_id(), event, incident, NOON, Alert(**{"fingerprint": "disk", "title": "disk", **fields}))


async def test_changes_come_back_oldest_first_for_each_incident(store: Store) -> None:
    one, other = an_incident(), an_incident()
    opened, worse = a_change(one), a_change(one, revision=2, what="worsened", severity=Severity.CRITICAL, note="n")
    await record(store, [worse, opened, a_change(other)], [])
    found = await store.read(lambda ledger: ledger.changes.of({one.id: 0, "unknown": 0}))
    assert found == {one.id: [opened, worse], "unknown": []}


async def test_each_incidents_changes_begin_with_the_one_said_last(store: Store) -> None:
    one, other = an_incident(), an_incident()
    moves = {each.id: [a_change(each, revision=revision) for revision in range(1, 6)] for each in (one, other)}
    await record(store, [*moves[one.id], *moves[other.id]], [])
    found = await store.read(lambda ledger: ledger.changes.of({one.id: 2, other.id: 5}))
    assert found == {one.id: moves[one.id][1:], other.id: moves[other.id][4:]}


@pytest.mark.parametrize(("said", "first"), [(0, 1), (1, 1), (7, 7), (300, 300), (450, 450)])
async def test_of_very_many_the_newest_are_read_and_the_one_said_last(store: Store, said: int, first: int) -> None:
    one = an_incident()
    await record(store, [a_change(one, revision=revision) for revision in range(1, 501)], [])
    found = (await store.read(lambda ledger: ledger.changes.of({one.id: said})))[one.id]
    assert [change.revision for change in found] == [first, *range(max(first + 1, 301), 501)]


async def test_the_story_has_each_decision_in_its_public_shape(store: Store) -> None:
    one = an_incident()
    because = (Because("first", Missed("severity", ">=error", "info"), "a note"), Because("둘째"))
    plan = Plan((Target("team", "둘째"), Target("late", "둘째", at=NOON + 1000)), because, "abc", unrouted=False)
    await record(store, [a_change(one, decision=plan), a_change(one, revision=2, what="resolved")], [])
    (opened, decision), (_, nothing) = await store.read(lambda ledger: ledger.changes.story(one.id))
    assert (opened.what, nothing) == ("opened", None)
    assert decision == {
        "routes": [
            {
                "name": "first",
                "matched": False,
                "missed": {"key": "severity", "wanted": ">=error", "was": "info"},
                "note": "a note",
            },
            {"name": "둘째", "matched": True, "missed": None},
        ],
        "targets": [
            {"channel": "team", "at": "2026-11-20T12:00:00.000Z"},
            {"channel": "late", "at": "2026-11-20T12:00:01.000Z"},
        ],
        "holds": [],
        "configuration": "abc",
    }


async def test_a_statement_comes_back_with_its_whole_alert(store: Store) -> None:
    full = a_statement(
        "e1",
        "i1",
        severity=Severity.EMERGENCY,
        status="resolved",
        kind="k",
        service="s",
        environment="e",
        body="b",
        url="https://x.example",
        labels={"a": "가"},
        fields={"b": "2"},
        value=1.5,
        occurred_at=NOON,
        momentary=True,
    )
    await record(store, [], [full])
    assert await store.read(lambda ledger: ledger.changes.statements(event="e1")) == [full]
    assert await store.read(lambda ledger: ledger.changes.statements(incident="i1")) == [full]


async def test_of_many_statements_the_newest_are_given_oldest_first(store: Store) -> None:
    many = [a_statement(f"e{number}", "i1") for number in range(5)]
    await record(store, [], many)
    assert await store.read(lambda ledger: ledger.changes.statements(incident="i1", most=2)) == many[-2:]


async def test_statements_are_found_for_many_events_and_forgotten_for_one(store: Store) -> None:
    first, second = a_statement("e1"), a_statement("e2")
    await record(store, [], [first, second])
    found = await store.read(lambda ledger: ledger.changes.statements_of(["e1", "e2", "e3"]))
    assert found == {"e1": [first], "e2": [second], "e3": []}
    await store.write(lambda ledger: ledger.changes.forget_statements("e1"))
    assert await store.read(lambda ledger: ledger.changes.statements(event="e1")) == []
    assert await store.read(lambda ledger: ledger.changes.statements(event="e2")) == [second]


async def test_a_change_without_a_decision_says_so(store: Store) -> None:
    one = an_incident()
    change = a_change(one)
    await record(store, [dataclasses.replace(change, decision=None)], [])
    assert await store.read(lambda ledger: ledger.changes.story(one.id)) == [(change, None)]
