"""What would happen to a webhook, told without a gateway: it agrees with what then happens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway import config
from gateway.errors import BadFields, NotFound, NotJson, Unreadable
from gateway.explaining import explain, voice_of
from tests.stage import NOON

ROUTING = """
sources:
  scripts: {adapter: generic, token: t, labels: {team: data}}
  sentry: {adapter: sentry, secret: "${SENTRY}", optional: true}
  ours: {adapter: sentry, secret: "${SENTRY}", optional: true}
channels:
  team: {kind: webhook, url: "https://x.example/", templates: {title: "!! {{ incident.title }}"}}
  phone: {kind: twilio, account_sid: AC00000000000000000000000000000000, auth_token: x, from: "+15005550006",
          to: ["+15005550010"], via: sms, language: ko}
  night: {kind: slack, webhook_url: "${SLACK}", optional: true}
routes:
  - {name: critical, match: {severity: ">=critical"}, to: [phone, night]}
  - {name: data, match: {labels.team: data}, to: [team], stop: true}
  - {name: rest, to: [team]}
"""


@pytest.fixture
def configuration(tmp_path: Path) -> config.Configuration:
    file = tmp_path / "routing.yaml"
    file.write_text(ROUTING)
    return config.load(file, {})


def asked(configuration: config.Configuration, body: Any, source: str | None = "scripts", **headers: str) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    shape = explain(configuration, raw, source, {k.replace("_", "-"): v for k, v in headers.items()}, NOON)
    json.dumps(shape)
    return shape


def test_each_route_says_whether_it_matched_or_what_it_missed(configuration: config.Configuration) -> None:
    shape = asked(configuration, {"title": "Disk full", "severity": "warning"})
    assert [(route["name"], route["matched"], route["missed"]) for route in shape["routes"]] == [
        ("critical", False, {"key": "severity", "wanted": ">=critical", "was": "warning"}),
        ("data", True, None),
        ("rest", False, {"key": "stop", "wanted": "", "was": "data"}),
    ]
    assert shape["configuration"] == configuration.hash


def test_who_would_hear_when_and_in_what_words(configuration: config.Configuration) -> None:
    shape = asked(configuration, {"title": "Disk full", "severity": "critical", "service": "db-1"})
    assert [(target["channel"], target["at"]) for target in shape["targets"]] == [
        ("phone", "2026-11-20T12:00:00.000Z"),
        ("team", "2026-11-20T12:00:00.000Z"),
    ]
    phone, team = (target["text"] for target in shape["targets"])
    assert "Disk full" in phone
    assert "심각" in phone or "긴급" in phone or "위" in phone
    assert team.startswith("!! Disk full")


def test_a_sleeping_channel_is_said_to_sleep(configuration: config.Configuration) -> None:
    shape = asked(configuration, {"title": "x", "severity": "critical"})
    assert shape["routes"][0]["note"] == "night sleeps: it is optional and not set"


def test_without_a_source_it_is_a_generic_alert_at_the_source_that_would_take_it(
    configuration: config.Configuration,
) -> None:
    shape = asked(configuration, {"title": "x"}, source=None)
    assert [route["matched"] for route in shape["routes"]] == [False, True, False]
    with pytest.raises(BadFields):
        asked(configuration, {"title": "x", "severity": "loud"}, source=None)


@pytest.mark.parametrize(
    ("sources", "source"),
    [
        ("{generic: {adapter: generic, token: t}, other: {adapter: generic, token: u}}", "generic"),
        ("{other: {adapter: generic, token: t}}", "other"),
        ("{github: {adapter: github, secret: s}}", "generic"),
    ],
)
def test_the_source_of_a_generic_alert_is_the_one_so_named_or_the_first(
    tmp_path: Path, sources: str, source: str
) -> None:
    file = tmp_path / "routing.yaml"
    route = f"{{name: it, match: {{source: {source}}}, to: [a]}}"
    file.write_text(f"sources: {sources}\nchannels: {{a: {{kind: screen}}}}\nroutes: [{route}]\n")
    assert asked(config.load(file, {}), {"title": "x"}, source=None)["routes"][0]["matched"]


def test_several_alerts_are_explained_each(configuration: config.Configuration) -> None:
    shape = asked(configuration, [{"title": "a"}, {"title": "b", "severity": "critical"}])
    assert [one["alert"]["title"] for one in shape["alerts"]] == ["a", "b"]
    assert "routes" not in shape
    assert [len(one["targets"]) for one in shape["alerts"]] == [1, 2]


def test_a_resolve_would_go_to_whoever_heard(configuration: config.Configuration) -> None:
    shape = asked(configuration, {"title": "a", "status": "resolved"})
    assert (shape["alerts"][0]["alert"]["status"], shape["targets"]) == ("resolved", [])


def test_what_no_route_takes_is_unrouted(tmp_path: Path) -> None:
    file = tmp_path / "routing.yaml"
    file.write_text("sources: {s: {adapter: generic, token: t}}\nchannels: {a: {kind: screen}}\nroutes: []\n")
    (one,) = asked(config.load(file, {}), {"title": "x"}, source="s")["alerts"]
    assert (one["unrouted"], one["targets"]) == (True, [])


def test_a_source_that_sleeps_can_be_asked_about_by_its_adapters_name(configuration: config.Configuration) -> None:
    body = {"action": "created", "data": {"issue": {"id": "1", "title": "Boom", "level": "error"}}}
    shape = asked(configuration, body, "sentry", sentry_hook_resource="issue")
    assert shape["alerts"][0]["alert"]["title"] == "Boom"
    with pytest.raises(NotFound, match="no source 'ours'"):
        asked(configuration, body, "ours")


def test_an_unknown_source_is_named_with_those_that_are(configuration: config.Configuration) -> None:
    with pytest.raises(NotFound, match=r"no source 'nobody' in this configuration; there are: scripts"):
        asked(configuration, {}, "nobody")


def test_what_cannot_be_read_is_refused_as_it_would_be(configuration: config.Configuration) -> None:
    with pytest.raises(Unreadable):
        asked(configuration, {"nothing": 1})
    with pytest.raises(NotJson):
        asked(configuration, b"{")


def test_what_an_adapter_drops_tells_nobody(tmp_path: Path) -> None:
    file = tmp_path / "routing.yaml"
    file.write_text("sources: {github: {adapter: github, secret: s}}\nchannels: {a: {kind: screen}}\nroutes: []\n")
    star = {"action": "created", "sender": {"login": "kim"}, "repository": {"full_name": "a/b"}}
    shape = asked(config.load(file, {}), star, "github", x_github_event="star")
    assert (shape["alerts"], shape["routes"], shape["targets"]) == ([], [], [])


def test_only_a_telephone_that_is_one_persons_alone_is_not_told_of_its_own_acts(tmp_path: Path) -> None:
    file = tmp_path / "routing.yaml"
    two = 'both: {kind: twilio, account_sid: AC00000000000000000000000000000000, auth_token: x, from: "+15005550006", '
    two += 'to: ["+15005550010", "+15005550011"]}'
    file.write_text(ROUTING.replace("  night:", f"  {two}\n  night:"))
    channels = config.load(file, {}).channels
    told = {name: voice_of(entry, str, "").hears_own for name, entry in channels.items() if name != "night"}
    assert told == {"team": True, "phone": False, "both": True}


def test_only_a_telephone_has_use_for_the_short_forms(tmp_path: Path) -> None:
    file = tmp_path / "routing.yaml"
    file.write_text(ROUTING)
    channels = config.load(file, {}).channels
    short = {name: voice_of(entry, str, "").short_forms for name, entry in channels.items()}
    assert short == {name: entry.kind.name == "twilio" for name, entry in channels.items()}
