from __future__ import annotations

from typing import Any

import yaml

from gateway.rules import documents
from gateway.rules.documents import dotted
from gateway.rules.matching import Match
from gateway.rules.names import Written, unknown_calendars, wrong_names

BASE = """
channels: {ops-slack: {}, mail: {}}
calendars: {office: {}}
"""
PAGING = """
channels: {ops-slack: {}, sms: {}}
people: {kim: {channels: sms}, lee: {channels: [sms]}}
rotations: {primary: {members: [kim, lee]}}
escalations: {page: {steps: [{to: primary}, {to: [kim, sms]}]}}
"""


def wrong(text: str) -> dict[str, str]:
    tree = documents.read(text.encode(), "routing.yaml")
    return {dotted(place): what for place, what in wrong_names(Written(tree.value, tree.line, ("generic", "sentry")))}


def test_names_that_all_mean_something_are_no_problem() -> None:
    assert wrong(PAGING) == {}
    assert wrong(BASE + "routes: [{to: mail, match: {during: office}}]\ndefault: [ops-slack]") == {}
    assert wrong("routes: []") == {}


def test_every_name_that_means_nothing_is_told_with_its_place() -> None:
    text = """
routes:
  - {name: pages, to: [ops-slack, ops-slak], match: {during: ofice}}
  - {name: pages, to: [ops-slack], match: {not: {during: [office, holidays]}}}
  - {to: [xyz, "https://hooks.example.com/services/secret"]}
  - {name: route 2, to: mail}
default: [ops-mail, mail]
"""
    assert wrong(BASE + text) == {
        "routes.0.match.during": "unknown calendar 'ofice'; did you mean 'office'?",
        "routes.0.to.1": "unknown channel 'ops-slak'; did you mean 'ops-slack'?",
        "routes.1.name": "is the name of routes.0 already; give each route its own",
        "routes.1.match.not.during.1": "unknown calendar 'holidays'; there are office",
        "routes.2.to.0": "unknown channel 'xyz'; there are mail, ops-slack",
        "routes.2.to.1": "names no channel; there are mail, ops-slack",
        "routes.3.name": "is the name of routes.2 already; give each route its own",
        "default.0": "unknown channel 'ops-mail'; did you mean 'mail'?",
    }


def test_where_somebody_can_be_paged_a_name_may_be_meant_for_him() -> None:
    assert wrong(PAGING + "default: [ops-slak, kmi, zzz]") == {
        "default.0": "unknown channel 'ops-slak'; did you mean 'ops-slack'?",
        "default.1": "unknown channel, person, rotation or escalation 'kmi'; did you mean 'kim'?",
        "default.2": "unknown channel, person, rotation or escalation 'zzz'; "
        "there are kim, lee, ops-slack, page, primary, sms",
    }


def test_of_very_many_names_none_is_named() -> None:
    many = ", ".join(f"c{number}: {{}}" for number in range(60))
    paging = PAGING.replace("sms: {}}", f"sms: {{}}, {many}}}")
    said = wrong(paging + "default: zzz")
    assert said == {"default": "unknown channel, person, rotation or escalation 'zzz'; there are 66 names"}


def test_a_person_has_channels_and_a_rotation_people() -> None:
    text = """
channels: {sms: {}}
people: {kim: {channels: [kim, sms], quiet: {during: nite}}}
rotations:
  one: {members: [sms, kim], overrides: [{member: lee, for: kim}, {member: kim, for: lee}]}
  two: {layers: [{members: kin, during: nite}]}
"""
    assert wrong(text) == {
        "people.kim.channels.0": "unknown channel 'kim'; there are sms",
        "people.kim.quiet.during": "unknown calendar 'nite'; there is no calendar here",
        "rotations.one.members.0": "unknown person 'sms'; there are kim",
        "rotations.one.overrides.0.member": "unknown person 'lee'; there are kim",
        "rotations.one.overrides.1.for": "unknown person 'lee'; there are kim",
        "rotations.two.layers.0.members": "unknown person 'kin'; did you mean 'kim'?",
        "rotations.two.layers.0.during": "unknown calendar 'nite'; there is no calendar here",
    }


def test_hours_are_looked_up_wherever_something_is_matched() -> None:
    text = """
calendars: {night: {}}
mutes: [{during: [night, day], match: {during: day}}, {during: night}]
inhibit: [{when: {during: day}, mute: {not: {not: {during: [day, ""]}}}}]
expire: [{match: {during: day}}, {match: night}]
"""
    assert set(wrong(text)) == {
        "mutes.0.during.1",
        "mutes.0.match.during",
        "inhibit.0.when.during",
        "inhibit.0.mute.not.not.during.0",
        "expire.0.match.during",
    }


def test_two_blocks_do_not_share_a_name() -> None:
    text = """
escalations:
  ops: {}
people:
  kim: {}
channels:
  ops: {}
  kim: {}
rotations:
  kim: {}
"""
    assert wrong(text) == {
        "channels.ops": "is the name of the escalation in line 3 already; give each its own",
        "channels.kim": "is the name of the person in line 5 already; give each its own",
        "rotations.kim": "is the name of the person in line 5 already; give each its own",
    }


def test_two_of_a_list_do_not_share_a_name() -> None:
    text = """
mutes: [{name: a}, {name: a}, {name: mute 3}, {name: ""}, [a]]
inhibit: [{name: a}, {name: b}, {name: b}]
tests: [{name: a}, {name: [a]}, {name: a}]
routes: {name: a}
"""
    assert wrong(text) == {
        "mutes.1.name": "is the name of mutes.0 already; give each mute its own",
        "mutes.3.name": "is the name of mutes.2 already; give each mute its own",
        "inhibit.2.name": "is the name of inhibit.1 already; give each rule its own",
        "tests.2.name": "is the name of tests.0 already; give each test its own",
    }


def test_escalations_that_lead_back_to_themselves_are_told_with_the_way_round() -> None:
    text = """
channels: {sms: {}}
escalations:
  page: {steps: [{to: sms}, {to: [sms, leads]}]}
  leads: {steps: [{to: chief}, {to: page}]}
  chief: {steps: [{to: sms}]}
"""
    assert wrong(text) == {
        "escalations.leads.steps.1.to": "loops: page → leads → page; let one of them name somebody else"
    }


def test_a_test_speaks_of_who_there_is() -> None:
    text = """
sources: {generic: {}}
tests:
  - {alert: {source: genric, adapter: sentri}, expect: {kim: now, page: now, kmi: now, nobody: [primary, zzz]}}
  - {sequence: [{alert: {source: gateway}}, {acknowledge: sms}, {resolve: {source: x}}], expect: {nobody: sms}}
  - {expect: [kim]}
"""
    assert wrong(PAGING + text) == {
        "tests.0.alert.source": "unknown source 'genric'; did you mean 'generic'?",
        "tests.0.alert.adapter": "unknown adapter 'sentri'; did you mean 'sentry'?",
        "tests.0.expect.page": "is an escalation; name the channels, people or rotations that it reaches",
        "tests.0.expect.kmi": "unknown channel, person or rotation 'kmi'; did you mean 'kim'?",
        "tests.0.expect.nobody.1": "unknown channel, person or rotation 'zzz'; "
        "there are kim, lee, ops-slack, primary, sms",
        "tests.1.sequence.1.acknowledge": "unknown person 'sms'; there are kim, lee",
        "tests.1.sequence.2.resolve.source": "unknown source 'x'; there are gateway, generic",
    }


def test_what_has_another_shape_names_nobody() -> None:
    for shape in ("x", "[x]", "{x: [y]}", "[{x: y}]", "{x: {x: {x: y}}}", ""):
        tree: dict[str, Any] = yaml.safe_load(f"{{value: {shape}}}")
        for block in ("people", "rotations", "mutes", "inhibit", "expire", "tests", "calendars", "sources"):
            assert wrong_names(Written({block: tree["value"]}, lambda _place: 1)) == []


def test_where_nothing_is_configured_a_name_has_no_neighbour() -> None:
    match = Match.read({"during": "office"})
    assert unknown_calendars(match, ()) == [(("during",), "unknown calendar 'office'; there is no calendar here")]
    assert unknown_calendars(match, ["office"]) == []
