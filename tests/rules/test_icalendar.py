from __future__ import annotations

import datetime as dt
import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Millis
from gateway.rules.icalendar import icalendar
from gateway.rules.shifts import Shift


def at(text: str) -> Millis:
    return round(dt.datetime.fromisoformat(text).timestamp() * 1000)


NOW = at("2026-01-05T00:00+00:00")
KIM = Shift("kim", at("2026-01-05T09:00+09:00"), at("2026-01-12T09:00+09:00"), "rotation")
LEE = Shift("lee", at("2026-01-12T09:00+09:00"), at("2026-01-19T09:00+09:00"), "override by kim")


def unfolded(text: str) -> list[str]:
    """As RFC 5545 section 3.1 tells readers to."""
    assert text.endswith("\r\n")
    assert "\n" not in text.replace("\r\n", "")
    return text.replace("\r\n ", "").split("\r\n")[:-1]


def values(text: str, name: str) -> list[str]:
    return [line.partition(":")[2] for line in unfolded(text) if line.startswith(f"{name}:")]


def plain(escaped: str) -> str:
    """A TEXT value, read."""
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] in "nN" else found[1], escaped)


def test_each_shift_is_an_event_in_utc() -> None:
    text = icalendar("primary", [KIM, LEE], NOW)
    lines = unfolded(text)
    assert lines[:2] == ["BEGIN:VCALENDAR", "VERSION:2.0"]
    assert lines[-1] == "END:VCALENDAR"
    assert lines.count("BEGIN:VEVENT") == lines.count("END:VEVENT") == 2
    assert values(text, "DTSTART") == ["20260105T000000Z", "20260112T000000Z"]
    assert values(text, "DTEND") == ["20260112T000000Z", "20260119T000000Z"]
    assert values(text, "DTSTAMP") == ["20260105T000000Z"] * 2
    assert values(text, "SUMMARY") == ["kim on call: primary", "lee on call: primary"]
    assert values(text, "DESCRIPTION") == ["rotation", "override by kim"]


def test_a_shift_keeps_its_uid_for_whoever_takes_it_and_whenever_it_is_fetched() -> None:
    first = values(icalendar("primary", [KIM, LEE], NOW), "UID")
    taken = Shift("park", LEE.begin, LEE.end - 1, "override")
    assert len(set(first)) == 2
    assert values(icalendar("primary", [taken], NOW + 1_000), "UID") == [first[1]]
    assert values(icalendar("secondary", [KIM], NOW), "UID") != first[:1]


def test_where_nobody_is_on_call_nothing_stands() -> None:
    assert "VEVENT" not in icalendar("primary", [Shift("", KIM.begin, KIM.end, "no layer is on duty")], NOW)


def test_signs_that_mean_something_are_escaped() -> None:
    text = icalendar("a;b,c\\d\r\ne\x07", [KIM], NOW)
    assert values(text, "SUMMARY") == ["kim on call: a\\;b\\,c\\\\d\\ne"]


@given(st.text(max_size=200), st.text(min_size=1, max_size=200))
def test_no_line_is_too_long_and_no_character_is_cut(rotation: str, member: str) -> None:
    raw = icalendar(rotation, [Shift(member, KIM.begin, KIM.end, "rotation")], NOW).encode("utf-8", "replace")
    assert all(len(line) <= 75 for line in raw.split(b"\r\n"))
    for line in raw.split(b"\r\n"):
        line.decode()  # a character that was cut would be none
    kept = "".join(sign for sign in f"{member} on call: {rotation}" if (sign >= " " and sign != "\x7f") or sign == "\n")
    (summary,) = values(raw.decode(), "SUMMARY")
    assert plain(summary) == kept.encode("utf-8", "replace").decode()
