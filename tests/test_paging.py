"""Paging: who is called, when, and when no more, told as stories in which the clock is pushed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.contracts import Pressed, Reported
from gateway.errors import BadField, Conflict, NotFound
from gateway.model import Act, Rejected, Retry, Sent, Severity
from tests.stage import HOUR, MINUTE, House, Team, stage

SECOND = 1_000
PEOPLE = {
    "kim": {"channels": ["kim_sms", "kim_tg"], "language": "ko"},
    "lee": {"channels": ["lee_sms"]},
}
PAGE = {"page": {"steps": [{"to": ["kim"]}, {"to": ["lee"], "after": "5m"}, {"to": ["ops"], "after": "15m"}]}}


def teams() -> dict[str, Team]:
    return {name: Team() for name in ("kim_sms", "kim_tg", "lee_sms", "ops")}


def paged(house: House) -> list[tuple[int, str, str]]:
    """(minutes since noon, channel, occasion) of every message, in their order."""
    from tests.stage import NOON

    heard = [
        ((message.incident.updated_at - NOON) // MINUTE, name, message.occasion)
        for name, team in house.teams.items()
        for message in team.heard
    ]
    return sorted(heard, key=lambda one: one[0])


def house_of(tmp_path: Path, *routes: dict[str, Any], default: tuple[str, ...] = ()) -> Any:
    return stage(tmp_path, *(routes or ({"name": "page", "to": ["page"]},)), default=default, **teams())


async def test_steps_are_told_at_their_times_until_nobody_answered_and_then_it_says_so(tmp_path: Path) -> None:
    async with house_of(tmp_path, default=("ops",)) as house:
        house.order(people=PEOPLE, escalations=PAGE)
        await house.alert()
        await house.passes(HOUR)
        assert paged(house) == [
            (0, "kim_sms", "opened"),
            (5, "lee_sms", "opened"),
            (15, "ops", "opened"),
            (25, "ops", "unanswered"),
        ]
        assert await house.changes() == ["opened", "escalated", "escalated", "unanswered"]


async def test_the_whole_is_repeated_as_often_as_the_file_says(tmp_path: Path) -> None:
    async with house_of(tmp_path) as house:
        steps = [{"to": "kim"}, {"to": "lee", "after": "5m"}]
        house.order(people=PEOPLE, escalations={"page": {"steps": steps, "repeat": "1"}})
        await house.alert()
        await house.passes(HOUR)
        assert [(at, name) for at, name, _ in paged(house)] == [
            (0, "kim_sms"),
            (5, "lee_sms"),
            (10, "kim_sms"),
            (15, "lee_sms"),
        ]


@pytest.mark.parametrize("verb", ["acknowledge", "resolve"])
async def test_escalation_stops_the_moment_anybody_acts(tmp_path: Path, verb: Any) -> None:
    async with house_of(tmp_path) as house:
        house.order(people=PEOPLE, escalations=PAGE)
        await house.alert()
        await house.passes(5 * MINUTE - 1)
        await house.act(verb)
        await house.passes(2 * HOUR)
        assert not house.teams["lee_sms"].heard
        assert not house.teams["ops"].heard


async def test_what_resolves_between_two_steps_pages_nobody_further(tmp_path: Path) -> None:
    async with house_of(tmp_path) as house:
        house.order(people=PEOPLE, escalations=PAGE)
        await house.alert()
        await house.passes(MINUTE)
        await house.alert(status="resolved")
        await house.passes(2 * HOUR)
        assert [(name, what) for _, name, what in paged(house)] == [("kim_sms", "opened"), ("kim_sms", "resolved")]


async def test_a_worse_one_reopens_what_was_acknowledged_and_pages_from_the_beginning(tmp_path: Path) -> None:
    async with house_of(tmp_path) as house:
        house.order(people=PEOPLE, escalations=PAGE)
        await house.alert(severity=Severity.ERROR)
        await house.passes(MINUTE)
        await house.act("acknowledge")
        await house.passes(HOUR)
        await house.alert(severity=Severity.CRITICAL)
        assert (await house.incident()).state == "open"
        await house.passes(6 * MINUTE)
        assert [one[1:] for one in paged(house)][-2:] == [("kim_sms", "worsened"), ("lee_sms", "opened")]


async def test_a_person_named_by_two_routes_is_told_once(tmp_path: Path) -> None:
    async with house_of(tmp_path, {"name": "a", "to": ["page"]}, {"name": "b", "to": ["kim", "kim_sms"]}) as house:
        house.order(people=PEOPLE, escalations=PAGE)
        await house.alert()
        await house.passes(MINUTE)
        assert house.said("kim_sms") == [("opened", "disk")]
        assert house.said("kim_tg") == []


async def test_quiet_hours_put_off_what_is_mild_and_nothing_else(tmp_path: Path) -> None:
    night = {"time_zone": "UTC", "weekly": [{"days": "daily", "from": "11:00", "to": "14:00"}]}
    kim = {**PEOPLE["kim"], "quiet": {"during": "night", "below": "critical"}}
    async with house_of(tmp_path, {"name": "all", "to": ["kim"]}) as house:
        house.order(calendars={"night": night}, people={"kim": kim})
        await house.alert("mild")
        await house.alert("bad", severity=Severity.CRITICAL)
        await house.alert("short")
        await house.passes(HOUR)
        assert house.said("kim_sms") == [("opened", "bad")]
        await house.alert("short", status="resolved")
        await house.passes(2 * HOUR)
        assert house.said("kim_sms") == [("opened", "bad"), ("opened", "mild")]


async def test_a_person_hears_in_his_own_language(tmp_path: Path) -> None:
    async with house_of(tmp_path, {"name": "all", "to": ["kim", "lee"]}) as house:
        house.order(people=PEOPLE)
        await house.alert()
        await house.passes(SECOND)
        assert house.teams["kim_sms"].heard[0].language == "ko"
        assert house.teams["lee_sms"].heard[0].language == "en"


# --- reaching -----------------------------------------------------------------------------------------


async def test_what_the_vendor_could_not_deliver_goes_to_the_persons_next_channel_at_once(tmp_path: Path) -> None:
    async with house_of(tmp_path) as house:
        house.order(people=PEOPLE, escalations=PAGE)
        house.teams["kim_sms"].answers.append(Sent({"sid": {"+821": "SM1"}}))
        await house.alert()
        await house.passes(SECOND)
        delivery = (await house.deliveries())["kim_sms"]
        report = Reported("SM1 undelivered", delivery.id, "undelivered", "SM1", "+821", "30003")
        await house.pipeline.reported("kim_sms", report)
        await house.passes(SECOND)
        assert house.said("kim_tg") == [("opened", "disk")]
        assert (await house.deliveries())["kim_sms"].reached == "undelivered"
        await house.pipeline.reported("kim_sms", report)  # vendors repeat themselves
        await house.passes(SECOND)
        assert len(house.said("kim_tg")) == 1


async def test_where_no_channel_is_left_the_gateway_says_that_somebody_was_not_reached(tmp_path: Path) -> None:
    async with house_of(tmp_path, {"name": "all", "to": ["lee"]}, {"name": "own", "to": ["ops"]}) as house:
        house.order(people=PEOPLE)
        house.teams["lee_sms"].answers.append(Sent({"sid": {"+822": "SM2"}}))
        await house.alert()
        await house.passes(SECOND)
        delivery = (await house.deliveries())["lee_sms"]
        await house.pipeline.reported(
            "lee_sms", Reported("SM2 failed", delivery.id, "undelivered", "SM2", "+822", "30006")
        )
        await house.decide()
        await house.passes(SECOND)
        assert ("opened", "Channel lee_sms does not reach all of its recipients") in house.said("ops")


async def test_a_page_that_fails_again_and_again_goes_on_over_the_next_channel(tmp_path: Path) -> None:
    async with house_of(tmp_path) as house:
        house.order(people=PEOPLE, escalations=PAGE)
        house.teams["kim_sms"].answers.extend([Retry("busy")] * 5)
        await house.alert()
        await house.passes(2 * MINUTE)
        assert house.said("kim_tg") == [("opened", "disk")]
        assert ("opened", "disk") in house.said("kim_sms"), "it goes on trying"


async def test_a_report_about_a_message_that_is_none_of_ours_changes_nothing(tmp_path: Path) -> None:
    async with house_of(tmp_path) as house:
        house.order(people=PEOPLE, escalations=PAGE)
        house.teams["kim_sms"].answers.append(Sent({"sid": {"+821": "SM1"}}))
        await house.alert()
        await house.passes(SECOND)
        delivery = (await house.deliveries())["kim_sms"]
        await house.pipeline.reported("kim_sms", Reported("k", delivery.id, "undelivered", "SM-other"))
        await house.pipeline.reported("lee_sms", Reported("k", delivery.id, "undelivered", "SM1"))
        assert (await house.deliveries())["kim_sms"].reached == "unknown"


async def test_a_dead_letter_to_a_person_goes_to_his_next_channel(tmp_path: Path) -> None:
    async with house_of(tmp_path) as house:
        house.order(people=PEOPLE, escalations=PAGE)
        house.teams["kim_sms"].answers.append(Rejected("no such number"))
        await house.alert()
        await house.passes(MINUTE)
        assert sorted(house.said("kim_tg")) == [
            ("opened", "Channel kim_sms fails: a message was given up"),
            ("opened", "disk"),
        ]


# --- people act ---------------------------------------------------------------------------------------


async def test_who_was_first_is_named_to_who_was_second(tmp_path: Path) -> None:
    async with house_of(tmp_path, {"name": "all", "to": ["ops"]}) as house:
        await house.alert()
        acknowledged = await house.act("acknowledge", "kim")
        assert (acknowledged.state, acknowledged.acknowledged_by) == ("acknowledged", "kim")
        assert await house.act("acknowledge", "kim") == acknowledged
        with pytest.raises(Conflict, match=r"#1 was acknowledged by kim first, at 2026-11-20 12:00 UTC"):
            await house.act("acknowledge", "lee")
        await house.act("resolve", "lee", note="new disk")
        with pytest.raises(Conflict, match="#1 is resolved already, by lee, 2026-11-20 12:00 UTC"):
            await house.act("acknowledge", "lee")
        assert await house.act("resolve", "kim") == await house.incident()
        assert (await house.act("reopen", "kim")).state == "open"
        assert await house.changes() == ["opened", "acknowledged", "resolved", "reopened"]
        await house.passes(SECOND)
        assert house.said("ops") == [("opened", "disk")]


async def test_everyone_who_heard_hears_who_acted(tmp_path: Path) -> None:
    async with house_of(tmp_path, {"name": "all", "to": ["ops", "lee_sms"]}) as house:
        await house.alert()
        await house.passes(SECOND)
        await house.act("acknowledge", "kim", via="ops")
        await house.act("note", "kim", note="looking")
        await house.passes(SECOND)
        assert house.said("lee_sms")[-1][0] in ("noted", "acknowledged")


async def test_an_assignee_who_has_not_heard_is_told(tmp_path: Path) -> None:
    async with house_of(tmp_path, {"name": "all", "to": ["ops"]}) as house:
        house.order(people=PEOPLE)
        await house.alert()
        await house.passes(SECOND)
        assert (await house.act("assign", "kim", person="lee")).assigned_to == "lee"
        await house.passes(SECOND)
        assert len(house.said("lee_sms")) == 1
        with pytest.raises(BadField, match="nobody of routing"):
            await house.act("assign", "kim", person="park")


async def test_a_problem_that_is_open_again_as_another_incident_cannot_be_reopened(tmp_path: Path) -> None:
    async with house_of(tmp_path, {"name": "all", "to": ["ops"]}) as house:
        await house.alert()
        first = await house.act("resolve")
        await house.passes(HOUR)
        await house.alert()
        with pytest.raises(Conflict, match="#1 cannot be reopened: #2 is open"):
            await house.pipeline.act(first.id, Act("reopen", "kim"))
        with pytest.raises(NotFound):
            await house.pipeline.act("77", Act("reopen", "kim"))


async def test_who_is_nobody_of_the_file_can_be_assigned_where_there_are_no_people(tmp_path: Path) -> None:
    async with house_of(tmp_path, {"name": "all", "to": ["ops"]}) as house:
        await house.alert()
        await house.passes(SECOND)
        assert (await house.act("assign", "kim", person="somebody")).assigned_to == "somebody"


async def test_a_step_may_begin_another_escalation(tmp_path: Path) -> None:
    async with house_of(tmp_path, default=("ops",)) as house:
        two = {"page": {"steps": [{"to": "kim"}, {"to": "leads", "after": "5m"}]}, "leads": {"steps": [{"to": "lee"}]}}
        house.order(people=PEOPLE, escalations=two)
        await house.alert()
        await house.passes(HOUR)
        assert [(at, name) for at, name, _ in paged(house)][:2] == [(0, "kim_sms"), (5, "lee_sms")]
        assert (await house.changes()).count("unanswered") == 2


async def test_what_gets_worse_goes_on_with_the_escalation_under_way(tmp_path: Path) -> None:
    async with house_of(tmp_path) as house:
        house.order(people=PEOPLE, escalations=PAGE)
        await house.alert(severity=Severity.WARNING)
        await house.passes(4 * MINUTE)
        await house.alert(severity=Severity.CRITICAL)
        await house.passes(MINUTE)
        assert len(house.teams["lee_sms"].heard) == 1


# --- presses ------------------------------------------------------------------------------------------


async def agrees(_channel: str, where: Any, ref: Any) -> bool:
    return all(ref.get(key) == value for key, value in where.items())


async def test_a_press_counts_once_and_only_about_what_was_said_there(tmp_path: Path) -> None:
    async with house_of(tmp_path, {"name": "all", "to": ["ops"]}) as house:
        house.pipeline.agrees = agrees
        house.teams["ops"].answers.append(Sent({"ts": "1"}))
        await house.alert()
        await house.passes(SECOND)
        id_ = (await house.incident()).id
        press = Pressed("p1", "acknowledge", "kim", subject=id_, where={"ts": "1"})
        elsewhere = Pressed("p0", "acknowledge", "kim", subject=id_, where={"ts": "2"})
        assert "Nothing" in await house.pipeline.pressed("ops", elsewhere)
        assert "Nothing" in await house.pipeline.pressed("lee_sms", elsewhere)
        assert (await house.incident()).state == "open"
        assert await house.pipeline.pressed("ops", press) == "Acknowledged #1 disk"
        assert await house.pipeline.pressed("ops", press) == ""
        second = Pressed("p2", "acknowledge", "lee", subject=id_, where={"ts": "1"})
        assert "acknowledged by kim first" in await house.pipeline.pressed("ops", second)
        await house.act("resolve")
        late = Pressed("p3", "acknowledge", "lee", subject=id_, where={"ts": "1"})
        assert await house.pipeline.pressed("ops", late) == "#1 is resolved already."


async def test_a_reply_means_the_newest_told_to_that_number_or_the_one_it_names(tmp_path: Path) -> None:
    async with house_of(tmp_path, {"name": "all", "to": ["kim_sms"]}) as house:
        house.teams["kim_sms"].answers.extend([Sent({"sid": {"+821": "S1"}}), Sent({"sid": {"+821": "S2"}})])
        await house.alert("first")
        await house.passes(MINUTE)
        await house.alert("second")
        await house.passes(MINUTE)
        newest = Pressed("m1", "acknowledge", "+821", address="+821")
        assert await house.pipeline.pressed("kim_sms", newest) == "Acknowledged #2 second"
        named = Pressed("m2", "resolve", "+821", number=1, address="+821")
        assert await house.pipeline.pressed("kim_sms", named) == "Resolved #1 first"
        stranger = Pressed("m3", "resolve", "+829", number=2, address="+829")
        assert "Nothing" in await house.pipeline.pressed("kim_sms", stranger)


# --- crashes and clocks -------------------------------------------------------------------------------


async def test_a_clock_put_forward_calls_nobody_early(tmp_path: Path) -> None:
    async with house_of(tmp_path) as house:
        house.order(people=PEOPLE, escalations=PAGE)
        await house.alert()
        await house.passes(MINUTE)
        await house.pipeline.shift(HOUR)
        house.clock.push(HOUR)
        await house.passes(4 * MINUTE - SECOND)
        assert not house.teams["lee_sms"].heard
        await house.passes(SECOND)
        assert len(house.teams["lee_sms"].heard) == 1


# --- repeats and quiet hours --------------------------------------------------------------------------


@pytest.mark.parametrize("grouped", [{}, {"group_by": ["service"], "group_wait": "30s"}])
async def test_what_is_mild_is_not_repeated_in_a_persons_quiet_hours(tmp_path: Path, grouped: dict[str, Any]) -> None:
    night = {"time_zone": "UTC", "weekly": [{"days": "daily", "from": "12:20", "to": "14:00"}]}
    kim = {**PEOPLE["kim"], "quiet": {"during": "night", "below": "critical"}}
    again = {"name": "all", "to": ["kim"], "repeat_every": "30m", **grouped}
    async with house_of(tmp_path, again) as house:
        house.order(calendars={"night": night}, people={"kim": kim})
        await house.alert()
        await house.passes(2 * HOUR - SECOND)
        assert house.said("kim_sms") == [("opened", "disk")]
        await house.passes(MINUTE)
        assert house.said("kim_sms") == [("opened", "disk"), ("reminded", "disk")]
        await house.passes(31 * MINUTE)
        assert len(house.said("kim_sms")) == 3


async def test_what_is_critical_is_repeated_for_a_group_in_quiet_hours(tmp_path: Path) -> None:
    night = {"time_zone": "UTC", "weekly": [{"days": "daily", "from": "12:20", "to": "14:00"}]}
    kim = {**PEOPLE["kim"], "quiet": {"during": "night", "below": "critical"}}
    again = {"name": "all", "to": ["kim"], "repeat_every": "30m", "group_by": ["service"], "group_wait": "30s"}
    async with house_of(tmp_path, again) as house:
        house.order(calendars={"night": night}, people={"kim": kim})
        await house.alert(severity=Severity.CRITICAL)
        await house.passes(31 * MINUTE)
        assert house.said("kim_sms") == [("opened", "disk"), ("reminded", "disk")]


async def test_a_critical_one_that_is_silenced_breaks_nobodys_quiet_hours(tmp_path: Path) -> None:
    night = {"time_zone": "UTC", "weekly": [{"days": "daily", "from": "12:20", "to": "14:00"}]}
    kim = {**PEOPLE["kim"], "quiet": {"during": "night", "below": "critical"}}
    again = {"name": "all", "to": ["kim"], "repeat_every": "30m", "group_by": ["service"], "group_wait": "30s"}
    async with house_of(tmp_path, again) as house:
        house.order(calendars={"night": night}, people={"kim": kim})
        await house.alert("mild")
        await house.alert("bad", severity=Severity.CRITICAL)
        await house.passes(MINUTE)
        await house.act("silence", title="bad", lasts=HOUR)
        await house.passes(59 * MINUTE)
        assert len(house.said("kim_sms")) == 1
