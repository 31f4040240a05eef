from __future__ import annotations

import datetime as dt
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.model import Millis, Override
from gateway.rules.calendars import CalendarSettings
from gateway.rules.rotations import RotationSettings
from gateway.rules.shifts import OnCall, Shift, gaps, in_weeks, on_call, shifts, weekly_grid
from gateway.rules.shifts import who as rules_who

HOUR: Millis = 3_600_000
DAY: Millis = 24 * HOUR
WEEK: Millis = 7 * DAY
OFFICE = CalendarSettings.model_validate(
    {"time_zone": "Asia/Seoul", "weekly": [{"days": "mon-fri", "from": "09:00", "to": "18:00"}]}
)
CALENDARS = {"office": OFFICE}


def at(text: str) -> Millis:
    return round(dt.datetime.fromisoformat(text).timestamp() * 1000)


def rotation(**tree: Any) -> RotationSettings:
    return RotationSettings.model_validate({"members": ["kim", "lee"], "time_zone": "Asia/Seoul", **tree})


def layered(*layers: dict[str, Any], **tree: Any) -> RotationSettings:
    return RotationSettings.model_validate({"time_zone": "Asia/Seoul", "layers": list(layers), **tree})


def who(of: RotationSettings, moment: str, *overrides: Override) -> str:
    return rules_who(of, "primary", CALENDARS, overrides, at(moment))


def instead(member: str, begin: str, end: str, **more: Any) -> Override:
    return Override(more.pop("rotation", "primary"), member, at(begin), at(end), **{"id": "1", **more})


# --- turns --------------------------------------------------------------------------------------------


def test_a_week_is_handed_on_by_the_clock_on_the_wall() -> None:
    weekly = rotation(handoff={"every": "week", "day": "mon", "at": "09:00"}, start="2026-01-05")
    assert who(weekly, "2026-01-05T09:00+09:00") == "kim"
    assert who(weekly, "2026-01-12T08:59+09:00") == "kim"
    assert who(weekly, "2026-01-12T09:00+09:00") == "lee"
    assert who(weekly, "2026-01-19T09:00+09:00") == "kim"
    assert who(weekly, "2026-01-05T08:59+09:00") == "lee", "before its start turns are counted backwards"


def test_a_day_is_handed_on_every_day() -> None:
    daily = rotation(members=["kim", "lee", "park"], handoff={"every": "day", "at": "18:00"}, start="2026-01-05")
    assert [who(daily, f"2026-01-{day:02}T18:00+09:00") for day in range(5, 9)] == ["kim", "lee", "park", "kim"]
    assert who(daily, "2026-01-06T17:59+09:00") == "kim"


def test_without_a_start_turns_are_counted_from_the_first_monday_of_1970() -> None:
    weekly = rotation(time_zone="UTC")
    assert who(weekly, "1970-01-05T09:00+00:00") == "kim"
    assert who(weekly, "1970-01-12T09:00+00:00") == "lee"
    weeks = (at("2026-01-05T09:00+00:00") - at("1970-01-05T09:00+00:00")) // WEEK
    assert who(weekly, "2026-01-05T09:00+00:00") == ("kim", "lee")[weeks % 2]


def test_a_start_within_a_week_lies_in_the_first_members_turn() -> None:
    weekly = rotation(handoff={"day": "mon"}, start="2026-01-07")
    assert who(weekly, "2026-01-07T12:00+09:00") == "kim"
    assert who(weekly, "2026-01-12T09:00+09:00") == "lee"


def test_a_shift_says_since_when_and_until_when() -> None:
    weekly = rotation(start="2026-01-05")
    assert on_call(weekly, "primary", {}, (), at("2026-01-08T00:00+09:00")) == OnCall(
        "kim", at("2026-01-05T09:00+09:00"), at("2026-01-12T09:00+09:00"), "rotation"
    )


def test_who_is_always_on_call_is_so_since_ever_and_for_ever() -> None:
    alone = rotation(members=["kim"], start="2026-01-05")
    assert on_call(alone, "primary", {}, (), at("2026-01-05T09:00+09:00")) == OnCall("kim", None, None, "rotation")


def test_a_change_that_is_far_away_is_found() -> None:
    """Beyond all turns: an override, and a date of a calendar."""
    begin, end = at("2026-01-01T00:00+09:00"), at("2026-12-25T00:00+09:00")
    filed = rotation(
        members=["kim"], overrides=[{"member": "lee", "from": "2025-03-01T00:00", "to": "2026-01-01T00:00"}]
    )
    wished = instead("park", "2026-12-25T00:00+09:00", "2026-12-26T00:00+09:00")
    moment = at("2026-06-05T12:00+09:00")
    assert on_call(filed, "primary", {}, [wished], moment) == OnCall("kim", begin, end, "rotation")
    hours = {
        "time_zone": "Asia/Seoul",
        "weekly": [{"days": "daily", "from": "00:00", "to": "24:00"}],
        "except": ["2025-12-31", "2026-12-25"],
    }
    always = {"always": CalendarSettings.model_validate(hours)}
    by_calendar = layered({"members": ["kim"], "during": "always"})
    assert on_call(by_calendar, "primary", always, (), moment) == OnCall("kim", begin, end, "layer 0")


def test_many_members_wait_long_for_their_turn() -> None:
    long = rotation(members=["kim"] * 8 + ["lee"], start="2026-01-05")
    assert on_call(long, "primary", {}, (), at("2026-01-05T09:00+09:00")) == OnCall(
        "kim", at("2026-01-05T09:00+09:00"), at("2026-03-02T09:00+09:00"), "rotation"
    )


def test_what_lasts_longer_than_a_week_is_cut_where_weeks_begin() -> None:
    weekly = rotation(start="2026-01-05")
    grid = weekly_grid(weekly)
    begin, end = at("2026-01-08T00:00+09:00"), at("2026-01-20T00:00+09:00")
    cuts = [begin, at("2026-01-12T09:00+09:00"), at("2026-01-19T09:00+09:00"), end]
    assert in_weeks(Shift("kim", begin, end, ""), grid) == [Shift("kim", a, b, "") for a, b in pairwise(cuts)]
    for whole in (Shift("kim", begin, begin + WEEK, ""), Shift("kim", cuts[1], cuts[2], "")):
        assert in_weeks(whole, grid) == [whole]


def test_without_members_there_is_nobody_to_be_on_call() -> None:
    nobody = rotation().model_copy(update={"members": ()})  # no file can say so
    assert on_call(nobody, "primary", {}, (), 0) is None
    assert rules_who(nobody, "primary", {}, (), 0) == ""
    assert list(gaps(nobody, {}, 0, WEEK)) == [(0, WEEK)]


# --- summer time --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "before", "after"),
    [
        ("Europe/Berlin", "2026-03-23T09:00+01:00", "2026-03-30T09:00+02:00"),
        ("Europe/Berlin", "2026-10-19T09:00+02:00", "2026-10-26T09:00+01:00"),
        ("America/New_York", "2026-03-02T09:00-05:00", "2026-03-09T09:00-04:00"),
        ("America/New_York", "2026-10-26T09:00-04:00", "2026-11-02T09:00-05:00"),
    ],
)
def test_summer_time_moves_no_handoff(zone: str, before: str, after: str) -> None:
    weekly = rotation(time_zone=zone)
    found = shifts(weekly, "primary", {}, (), at(before), at(after) + 1)
    assert [(shift.begin, shift.end) for shift in found] == [(at(before), at(after)), (at(after), at(after) + 1)]


@pytest.mark.parametrize(
    ("zone", "day", "hour", "instant"),
    [
        ("Europe/Berlin", "2026-03-29", "02:30", "2026-03-29T03:00+02:00"),  # skipped: when the gap ends
        ("Europe/Berlin", "2026-10-25", "02:30", "2026-10-25T02:30+02:00"),  # twice: the first
        ("America/New_York", "2026-03-08", "02:30", "2026-03-08T03:00-04:00"),
        ("America/New_York", "2026-11-01", "01:30", "2026-11-01T01:30-04:00"),
    ],
)
def test_a_handoff_in_an_hour_that_is_skipped_or_comes_twice(zone: str, day: str, hour: str, instant: str) -> None:
    daily = rotation(time_zone=zone, handoff={"every": "day", "at": hour}, start=day)
    before = on_call(daily, "primary", {}, (), at(instant) - 1)
    assert before is not None
    assert (before.member, before.until) == ("lee", at(instant))
    for later in (0, HOUR - 1, HOUR, 20 * HOUR):
        shift = on_call(daily, "primary", {}, (), at(instant) + later)
        assert shift is not None
        assert (shift.member, shift.since) == ("kim", at(instant))


# --- layers -------------------------------------------------------------------------------------------


def test_the_first_layer_on_duty_decides() -> None:
    by_day = layered({"members": ["kim"], "during": "office"}, {"members": ["lee"]})
    assert who(by_day, "2026-01-05T12:00+09:00") == "kim"
    assert who(by_day, "2026-01-05T20:00+09:00") == "lee"
    shift = on_call(by_day, "primary", CALENDARS, (), at("2026-01-03T12:00+09:00"))
    assert shift == OnCall("lee", at("2026-01-02T18:00+09:00"), at("2026-01-05T09:00+09:00"), "layer 1")


def test_when_no_layer_is_on_duty_there_is_a_gap() -> None:
    office_only = layered({"members": ["kim"], "during": "office"})
    begin, end = at("2026-01-05T00:00+09:00"), at("2026-01-06T00:00+09:00")
    assert list(gaps(office_only, CALENDARS, begin, end)) == [
        (begin, at("2026-01-05T09:00+09:00")),
        (at("2026-01-05T18:00+09:00"), end),
    ]
    assert on_call(office_only, "primary", CALENDARS, (), begin) == OnCall(
        "", at("2026-01-02T18:00+09:00"), at("2026-01-05T09:00+09:00"), "no layer is on duty"
    )


def test_a_calendar_that_nobody_configured_is_closed() -> None:
    lost = layered({"members": ["kim"], "during": "ofice"})
    assert list(gaps(lost, CALENDARS, 0, DAY)) == [(0, DAY)]


def test_a_layer_takes_the_rotations_handoff_and_start_where_it_has_none() -> None:
    members = ["kim", "lee"]
    two = layered(
        {"members": members, "during": "office"},
        {"members": members, "handoff": {"every": "week"}, "start": "2026-01-12"},
        handoff={"every": "day", "at": "00:00"},
        start="2026-01-05",
    )
    assert [who(two, f"2026-01-0{day}T12:00+09:00") for day in (5, 6, 7)] == ["kim", "lee", "kim"]
    assert [who(two, f"2026-01-{day}T20:00+09:00") for day in ("05", "06", "12", "13")] == ["lee", "lee", "kim", "kim"]


# --- overrides ----------------------------------------------------------------------------------------


def test_an_override_holds_from_its_begin_up_to_its_end() -> None:
    weekly = rotation(start="2026-01-05")
    lee = instead("lee", "2026-01-06T10:00+09:00", "2026-01-07T10:00+09:00", by="kim")
    assert who(weekly, "2026-01-06T09:59+09:00", lee) == "kim"
    assert who(weekly, "2026-01-06T10:00+09:00", lee) == "lee"
    assert who(weekly, "2026-01-07T10:00+09:00", lee) == "kim"
    found = shifts(weekly, "primary", {}, (lee,), at("2026-01-05T09:00+09:00"), at("2026-01-12T09:00+09:00"))
    assert [(shift.member, shift.because) for shift in found] == [
        ("kim", "rotation"),
        ("lee", "override by kim"),
        ("kim", "rotation"),
    ]


def test_an_override_of_another_rotation_changes_nothing() -> None:
    other = instead("lee", "2026-01-06T10:00+09:00", "2026-01-07T10:00+09:00", rotation="secondary")
    assert who(rotation(start="2026-01-05"), "2026-01-06T12:00+09:00", other) == "kim"


def test_an_override_for_one_member_holds_only_in_that_ones_turn() -> None:
    for_lee = instead("park", "2026-01-05T00:00+09:00", "2026-02-05T00:00+09:00", instead_of="lee")
    weekly = rotation(start="2026-01-05")
    assert who(weekly, "2026-01-06T12:00+09:00", for_lee) == "kim"
    shift = on_call(weekly, "primary", {}, (for_lee,), at("2026-01-13T12:00+09:00"))
    assert shift == OnCall("park", at("2026-01-12T09:00+09:00"), at("2026-01-19T09:00+09:00"), "override")


def test_the_override_that_begins_last_wins_and_people_go_before_the_file() -> None:
    filed = rotation(
        start="2026-01-05",
        overrides=[
            {"member": "file-long", "from": "2026-01-05T10:00", "to": "2026-01-09T00:00"},
            {"member": "file-new", "from": "2026-01-08T00:00", "to": "2026-01-08T12:00+09:00"},
        ],
    )
    long = instead("long", "2026-01-06T10:00+09:00", "2026-01-08T06:00+09:00")
    new = instead("new", "2026-01-07T10:00+09:00", "2026-01-07T12:00+09:00", id="2")
    found = [
        who(filed, f"2026-01-{moment}+09:00", new, long)
        for moment in ("05T11:00", "06T12:00", "07T11:00", "07T13:00", "08T05:00", "08T07:00", "08T13:00")
    ]
    assert found == ["file-long", "long", "new", "long", "long", "file-new", "file-long"]
    shift = on_call(filed, "primary", {}, (), at("2026-01-05T12:00+09:00"))
    assert shift is not None
    assert shift.because == "override in the file"


def test_the_files_overrides_fill_gaps() -> None:
    office_only = layered(
        {"members": ["kim"], "during": "office"},
        overrides=[{"member": "lee", "from": "2026-01-05T00:00", "to": "2026-01-05T09:00"}],
    )
    begin, end = at("2026-01-05T00:00+09:00"), at("2026-01-05T18:00+09:00")
    assert list(gaps(office_only, CALENDARS, begin, end)) == []


def test_who_stands_in_for_one_member_fills_no_gap() -> None:
    for_lee = layered(
        {"members": ["kim"], "during": "office"},
        overrides=[{"member": "park", "for": "lee", "from": "2026-01-05T00:00", "to": "2026-01-05T09:00"}],
    )
    begin, end = at("2026-01-05T00:00+09:00"), at("2026-01-05T09:00+09:00")
    assert list(gaps(for_lee, CALENDARS, begin, end)) == [(begin, end)]
    assert list(gaps(for_lee, CALENDARS, end, end)) == []


# --- properties ---------------------------------------------------------------------------------------

_ZONES = ("Europe/Berlin", "America/New_York", "Asia/Seoul", "UTC", "Pacific/Apia", "Australia/Lord_Howe")
_HOURS = st.sampled_from(["00:00", "01:30", "02:00", "02:30", "09:00", "23:59"])
_HANDOFFS = st.one_of(
    st.fixed_dictionaries({"every": st.just("day"), "at": _HOURS}),
    st.fixed_dictionaries({"every": st.just("week"), "day": st.sampled_from(["mon", "wed", "sun"]), "at": _HOURS}),
)
_LAYERS = st.lists(
    st.fixed_dictionaries(
        {"members": st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True), "handoff": _HANDOFFS},
        optional={"during": st.just("office"), "start": st.sampled_from(["2026-03-01", "2026-10-28"])},
    ),
    min_size=1,
    max_size=3,
)
_INSTANTS = st.integers(at("2026-03-01T00:00+00:00"), at("2026-12-01T00:00+00:00"))
_WISHES = st.lists(
    st.builds(
        lambda member, begin, lasts, of: Override("primary", member, begin, begin + lasts, "1", of),
        st.sampled_from("abcx"),
        _INSTANTS,
        st.integers(1, 2 * WEEK),
        st.sampled_from(["", "a"]),
    ),
    max_size=3,
)


@settings(deadline=None)
@given(_LAYERS, st.sampled_from(_ZONES), _WISHES, _INSTANTS, st.integers(1, 3 * WEEK), st.data())
def test_shifts_cover_the_span_and_agree_with_who_is_on_call(
    layers: list[dict[str, Any]], zone: str, wishes: list[Override], begin: Millis, lasts: Millis, data: st.DataObject
) -> None:
    of = layered(*layers, time_zone=zone)
    found = shifts(of, "primary", CALENDARS, wishes, begin, begin + lasts)
    assert found[0].begin == begin
    assert found[-1].end == begin + lasts
    assert all(one.end == other.begin for one, other in pairwise(found))
    assert all((one.member, one.because) != (other.member, other.because) for one, other in pairwise(found))
    assert all(shift.begin < shift.end for shift in found)
    moment = data.draw(st.integers(begin, begin + lasts - 1))
    (within,) = (shift for shift in found if shift.begin <= moment < shift.end)
    now = on_call(of, "primary", CALENDARS, wishes, moment)
    assert now is not None
    assert (now.member, now.because) == (within.member, within.because)
    assert now.since is None or now.since <= moment
    assert now.until is None or moment < now.until
    assert now.member == rules_who(of, "primary", CALENDARS, wishes, moment)
    if within not in (found[0], found[-1]):
        assert (now.since, now.until) == (within.begin, within.end)


@settings(deadline=None)
@given(_LAYERS, st.sampled_from(_ZONES), _INSTANTS, st.integers(1, 3 * WEEK))
def test_gaps_are_the_shifts_of_nobody(layers: list[dict[str, Any]], zone: str, begin: Millis, lasts: Millis) -> None:
    of = layered(*layers, time_zone=zone)
    found = shifts(of, "primary", CALENDARS, (), begin, begin + lasts)
    assert list(gaps(of, CALENDARS, begin, begin + lasts)) == [(s.begin, s.end) for s in found if not s.member]


@given(st.sampled_from(_ZONES), _INSTANTS)
def test_a_weekly_handoff_shows_the_same_hour_all_the_year(zone: str, moment: Millis) -> None:
    shift = on_call(rotation(time_zone=zone), "primary", {}, (), moment)
    assert shift is not None
    for edge in (shift.since, shift.until):
        assert edge is not None
        wall = dt.datetime.fromtimestamp(edge / 1000, ZoneInfo(zone))
        assert (wall.weekday(), wall.hour, wall.minute, wall.second) == (0, 9, 0, 0)


def test_a_span_of_nothing_has_no_shifts() -> None:
    assert shifts(rotation(), "primary", {}, (), 5, 5) == []


# --- the settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ({"members": []}, "has no members"),
        ({"members": ["kim"], "handoff": {"day": "mon-fri"}}, "is no single day"),
    ],
)
def test_a_layer_without_members_or_with_many_handoff_days_is_refused(layer: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        layered(layer)


def test_an_override_for_its_own_member_is_refused() -> None:
    with pytest.raises(ValidationError, match="is its own member; name whose turn"):
        rotation(overrides=[{"member": "kim", "for": "kim", "from": "2026-01-05T00:00", "to": "2026-01-06T00:00"}])


# --- for ever -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Seoul"])
@pytest.mark.parametrize(
    ("begin", "since"), [("2026-01-01T00:00", "2026-01-01T00:00"), ("0001-01-01T00:00", None)], ids=["since", "always"]
)
def test_what_lasts_until_the_last_of_all_years_has_no_end(zone: str, begin: str, since: str | None) -> None:
    """Whoever writes 9999-12-31 means for ever; no clock shows what comes behind it."""
    now = at("2026-03-01T00:00+00:00")
    began = since and round(dt.datetime.fromisoformat(since).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)
    span = {"from": begin, "to": "9999-12-31T23:59"}
    instead_of_all = rotation(time_zone=zone, overrides=[{"member": "park", **span}])
    assert on_call(instead_of_all, "r", {}, (), now) == OnCall("park", began, None, "override in the file")
    ever = CalendarSettings.model_validate({"time_zone": zone, "dates": [span], "except": ["9999-12-31"]})
    for_ever = layered({"members": "kim", "during": "ever"}, {"members": "lee"}, time_zone=zone)
    assert on_call(for_ever, "r", {"ever": ever}, (), now) == OnCall("kim", began, None, "layer 0")
