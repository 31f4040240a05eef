from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.model import GATEWAY, Because, Incident, Missed, Plan, Severity, Target
from gateway.rules.calendars import CalendarSettings
from gateway.rules.matching import Match, Seen
from gateway.rules.routing import DEFAULT, RouteSettings, Routing, name_of, plan

INCIDENT = Incident(
    id="1",
    source="sentry",
    adapter="sentry",
    fingerprint="f",
    title="Checkout is down",
    severity=Severity.CRITICAL,
    opened_at=0,
    updated_at=0,
    environment="production",
)
OWN = dataclasses.replace(INCIDENT, source=GATEWAY, adapter=GATEWAY, labels={"channel": "slack"})
CALENDARS = {
    "office": CalendarSettings.model_validate(
        {"time_zone": "UTC", "weekly": [{"days": "mon-fri", "from": "09:00", "to": "18:00"}]}
    )
}
MONDAY_NOON = 1_767_614_400_000
MONDAY_NIGHT = MONDAY_NOON + 10 * 3_600_000


def route(name: str, to: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "to": to, **more}


def routing(*routes: dict[str, Any], default: tuple[str, ...] = (), sleeping: tuple[str, ...] = ()) -> Routing:
    return Routing(
        tuple(RouteSettings.model_validate(tree) for tree in routes), default, CALENDARS, frozenset(sleeping), "abc"
    )


def decide(*routes: dict[str, Any], incident: Incident = INCIDENT, now: int = MONDAY_NOON, **more: Any) -> Plan:
    rules = routing(*routes, **more)
    return plan(Seen(incident, rules.calendars, now), rules)


# --- reading the routes -------------------------------------------------------------------------------


def test_every_route_that_matches_sends() -> None:
    decided = decide(
        route("pages", ["sms", "slack"], match={"severity": ">=critical"}),
        route("staging", ["staging"], match={"environment": "staging"}),
        route("all", "audit"),
    )
    assert decided == Plan(
        targets=(Target("sms", "pages"), Target("slack", "pages"), Target("audit", "all")),
        because=(
            Because("pages"),
            Because("staging", Missed("environment", "staging", "production")),
            Because("all"),
        ),
        configuration="abc",
    )


def test_a_channel_taken_by_two_routes_hears_once_for_the_first() -> None:
    decided = decide(route("one", ["slack", "slack"]), route("two", ["sms", "slack"]))
    assert decided.targets == (Target("slack", "one"), Target("sms", "two"))


def test_a_stop_ends_the_reading_and_is_the_reason_of_those_after_it() -> None:
    decided = decide(
        route("other", "a", match={"source": "github"}, stop="true"),
        route("first", "b", stop="true"),
        route("second", "c"),
        route("third", "d", match={"source": "github"}),
    )
    assert decided.targets == (Target("b", "first"),)
    assert decided.because == (
        Because("other", Missed("source", "github", "sentry")),
        Because("first"),
        Because("second", Missed("stop", "", "first")),
        Because("third", Missed("stop", "", "first")),
    )


def test_a_route_is_read_by_the_hour() -> None:
    night = route("night", "sms", match={"not": {"during": "office"}})
    assert decide(night).because == (Because("night", Missed("not.during", "office", "open")),)
    assert decide(night, now=MONDAY_NIGHT).targets == (Target("sms", "night"),)


def test_a_route_without_a_name_is_called_by_its_place() -> None:
    decided = decide(route("a", "x"), {"to": ["y"]})
    assert decided.targets == (Target("x", "a"), Target("y", "route 1"))
    assert name_of(RouteSettings(to=("x",)), 0) == "route 0"


# --- nobody ------------------------------------------------------------------------------------------


def test_what_no_route_takes_is_unrouted_and_heard_by_default() -> None:
    decided = decide(route("a", "x", match={"source": "github"}), default=("slack", "mail"))
    assert decided.unrouted
    assert decided.targets == (Target("slack", DEFAULT), Target("mail", DEFAULT))
    assert decided.because == (Because("a", Missed("source", "github", "sentry")),)


def test_without_routes_and_default_nobody_hears() -> None:
    assert decide() == Plan((), (), "abc", unrouted=True)


def test_default_is_not_asked_where_a_route_matched() -> None:
    decided = decide(route("a", "x"), default=("slack",))
    assert not decided.unrouted
    assert decided.targets == (Target("x", "a"),)


# --- who sleeps --------------------------------------------------------------------------------------


def test_a_route_whose_channels_all_sleep_counts_as_not_matched_and_stops_nothing() -> None:
    decided = decide(
        route("asleep", ["a", "b"], stop="true"),
        route("awake", ["c"]),
        sleeping=("a", "b"),
    )
    assert decided.targets == (Target("c", "awake"),)
    assert [because.missed for because in decided.because] == [Missed("to", "a, b", "asleep"), None]
    assert not decided.unrouted


def test_a_sleeping_channel_beside_one_awake_is_left_out_with_a_note() -> None:
    decided = decide(route("both", ["a", "b"]), sleeping=("a",))
    assert decided.targets == (Target("b", "both"),)
    assert decided.because == (Because("both", note="a sleeps: it is optional and not set"),)


def test_default_channels_that_sleep_are_left_out_and_named() -> None:
    some = decide(default=("a", "b"), sleeping=("a",))
    assert some.targets == (Target("b", DEFAULT),)
    assert some.because == (Because(DEFAULT, note="a sleeps: it is optional and not set"),)
    none = decide(default=("a",), sleeping=("a",))
    assert none.targets == ()
    assert none.because[0].missed == Missed("to", "a", "asleep")
    assert some.unrouted
    assert none.unrouted


# --- the gateway's own alerts ------------------------------------------------------------------------


def test_a_channel_does_not_hear_that_it_fails() -> None:
    decided = decide(route("all", ["slack", "mail"]), incident=OWN)
    assert decided.targets == (Target("mail", "all"),)
    assert decided.because == (Because("all", note="slack is the channel that fails"),)


def test_a_route_to_the_failing_channel_alone_lets_another_take_the_alert() -> None:
    decided = decide(
        route("only", "slack", stop="true"),
        route("with one asleep", ["slack", "sms"]),
        incident=OWN,
        default=("slack", "mail"),
        sleeping=("sms",),
    )
    assert decided.targets == (Target("mail", DEFAULT),)
    assert decided.unrouted
    assert decided.because == (
        Because("only", Missed("to", "slack", "failing"), "slack is the channel that fails"),
        Because(
            "with one asleep",
            Missed("to", "slack, sms", "asleep or failing"),
            "slack is the channel that fails; sms sleeps: it is optional and not set",
        ),
        Because(DEFAULT, note="slack is the channel that fails"),
    )


def test_only_the_gateway_can_name_a_failing_channel() -> None:
    stranger = dataclasses.replace(OWN, source="sentry")
    assert decide(route("all", "slack"), incident=stranger).targets == (Target("slack", "all"),)


def test_an_alert_of_the_gateway_that_names_no_channel_goes_the_usual_way() -> None:
    own = dataclasses.replace(OWN, labels={})
    assert decide(route("all", "slack", match={"source": "gateway"}), incident=own).targets == (Target("slack", "all"),)


# --- whatever the routes -----------------------------------------------------------------------------

names = st.sampled_from(["a", "b", "c", "slack"])
matches = st.sampled_from([{}, {"source": "sentry"}, {"source": "gateway"}, {"severity": "info"}])
some_routes = st.lists(
    st.builds(
        lambda to, match, stop: RouteSettings.model_validate({"to": to, "match": match, "stop": stop}),
        st.lists(names, min_size=1, max_size=3),
        matches,
        st.sampled_from(["true", "false"]),
    ),
    max_size=5,
)


@given(routes=some_routes, default=st.lists(names), sleeping=st.frozensets(names), own=st.booleans())
def test_a_plan_is_always_whole(
    routes: list[RouteSettings], default: list[str], sleeping: frozenset[str], own: bool
) -> None:
    decided = plan(Seen(OWN if own else INCIDENT, {}, 0), Routing(tuple(routes), tuple(default), {}, sleeping, ""))
    heard = [target.channel for target in decided.targets]
    assert len(heard) == len(set(heard))
    assert not sleeping & set(heard)
    assert not (own and "slack" in heard)
    assert [because.route for because in decided.because[: len(routes)]] == [f"route {n}" for n in range(len(routes))]
    matched = {because.route for because in decided.because if because.matched}
    assert {target.route for target in decided.targets} <= matched | {DEFAULT}
    assert decided.unrouted == (not matched - {DEFAULT})
    assert bool(heard) or decided.unrouted


# --- the block in the file ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tree", "place", "sentence"),
    [
        ({"to": []}, ("to",), "Value error, names nobody; give it at least one channel"),
        ({}, ("to",), "Field required"),
        ({"to": "a", "stop": "yes"}, ("stop",), "Value error, must be true or false"),
        ({"to": "a", "mach": {}}, ("mach",), "Extra inputs are not permitted"),
        (
            {"to": "a", "match": {"severity": "x"}},
            ("match", "severity"),
            "Value error, is no severity; take one of info, warning, error, critical, emergency",
        ),
    ],
)
def test_a_wrong_route_is_refused_at_its_place(tree: Any, place: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RouteSettings.model_validate(tree)
    assert [(error["loc"], error["msg"]) for error in caught.value.errors()] == [(place, sentence)]


def test_a_route_needs_no_match_and_takes_one_channel_as_text() -> None:
    read = RouteSettings.model_validate({"to": "slack"})
    assert read == RouteSettings(name="", match=Match(), to=("slack",), stop=False)
