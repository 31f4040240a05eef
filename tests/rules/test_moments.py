from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Millis
from gateway.rules.moments import read_when

SEOUL = ZoneInfo("Asia/Seoul")


def at(text: str) -> Millis:
    return round(dt.datetime.fromisoformat(text).timestamp() * 1000)


NOW = at("2026-01-07T12:00+09:00")  # a Wednesday


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("now", "2026-01-07T12:00+09:00"),
        ("NOW", "2026-01-07T12:00+09:00"),
        ("+2h", "2026-01-07T14:00+09:00"),
        ("+1d12h", "2026-01-09T00:00+09:00"),
        ("2026-12-24T18:00:00Z", "2026-12-24T18:00+00:00"),
        ("2026-12-24T18:00:00.250+01:00", "2026-12-24T18:00:00.250+01:00"),
        ("2026-12-24T18:00+01:00", "2026-12-24T18:00+01:00"),
        ("2026-12-24T18:00", "2026-12-24T18:00+09:00"),
        ("2026-12-24 18:00", "2026-12-24T18:00+09:00"),
        ("monday 09:00", "2026-01-12T09:00+09:00"),
        ("Mon  9:00", "2026-01-12T09:00+09:00"),
        ("wed 12:00", "2026-01-14T12:00+09:00"),
        ("wed 12:01", "2026-01-07T12:01+09:00"),
        ("thu 00:00", "2026-01-08T00:00+09:00"),
        ("18:00", "2026-01-07T18:00+09:00"),
        (" 9:00 ", "2026-01-08T09:00+09:00"),
        ("12:00", "2026-01-08T12:00+09:00"),
    ],
)
def test_a_time_is_read_as_people_say_it(said: str, meant: str) -> None:
    assert read_when(said, SEOUL, NOW) == at(meant)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("", "is no time; write it like"),
        ("tomorrow", "is no time; write it like"),
        ("2026-13-24T18:00", "is no time; write it like"),
        ("+soon", "a span from now is written like"),
        ("+-2h", "a span from now is written like"),
        ("noday 09:00", "is no day"),
        ("mon-fri 09:00", "is no single day"),
        ("monday noon", "is no time of day"),
        ("25:00", "is no time of day"),
        ("24:00", "is the end of a day"),
        ("9999-12-31T23:00:00Z", "is too far away; take a year from 1970 to 2499"),
        ("1969-12-31T23:00:00Z", "is too far away"),
        ("9999-12-31T23:59", "is too far away"),
        ("+36501d", "a span from now is written like"),
        (f"+{'9' * 400}d", "is no time; write it like"),
    ],
)
def test_what_is_no_time_is_refused_in_a_sentence(said: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_when(said, SEOUL, NOW)


def test_an_hour_that_summer_time_skips_is_the_end_of_the_gap() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert read_when("2:30", berlin, at("2026-03-29T00:00+01:00")) == at("2026-03-29T03:00+02:00")
    assert read_when("2026-03-29T02:30", berlin, 0) == at("2026-03-29T03:00+02:00")


@given(st.text(max_size=30))
def test_no_text_does_anything_but_be_a_time_or_be_refused(text: str) -> None:
    try:
        found = read_when(text, SEOUL, NOW)
    except ValueError:
        return
    assert found >= 0
