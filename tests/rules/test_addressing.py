"""Whom a name means at this hour."""

from __future__ import annotations

from typing import Any

from gateway.model import Incident, Severity
from gateway.rules.addressing import address, failing_over
from gateway.rules.calendars import CalendarSettings
from gateway.rules.escalation import EscalationSettings
from gateway.rules.matching import Seen
from gateway.rules.people import PersonSettings, quiet_until, read_severity
from gateway.rules.rotations import RotationSettings
from gateway.rules.routing import RouteSettings, Routing, plan

AT = 1_795_168_800_000
INCIDENT = Incident("i1", "s", "generic", "f", "t", Severity.ERROR, AT, AT)
NEVER = CalendarSettings.model_validate(
    {"time_zone": "UTC", "dates": [{"from": "2020-01-01T00:00", "to": "2020-01-02T00:00"}]}
)


def routing(**more: Any) -> Routing:
    people = {"kim": {"channels": ["a", "b"]}, "lee": {"channels": ["c"]}}
    rotations: dict[str, Any] = {
        "primary": {"members": ["kim"], "time_zone": "UTC"},
        "nights": {"time_zone": "UTC", "layers": [{"members": ["kim"], "during": "never"}]},
    }
    escalations = {
        "page": {"steps": [{"to": ["primary", "leads"]}]},
        "leads": {"steps": [{"to": ["lee", "page"]}]},
    }
    return Routing(
        routes=(RouteSettings.model_validate({"name": "n", "to": ["nights"]}),),
        people={name: PersonSettings.model_validate(one) for name, one in people.items()},
        rotations={name: RotationSettings.model_validate(one) for name, one in rotations.items()},
        escalations={name: EscalationSettings.model_validate(one) for name, one in escalations.items()},
        calendars={"never": NEVER},
        **more,
    )


def test_a_rotation_means_whoever_is_on_call_and_a_person_his_first_channel_that_is_awake() -> None:
    found = address(["primary"], INCIDENT, routing(sleeping=frozenset({"a"})), (), AT)
    ((channel, one),) = found.reached.items()
    assert (channel, one.person, one.asked) == ("b", "kim", "primary")


def test_where_a_name_leads_nowhere_it_says_why() -> None:
    found = address(["nights", "lee", "c"], INCIDENT, routing(sleeping=frozenset({"c"})), (), AT)
    assert found.reached == {}
    assert found.left_out == {
        "nights": "has nobody on call now",
        "lee": "has no channel that is awake",
        "c": "sleeps: it is optional and not set",
    }


def test_a_route_to_nobody_on_call_counts_as_not_matched() -> None:
    (because,) = plan(Seen(INCIDENT, {"never": NEVER}, AT), routing()).because
    assert because.missed is not None
    assert because.missed.was == "nobody on call"


def test_escalations_that_name_each_other_are_each_begun_once() -> None:
    found = address(["page"], INCIDENT, routing(), (), AT)
    assert found.escalations == ["page", "leads"]
    assert [(one.channel, one.asked) for one in found.reached.values()] == [("a", "primary"), ("c", "lee")]


def test_the_next_channel_of_a_person_is_the_one_behind() -> None:
    assert failing_over("kim", "a", routing()) == "b"
    assert failing_over("kim", "b", routing()) is None
    assert failing_over("nobody", "a", routing()) is None


def test_a_calendar_that_is_closed_or_unknown_keeps_nobody_from_hearing() -> None:
    for during in ("never", "gone"):
        person = PersonSettings.model_validate({"channels": ["a"], "quiet": {"during": during, "below": "critical"}})
        assert quiet_until(person, Severity.ERROR, {"never": NEVER}, AT) is None
    assert read_severity(Severity.ERROR) is Severity.ERROR
