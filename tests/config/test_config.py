"""routing.yaml as one value, or every reason why it is none."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import config, plugins
from gateway.config import Configuration, Plugs, Refused, load, outdated, summary
from gateway.config.problems import sentence
from gateway.contracts import SourceSettings
from gateway.errors import BadConfiguration
from gateway.rules.expectations import Never, Newest, Now
from gateway.rules.retention import DAY, RetentionSettings

ROOT = Path(__file__).parent.parent.parent
BAD = sorted((Path(__file__).parent / "bad").glob("*.yaml"))
WHOLE = (Path(__file__).parent / "good" / "quiet_and_paging.yaml").read_text(encoding="utf-8")
QUIET = ("people", "rotations", "escalations", "mutes", "inhibit", "expire", "tests")
MONDAY_NOON = 1_767_614_400_000
ENVIRON = {"EMPTY": "", "GOOD_URL": "https://hooks.example.com/x", "GOOD_TOKEN": "abc-4711"}
GOOD = """
sources:
  sentry: {adapter: sentry, secret: ["${GOOD_TOKEN}", old-one], labels: {team: web}, limit: 100/s}
  github: {adapter: github, secret: "${GITHUB_SECRET}", optional: true}
  open: {adapter: sentry, unauthenticated: true, allow_from: [10.0.0.0/8, "2001:db8::/32"], max_body: 1MiB}
channels:
  terminal: {kind: screen, language: ko, pace: none}
  ops: {kind: slack, webhook_url: "${GOOD_URL}", pace: 20/m, timeout: 5s}
  audit: {kind: notion, token: "${NOTION_TOKEN}", database_id: "${NOTION_DB:-abc}", optional: true}
routes:
  - name: at night
    match: {severity: ">=critical", during: night}
    to: [ops, terminal]
    stop: true
  - to: audit
default: terminal
calendars:
  night: {time_zone: Asia/Seoul, weekly: [{days: daily, from: "22:00", to: 7:00}]}
public_url: https://alerts.example.com/
trusted_proxies: [10.0.0.0/8]
reopen_within: 5m
retention: {events: 7d}
"""


class Deaf:
    """An adapter of a sender that signs nothing."""

    keeps: frozenset[str] = frozenset()
    max_body = 1
    signs = False


def loaded(folder: Path, text: str | bytes, plugs: Plugs | None = None, **environ: str) -> Configuration:
    path = folder / "routing.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path, {**ENVIRON, **environ}, plugs)


def problems(folder: Path, text: str | bytes, plugs: Plugs | None = None, **environ: str) -> list[str]:
    """`line: path: what`, without the file's name."""
    with pytest.raises(BadConfiguration) as refused:
        loaded(folder, text, plugs, **environ)
    return [str(problem).removeprefix(f"{folder / 'routing.yaml'}:").strip() for problem in refused.value.problems]


# --- a good file --------------------------------------------------------------------------------------


def test_a_good_file_is_one_frozen_value(tmp_path: Path) -> None:
    good = loaded(tmp_path, GOOD)
    assert list(good.sources) == ["sentry", "open"]
    assert good.sources["sentry"].adapter is plugins.adapters()["sentry"]
    assert [secret.get_secret_value() for secret in good.sources["sentry"].settings.secret] == ["abc-4711", "old-one"]
    assert list(good.channels) == ["terminal", "ops"]
    assert good.channels["ops"].kind is plugins.channel_kinds()["slack"]
    assert good.channels["ops"].settings.timeout == 5_000
    assert good.public_url == "https://alerts.example.com"
    assert [str(network) for network in good.trusted_proxies] == ["10.0.0.0/8"]
    assert good.reopen_within == 300_000
    assert good.retention == RetentionSettings(events=7 * DAY, incidents=400 * DAY)


def test_the_routing_knows_its_routes_its_hour_and_who_sleeps(tmp_path: Path) -> None:
    routing = loaded(tmp_path, GOOD).routing
    assert [route.to for route in routing.routes] == [("ops", "terminal"), ("audit",)]
    assert routing.default == ("terminal",)
    assert list(routing.calendars) == ["night"]
    assert routing.sleeping == {"audit"}
    assert routing.configuration == hashlib.sha256(GOOD.encode()).hexdigest()[:12]


def test_the_hash_is_of_the_bytes_of_the_file(tmp_path: Path) -> None:
    good = loaded(tmp_path, GOOD)
    assert good.hash == hashlib.sha256(GOOD.encode()).hexdigest()[:12]
    assert loaded(tmp_path, GOOD + "\n").hash != good.hash


def test_what_is_optional_sleeps_while_its_variables_are_not_set(tmp_path: Path) -> None:
    good = loaded(tmp_path, GOOD)
    assert good.sleeping_sources == {"github": ("GITHUB_SECRET",)}
    assert good.sleeping_channels == {"audit": ("NOTION_TOKEN",)}
    awake = loaded(tmp_path, GOOD, GITHUB_SECRET="s", NOTION_TOKEN="ntn_1")
    assert {*awake.sources} >= {"github"}
    assert {*awake.channels} >= {"audit"}
    assert not awake.sleeping_sources
    assert not awake.routing.sleeping


def test_the_summary_counts_and_says_what_sleeps_and_why(tmp_path: Path) -> None:
    good = loaded(tmp_path, GOOD + "\n# the end\n")
    assert summary(good) == (
        f"2 sources, 2 channels, 2 routes; configuration {good.hash}\n"
        "source github sleeps until GITHUB_SECRET is set\n"
        "channel audit sleeps until NOTION_TOKEN is set"
    )


def test_the_summary_names_every_variable_that_is_waited_for(tmp_path: Path) -> None:
    text = 'channels:\n  a: {kind: slack, webhook_url: "${A}/${B}/${A}/${file:gone}", optional: true}\n'
    assert summary(loaded(tmp_path, text)).endswith("channel a sleeps until A, B and file:gone are set")


def test_the_blocks_for_quiet_and_paging_are_part_of_the_value(tmp_path: Path) -> None:
    good = loaded(tmp_path, WHOLE)
    routing = good.routing
    assert routing.people["kim"].channels == ("kim-sms", "kim-tg")
    assert routing.rotations["primary"].members == ("kim", "lee")
    assert [step.after for step in routing.escalations["page"].steps] == [0, 300_000, 900_000]
    assert [mute.reason for mute in routing.mutes] == ["backups"]
    assert [rule.same for rule in routing.inhibit] == [("service",)]
    assert [rule.after for rule in routing.expire] == [7_200_000]
    assert (routing.routes[1].cooldown, routing.routes[1].group_by) == (300_000, ("service",))
    assert str(good.channels["ops-slack"].settings.max_messages) == "20/h"


def test_the_tests_of_a_file_are_read_and_kept(tmp_path: Path) -> None:
    outage, sequence = loaded(tmp_path, WHOLE).tests
    assert outage.expect == {"oncall-sms": Now(), "ceo": Never()}
    assert [step.at for step in sequence.steps] == [0, 180_000, 240_000]
    assert sequence.steps[2].resolve == Newest()


def test_the_summary_counts_whoever_can_be_paged_and_who_cannot(tmp_path: Path) -> None:
    good = loaded(tmp_path, WHOLE)
    assert summary(good).splitlines() == [
        f"2 sources, 3 channels, 2 routes, 5 people, 3 rotations, 2 escalations; configuration {good.hash}",
        "source sentry sleeps until NOT_SET is set",
        "channel kim-tg sleeps until NOT_SET is set",
        "person lead cannot be reached: kim-tg sleeps",
    ]
    text = (
        'channels:\n  a: {kind: screen, language: "${NOT_SET}", optional: true}\n'
        '  b: {kind: screen, language: "${NOT_SET}", optional: true}\n'
        "people:\n  kim: {channels: [a, b]}\n"
    )
    said = summary(loaded(tmp_path, text))
    assert said.startswith("0 sources, 0 channels, 0 routes, 1 person; configuration ")
    assert said.endswith("person kim cannot be reached: a and b sleep")


MAIL = "{kind: email, host: smtp.example.com, from: a@example.com, to: [b@example.com]}"


@pytest.mark.parametrize(
    ("channel", "public_url", "left_out"),
    [
        (MAIL, "", True),
        (MAIL, "public_url: https://alerts.example.com\n", False),
        ("{kind: screen}", "", False),
        ('{kind: slack, webhook_url: "https://hooks.example.com/x"}', "", False),
        ("{kind: slack, bot_token: xoxb-1, channel: C1}", "", False),
        ("{kind: slack, bot_token: xoxb-1, channel: C1, signing_secret: abc}", "", True),
        ('{kind: telegram, bot_token: "1:aaaaa", chat_id: "1"}', "", False),
        ('{kind: telegram, bot_token: "1:aaaaa", chat_id: "1", secret_token: abc}', "", True),
    ],
)
def test_the_summary_says_where_there_are_no_buttons(
    tmp_path: Path, channel: str, public_url: str, left_out: bool
) -> None:
    said = summary(loaded(tmp_path, f"{public_url}channels:\n  ops: {channel}\n"))
    assert ("buttons and links are left out: public_url is not set" in said.splitlines()) is left_out


OVER = """calendars:
  office: {time_zone: UTC, weekly: [{days: mon, from: "09:00", to: "18:00"}]}
  release: {time_zone: UTC, dates: [{from: "2026-01-04T00:00", to: "2026-01-05T12:00"}]}
"""


def test_a_calendar_whose_dates_are_over_is_a_problem_where_the_hour_is_known(tmp_path: Path) -> None:
    """A gateway asks without the hour, and warns of it: a file that was good must not turn bad as time passes."""
    good = loaded(tmp_path, OVER)
    file = tmp_path / "routing.yaml"
    over = "calendars.release: never opens again: its dates are over; give it later ones, or remove it"
    with pytest.raises(BadConfiguration) as refused:
        load(file, {}, now=MONDAY_NOON)
    assert str(refused.value) == f"{file}:3: {over}"
    assert outdated(good, MONDAY_NOON) == [over]
    for earlier in (MONDAY_NOON - 1, MONDAY_NOON - 7 * 86_400_000):
        assert load(file, {}, now=earlier).hash == good.hash
        assert outdated(good, earlier) == []


def test_a_file_with_little_in_it_is_good(tmp_path: Path) -> None:
    good = loaded(tmp_path, "channels:\n  terminal: {kind: screen}\nroutes:\nsources:\n# nothing yet\n")
    assert good.routing.routes == ()
    assert good.reopen_within == 600_000
    assert good.retention == RetentionSettings()
    assert good.public_url == ""
    assert summary(good).startswith("0 sources, 1 channel, 0 routes;")


def test_the_shipped_file_starts_with_nothing_but_a_token() -> None:
    if "generic" not in plugins.adapters():
        pytest.skip("there is no adapter 'generic'")
    good = load(ROOT / "routing.yaml", {"TOCSIN_TOKEN": "t"})
    assert list(good.sources) == ["generic"]
    assert list(good.channels) == ["terminal"]
    assert set(good.sleeping_sources) == {"sentry", "hetrixtools", "github"}
    assert good.sleeping_channels == {
        "ops-slack": ("SLACK_WEBHOOK_URL",),
        "oncall-tg": ("TELEGRAM_BOT_TOKEN", "TELEGRAM_CHAT_ID"),
        "audit": ("NOTION_TOKEN", "NOTION_DATABASE_ID"),
    }


def test_the_shipped_file_wakes_up_with_its_variables() -> None:
    if "generic" not in plugins.adapters():
        pytest.skip("there is no adapter 'generic'")
    names = re.findall(r'"\$\{([A-Z_]+)\}"', (ROOT / "routing.yaml").read_text())
    values = {
        "SLACK_WEBHOOK_URL": "https://hooks.example.com/services/x",
        "TELEGRAM_BOT_TOKEN": "1234567:" + "A" * 35,
        "TELEGRAM_CHAT_ID": "-1001234567890",
    }
    good = load(ROOT / "routing.yaml", {name: values.get(name, name.lower()) for name in names if name != "NAME"})
    assert not good.sleeping_sources
    assert not good.sleeping_channels
    assert {target for route in good.routing.routes for target in route.to} == set(good.channels)


# --- nobody on call -----------------------------------------------------------------------------------

ROTATION = """
channels:
  sms: {{kind: screen}}
calendars:
  day: {{time_zone: Asia/Seoul, weekly: [{{days: daily, from: "09:00", to: "21:00"}}]{closed}}}
  night: {{time_zone: Asia/Seoul, weekly: [{{days: daily, from: "21:00", to: "09:00"}}]}}
people:
  kim: {{channels: sms}}
  lee: {{channels: sms}}
rotations:
  primary:
    time_zone: Asia/Seoul
    layers: [{{members: kim, during: day}}, {{members: kim, during: night}}]
    overrides: {overrides}
"""
HOLIDAY = ', except: "2026-12-25"'
STAND_IN = '[{member: kim, from: "2026-12-25T09:00", to: "2026-12-25T21:00"}]'
FOR_ANOTHER = '[{member: lee, for: kim, from: "2026-12-25T09:00", to: "2026-12-25T21:00"}]'


def test_layers_that_share_the_day_leave_no_gap(tmp_path: Path) -> None:
    file = tmp_path / "routing.yaml"
    file.write_text(ROTATION.format(closed="", overrides="[]"))
    assert load(file, {}, now=MONDAY_NOON).routing.rotations


def test_a_gap_that_only_summer_time_opens_is_found(tmp_path: Path) -> None:
    text = ROTATION.format(closed="", overrides="[]").replace(
        'night: {time_zone: Asia/Seoul, weekly: [{days: daily, from: "21:00", to: "09:00"}]}',
        'night: {time_zone: UTC, weekly: [{days: daily, from: "20:00", to: "08:00"}]}',
    )
    (said,) = problems(tmp_path, text.replace("Asia/Seoul", "Europe/Berlin"))
    assert "nobody is on call from Mon 2026-07-06 21:00 to Mon 2026-07-06 22:00;" in said


def test_a_holiday_with_nobody_on_call_is_a_problem_where_the_hour_is_known(tmp_path: Path) -> None:
    """A gateway that starts asks without: it must not stumble over its own file because a holiday came near."""
    file = tmp_path / "routing.yaml"
    file.write_text(ROTATION.format(closed=HOLIDAY, overrides="[]"))
    assert load(file, {}).routing.rotations
    with pytest.raises(BadConfiguration) as refused:
        load(file, {}, now=MONDAY_NOON)
    assert str(refused.value).endswith(
        "11: rotations.primary: nobody is on call from Fri 2026-12-25 09:00 to Fri 2026-12-25 21:00; "
        "add a layer without `during`, or widen a calendar"
    )


def test_an_override_may_fill_a_gap_but_not_by_standing_in_for_nobody(tmp_path: Path) -> None:
    file = tmp_path / "routing.yaml"
    file.write_text(ROTATION.format(closed=HOLIDAY, overrides=STAND_IN))
    assert load(file, {}, now=MONDAY_NOON).routing.rotations
    file.write_text(ROTATION.format(closed=HOLIDAY, overrides=FOR_ANOTHER))
    with pytest.raises(BadConfiguration):
        load(file, {}, now=MONDAY_NOON)


def test_who_stands_in_for_himself_is_a_problem(tmp_path: Path) -> None:
    himself = STAND_IN.replace("{member: kim,", "{member: kim, for: kim,")
    (said,) = problems(tmp_path, ROTATION.format(closed="", overrides=himself))
    assert "rotations.primary.overrides.0.for: is its own member; " in said


# --- secrets in files ---------------------------------------------------------------------------------


def test_a_secret_may_stand_in_a_file_beside_or_far_away(tmp_path: Path) -> None:
    (tmp_path / "near").write_text("near-secret\n")
    far = tmp_path / "run" / "secrets"
    far.mkdir(parents=True)
    (far / "x").write_text("far-secret")
    text = f'sources:\n  sentry: {{adapter: sentry, secret: ["${{file:near}}", "${{file:{far / "x"}}}"]}}\n'
    good = loaded(tmp_path, text)
    assert [secret.get_secret_value() for secret in good.sources["sentry"].settings.secret] == [
        "near-secret",
        "far-secret",
    ]
    assert good.files == (tmp_path / "routing.yaml", tmp_path / "near", far / "x")
    assert all(good.contents.values())


def test_a_refusal_names_the_files_to_watch_too(tmp_path: Path) -> None:
    text = 'sources:\n  sentry: {adapter: sentry, secret: "${file:gone}"}\n'
    with pytest.raises(Refused) as refused:
        loaded(tmp_path, text)
    assert list(refused.value.contents) == [tmp_path / "routing.yaml", tmp_path / "gone"]
    assert refused.value.contents[tmp_path / "gone"] == ""


def test_a_secret_file_that_is_no_text_or_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_text("x" * (1024 * 1024 + 1))
    text = (
        'sources:\n  a: {adapter: sentry, secret: "${file:binary}"}\n  b: {adapter: sentry, secret: "${file:large}"}\n'
    )
    said = problems(tmp_path, text)
    assert said[0].startswith("2: sources.a.secret: the file binary is not UTF-8 text, or is over 1 MiB")
    assert said[1].startswith("3: sources.b.secret: the file large is not UTF-8 text, or is over 1 MiB")


def test_a_secret_path_that_no_system_takes_is_refused(tmp_path: Path) -> None:
    long = "x" * 5_000
    said = problems(tmp_path, f'sources:\n  a: {{adapter: sentry, secret: "${{file:{long}}}"}}\n')
    assert "cannot be read" in said[0]
    assert problems(tmp_path, 'sources:\n  a: {adapter: sentry, secret: "${file:a\\0b}"}\n')


# --- a bad file ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_file_is_refused_with_exactly_the_problems_at_its_top(path: Path) -> None:
    lines = path.read_text().splitlines()
    expected = [line.removeprefix("# ") for line in lines if re.match(r"# \d+: ", line)]
    with pytest.raises(BadConfiguration) as refused:
        load(path, ENVIRON)
    said = [str(problem).removeprefix(f"{path}:") for problem in refused.value.problems]
    for is_said, is_expected in zip(said, expected, strict=True):
        assert is_said == is_expected or (
            is_expected.endswith("…") and is_said.startswith(is_expected.removesuffix("…"))
        )


def test_there_are_more_than_fifty_bad_files() -> None:
    assert len(BAD) > 50


def test_problems_name_the_file_as_it_was_named_and_stand_in_its_order(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration) as refused:
        loaded(tmp_path, "routes:\n  - to: x\nchannels:\n  a: {kind: screan}\n")
    assert str(refused.value) == (
        f"{tmp_path}/routing.yaml:2: routes.0.to: unknown channel 'x'; did you mean 'a'?\n"
        f"{tmp_path}/routing.yaml:4: channels.a.kind: unknown kind 'screan'; did you mean 'screen'?"
    ).replace("; did you mean 'a'?", "; there are a")


def test_a_loop_of_very_many_is_told_in_few_words_and_in_time(tmp_path: Path) -> None:
    many = "".join(f"  e{number}: {{steps: [{{to: e{number + 1}}}]}}\n" for number in range(5_000))
    text = f"channels: {{c: {{kind: screen}}}}\nescalations:\n{many}  e5000: {{steps: [{{to: e4000}}]}}\n"
    started = time.process_time()
    (said,) = problems(tmp_path, text)
    assert time.process_time() - started < 15
    way = "e4000 → e4001 → e4002 → e4003 → e4004 → e4005 → e4006 → … → e4000"
    assert said == f"5003: escalations.e5000.steps.0.to: loops: {way}; let one of them name somebody else"


@pytest.mark.parametrize("value", ["x", "${GONE}", "${TOKEN}"])
def test_of_very_many_problems_the_first_are_told_and_how_many_more(tmp_path: Path, value: str) -> None:
    """And they are found in time: a look at each other place for every one of them would take minutes."""
    many = "".join(f'  s{number}: {{adapter: generic, token: "{value}", no: x}}\n' for number in range(8_000))
    started = time.process_time()
    said = problems(tmp_path, f"routes: 1\nsources:\n{many}", TOKEN="t")
    assert time.process_time() - started < 15
    assert len(said) == 101
    assert [int(line.partition(":")[0]) for line in said[:100]] == sorted(int(x.partition(":")[0]) for x in said[:100])
    assert said[0] == "1: routes: must be a list: each route begins with '- '"
    assert re.fullmatch(r".*… and 1?\d,\d\d\d more", said[100])


def test_names_that_are_too_many_are_counted(tmp_path: Path) -> None:
    channels = "".join(f"  c{number}: {{kind: screen}}\n" for number in range(1_100))
    text = f"channels:\n{channels}routes:\n  - to: qq\n"
    assert problems(tmp_path, text) == ["1103: routes.0.to: unknown channel 'qq'; there are 1,100 channels"]


def test_a_file_that_is_not_there_says_how_to_name_one(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.yaml", tmp_path):
        with pytest.raises(Refused, match=r"cannot be read .*--config or TOCSIN_CONFIG"):
            load(path, {})


@pytest.mark.parametrize("raw", [b"a: \xff", b"a: \x00", b"\xff\xfea\x00:\x00", b"x" * 2_000_000])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, raw: bytes) -> None:
    assert len(problems(tmp_path, raw)) == 1


def test_a_secret_for_a_sender_that_signs_nothing_is_refused(tmp_path: Path) -> None:
    plugs = Plugs({"deaf": Deaf()}, {})  # type: ignore[dict-item]
    text = "sources:\n  a: {adapter: deaf, secret: s, token: t}\n  b: {adapter: deaf}\n"
    assert problems(tmp_path, text, plugs) == [
        "2: sources.a.secret: deaf signs nothing, so that a secret proves nothing; use token instead",
        "3: sources.b: has no credential; add token, or write unauthenticated: true to take bodies from anyone",
    ]


@pytest.mark.parametrize(("timeout", "said"), [("0s", "more than 0s"), ("121s", "at most 2m"), ("6m", "at most 2m")])
def test_a_timeout_is_within_what_a_lease_is_made_for(tmp_path: Path, timeout: str, said: str) -> None:
    text = "channels:\n  a: {{kind: screen, timeout: {}}}\ndefault: a\n"
    assert loaded(tmp_path, text.format("2m")).channels["a"].settings.timeout == 120_000
    assert problems(tmp_path, text.format(timeout)) == [f"2: channels.a: timeout must be {said}"]


def test_two_generic_sources_may_not_share_a_credential(tmp_path: Path) -> None:
    adapter: Any = SimpleNamespace(signs=True)
    plugs = Plugs({"generic": adapter, "other": adapter}, {})
    text = (
        "sources:\n  one: {adapter: generic, token: t-4711}\n  two: {adapter: generic, secret: [x, t-4711]}\n"
        "  three: {adapter: other, token: t-4711}\n  four: {adapter: generic, token: [z, z]}\n"
    )
    (said,) = problems(tmp_path, text, plugs)
    assert said.startswith("3: sources.two.secret: is the same as that of source 'one'")
    assert "4711" not in said


@pytest.mark.parametrize(
    ("fault", "said", "words"),
    [
        ("enum", {"expected": "'a' or 'b'"}, "must be 'a' or 'b'"),
        ("assertion_error", {"error": AssertionError("is odd")}, "is odd"),
        ("greater_than", {"gt": 0}, "must be more than 0"),
        ("greater_than_equal", {"ge": 1}, "must be at least 1"),
        ("less_than", {"lt": 9}, "must be less than 9"),
        ("less_than_equal", {"le": 9}, "must be at most 9"),
        ("string_too_short", {"min_length": 2}, "must have at least 2 characters"),
        ("string_too_long", {"max_length": 9}, "must have at most 9 characters"),
        ("string_pattern_mismatch", {"pattern": "^a+$"}, "has not the right form, which is ^a+$"),
        ("too_short", {"min_length": 2}, "must have at least 2 entries"),
        ("too_long", {"max_length": 9}, "must have at most 9 entries"),
        ("float_parsing", {}, "must be a number"),
    ],
)
def test_limits_are_told_in_words(fault: str, said: dict[str, object], words: str) -> None:
    assert sentence(fault, said) == words


def test_a_fault_of_an_unforeseen_kind_still_has_a_sentence() -> None:
    assert sentence("date_from_datetime_inexact", {}) == "is not usable here (date from datetime inexact)"


# --- no problem prints a value ------------------------------------------------------------------------

CANARIES = (
    "https://canary.example.com/4711",
    "canary@example.com",
    "+82 canary",
    "canary:4711/x",
    "discord://canary/4711",
    "whsec_canary4711!",
    "xoxb-canary-4711",
)
SETTINGS = {
    "people": ("time_zone", "language", "quiet"),
    "rotations": ("time_zone", "handoff", "start", "layers", "overrides"),
    "escalations": ("steps", "repeat"),
    "mutes": ("name", "match", "reason"),
    "inhibit": ("name", "when", "mute", "same"),
    "expire": ("match", "after"),
    "tests": ("name", "alert", "sequence", "now", "expect"),
}
REFERENCES = {"adapter", "kind"}
"""Like `to`, `default` and `during`: a wrong value is repeated where it looks like a name, to show the slip."""


def planted(canary: str) -> list[str]:
    """Configurations with the canary at every place where a person could put it, right or wrong."""
    values = (canary, [canary], {"a": canary}, {"from": canary}, [[canary]], {"a": [canary]})
    bad = [each for value in values for each in with_value(value)]
    if not re.fullmatch(r"[a-z0-9_-]+", canary):
        bad += [{"routes": [{"to": [canary]}]}, {"default": canary}, {"sources": {"x": {"adapter": canary}}}]
        bad += [{"channels": {"x": {"kind": canary}}}, {"channels": {canary: {"kind": "screen"}}}]
        bad += [{"channels": {"x": {"kind": "slack", f"webhook_url:{canary}": None}}}]
        bad += [{"channels": {"x": {"kind": "screen"}}, "routes": [{"to": "x", "match": {"during": canary}}]}]
    # JSON is YAML, and quicker to write.
    return [json.dumps({**each, "unknown": "1"}, ensure_ascii=False) for each in bad]


def with_value(value: object) -> Iterator[dict[str, object]]:
    """The same value at each key that is no reference: once alone in its block, once in all of them."""
    for name, kind in plugins.channel_kinds().items():
        keys = {info.alias or key for key, info in kind.settings.model_fields.items()} - REFERENCES
        for filled in (*([key] for key in keys), keys):
            yield {"channels": {"x": {"kind": name, **dict.fromkeys(filled, value)}}}
    for adapter in plugins.adapters():
        for key in SourceSettings.model_fields.keys() - REFERENCES:
            yield {"sources": {"x": {"adapter": adapter, key: value}}}
    for key in (
        "public_url",
        "trusted_proxies",
        "reopen_within",
        "retention",
        "sources",
        "channels",
        "routes",
        "calendars",
    ):
        yield {key: value}
    for key in ("time_zone", "weekly", "dates", "except"):
        yield {"calendars": {"x": {key: value}}}
    for key in QUIET:
        yield {key: value}
    for block, keys in SETTINGS.items():
        entry = {"steps": value} | dict.fromkeys(keys, value)
        for filled in (entry, *({key: value} for key in keys)):
            yield {block: {"x": filled} if block in ("people", "rotations", "escalations") else [filled]}
    for key in ("cooldown", "repeat_every", "only_after", "group_by", "group_wait", "flap"):
        yield {"channels": {"x": {"kind": "screen"}}, "routes": [{"to": "x", key: value}]}
    for key in ("severity", "source", "labels", "not", "nonsense"):
        yield {"channels": {"x": {"kind": "screen"}}, "routes": [{"to": "x", "match": {key: value}}]}


@pytest.mark.parametrize("canary", CANARIES)
def test_no_problem_prints_a_value(tmp_path: Path, canary: str) -> None:
    for text in planted(canary):
        said = problems(tmp_path, text)
        assert not any("canary" in line or "4711" in line for line in said), (text, said)


@pytest.mark.parametrize("canary", [*CANARIES, "canary", "4711"])
def test_no_problem_prints_what_a_variable_holds(tmp_path: Path, canary: str) -> None:
    for text in planted("${PLANTED}"):
        for line in problems(tmp_path, text, PLANTED=canary):
            assert "canary" not in line, (text, line)
    for text in ('routes: [{to: ["${PLANTED}"]}]', 'sources: {x: {adapter: "${PLANTED}", token: t}}'):
        assert any("PLANTED" in line or "names no" in line for line in problems(tmp_path, text, PLANTED=canary))


@pytest.mark.parametrize("mark", ["", "'", '"', "&", "*", "!", "@", "[", "{", "? ", "- ", "|9 ", "%", "`", "{{"])
def test_no_syntax_error_prints_a_value(tmp_path: Path, mark: str) -> None:
    for tail in ("", "\n - x", ": y", "\n\t- z", "'", "}"):
        text = f"channels:\n  ops:\n    kind: slack\n    webhook_url: {mark}https://canary/4711{tail}\nroutes: ["
        assert not any("canary" in line for line in problems(tmp_path, text))


# --- any file -----------------------------------------------------------------------------------------

_WORDS = st.sampled_from(
    re.split(
        r"\s+",
        """sources channels routes calendars default adapter kind secret token optional true false sentry github screen
        slack email notion webhook telegram apprise to match severity >=error during night time_zone Asia/Seoul weekly
        days mon-fri from 09:00 labels templates pace 1/s timeout 5s properties Date occurred_at url ${X} ${ ${EMPTY}
        $${X} ${file:/nonexistent} https://x.example/ chat_id -100123 port 25 unauthenticated public_url ? . not
        channels quiet below members layers handoff every day overrides member for start steps after repeat same when
        mute alert sequence at acknowledge resolve expect nobody now never cooldown group_by group_wait flap reason""",
    )
)
_TREES = st.recursive(
    _WORDS | st.none() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
_ENTRIES = st.dictionaries(
    st.sampled_from(["a", "night", "B"]), st.dictionaries(_WORDS, _TREES, max_size=6), max_size=2
)
_FILES = st.fixed_dictionaries(
    {},
    optional={
        "sources": _ENTRIES | _TREES,
        "channels": _ENTRIES | _TREES,
        "routes": st.lists(st.dictionaries(_WORDS, _TREES, max_size=4), max_size=2) | _TREES,
        "calendars": _ENTRIES | _TREES,
        **dict.fromkeys(QUIET, _ENTRIES | st.lists(st.dictionaries(_WORDS, _TREES, max_size=4), max_size=2) | _TREES),
        "default": _TREES,
        "public_url": _TREES,
        "trusted_proxies": _TREES,
        "reopen_within": _TREES,
        "retention": st.dictionaries(_WORDS, _TREES, max_size=3) | _TREES,
    },
)
_quiet = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)


def is_loaded_or_refused(folder: Path, text: str | bytes) -> bool:
    """Whether every problem, if there is one, names a line that is there and says what is wrong."""
    try:
        loaded(folder, text)
    except BadConfiguration as refused:
        lines = (text if isinstance(text, bytes) else text.encode()).count(b"\n") + 2
        return any(refused.problems) and all(0 <= each.line <= lines and each.what for each in refused.problems)
    return True


@_quiet
@given(tree=_FILES)
def test_any_tree_is_loaded_or_refused(tmp_path: Path, tree: Mapping[str, object]) -> None:
    assert is_loaded_or_refused(
        tmp_path, yaml.dump(tree, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), allow_unicode=True)
    )


@_quiet
@given(kept=st.sets(st.sampled_from([*QUIET, "calendars", "routes", "sources", "channels", "default"])))
def test_any_of_the_blocks_may_stand_without_the_others(tmp_path: Path, kept: set[str]) -> None:
    tree = {name: block for name, block in yaml.load(WHOLE, Loader=yaml.BaseLoader).items() if name in kept}  # noqa: S506
    assert is_loaded_or_refused(tmp_path, yaml.dump({**tree, "reopen_within": "10m"}))


@_quiet
@given(st.data())
def test_any_damage_to_a_good_file_is_loaded_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([GOOD, WHOLE]))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 12)))
        new = data.draw(
            st.text(max_size=4)
            | st.sampled_from(["\n", ": ", "- ", "  ", "{", "}", "[", "]", '"', "&a ", "*a", "!a ", "${"])
        )
        text = text[:start] + new + text[end:]
    assert is_loaded_or_refused(tmp_path, text.encode("utf-8", "surrogatepass"))


def test_the_package_says_what_others_may_use() -> None:
    assert all(hasattr(config, name) for name in config.__all__)
