from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.model import Alert, Severity
from gateway.rules.calendars import CalendarSettings
from gateway.rules.expectations import (
    AlertSettings,
    At,
    ExpectationSettings,
    Never,
    Newest,
    Now,
    StepSettings,
    read_expectations,
    read_expected,
)

SEOUL = CalendarSettings.model_validate(
    {"time_zone": "Asia/Seoul", "weekly": [{"days": "daily", "from": "09:00", "to": "18:00"}]}
)
MONDAY_NOON_UTC = 1_767_614_400_000
NINE_HOURS = 9 * 3_600_000


def read(**tree: Any) -> ExpectationSettings:
    return ExpectationSettings.model_validate({"expect": {"ops": "now"}, **tree})


def problems(tree: Any) -> list[tuple[tuple[Any, ...], str]]:
    with pytest.raises(ValidationError) as caught:
        ExpectationSettings.model_validate(tree)
    return [(error["loc"], error["msg"].removeprefix("Value error, ")) for error in caught.value.errors()]


# --- what is expected ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("now", Now()),
        ("never", Never()),
        ("at 5m", At(300_000)),
        ("at  1h30m", At(5_400_000)),
        ("at 0s", Now()),
        (At(1), At(1)),
    ],
)
def test_a_word_says_when(word: object, expected: object) -> None:
    assert read_expected(word) == expected


@pytest.mark.parametrize("word", ["later", "at", "5m", "at noon", "", None, ["now"], "now 5m"])
def test_any_other_word_is_refused(word: object) -> None:
    with pytest.raises(ValueError, match=r"must be now, never, or how long|is no duration"):
        read_expected(word)


def test_nobody_is_a_list_of_those_who_never_hear() -> None:
    assert read(alert={}, expect={"a": "at 5m", "b": "never", "nobody": ["b", "c"]}).expect == {
        "a": At(300_000),
        "b": Never(),
        "c": Never(),
    }
    assert read(alert={}, expect={"nobody": "ceo"}).expect == {"ceo": Never()}


def test_what_was_read_once_is_taken_again() -> None:
    assert read_expectations({"a": Now()}) == {"a": Now()}


@pytest.mark.parametrize("tree", [{}, [], "now", None])
def test_a_test_expects_something(tree: object) -> None:
    ((place, said),) = problems({"alert": {}, "expect": tree})
    assert place == ("expect",)
    assert said.startswith("expects nothing; say who hears and when")


def test_every_wrong_expectation_is_told() -> None:
    assert problems({"alert": {}, "expect": {"a": "soon", "b": "now", "nobody": ["b", {}, "c", "c"]}}) == [
        (("expect", "a"), "must be now, never, or how long after the beginning, like at 5m"),
        (("expect", "nobody", 0), "is expected to hear as well; say one of the two"),
        (("expect", "nobody", 1), "must be a name, or a list of names"),
    ]


# --- what happens --------------------------------------------------------------------------------------


def test_an_alert_alone_comes_at_the_beginning() -> None:
    one = read(alert={"severity": "p1"})
    assert one.steps == (StepSettings.model_validate({"at": "0s", "alert": {"severity": "critical"}}),)


def test_a_sequence_is_told_step_by_step() -> None:
    steps = read(
        sequence=[
            {"at": "0s", "alert": {}},
            {"at": "3m", "acknowledge": "kim"},
            {"at": "3m", "resolve": "true"},
            {"at": "4m", "resolve": {"title": "x"}},
            {"at": "5m", "resolve": Newest()},
        ]
    ).steps
    assert [step.at for step in steps] == [0, 180_000, 180_000, 240_000, 300_000]
    assert steps[1].acknowledge == "kim"
    assert steps[2].resolve == steps[4].resolve == Newest()
    assert steps[3].resolve == AlertSettings(title="x")


@pytest.mark.parametrize(
    ("tree", "place", "said"),
    [
        ({}, (), "must say one of alert and sequence"),
        ({"alert": {}, "sequence": [{"at": "0s", "alert": {}}]}, (), "must say one of alert and sequence"),
        ({"sequence": []}, ("sequence",), "must begin with an alert"),
        ({"sequence": [{"at": "0s", "resolve": "true"}]}, ("sequence",), "must begin with an alert"),
        (
            {"sequence": [{"at": "2s", "alert": {}}, {"at": "1s", "alert": {}}]},
            ("sequence", 1, "at"),
            "is before the step above it; put the steps in order",
        ),
        ({"sequence": [{"at": "0s"}]}, ("sequence", 0), "must say one of alert, acknowledge and resolve"),
        (
            {"sequence": [{"at": "0s", "alert": {}, "acknowledge": "kim"}]},
            ("sequence", 0),
            "must say one of alert, acknowledge and resolve",
        ),
        (
            {"sequence": [{"at": "0s", "resolve": "false"}]},
            ("sequence", 0, "resolve"),
            "must be true, for the alert that came last, or the fields of one",
        ),
        (
            {"sequence": [{"at": "0s", "resolve": {"severity": "x"}}]},
            ("sequence", 0, "resolve", "severity"),
            "is no severity; take one of info, warning, error, critical, emergency",
        ),
        ({"alert": {"titel": "x"}}, ("alert", "titel"), "Extra inputs are not permitted"),
        (
            {"alert": {"occurred_at": "2026-01-05T12:00:00"}},
            ("alert", "occurred_at"),
            "is no time with its zone; write it like 2026-11-20T10:00:00Z",
        ),
        (
            {"alert": {"occurred_at": ["x"]}},
            ("alert", "occurred_at"),
            "is no time with its zone; write it like 2026-11-20T10:00:00Z",
        ),
        ({"alert": {"value": "nan"}}, ("alert", "value"), "Input should be a finite number"),
        ({"alert": {"status": ["x"]}}, ("alert", "status"), "Input should be 'firing' or 'resolved'"),
    ],
)
def test_what_cannot_happen_is_refused_at_its_place(tree: Any, place: tuple[Any, ...], said: str) -> None:
    assert problems({"expect": {"ops": "now"}, **tree}) == [(place, said)]


# --- the alert -----------------------------------------------------------------------------------------


def test_only_what_matters_needs_to_be_said() -> None:
    assert AlertSettings().alert == Alert("alert::::test", "test")


def test_an_alert_may_say_all_that_a_generic_one_can() -> None:
    tree = {
        "title": "Disk full",
        "severity": "P1",
        "status": "Resolved",
        "service": "db-1",
        "environment": "production",
        "kind": "disk",
        "body": "b",
        "url": "https://example.com",
        "labels": {"team": "db"},
        "fields": {"used": "94 %"},
        "value": "94.5",
        "fingerprint": "disk:db-1",
        "occurred_at": "2026-01-05T12:00:00Z",
    }
    assert AlertSettings.model_validate(tree).alert == Alert(
        fingerprint="disk:db-1",
        title="Disk full",
        severity=Severity.CRITICAL,
        status="resolved",
        kind="disk",
        service="db-1",
        environment="production",
        body="b",
        url="https://example.com",
        labels={"team": "db"},
        fields={"used": "94 %"},
        value=94.5,
        occurred_at=MONDAY_NOON_UTC,
    )


@pytest.mark.parametrize(
    ("alert", "adapters", "sender"),
    [
        ({"source": "b"}, {"a": "generic", "b": "sentry"}, ("b", "sentry")),
        ({}, {"a": "sentry", "b": "generic", "c": "generic"}, ("b", "generic")),
        ({"adapter": "sentry"}, {"a": "generic", "b": "sentry"}, ("b", "sentry")),
        ({"adapter": "github"}, {"a": "sentry", "b": "generic"}, ("b", "github")),
        ({}, {"a": "sentry"}, ("a", "sentry")),
        ({}, {}, ("generic", "generic")),
        ({"source": "gateway"}, {"a": "generic"}, ("gateway", "gateway")),
    ],
)
def test_an_alert_without_a_source_comes_from_a_generic_one(
    alert: Any, adapters: dict[str, str], sender: tuple[str, str]
) -> None:
    assert AlertSettings.model_validate(alert).sender(adapters) == sender


# --- the hour ------------------------------------------------------------------------------------------


def test_it_begins_at_noon_on_a_monday_by_the_first_calendar() -> None:
    assert read(alert={}).begins({}) == MONDAY_NOON_UTC
    assert read(alert={}).begins({"office": SEOUL}) == MONDAY_NOON_UTC - NINE_HOURS


def test_it_begins_when_it_says() -> None:
    assert read(alert={}, now="2026-01-05T12:00").begins({"office": SEOUL}) == MONDAY_NOON_UTC - NINE_HOURS
    assert read(alert={}, now="2026-01-05T12:00Z").begins({"office": SEOUL}) == MONDAY_NOON_UTC
