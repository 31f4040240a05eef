from __future__ import annotations

import dataclasses
import fnmatch
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.fields import Settings
from gateway.model import Incident, Missed, Severity
from gateway.rules.calendars import CalendarSettings
from gateway.rules.matching import Match, Seen

INCIDENT = Incident(
    id="1",
    source="Sentry-EU",
    adapter="sentry",
    fingerprint="f",
    title="TypeError: x is undefined\nin Checkout",
    severity=Severity.ERROR,
    opened_at=0,
    updated_at=0,
    kind="error",
    service="checkout-api",
    labels={"team": "Data", "a.b/c": "1"},
)
OFFICE = CalendarSettings.model_validate(
    {"time_zone": "UTC", "weekly": [{"days": "mon-fri", "from": "09:00", "to": "18:00"}]}
)
CALENDARS = {"office": OFFICE}
MONDAY_NOON = 1_767_614_400_000
MONDAY_NIGHT = MONDAY_NOON + 10 * 3_600_000
FIVE = "is no severity; take one of info, warning, error, critical, emergency"


def missed(tree: object, incident: Incident = INCIDENT, now: int = MONDAY_NOON) -> Missed | None:
    return first_miss(Match.read(tree), Seen(incident, CALENDARS, now))


def first_miss(match: Match, seen: Seen) -> Missed | None:
    place = match.missed(seen)
    assert match.holds(seen) == (place is None)
    if place is None:
        return None
    condition = match.conditions[place]
    return Missed(condition.key, condition.wanted, condition.was(seen))


class Rule(Settings):
    """A block that holds a match, as routes do."""

    match: Match = Match()


def problems(tree: object) -> dict[tuple[int | str, ...], str]:
    with pytest.raises(ValidationError) as caught:
        Rule.model_validate({"match": tree})
    return {error["loc"]: str(error["ctx"]["error"]) for error in caught.value.errors()}


# --- severity -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "levels"),
    [
        ("error", "error"),
        ("Major", "error"),
        ("p1", "critical"),
        (["info", "fatal"], "info critical"),
        ([">=critical", "warn"], "warning critical emergency"),
        (">=error", "error critical emergency"),
        (">= high", "error critical emergency"),
        (">error", "critical emergency"),
        ("<=warning", "info warning"),
        ("<warning", "info"),
    ],
)
def test_a_severity_is_a_level_a_list_or_a_comparison(wanted: Any, levels: str) -> None:
    match = Match.read({"severity": wanted})
    held = [
        level.word
        for level in Severity
        if match.holds(Seen(dataclasses.replace(INCIDENT, severity=level), CALENDARS, 0))
    ]
    assert held == levels.split()


def test_a_missed_severity_says_what_was_wanted_and_what_was() -> None:
    assert missed({"severity": ">=critical"}) == Missed("severity", ">=critical", "error")
    assert missed({"severity": ["info", "warn"]}) == Missed("severity", "[info, warn]", "error")


# --- text ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"source": "sentry-eu"},
        {"source": "sentry-*"},
        {"source": ["github", "SENTRY-EU"]},
        {"adapter": "[rst]entry"},
        {"adapter": "[!a]entry"},
        {"kind": "err??"},
        {"kind": ["warning", "e*"]},
        {"service": "*"},
        {"service": ["db-*", "*-api"]},
        {"title": "typeerror*checkout"},
        {"title": "/undefined/"},
        {"title": "/(?i)^TYPEerror/"},
        {"title": ["nothing", "/nothing/", "/Checkout$/"]},
        {"labels.team": "data"},
        {"labels": {"team": "d*", "a.b/c": "1"}},
        {"labels.a.b/c": "1"},
        {"during": "office"},
        {"during": ["nights", "office"]},
        {"not": {"source": "github"}},
        {"not": {"severity": ">=error", "service": "db-*"}},
        {"not": {"not": {"adapter": "sentry"}}},
        {"not": {"environment": "*"}},
        {"severity": "error", "source": "sentry*", "not": {"kind": "uptime"}},
    ],
)
def test_a_match_holds_where_all_of_its_conditions_do(tree: dict[str, Any]) -> None:
    assert missed(tree) is None


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"source": "sentry"}, Missed("source", "sentry", "Sentry-EU")),
        ({"source": ["github", "hetrix*"]}, Missed("source", "[github, hetrix*]", "Sentry-EU")),
        ({"adapter": "entry"}, Missed("adapter", "entry", "sentry")),
        ({"adapter": "[!s]entry"}, Missed("adapter", "[!s]entry", "sentry")),
        ({"kind": "err?"}, Missed("kind", "err?", "error")),
        ({"service": "*-web"}, Missed("service", "*-web", "checkout-api")),
        ({"service": "/^api/"}, Missed("service", "/^api/", "checkout-api")),
        ({"service": "/API/"}, Missed("service", "/API/", "checkout-api")),
        ({"environment": "*"}, Missed("environment", "*", "")),
        ({"environment": "/.*/"}, Missed("environment", "/.*/", "")),
        ({"labels.team": "web"}, Missed("labels.team", "web", "Data")),
        ({"labels.Team": "*"}, Missed("labels.Team", "*", "")),
        ({"labels": {"team": "data", "tier": "1"}}, Missed("labels.tier", "1", "")),
        ({"not": {"severity": ">=error"}}, Missed("not.severity", ">=error", "error")),
        ({"not": {"labels.team": "data"}}, Missed("not.labels.team", "data", "Data")),
        ({"not": {"during": "office"}}, Missed("not.during", "office", "open")),
        ({"not": {"not": {"source": "github"}}}, Missed("not.not.source", "github", "Sentry-EU")),
        (
            {"not": {"severity": "error", "adapter": ["sentry", "github"]}},
            Missed("not", "not {severity: error, adapter: [sentry, github]}", "{severity: error, adapter: sentry}"),
        ),
        ({"during": "nights"}, Missed("during", "nights", "closed")),
        ({"kind": "error", "source": "x", "service": "y"}, Missed("source", "x", "Sentry-EU")),
        ({"service": "y", "source": "x"}, Missed("service", "y", "checkout-api")),
    ],
)
def test_the_first_condition_that_does_not_hold_is_named(tree: dict[str, Any], expected: Missed) -> None:
    assert missed(tree) == expected


def test_during_asks_the_calendar_at_that_hour() -> None:
    assert missed({"during": "office"}, now=MONDAY_NIGHT) == Missed("during", "office", "closed")
    assert missed({"not": {"during": "office"}}, now=MONDAY_NIGHT) is None


def test_case_is_folded_beyond_ascii() -> None:
    german = dataclasses.replace(INCIDENT, service="STRASSE-ÄÖ")
    assert missed({"service": "straße-äö"}, german) is None
    assert missed({"service": "straße-*"}, german) is None
    assert missed({"service": "STRASSE"}, dataclasses.replace(INCIDENT, service="straße")) is None


def test_a_slash_alone_is_text() -> None:
    assert missed({"service": "/"}, dataclasses.replace(INCIDENT, service="/")) is None


# --- as a field ---------------------------------------------------------------------------------------


def test_a_match_is_read_inside_settings_and_written_out_again() -> None:
    tree = {"severity": ">=error", "labels": {"team": "data"}}
    rule = Rule.model_validate({"match": tree})
    assert rule.model_dump() == {"match": tree}
    assert Rule.model_validate_json(rule.model_dump_json()) == rule
    assert Rule(match=rule.match) == rule != Rule()
    assert Rule.model_json_schema()["properties"]["match"]["type"] == "object"


def test_the_calendars_of_a_match_are_named_with_their_places() -> None:
    match = Match.read({"during": "office", "not": {"not": {"during": ["a", "b"]}}})
    assert match.calendars == (
        (("during",), "office"),
        (("not", "not", "during", 0), "a"),
        (("not", "not", "during", 1), "b"),
    )


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tree", "place", "sentence"),
    [
        ("error", (), 'must be a mapping of conditions, like {severity: ">=error", service: db-*}'),
        (None, (), 'must be a mapping of conditions, like {severity: ">=error", service: db-*}'),
        ({"severity": "bad"}, ("severity",), FIVE),
        ({"severity": ["error", "bad"]}, ("severity", 1), FIVE),
        ({"severity": "=>error"}, ("severity",), FIVE),
        ({"severity": "e*"}, ("severity",), FIVE),
        ({"severity": ">emergency"}, ("severity",), "holds for no severity; nothing is beyond it"),
        ({"severity": "<debug"}, ("severity",), "holds for no severity; nothing is beyond it"),
        ({"severity": ""}, ("severity",), "is empty; give it a value, or remove it"),
        ({"source": []}, ("source",), "is empty; give it a value, or remove it"),
        ({"source": None}, ("source",), "is empty; give it a value, or remove it"),
        ({"source": ["a", ""]}, ("source", 1), "is empty; give it a value, or remove it"),
        ({"source": {"a": "b"}}, ("source",), "must be text, or a list of texts"),
        ({"source": ["a", ["b"]]}, ("source", 1), "must be text, or a list of texts"),
        ({"during": {}}, ("during",), "must be text, or a list of texts"),
        ({"labels": "team"}, ("labels",), "must be a mapping of labels, like {team: data}"),
        ({"labels": {}}, ("labels",), "must be a mapping of labels, like {team: data}"),
        ({"labels": {"team": ""}}, ("labels", "team"), "is empty; give it a value, or remove it"),
        ({"labels.": "x"}, ("labels.",), "names no label; write it like labels.team"),
        ({"not": {}}, ("not",), "is empty, so that nothing would match; give it a condition, or remove it"),
        ({"not": "x"}, ("not",), 'must be a mapping of conditions, like {severity: ">=error", service: db-*}'),
        ({"not": {"not": {"severity": "x"}}}, ("not", "not", "severity"), FIVE),
        ({"sevrity": "error"}, ("sevrity",), "unknown key; did you mean 'severity'?"),
        ({"Severity": "error"}, ("Severity",), "unknown key; did you mean 'severity'?"),
        ({"label.team": "data"}, ("label.team",), "unknown key; did you mean 'labels.team'?"),
        (
            {"xyz": "data"},
            ("xyz",),
            "unknown key; there are severity, source, adapter, kind, service, environment, title, labels, during, not",
        ),
        ({"title": "//"}, ("title",), "is an RE2 expression without anything in it; give it a pattern, or write *"),
        ({"title": "/(a/"}, ("title",), "is no RE2 expression: missing )"),
        ({"title": ["a", "/[z-a]/"]}, ("title", 1), "is no RE2 expression: invalid character class range"),
        (
            {"title": "/(?=a)/"},
            ("title",),
            "is no RE2 expression: invalid perl operator; RE2 has no look-around and no backreferences",
        ),
        (
            {"title": r"/(a)\1/"},
            ("title",),
            r"is no RE2 expression: invalid escape sequence; RE2 has no look-around and no backreferences",
        ),
        ({"title": "/a{2000}/"}, ("title",), "is no RE2 expression: invalid repetition size"),
    ],
)
def test_a_wrong_match_is_refused_at_its_place(tree: Any, place: tuple[Any, ...], sentence: str) -> None:
    assert problems(tree) == {("match", *place): sentence}


def test_every_problem_of_a_match_is_told_at_once() -> None:
    found = problems({"severity": ["x", "y"], "titel": "a", "service": "/(/", "not": {"knd": "x"}, "labels": {"a": ""}})
    assert list(found) == [
        ("match", "severity", 0),
        ("match", "severity", 1),
        ("match", "titel"),
        ("match", "service"),
        ("match", "not", "knd"),
        ("match", "labels", "a"),
    ]


# --- whatever comes -----------------------------------------------------------------------------------

anything = st.text(st.characters(), max_size=20)  # lone surrogates too
patterns = anything | st.text("ab*?[]!^-&|~[/\\.(){}", max_size=12) | anything.map(lambda text: f"/{text}/")
keys = st.sampled_from(["severity", "source", "title", "labels.team", "labels", "during", "not", "x"])
trees = st.recursive(
    patterns | st.lists(patterns, max_size=3) | st.none() | st.integers(),
    lambda inner: st.dictionaries(keys | anything, inner, max_size=3),
    max_leaves=6,
)


def read(tree: object) -> Match | ValidationError:
    try:
        return Match.read(tree)
    except ValidationError as error:
        return error


@settings(max_examples=400, deadline=None)
@given(tree=trees, title=anything, team=anything, severity=st.sampled_from(Severity))
def test_a_match_is_refused_with_sentences_or_answers(tree: Any, title: str, team: str, severity: Severity) -> None:
    incident = dataclasses.replace(INCIDENT, title=title, labels={"team": team}, severity=severity)
    match = read(tree)
    if isinstance(match, ValidationError):
        assert all(error["ctx"]["error"].args[0] for error in match.errors())
    else:
        assert isinstance(first_miss(match, Seen(incident, CALENDARS, MONDAY_NOON)), Missed | None)


@settings(max_examples=400, deadline=None)
@given(pattern=patterns.filter(bool), title=anything)
def test_any_pattern_meets_any_title(pattern: str, title: str) -> None:
    match = read({"title": pattern})
    if isinstance(match, ValidationError):
        assert "RE2" in str(match.errors()[0]["ctx"]["error"])
    else:
        miss = first_miss(match, Seen(dataclasses.replace(INCIDENT, title=title), {}, 0))
        assert miss in (None, Missed("title", pattern, title))


@settings(max_examples=500, deadline=None)
@given(
    globs=st.lists(st.text("abAB*?[!]-", min_size=1, max_size=8), min_size=1, max_size=3),
    title=st.text("abAB-]", min_size=1, max_size=8),
)
def test_a_glob_agrees_with_fnmatch(globs: list[str], title: str) -> None:
    expected = any(fnmatch.fnmatchcase(title.casefold(), glob.casefold()) for glob in globs)
    assert (missed({"title": globs}, dataclasses.replace(INCIDENT, title=title)) is None) is expected


@pytest.mark.parametrize("pattern", ["*a" * 40 + "b", "*" + "a" * 40 + "b*c", "/(a+)+$b/", "/(.*)*(.*)*(.*)*x/"])
def test_no_pattern_takes_time_without_end(pattern: str) -> None:
    incident = dataclasses.replace(INCIDENT, title="a" * 20_000)
    begun = time.perf_counter()
    assert missed({"title": pattern}, incident) is not None
    assert time.perf_counter() - begun < 0.5
