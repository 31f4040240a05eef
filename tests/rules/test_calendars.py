from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.model import Millis
from gateway.rules.calendars import CalendarSettings, is_open, is_over, next_boundary

MINUTE = 60_000
DAY = 86_400_000
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
OFFICE = {"time_zone": "Asia/Seoul", "weekly": [{"days": "mon-fri", "from": "09:00", "to": "18:00"}]}


def at(text: str) -> Millis:
    return round(dt.datetime.fromisoformat(text).timestamp() * 1000)


def calendar(**tree: Any) -> CalendarSettings:
    return CalendarSettings.model_validate({"time_zone": "Europe/Berlin", **tree})


def weekly(days: Any, begin: str, end: str, **more: Any) -> CalendarSettings:
    return calendar(weekly=[{"days": days, "from": begin, "to": end}], **more)


def problems(tree: object) -> dict[tuple[int | str, ...], str]:
    with pytest.raises(ValidationError) as caught:
        CalendarSettings.model_validate(tree)
    return {error["loc"]: error["msg"].removeprefix("Value error, ") for error in caught.value.errors()}


# --- open or closed -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "open_"),
    [
        ("2026-01-05T09:00:00+09:00", True),
        ("2026-01-05T08:59:59.999+09:00", False),
        ("2026-01-05T17:59:59.999+09:00", True),
        ("2026-01-05T18:00:00+09:00", False),
        ("2026-01-04T23:59:59+00:00", False),  # Monday 08:59:59 in Seoul
        ("2026-01-05T00:00:00+00:00", True),
        ("2026-01-03T12:00:00+09:00", False),  # Saturday
    ],
)
def test_an_office_is_open_by_its_own_clock(moment: str, open_: bool) -> None:
    assert is_open(CalendarSettings.model_validate(OFFICE), at(moment)) is open_


@pytest.mark.parametrize(
    ("days", "open_days"),
    [
        ("mon-fri", "mon tue wed thu fri"),
        ("mon,wed", "mon wed"),
        ("Mon, Wednesday - Fri", "mon wed thu fri"),
        (["sat", "sun"], "sat sun"),
        (["mon-tue", "sun"], "mon tue sun"),
        ("fri-mon", "fri sat sun mon"),
        ("tue-tue", "tue"),
        ("daily", " ".join(WEEK)),
        ("sun", "sun"),
    ],
)
def test_days_may_be_a_range_a_list_or_every_day(days: Any, open_days: str) -> None:
    lunch = weekly(days, "12:00", "13:00")
    monday = at("2026-01-05T12:30:00+01:00")
    assert [day for number, day in enumerate(WEEK) if is_open(lunch, monday + number * DAY)] == [
        day for day in WEEK if day in open_days.split()
    ]


def test_an_end_before_the_beginning_is_on_the_next_day() -> None:
    night = weekly("fri", "22:00", "6:00")
    assert is_open(night, at("2026-01-09T22:00:00+01:00"))
    assert is_open(night, at("2026-01-10T05:59:00+01:00"))
    assert not is_open(night, at("2026-01-10T06:00:00+01:00"))
    assert not is_open(night, at("2026-01-09T05:00:00+01:00"))
    assert not is_open(night, at("2026-01-10T22:00:00+01:00"))


@pytest.mark.parametrize("end", ["24:00", "00:00"])
def test_an_end_at_midnight_closes_the_day(end: str) -> None:
    evening = weekly("sun", "20:00", end)
    assert is_open(evening, at("2026-01-04T23:59:59+01:00"))
    assert not is_open(evening, at("2026-01-05T00:00:00+01:00"))


def test_an_excepted_day_is_closed_from_midnight_to_midnight_and_no_longer() -> None:
    night = weekly("daily", "22:00", "06:00", **{"except": ["2026-12-25"]})
    assert is_open(night, at("2026-12-24T23:59:00+01:00"))
    assert not is_open(night, at("2026-12-25T00:00:00+01:00"))
    assert not is_open(night, at("2026-12-25T23:59:00+01:00"))
    assert is_open(night, at("2026-12-26T00:00:00+01:00"))


def test_a_minute_outside_of_all_excepted_days_is_enough_to_open() -> None:
    open_ = calendar(
        dates=[{"from": "2026-12-24T09:00", "to": "2026-12-26T00:01"}], **{"except": ["2026-12-24", "2026-12-25"]}
    )
    assert is_open(open_, at("2026-12-26T00:00+01:00"))


def test_one_excepted_day_needs_no_list() -> None:
    assert weekly("daily", "00:00", "24:00", **{"except": "2026-12-25"}).closed_days == {dt.date(2026, 12, 25)}


def test_dates_open_from_their_first_instant_up_to_their_last() -> None:
    freeze = calendar(
        dates=[
            {"from": "2026-12-24T18:00", "to": "2026-12-27 08:00:30"},
            {"from": "2027-03-01T00:00:00Z", "to": "2027-03-01T02:00+01:00"},
        ]
    )
    assert not is_open(freeze, at("2026-12-24T18:00:00+01:00") - 1)
    assert is_open(freeze, at("2026-12-24T18:00:00+01:00"))
    assert is_open(freeze, at("2026-12-27T08:00:30+01:00") - 1)
    assert not is_open(freeze, at("2026-12-27T08:00:30+01:00"))
    assert is_open(freeze, at("2027-03-01T00:59:00+00:00"))
    assert not is_open(freeze, at("2027-03-01T01:00:00+00:00"))


def test_an_excepted_day_closes_dates_too() -> None:
    freeze = calendar(dates=[{"from": "2026-12-24T00:00", "to": "2026-12-28T00:00"}], **{"except": ["2026-12-25"]})
    assert is_open(freeze, at("2026-12-24T12:00:00+01:00"))
    assert not is_open(freeze, at("2026-12-25T12:00:00+01:00"))


def test_an_hour_that_summer_time_skips_does_not_come() -> None:
    early = weekly("daily", "02:15", "02:45")
    sunday = at("2026-03-29T00:00:00+01:00")
    assert not any(is_open(early, sunday + minute * MINUTE) for minute in range(23 * 60))


def test_a_window_that_begins_in_the_skipped_hour_opens_after_it() -> None:
    early = weekly("daily", "02:30", "03:30")
    assert not is_open(early, at("2026-03-29T01:59:59+01:00"))
    assert is_open(early, at("2026-03-29T03:00:00+02:00"))
    assert not is_open(early, at("2026-03-29T03:30:00+02:00"))


def test_an_hour_that_winter_time_repeats_comes_twice() -> None:
    early = weekly("daily", "02:00", "02:30")
    assert [
        is_open(early, at(f"2026-10-25T{moment}:00"))
        for moment in ("02:15+02:00", "02:45+02:00", "02:15+01:00", "02:45+01:00")
    ] == [True, False, True, False]


def test_a_local_date_time_that_comes_twice_means_the_first() -> None:
    once = calendar(dates=[{"from": "2026-10-25T02:10", "to": "2026-10-25T02:40"}])
    assert is_open(once, at("2026-10-25T02:15:00+02:00"))
    assert not is_open(once, at("2026-10-25T02:15:00+01:00"))


# --- the oracle ---------------------------------------------------------------------------------------

ZONES = ("Asia/Seoul", "Europe/Berlin", "America/New_York")
# A week around each change of the clocks, and one of peace.
STARTS = ("2026-03-05", "2026-03-26", "2026-10-22", "2026-10-29", "2026-07-15")

hours = st.integers(0, 95).map(lambda quarter: f"{quarter // 4:02}:{quarter % 4 * 15:02}")
windows = st.tuples(st.sets(st.sampled_from(WEEK), min_size=1), hours, hours | st.just("24:00")).filter(
    lambda window: window[1] != window[2]
)


def open_walls(window: tuple[set[str], str, str], first: dt.date, days: int) -> set[dt.datetime]:
    """Every minute on the wall that the window holds, by counting from its beginning."""
    names, begin, end = window
    minutes = [int(text[:2]) * 60 + int(text[3:]) for text in (begin, end)]
    length = (minutes[1] - minutes[0]) % 1440 or 1440
    midnights = [dt.datetime.combine(first + dt.timedelta(days=day), dt.time()) for day in range(-2, days)]
    return {
        midnight + dt.timedelta(minutes=minutes[0] + step)
        for midnight in midnights
        if WEEK[midnight.weekday()] in names
        for step in range(length)
    }


@settings(max_examples=25, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    start=st.sampled_from(STARTS),
    some=st.lists(windows, min_size=1, max_size=3),
    closed=st.sets(st.integers(0, 8), max_size=2),
)
def test_is_open_agrees_with_a_count_of_every_minute(
    zone: str, start: str, some: list[tuple[set[str], str, str]], closed: set[int]
) -> None:
    first = dt.date.fromisoformat(start)
    shut = {first + dt.timedelta(days=day) for day in closed}
    subject = CalendarSettings.model_validate(
        {
            "time_zone": zone,
            "weekly": [{"days": sorted(names), "from": begin, "to": end} for names, begin, end in some],
            "except": [day.isoformat() for day in shut],
        }
    )
    walls = {wall for window in some for wall in open_walls(window, first, 9) if wall.date() not in shut}
    begin = dt.datetime.combine(first, dt.time(), dt.UTC)
    expected, boundary = [], None
    for minute in range(6 * 1440):
        instant = begin + dt.timedelta(minutes=minute)
        expected.append(instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None) in walls)
        if boundary is None and expected[-1] != expected[0]:
            boundary = minute
    origin = round(begin.timestamp() * 1000)
    assert [is_open(subject, origin + minute * MINUTE) for minute in range(6 * 1440)] == expected
    found = next_boundary(subject, origin)
    assert found == (origin + boundary * MINUTE if boundary is not None else found)
    assert boundary is not None or found is None or found >= origin + 6 * DAY


# --- the next edge ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "now", "expected"),
    [
        pytest.param(OFFICE, "2026-01-05T08:00:00+09:00", "2026-01-05T09:00:00+09:00", id="opens today"),
        pytest.param(OFFICE, "2026-01-05T09:00:00+09:00", "2026-01-05T18:00:00+09:00", id="closes today"),
        pytest.param(OFFICE, "2026-01-09T18:00:00+09:00", "2026-01-12T09:00:00+09:00", id="opens on Monday"),
        pytest.param(
            {**OFFICE, "except": [f"2026-01-{day:02}" for day in range(12, 32)]},
            "2026-01-09T18:00:00+09:00",
            "2026-02-02T09:00:00+09:00",
            id="opens after a long holiday",
        ),
        pytest.param(
            {**OFFICE, "dates": [{"from": "2026-01-05T12:00", "to": "2026-04-05T12:00"}]},
            "2026-01-05T10:00:00+09:00",
            "2026-04-05T12:00:00+09:00",
            id="dates that hide the weeks between",
        ),
        pytest.param(
            {"time_zone": "UTC", "dates": [{"from": "2030-01-01T00:00", "to": "2030-01-01T00:01"}]},
            "2026-01-01T00:00:00+00:00",
            "2030-01-01T00:00:00+00:00",
            id="once, years away",
        ),
        pytest.param(
            {"time_zone": "Europe/Berlin", "weekly": [{"days": "sun", "from": "02:15", "to": "02:45"}]},
            "2026-03-22T02:45:00+01:00",
            "2026-04-05T02:15:00+02:00",
            id="the week of summer time has no such hour",
        ),
        pytest.param(
            {"time_zone": "Europe/Berlin", "weekly": [{"days": "sun", "from": "01:00", "to": "02:30"}]},
            "2026-03-29T01:30:00+01:00",
            "2026-03-29T03:00:00+02:00",
            id="closes where the clock jumps over its end",
        ),
        pytest.param(
            {"time_zone": "Europe/Berlin", "weekly": [{"days": "sun", "from": "01:00", "to": "02:30"}]},
            "2026-10-25T02:30:00+02:00",
            "2026-10-25T02:00:00+01:00",
            id="opens again where the clock goes back into it",
        ),
        pytest.param(
            {"time_zone": "Europe/Berlin", "weekly": [{"days": "sun", "from": "01:00", "to": "02:30"}]},
            "2026-10-25T02:00:00+01:00",
            "2026-10-25T02:30:00+01:00",
            id="closes at the second half past two",
        ),
        pytest.param(
            {"time_zone": "Pacific/Apia", "weekly": [{"days": "fri", "from": "10:00", "to": "11:00"}]},
            "2011-12-24T00:00:00-10:00",
            "2012-01-06T10:00:00+14:00",
            id="Samoa had no such Friday",
        ),
    ],
)
def test_the_next_boundary(subject: dict[str, Any], now: str, expected: str) -> None:
    assert next_boundary(CalendarSettings.model_validate(subject), at(now)) == at(expected)


def test_what_is_always_open_has_no_next_boundary() -> None:
    assert next_boundary(weekly("daily", "00:00", "24:00"), at("2026-03-28T00:00:00+01:00")) is None


def test_what_is_over_has_no_next_boundary() -> None:
    past = calendar(dates=[{"from": "2026-01-01T00:00", "to": "2026-01-02T00:00"}], **{"except": ["2020-01-01"]})
    assert next_boundary(past, at("2026-01-02T00:00:00+01:00")) is None


def test_the_end_of_all_years_is_no_boundary() -> None:
    ever = calendar(dates=[{"from": "0001-01-01T00:00", "to": "9999-12-31T23:59"}], **{"except": ["9999-12-31"]})
    assert is_open(ever, at("2026-01-01T00:00:00+01:00"))
    assert next_boundary(ever, at("2026-01-01T00:00:00+01:00")) is None


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Seoul"])
@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_a_date_at_the_edge_of_all_years_is_read(zone: str, day: str) -> None:
    edge = calendar(time_zone=zone, dates=[{"from": f"{day}T00:00", "to": f"{day}T23:59"}], **{"except": [day]})
    assert is_over(edge, at("2026-01-01T00:00:00+01:00"))


def test_a_calendar_is_over_once_it_is_closed_for_good() -> None:
    release = calendar(dates=[{"from": "2026-01-01T00:00", "to": "2026-01-02T00:00"}])
    assert not is_over(release, at("2025-12-31T00:00:00+01:00"))
    assert not is_over(release, at("2026-01-01T12:00:00+01:00"))
    assert is_over(release, at("2026-01-02T00:00:00+01:00"))
    assert not is_over(weekly("daily", "00:00", "24:00"), at("2026-01-02T00:00:00+01:00"))


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "place", "sentence"),
    [
        ({"time_zone": "Asia/Soul"}, ("time_zone",), "is no time zone; did you mean 'Asia/Seoul'?"),
        ({"time_zone": "Asia"}, ("time_zone",), "is no time zone; write it like Asia/Seoul"),
        (
            {"dates": [{"from": "2026-03-29T02:10", "to": "2026-03-29T03:05"}], "time_zone": "Europe/Berlin"},
            ("dates", 0, "to"),
            "is not after its beginning, for summer time skips that hour; give it a later one",
        ),
        ({"time_zone": "asia/seoul"}, ("time_zone",), "is no time zone; did you mean 'Asia/Seoul'?"),
        ({"time_zone": "+09:00"}, ("time_zone",), "is no time zone; write it like Asia/Seoul"),
        ({"time_zone": ["UTC"]}, ("time_zone",), "is no time zone; write it like Asia/Seoul"),
        ({"time_zone": "../../etc/passwd"}, ("time_zone",), "is no time zone; write it like Asia/Seoul"),
        ({"weekly": []}, (), "never opens; give it weekly hours or dates"),
        (
            {
                "weekly": [],
                "dates": [{"from": "2026-12-24T09:00", "to": "2026-12-26T00:00"}],
                "except": ["2026-12-24", "2026-12-25"],
            },
            (),
            "never opens; each of its dates is in `except`",
        ),
        ({"except": ["25.12.2026"]}, ("except", 0), "is no date; write it like 2026-12-25"),
        ({"except": ["2026-02-28", "2026-02-29"]}, ("except", 1), "is no date; write it like 2026-12-25"),
        ({"except": [{"from": "2026-02-28"}]}, ("except", 0), "is no date; write it like 2026-12-25"),
        (
            {"dates": [{"from": "2026-12-24", "to": "2026-12-25T00:00"}]},
            ("dates", 0, "from"),
            "is no date-time; write it like 2026-12-24T18:00 or 2026-12-24T18:00:00+09:00",
        ),
        (
            {"dates": [{"from": "2026-12-24T25:00", "to": "2026-12-25T00:00"}]},
            ("dates", 0, "from"),
            "is no date-time; write it like 2026-12-24T18:00 or 2026-12-24T18:00:00+09:00",
        ),
        (
            {"dates": [{"from": "2026-12-24T10:00Z", "to": "2026-12-24T19:00"}]},
            ("dates", 0, "to"),
            "is not after its beginning; give it a later one",
        ),
    ],
)
def test_a_wrong_calendar_is_refused_with_a_sentence(change: dict[str, Any], place: tuple[Any, ...], sentence: str):
    assert problems({**OFFICE, **change}) == {place: sentence}


@pytest.mark.parametrize(
    ("change", "place", "sentence"),
    [
        ({"days": "mon-fryday"}, ("days",), "is no day; did you mean 'friday'?"),
        ({"days": "월요일"}, ("days",), "is no day; write it like mon-fri, [sat, sun] or daily"),
        ({"days": ["mon", {}]}, ("days",), "is no day; write it like mon-fri, [sat, sun] or daily"),
        ({"days": []}, ("days",), "is no day; write it like mon-fri, [sat, sun] or daily"),
        ({"days": "mon,"}, ("days",), "is no day; write it like mon-fri, [sat, sun] or daily"),
        ({"from": "9"}, ("from",), "is no time of day; write it like 09:00"),
        ({"from": "24:00"}, ("from",), "is no beginning; write 00:00 of the next day"),
        ({"to": "24:01"}, ("to",), "is no time of day; write it like 09:00"),
        ({"to": ["18:00"]}, ("to",), "is no time of day; write it like 09:00"),
        ({"to": "09:00"}, (), "opens and closes at the same minute; write 00:00 to 24:00 for a whole day"),
        ({"till": "09:00"}, ("till",), "Extra inputs are not permitted"),
    ],
)
def test_wrong_weekly_hours_are_refused_with_their_place(change: dict[str, Any], place: tuple[Any, ...], sentence: str):
    hours = {"days": "mon-fri", "from": "09:00", "to": "18:00", **change}
    assert problems({**OFFICE, "weekly": [hours]}) == {("weekly", 0, *place): sentence}


def test_a_zone_that_is_read_already_is_taken() -> None:
    assert calendar(**{**OFFICE, "time_zone": ZoneInfo("Asia/Seoul")}).time_zone.key == "Asia/Seoul"
