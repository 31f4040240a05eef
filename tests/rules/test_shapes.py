"""The public shapes hold every field of CONTRACT, times as RFC 3339, severities as words."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Because, Change, Incident, Missed, Plan, Severity, Target
from gateway.rules.shapes import (
    EARLIEST,
    LATEST,
    change_json,
    incident_json,
    parse_rfc3339,
    plan_json,
    rfc3339,
)

TEN = 1_795_168_800_000  # 2026-11-20T10:00:00Z

INCIDENT = Incident(
    id="0193-a",
    source="sentry",
    adapter="sentry",
    fingerprint="disk:db-1",
    title="Disk 94% full",
    severity=Severity.ERROR,
    worst=Severity.CRITICAL,
    opened_at=TEN,
    updated_at=TEN + 1_500,
    number=7,
    labels={"team": "data"},
    fields={"used": "94 %"},
    value=94.0,
    count=3,
)


def test_an_incident_shows_every_public_field() -> None:
    assert incident_json(INCIDENT) == {
        "id": "0193-a",
        "number": 7,
        "title": "Disk 94% full",
        "severity": "error",
        "worst": "critical",
        "state": "open",
        "source": "sentry",
        "kind": "",
        "service": "",
        "environment": "",
        "labels": {"team": "data"},
        "fields": {"used": "94 %"},
        "value": 94.0,
        "body": "",
        "url": "",
        "fingerprint": "disk:db-1",
        "opened_at": "2026-11-20T10:00:00.000Z",
        "updated_at": "2026-11-20T10:00:01.500Z",
        "occurred_at": None,
        "acknowledged_at": None,
        "acknowledged_by": None,
        "resolved_at": None,
        "assigned_to": None,
        "count": 3,
        "unrouted": False,
        "muted_by": None,
        "previous": None,
    }


def test_an_incident_hides_only_what_is_ours_alone() -> None:
    hidden = {field.name for field in fields(Incident)} - incident_json(INCIDENT).keys()
    assert hidden == {"adapter", "revision", "momentary", "fired_at", "firing_since", "moves"}


def test_the_worst_is_never_below_the_newest() -> None:
    fresh = Incident("i", "s", "generic", "f", "t", Severity.CRITICAL, TEN, TEN)
    assert incident_json(fresh)["worst"] == "critical"


def test_what_is_known_of_people_and_times_is_shown() -> None:
    lived = Incident(
        "i", "s", "generic", "f", "t", Severity.INFO, TEN, TEN,
        state="resolved", acknowledged_at=TEN + 1, acknowledged_by="kim", resolved_at=TEN + 2,
        occurred_at=TEN - 1, assigned_to="lee", muted_by="nightly", previous="h", unrouted=True,
    )  # fmt: skip
    shown = incident_json(lived)
    assert shown["acknowledged_by"] == "kim"
    assert shown["acknowledged_at"] == "2026-11-20T10:00:00.001Z"
    assert shown["resolved_at"] == "2026-11-20T10:00:00.002Z"
    assert shown["occurred_at"] == "2026-11-20T09:59:59.999Z"
    assert (shown["assigned_to"], shown["muted_by"], shown["previous"]) == ("lee", "nightly", "h")
    assert shown["unrouted"] is True


PLAN = Plan(
    targets=(Target("ops-slack", "pages", 0), Target("audit", "all", TEN + 60_000)),
    because=(
        Because("pages", note="cooldown"),
        Because("night", Missed("severity", ">=critical", "error")),
    ),
    configuration="abc123",
)


def test_a_plan_says_of_each_route_whether_it_matched_or_what_it_missed() -> None:
    assert plan_json(PLAN, TEN) == {
        "routes": [
            {"name": "pages", "matched": True, "missed": None, "note": "cooldown"},
            {
                "name": "night",
                "matched": False,
                "missed": {"key": "severity", "wanted": ">=critical", "was": "error"},
            },
        ],
        "targets": [
            {"channel": "ops-slack", "at": "2026-11-20T10:00:00.000Z"},
            {"channel": "audit", "at": "2026-11-20T10:01:00.000Z"},
        ],
        "holds": [],
        "configuration": "abc123",
    }


def test_a_plan_without_a_moment_leaves_at_once_open() -> None:
    assert [target["at"] for target in plan_json(PLAN)["targets"]] == [None, "2026-11-20T10:01:00.000Z"]


def test_a_change_carries_its_decision_and_its_moment() -> None:
    change = Change("c1", "i", 2, TEN, "worsened", "open", Severity.CRITICAL, "event-9", "note", PLAN)
    shown = change_json(change)
    assert shown["decision"] == plan_json(PLAN, TEN)
    assert {key: shown[key] for key in ("id", "what", "revision", "at", "severity", "state", "by", "note")} == {
        "id": "c1",
        "what": "worsened",
        "revision": 2,
        "at": "2026-11-20T10:00:00.000Z",
        "severity": "critical",
        "state": "open",
        "by": "event-9",
        "note": "note",
    }


def test_a_change_without_a_decision_says_null() -> None:
    assert change_json(Change("c", "i", 2, TEN, "eased", "open", Severity.INFO, "e"))["decision"] is None


def test_every_shape_is_plain_json() -> None:
    change = Change("c1", "i", 2, TEN, "worsened", "open", Severity.CRITICAL, "event-9", "", PLAN)
    for shape in (incident_json(INCIDENT), change_json(change), plan_json(PLAN)):
        assert json.loads(json.dumps(shape, allow_nan=False)) == shape


@given(st.integers(min_value=EARLIEST, max_value=LATEST))
def test_a_time_written_is_the_time_read(ms: int) -> None:
    text = rfc3339(ms)
    assert len(text) == 24
    assert parse_rfc3339(text) == ms


@given(st.datetimes(timezones=st.timezones(), min_value=datetime(1971, 1, 1), max_value=datetime(9000, 1, 1)))  # noqa: DTZ001
def test_any_offset_is_read_as_the_standard_library_reads_it(moment: datetime) -> None:
    text = moment.isoformat()
    offset = moment.utcoffset()
    if offset is None or offset.seconds % 60:  # local mean time: no RFC 3339
        return
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000
    assert parse_rfc3339(text) == pytest.approx(expected, abs=1)


@given(st.integers())
def test_no_number_is_too_big_to_be_written(ms: int) -> None:
    assert rfc3339(ms).endswith("Z")


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-11-20T10:00:00Z", TEN),
        ("2026-11-20t10:00:00z", TEN),
        ("2026-11-20 10:00:00+00:00", TEN),
        ("2026-11-20T19:00:00+09:00", TEN),
        ("2026-11-20T05:30:00.25-04:30", TEN + 250),
        ("2026-11-20T10:00:00.123456789Z", TEN + 123),
        (" 2026-11-20T10:00:00.1Z\n", TEN + 100),
        ("2026-11-20T09:59:60Z", TEN),
        ("2026-11-20T09:59:60.500Z", TEN + 500),
    ],
)
def test_the_forms_of_rfc_3339_are_read(text: str, ms: int) -> None:
    assert parse_rfc3339(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11-20",
        "2026-11-20T10:00:00",
        "2026-13-20T10:00:00Z",
        "2026-11-31T10:00:00Z",
        "2026-11-20T24:00:00Z",
        "2026-11-20T10:00:61Z",
        "2026-11-20T10:00:00+24:00",
        "2026-11-20T10:00:00+09:60",
        "2026-11-20T10:00:00+0900",
        "٢٠٢٦-11-20T10:00:00Z",
        "0000-01-01T00:00:00Z",
    ],
)
def test_what_names_no_instant_is_none(text: str) -> None:
    assert parse_rfc3339(text) is None
