"""Quiet: what is put off, kept back, gathered or muted, told as stories in which the clock is pushed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway import turning
from gateway.errors import Conflict
from gateway.fields import Rate
from gateway.model import GATEWAY, Retry, Severity, Silence
from gateway.pipeline import BEFORE_ALL
from gateway.rules.silencing import InhibitSettings
from tests.stage import HOUR, MINUTE, House, Team, reconsider_all, stage

CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING
SECOND = 1_000


def occasions(house: House, name: str = "team") -> list[str]:
    return [message.occasion for message in house.teams[name].heard]


def route(**keys: Any) -> dict[str, Any]:
    return {"name": "all", "to": ["team"], **keys}


async def resolve(house: House, title: str = "disk", **fields: Any) -> None:
    await house.alert(title, status="resolved", **fields)


# --- only_after ---------------------------------------------------------------------------------------


async def test_what_is_over_before_only_after_has_passed_is_told_to_nobody(tmp_path: Path) -> None:
    async with stage(tmp_path, route(only_after="2m")) as house:
        await house.alert()
        await house.passes(MINUTE)
        await resolve(house)
        await house.passes(HOUR)
        assert house.said("team") == []
        opened = (await house.decisions())[0]
        assert opened["holds"][0]["kind"] == "only_after"
        assert opened["targets"] == [{"channel": "team", "at": "2026-11-20T12:02:00.000Z"}]


async def test_what_still_fires_after_only_after_is_told_then_and_not_before(tmp_path: Path) -> None:
    async with stage(tmp_path, route(only_after="2m")) as house:
        await house.alert()
        await house.passes(2 * MINUTE - 1)
        assert house.said("team") == []
        await house.passes(1)
        assert house.said("team") == [("opened", "disk")]


async def test_what_gets_worse_while_it_is_put_off_is_still_told_at_the_same_time(tmp_path: Path) -> None:
    async with stage(tmp_path, route(only_after="2m")) as house:
        await house.alert(severity=WARNING)
        await house.passes(MINUTE)
        await house.alert(severity=CRITICAL)
        await house.passes(MINUTE)
        assert [(m.occasion, m.incident.severity) for m in house.teams["team"].heard] == [("opened", CRITICAL)]


# --- cooldown -----------------------------------------------------------------------------------------


async def test_within_the_cooldown_a_problem_that_comes_back_says_nothing_until_it_is_over(tmp_path: Path) -> None:
    async with stage(tmp_path, route(cooldown="5m")) as house:
        await house.alert()
        await house.passes(SECOND)
        await resolve(house)
        await house.passes(SECOND)
        await house.alert()
        await house.passes(MINUTE)
        assert occasions(house) == ["opened", "resolved"]
        await house.passes(5 * MINUTE)
        assert occasions(house) == ["opened", "resolved", "reopened"]


async def test_within_the_cooldown_a_worse_one_speaks_and_so_does_its_end(tmp_path: Path) -> None:
    async with stage(tmp_path, route(cooldown="1h")) as house:
        await house.alert(severity=WARNING)
        await house.passes(SECOND)
        await house.alert(severity=CRITICAL)
        await house.passes(SECOND)
        await resolve(house)
        await house.passes(SECOND)
        assert occasions(house) == ["opened", "worsened", "resolved"]


# --- repeat_every -------------------------------------------------------------------------------------


async def test_an_open_problem_is_said_again_until_somebody_acknowledges(tmp_path: Path) -> None:
    async with stage(tmp_path, route(repeat_every="1h")) as house:
        await house.alert()
        await house.passes(2 * HOUR + MINUTE)
        assert occasions(house) == ["opened", "reminded", "reminded"]
        await house.act("acknowledge")
        await house.passes(5 * HOUR)
        assert occasions(house) == ["opened", "reminded", "reminded", "acknowledged"]


async def test_a_problem_that_is_over_is_not_said_again(tmp_path: Path) -> None:
    async with stage(tmp_path, route(repeat_every="1h")) as house:
        await house.alert()
        await house.passes(MINUTE)
        await resolve(house)
        await house.passes(5 * HOUR)
        assert occasions(house) == ["opened", "resolved"]


# --- flap ---------------------------------------------------------------------------------------------


async def test_a_problem_that_flaps_says_so_once_and_then_how_it_stands(tmp_path: Path) -> None:
    async with stage(tmp_path, route(flap={"changes": "4", "within": "10m"})) as house:
        for _ in range(5):
            await house.alert()
            await house.passes(20 * SECOND)
            await resolve(house)
            await house.passes(20 * SECOND)
        assert occasions(house) == ["opened", "resolved", "reopened", "resolved", "flapping"]
        await house.passes(9 * MINUTE)
        assert len(occasions(house)) == 5
        await house.passes(MINUTE)
        assert occasions(house)[5:] == ["steadied"]
        assert house.teams["team"].heard[-1].incident.state == "resolved"


async def test_what_flaps_and_gets_worse_speaks(tmp_path: Path) -> None:
    async with stage(tmp_path, route(flap={"changes": "2", "within": "10m"})) as house:
        for _ in range(3):
            await house.alert(severity=WARNING)
            await house.passes(SECOND)
            await resolve(house)
            await house.passes(SECOND)
        await house.alert(severity=WARNING)
        await house.alert(severity=CRITICAL)
        await house.passes(SECOND)
        last = house.teams["team"].heard[-1]
        assert (last.occasion, last.incident.severity) == ("reopened", CRITICAL)


# --- group_by -----------------------------------------------------------------------------------------


async def test_incidents_alike_are_one_conversation_that_is_told_after_its_wait(tmp_path: Path) -> None:
    async with stage(tmp_path, route(group_by=["service"], group_wait="30s"), team=Team(edits=True)) as house:
        for number in range(5):
            await house.alert(f"error {number}", service="checkout")
        await house.alert("another", service="search")
        await house.passes(29 * SECOND)
        assert house.said("team") == []
        await house.passes(SECOND)
        assert sorted(title for _, title in house.said("team")) == [
            "5 problems: service checkout",
            "another",
        ]


async def test_a_group_is_over_when_all_of_it_is(tmp_path: Path) -> None:
    async with stage(tmp_path, route(group_by="service", group_wait="10s")) as house:
        await house.alert("a", service="checkout")
        await house.alert("b", service="checkout")
        await house.passes(MINUTE)
        await resolve(house, "a", service="checkout")
        await house.passes(10 * MINUTE)
        await resolve(house, "b", service="checkout")
        await house.passes(MINUTE)
        assert occasions(house)[0] == "opened"
        assert occasions(house)[-1] == "resolved"
        await house.alert("c", service="checkout")
        await house.passes(MINUTE)
        assert occasions(house)[-1] == "opened"  # another conversation


async def test_a_group_that_was_over_before_it_was_told_is_followed_by_another(tmp_path: Path) -> None:
    async with stage(tmp_path, route(group_by="service", group_wait="30s")) as house:
        await house.alert("a", service="checkout", severity=WARNING)
        await house.alert("a", service="checkout", severity=CRITICAL)
        await resolve(house, "a", service="checkout")
        await house.passes(MINUTE)
        await house.alert("b", service="checkout")
        await house.alert("other", service="search")
        await resolve(house, "other", service="search")
        await house.passes(MINUTE)
        assert occasions(house)[:2] == ["over", "opened"]


async def test_two_groups_that_move_at_once_stay_two(tmp_path: Path) -> None:
    from gateway.model import Alert

    async with stage(tmp_path, route(group_by="service")) as house:
        both = [Alert("a", "a", service="x"), Alert("b", "b", service="y")]
        await house.post(*both)
        await house.passes(MINUTE)
        await house.post(*(replace(one, status="resolved") for one in both))
        await house.passes(MINUTE)
        assert sorted(occasions(house)) == ["opened", "opened", "resolved", "resolved"]


async def test_a_storm_in_one_group_is_at_most_five_messages_and_the_last_counts_right(tmp_path: Path) -> None:
    async with stage(tmp_path, route(group_by="service")) as house:
        for second in range(60):
            for number in range(10):
                severity = Severity((second + number) % 5)
                await house.alert(f"{second}.{number}", service="checkout", severity=severity)
            await house.passes(SECOND)
        await house.passes(5 * MINUTE)
        assert len(house.teams["team"].heard) <= 5
        assert house.said("team")[-1][1] == "600 problems: service checkout"
        assert len(await house.incidents()) == 600


# --- the storm budget ---------------------------------------------------------------------------------


async def test_beyond_the_budget_what_is_not_critical_is_one_summary(tmp_path: Path) -> None:
    async with stage(tmp_path, route(), team=Team(budget=Rate(3, HOUR), edits=True)) as house:
        for number in range(20):
            await house.alert(f"warning {number}", severity=WARNING)
        await house.passes(MINUTE)
        titles = [title for _, title in house.said("team")]
        assert titles[:3] == ["warning 0", "warning 1", "warning 2"]
        assert titles[3:] == ["17 problems beyond this channel's budget"]
        held = (await house.decisions("warning 5"))[0]
        assert held["targets"][0]["channel"] == "team"


async def test_a_summary_that_is_full_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its members are counted for each of its messages: it must not grow for ever."""
    monkeypatch.setattr(turning, "FULL", 10)
    async with stage(tmp_path, route(), team=Team(budget=Rate(3, HOUR), edits=True)) as house:
        for number in range(30):
            await house.alert(f"warning {number}", severity=WARNING)
            await house.passes(SECOND)
        await house.passes(MINUTE)
        summaries = {}
        for message in house.teams["team"].heard:
            if "problems" in message.title:
                summaries[message.incident.id] = int(message.incident.title.split()[0])
        assert sum(summaries.values()) == 27
        assert len(summaries) > 1
        assert max(summaries.values()) < 10 + 10


async def test_a_critical_one_passes_the_budget_alone(tmp_path: Path) -> None:
    async with stage(tmp_path, route(), team=Team(budget=Rate(3, HOUR))) as house:
        for number in range(10):
            await house.alert(f"warning {number}", severity=WARNING)
        await house.passes(MINUTE)
        await house.alert("database is down", severity=CRITICAL)
        await house.passes(SECOND)
        assert house.said("team")[-1] == ("opened", "database is down")


async def test_ten_thousand_groups_of_any_severity_are_at_most_twice_the_budget(tmp_path: Path) -> None:
    async with stage(tmp_path, route(), team=Team(budget=Rate(15, HOUR))) as house:
        for second in range(30):
            await house.post(*(
                _alert(f"{second}.{number}", Severity((number * 7 + second) % 5)) for number in range(100)
            ))  # fmt: skip
            await house.passes(SECOND)
        await house.passes(20 * MINUTE)
        heard = house.teams["team"].heard
        assert len(heard) <= 30
        alone = [message for message in heard if "problems" not in message.title]
        assert f"{3000 - len(alone):,} problems" in heard[-1].title
        assert len(await house.incidents()) == 1000  # the page's most
        assert (await house.pipeline.act("3000", _note())).number == 3000


def _alert(title: str, severity: Severity) -> Any:
    from gateway.model import Alert

    return Alert(title, title, severity)


def _note() -> Any:
    from gateway.model import Act

    return Act("note", "kim", "seen")


async def test_when_the_window_has_passed_messages_are_single_again(tmp_path: Path) -> None:
    async with stage(tmp_path, route(), team=Team(budget=Rate(2, HOUR))) as house:
        for number in range(4):
            await house.alert(f"a {number}")
        await house.passes(MINUTE)
        await house.passes(HOUR)
        await house.alert("later")
        await house.passes(SECOND)
        assert house.said("team")[-1] == ("opened", "later")


# --- silences -----------------------------------------------------------------------------------------


def silence(house: House, until: int, **keys: Any) -> Silence:
    keys = {"match": {"service": "db-*"}, "reason": "moving house", "by": "kim", **keys}
    return Silence(id="s1", until=house.clock() + until, made_at=house.clock(), **keys)


async def test_what_a_silence_covers_is_told_when_it_ends_if_it_still_fires(tmp_path: Path) -> None:
    async with stage(tmp_path, route()) as house:
        await house.pipeline.silence(silence(house, HOUR))
        await house.alert("a", service="db-1")
        await house.alert("b", service="db-1")
        await house.alert("c", service="web")
        await house.passes(MINUTE)
        assert house.said("team") == [("opened", "c")]
        assert (await house.incident("a")).muted_by == "silenced until 2026-11-20T13:00:00.000Z by kim: moving house"
        await resolve(house, "b", service="db-1")
        await house.passes(HOUR)
        assert house.said("team") == [("opened", "c"), ("opened", "a")]
        assert (await house.incident("a")).muted_by == ""


async def test_a_silence_stops_the_reminders_of_what_is_open_already(tmp_path: Path) -> None:
    async with stage(tmp_path, route(repeat_every="10m")) as house:
        await house.alert(service="db-1")
        await house.passes(MINUTE)
        await house.pipeline.silence(silence(house, HOUR))
        assert (await house.incident()).muted_by
        await house.passes(HOUR - MINUTE)
        assert occasions(house) == ["opened"]
        await house.passes(2 * MINUTE)
        assert occasions(house) == ["opened", "unmuted"]
        assert await house.changes() == ["opened", "muted", "unmuted"]


async def test_a_silence_that_hid_something_critical_says_so_when_it_ends(tmp_path: Path) -> None:
    async with stage(tmp_path, route()) as house:
        await house.pipeline.silence(silence(house, HOUR))
        await house.alert("gone", service="db-1", severity=CRITICAL)
        await resolve(house, "gone", service="db-1")
        await house.passes(HOUR)
        assert house.said("team") == [("opened", "A silence has ended that hid 1 critical problem")]
        assert house.teams["team"].heard[0].incident.source == GATEWAY


async def test_a_silence_ended_by_hand_lets_everything_be_told_at_once(tmp_path: Path) -> None:
    async with stage(tmp_path, route()) as house:
        await house.pipeline.silence(silence(house, HOUR))
        await house.alert(service="db-1")
        await house.pipeline.end_silence("s1")
        await house.passes(SECOND)
        assert occasions(house) == ["opened"]


async def test_one_problem_is_silenced_for_an_hour_by_a_button(tmp_path: Path) -> None:
    async with stage(tmp_path, route(repeat_every="20m")) as house:
        await house.alert()
        await house.passes(SECOND)
        await house.act("silence")
        await house.passes(59 * MINUTE)
        assert occasions(house) == ["opened"]
        await house.passes(2 * MINUTE)
        assert occasions(house) == ["opened", "unmuted"]


# --- mutes --------------------------------------------------------------------------------------------

NIGHT = {"time_zone": "UTC", "weekly": [{"days": "daily", "from": "12:30", "to": "13:00"}]}


async def test_a_mute_by_calendar_keeps_back_and_tells_at_its_end(tmp_path: Path) -> None:
    async with stage(tmp_path, route()) as house:
        house.order(
            calendars={"window": NIGHT},
            mutes=[{"name": "backup", "match": {"service": "db-*"}, "during": "window", "reason": "backups"}],
        )
        await house.passes(40 * MINUTE)
        await house.alert(service="db-1")
        await house.passes(MINUTE)
        assert house.said("team") == []
        assert (await house.incident()).muted_by == "mute backup: backups"
        hold = (await house.decisions())[0]["holds"][0]
        assert (hold["kind"], hold["name"], hold["until"]) == ("mute", "backup", "2026-11-20T13:00:00.000Z")
        await house.passes(20 * MINUTE)
        assert occasions(house) == ["opened"]


async def test_a_mute_that_is_taken_out_of_the_file_ends_at_once(tmp_path: Path) -> None:
    async with stage(tmp_path, route()) as house:
        house.order(calendars={"window": NIGHT}, mutes=[{"match": {}, "during": "window"}])
        await house.passes(31 * MINUTE)
        await house.alert()
        house.order(mutes=[])
        await reconsider_all(house.pipeline)
        await house.passes(SECOND)
        assert occasions(house) == ["opened"]


# --- inhibition ---------------------------------------------------------------------------------------

DOWN = [{"name": "down", "when": {"kind": "uptime"}, "mute": {"kind": "error"}, "same": ["service"]}]


async def test_a_site_that_is_down_mutes_its_own_errors_and_no_others(tmp_path: Path) -> None:
    async with stage(tmp_path, route()) as house:
        house.order(inhibit=DOWN)
        await house.alert("down", kind="uptime", service="shop")
        await house.alert("e1", kind="error", service="shop")
        await house.alert("e2", kind="error", service="blog")
        await house.alert("e3", kind="error")
        await house.passes(SECOND)
        assert house.said("team") == [("opened", "down"), ("opened", "e2"), ("opened", "e3")]
        assert (await house.incident("e1")).muted_by == "inhibited: down"
        await resolve(house, "down", kind="uptime", service="shop")
        await house.passes(SECOND)
        assert house.said("team")[3:] == [("resolved", "down"), ("opened", "e1")]


async def test_while_rules_change_what_is_not_looked_at_yet_still_mutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.pipeline.CONSIDERED_AT_ONCE", 1)
    async with stage(tmp_path, route()) as house:
        house.order(inhibit=DOWN)
        await house.alert("another", kind="disk")
        await house.alert("down", kind="uptime", service="shop")
        after = await house.pipeline.reconsider(BEFORE_ALL)  # a start with the same rules
        assert after is not None
        assert after[1] == "another"
        await house.alert("error", kind="error", service="shop")
        assert (await house.incident("error")).muted_by == "inhibited: down"
        after = await house.pipeline.reconsider(after)
        assert after is not None
        assert after[1] == "down"
        await house.alert("error 2", kind="error", service="shop")
        assert (await house.incident("error 2")).muted_by == "inhibited: down"


@pytest.mark.parametrize("others", [[], [{"when": {"kind": "x"}, "mute": {"kind": "y"}}]])
async def test_what_resolves_before_its_turn_inhibits_nobody_when_the_rule_comes_back(
    tmp_path: Path, others: list[dict[str, Any]]
) -> None:
    async with stage(tmp_path, route()) as house:
        house.order(inhibit=DOWN)
        await house.alert("down", kind="uptime", service="shop")
        house.order(inhibit=others)
        await resolve(house, "down", kind="uptime", service="shop")
        house.order(inhibit=DOWN)
        await house.alert("error", kind="error", service="shop")
        assert (await house.incident("error")).muted_by == ""


async def test_a_rule_without_a_name_is_known_wherever_it_stands(tmp_path: Path) -> None:
    down = {key: value for key, value in DOWN[0].items() if key != "name"}
    other = {"when": {"kind": "disk"}, "mute": {"kind": "latency"}, "same": ["service"]}
    async with stage(tmp_path, route()) as house:
        house.order(inhibit=[down])
        await house.alert("down", kind="uptime", service="shop")
        house.order(inhibit=[other, down])  # and what lives has not had its turn yet
        await house.alert("error", kind="error", service="shop")
        await house.alert("latency", kind="latency", service="shop")
        assert (await house.incident("error")).muted_by == "inhibited"
        assert (await house.incident("latency")).muted_by == ""


def test_a_rule_without_a_name_is_called_by_its_words_whoever_reads_it_and_how_often() -> None:
    block = {"when": {"kind": "uptime"}, "mute": {"kind": "error"}, "same": ["service"]}
    read = InhibitSettings.model_validate(block)
    called = read.called
    assert InhibitSettings.model_validate(dict(reversed(block.items()))).called == called
    assert InhibitSettings.model_validate(read).called == called
    assert InhibitSettings.model_validate({**block, "same": []}).called != called
    assert InhibitSettings.model_validate({**block, "name": "down"}).called == "down"


async def test_two_that_would_inhibit_each_other_hide_neither(tmp_path: Path) -> None:
    async with stage(tmp_path, route()) as house:
        house.order(inhibit=[{"when": {"severity": ">=critical"}, "mute": {}, "same": ["service"]}])
        await house.alert("one", severity=Severity.CRITICAL, service="shop")
        await house.alert("two", severity=Severity.CRITICAL, service="shop")
        await house.alert("three", severity=Severity.ERROR, service="shop")
        await house.passes(SECOND)
        assert house.said("team") == [("opened", "one"), ("opened", "two")]
        await house.alert("one", severity=Severity.EMERGENCY, service="shop")
        await house.passes(SECOND)
        assert house.said("team")[2:] == [("worsened", "one")]


async def test_what_is_less_bad_than_it_was_frees_whom_it_muted(tmp_path: Path) -> None:
    async with stage(tmp_path, route()) as house:
        house.order(inhibit=[{"when": {"severity": ">=critical"}, "mute": {}, "same": ["service"]}])
        await house.alert("one", severity=Severity.CRITICAL, service="shop")
        await house.alert("two", severity=Severity.ERROR, service="shop")
        await house.passes(SECOND)
        await house.alert("one", severity=Severity.WARNING, service="shop")
        await house.passes(SECOND)
        assert house.said("team") == [("opened", "one"), ("opened", "two")]


async def test_both_in_one_batch_count_in_their_order(tmp_path: Path) -> None:
    async with stage(tmp_path, route()) as house:
        house.order(inhibit=DOWN)
        from gateway.model import Alert

        await house.post(Alert("down", "down", kind="uptime", service="s"), Alert("e", "e", kind="error", service="s"))
        await house.passes(SECOND)
        assert house.said("team") == [("opened", "down")]


async def test_by_a_label_and_under_another_reason_it_stays_muted(tmp_path: Path) -> None:
    async with stage(tmp_path, route()) as house:
        house.order(inhibit=[{"when": {"kind": "uptime"}, "mute": {"kind": "error"}, "same": ["labels.site"]}])
        await house.alert("down", kind="uptime", labels={"site": "x"})
        await house.alert("e", kind="error", labels={"site": "x"})
        await house.pipeline.silence(silence(house, HOUR, match={"kind": "error"}))
        await resolve(house, "down", kind="uptime")
        await house.passes(SECOND)
        assert (await house.incident("e")).muted_by.startswith("silenced until ")
        assert house.said("team") == [("over", "down")]


async def test_what_is_acknowledged_when_its_mute_ends_is_not_told(tmp_path: Path) -> None:
    async with stage(tmp_path, route()) as house:
        await house.pipeline.silence(silence(house, HOUR))
        await house.alert(service="db-1")
        await house.act("acknowledge")
        await house.passes(2 * HOUR)
        assert house.said("team") == []
        assert (await house.decisions())[-1]["holds"][0]["kind"] == "acknowledged"


async def test_what_was_promised_and_not_said_is_taken_back_by_a_silence(tmp_path: Path) -> None:
    async with stage(tmp_path, route()) as house:
        await house.alert(service="db-1")
        await house.pipeline.silence(silence(house, HOUR))
        assert await house.deliver("team") == []


async def test_what_can_never_resolve_is_muted_and_flaps_never(tmp_path: Path) -> None:
    async with stage(tmp_path, route(flap={"changes": "1", "within": "1h"})) as house:
        for number in range(3):
            await house.alert(f"push {number}", momentary=True, fingerprint="push")
        await house.passes(SECOND)
        assert len(house.said("team")) == 3
        await house.pipeline.silence(silence(house, HOUR, match={"title": "push"}))
        await house.alert("push", momentary=True)
        await house.passes(2 * HOUR)
        assert len(house.said("team")) == 3


async def test_a_silence_of_one_problem_leaves_others_alone(tmp_path: Path) -> None:
    async with stage(tmp_path, route()) as house:
        await house.alert("a")
        await house.act("silence", title="a")
        await house.alert("b")
        await house.passes(SECOND)
        assert ("opened", "b") in house.said("team")


async def test_what_opens_and_ends_in_one_batch_leaves_no_timer(tmp_path: Path) -> None:
    from gateway.model import Alert

    async with stage(tmp_path, route(only_after="2m")) as house:
        await house.post(Alert("x", "x"), Alert("x", "x", status="resolved"))
        await house.passes(HOUR)
        assert house.said("team") == []


# --- expiry -------------------------------------------------------------------------------------------


async def test_what_is_silent_for_so_long_is_over(tmp_path: Path) -> None:
    async with stage(tmp_path, route()) as house:
        house.order(expire=[{"match": {"kind": "resource"}, "after": "2h"}])
        await house.alert(kind="resource")
        await house.passes(HOUR)
        await house.alert(kind="resource")
        await house.passes(2 * HOUR - SECOND)
        assert (await house.incident()).state == "open"
        await house.passes(SECOND)
        assert (await house.incident()).state == "resolved"
        assert occasions(house) == ["opened", "resolved"]


# --- a group is repeated ------------------------------------------------------------------------------


GROUPED = route(group_by=["service"], group_wait="30s", repeat_every="30m")


async def test_a_group_is_said_again_while_a_member_is_open_and_unacknowledged(tmp_path: Path) -> None:
    async with stage(tmp_path, GROUPED, team=Team(edits=True)) as house:
        await house.alert("a", service="checkout")
        await house.alert("b", service="checkout")
        await house.passes(HOUR + 2 * MINUTE)
        assert occasions(house) == ["opened", "reminded", "reminded"]
        last = house.teams["team"].heard[-1]
        assert (last.title, last.quiet) == ("STILL OPEN: ERROR 2 problems: service checkout", False)
        await house.act("acknowledge", title="a")
        await house.passes(30 * MINUTE)
        assert occasions(house).count("reminded") == 3
        await house.act("acknowledge", title="b")
        await house.passes(2 * HOUR)
        assert occasions(house).count("reminded") == 3


async def test_a_group_with_one_member_is_said_again_in_korean_and_ends_when_it_is_over(tmp_path: Path) -> None:
    async with stage(tmp_path, GROUPED) as house:
        house.outlets["team"] = replace(
            house.outlets["team"], voice=replace(house.outlets["team"].voice, language="ko")
        )
        await house.alert("a", service="checkout")
        await house.passes(31 * MINUTE)
        assert house.teams["team"].heard[-1].title == "미해결: 오류 a"
        await resolve(house, "a")
        await house.passes(2 * HOUR)
        assert occasions(house) == ["opened", "reminded", "resolved"]


async def test_a_group_whose_members_are_all_acknowledged_is_said_again_when_another_opens(tmp_path: Path) -> None:
    async with stage(tmp_path, GROUPED, team=Team(edits=True)) as house:
        await house.alert("a", service="checkout")
        await house.passes(MINUTE)
        await house.act("acknowledge", title="a")
        await house.passes(2 * HOUR)
        assert "reminded" not in occasions(house)
        await house.alert("b", service="checkout")
        await house.passes(32 * MINUTE)
        assert occasions(house)[-1] == "reminded"


async def test_a_groups_repeat_waits_for_the_end_of_a_silence(tmp_path: Path) -> None:
    async with stage(tmp_path, GROUPED, team=Team(edits=True)) as house:
        await house.alert("a", service="checkout")
        await house.alert("b", service="checkout")
        await house.passes(MINUTE)
        await house.pipeline.silence(silence(house, 2 * HOUR, match={"title": ["a", "b"]}))
        await house.passes(2 * HOUR - MINUTE)
        assert "reminded" not in occasions(house)
        await house.passes(32 * MINUTE)
        assert occasions(house).count("reminded") == 2  # when the silence ends, and half an hour later


async def test_a_group_is_said_again_when_only_some_of_it_is_muted(tmp_path: Path) -> None:
    async with stage(tmp_path, GROUPED, team=Team(edits=True)) as house:
        await house.alert("a", service="checkout")
        await house.alert("b", service="checkout")
        await house.passes(MINUTE)
        await house.act("silence", title="a", lasts=2 * HOUR)
        await house.passes(31 * MINUTE)
        assert occasions(house)[-1] == "reminded"


async def test_a_calendar_mute_keeps_a_groups_repeat_back(tmp_path: Path) -> None:
    async with stage(tmp_path, GROUPED, team=Team(edits=True)) as house:
        backup = {"time_zone": "UTC", "weekly": [{"days": "daily", "from": "12:20", "to": "14:10"}]}
        house.order(calendars={"backup": backup}, mutes=[{"name": "backup", "during": "backup"}])
        await house.alert("a", service="checkout")
        await house.passes(2 * HOUR)
        assert occasions(house) == ["opened"]
        await house.passes(11 * MINUTE)
        assert occasions(house) == ["opened", "reminded"]


async def test_a_groups_repeat_waits_for_room_in_the_budget(tmp_path: Path) -> None:
    async with stage(tmp_path, GROUPED, team=Team(edits=True, budget=Rate(2, 2 * HOUR))) as house:
        await house.alert("a", service="checkout")
        await house.alert("b", service="checkout")
        await house.passes(2 * HOUR)
        assert occasions(house) == ["opened", "reminded"]
        await house.alert("c", service="checkout")
        await house.passes(10 * MINUTE)
        aloud = [one.occasion for one in house.teams["team"].heard if not one.quiet]
        assert aloud == ["opened", "reminded", "reminded"]
        assert house.teams["team"].heard[-1].incident.count == 3


async def test_a_groups_repeat_survives_a_restart(tmp_path: Path) -> None:
    async with stage(tmp_path, GROUPED) as house:
        await house.alert("a", service="checkout")
        await house.passes(MINUTE)
    async with stage(tmp_path, GROUPED) as house:
        house.clock.push(MINUTE)
        await house.passes(31 * MINUTE)
        assert occasions(house) == ["reminded"]


async def test_a_group_that_is_over_is_not_said_again_for_one_that_came_back(tmp_path: Path) -> None:
    async with stage(tmp_path, GROUPED) as house:
        await house.alert("a", service="checkout")
        await house.passes(14 * MINUTE)
        await resolve(house, "a")
        await house.passes(MINUTE)
        await house.alert("a", service="checkout")  # in a conversation of its own
        await house.passes(29 * MINUTE)
        assert occasions(house) == ["opened", "resolved", "opened"]
        await house.passes(2 * MINUTE)
        assert occasions(house)[3:] == ["reminded"]


async def test_a_group_whose_route_is_gone_is_said_again_no_more(tmp_path: Path) -> None:
    async with stage(tmp_path, GROUPED) as house:
        await house.alert("a", service="checkout")
        await house.passes(MINUTE)
        house.route(route())
        await house.passes(2 * HOUR)
        assert occasions(house) == ["opened"]


# --- flapping across incidents ------------------------------------------------------------------------


async def test_a_chain_of_incidents_that_flaps_says_so_once(tmp_path: Path) -> None:
    async with stage(tmp_path, route(flap={"changes": "4", "within": "2h"})) as house:
        for _ in range(6):
            await house.alert()
            await house.passes(MINUTE)
            await resolve(house)
            await house.passes(11 * MINUTE)  # too long to be the same incident
        assert len(await house.incidents()) == 6
        assert occasions(house).count("flapping") == 1
        assert occasions(house)[-1] == "flapping"
        await house.passes(3 * HOUR)
        assert occasions(house)[-2:] == ["flapping", "steadied"]
        assert house.teams["team"].heard[-1].incident.state == "resolved"


async def test_a_chain_that_flaps_and_stays_open_is_told_as_it_stands(tmp_path: Path) -> None:
    async with stage(tmp_path, route(flap={"changes": "4", "within": "2h"})) as house:
        for _ in range(4):
            await house.alert()
            await house.passes(MINUTE)
            await resolve(house)
            await house.passes(11 * MINUTE)
        await house.alert()
        await house.passes(3 * HOUR)
        assert occasions(house)[-2:] == ["flapping", "steadied"]
        assert house.teams["team"].heard[-1].incident.state == "open"
        await resolve(house)
        await house.passes(MINUTE)
        assert occasions(house)[-1] == "resolved"


async def test_a_chain_that_comes_back_worse_says_so(tmp_path: Path) -> None:
    async with stage(tmp_path, route(flap={"changes": "4", "within": "2h"})) as house:
        for _ in range(4):
            await house.alert(severity=WARNING)
            await house.passes(MINUTE)
            await resolve(house)
            await house.passes(11 * MINUTE)
        assert occasions(house)[-1] == "flapping"
        heard = len(occasions(house))
        for _ in range(2):
            await house.alert(severity=CRITICAL)
            await house.passes(MINUTE)
            await resolve(house)
            await house.passes(11 * MINUTE)
        assert occasions(house)[heard:] == ["flapping"]
        assert house.teams["team"].heard[-1].incident.severity == CRITICAL


# --- small corners ------------------------------------------------------------------------------------


async def test_who_is_being_told_when_a_silence_comes_hears_of_the_end(tmp_path: Path) -> None:
    async with stage(tmp_path, route()) as house:
        await house.alert()
        claims = await house.claim("team")
        await house.pipeline.silence(silence(house, HOUR, match={"title": "disk"}))
        outlet = house.outlets["team"]
        await house.pipeline.turn(outlet, [await house.pipeline.say(outlet, one) for one in claims], 0)
        await resolve(house)
        await house.passes(MINUTE)
        assert occasions(house) == ["opened", "resolved"]


async def test_what_could_not_be_told_when_a_silence_came_is_taken_back_then(tmp_path: Path) -> None:
    async with stage(tmp_path, route()) as house:
        house.teams["team"].answers.append(Retry("busy"))
        await house.alert()
        claims = await house.claim("team")
        await house.pipeline.silence(silence(house, HOUR, match={"title": "disk"}))
        outlet = house.outlets["team"]
        await house.pipeline.turn(outlet, [await house.pipeline.say(outlet, one) for one in claims], 0)
        await house.passes(HOUR - MINUTE)
        assert occasions(house) == []
        await house.passes(2 * MINUTE)
        assert occasions(house) == ["opened"]


async def test_a_silence_upon_what_is_over_arms_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path, route()) as house:
        await house.alert()
        await resolve(house)
        with pytest.raises(Conflict, match="nothing to silence"):
            await house.act("silence")
        assert await house.store.read(lambda ledger: ledger.timers.next_due()) is None
        assert await house.store.read(lambda ledger: ledger.quiet.silences(house.clock())) == []
        assert (await house.incident()).muted_by == ""


async def test_what_a_note_has_told_within_the_cooldown_is_not_told_twice(tmp_path: Path) -> None:
    async with stage(tmp_path, route(cooldown="30m")) as house:
        await house.alert()
        await house.passes(MINUTE)
        await resolve(house)
        await house.passes(MINUTE)
        await house.alert()
        await house.passes(MINUTE)
        await house.act("note", note="looking")
        await house.passes(MINUTE)
        heard = occasions(house)
        await house.passes(HOUR)
        assert occasions(house) == heard == ["opened", "resolved", "reopened"]


# --- the words of a silence and of a note ---------------------------------------------------------------


async def test_a_silence_is_shown_until_when_and_whose_it_is(tmp_path: Path) -> None:
    async with stage(tmp_path, route(), team=Team(edits=True)) as house:
        await house.alert()
        await house.passes(SECOND)
        await house.pipeline.silence(silence(house, 2 * HOUR, match={"title": "disk"}, reason="deploy", by="anna"))
        await house.passes(SECOND)
        last = house.teams["team"].heard[-1]
        assert last.occasion == "muted"
        assert dict(last.facts)["Muted"] == "silenced until 14:00 UTC by anna: deploy"


async def test_a_silence_by_a_button_is_shown_until_when(tmp_path: Path) -> None:
    async with stage(tmp_path, route(), team=Team(edits=True)) as house:
        await house.alert()
        await house.passes(SECOND)
        await house.act("silence", by="kim")
        await house.passes(SECOND)
        assert dict(house.teams["team"].heard[-1].facts)["Muted"] == "silenced until 13:00 UTC by kim"


async def test_a_note_leaves_the_title_that_stands(tmp_path: Path) -> None:
    async with stage(tmp_path, route(), team=Team(edits=True)) as house:
        await house.alert()
        await house.passes(SECOND)
        await house.act("note", note="looking")
        await house.passes(SECOND)
        last = house.teams["team"].heard[-1]
        assert (last.title, last.standing) == ("NOTE: ERROR disk", "ERROR disk")


async def test_who_took_it_on_is_told_although_a_silence_came_before_that_was_said(tmp_path: Path) -> None:
    async with stage(tmp_path, route()) as house:
        await house.alert()
        await house.passes(SECOND)
        await house.act("acknowledge")
        await house.pipeline.silence(silence(house, HOUR, match={"title": "disk"}))
        await house.passes(2 * HOUR)
        assert occasions(house) == ["opened", "acknowledged"]
