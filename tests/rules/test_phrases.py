"""Time in words, and two languages that lack nothing."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import get_args
from zoneinfo import ZoneInfo

import pytest

from gateway.model import Occasion, Severity, State
from gateway.rules.phrases import PHRASES, Phrases, ago, clock, duration, instant, rfc_3339, zone_name

AT = 1_795_168_800_000  # 2026-11-20 10:00 UTC
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("span", "english", "korean", "spoken"),
    [
        (-5, "0 s", "0초", "0 seconds"),
        (1_500, "1 s", "1초", "1 second"),
        (59_999, "59 s", "59초", "59 seconds"),
        (12 * MINUTE + 30_000, "12 min", "12분", "12 minutes"),
        (HOUR, "1 h", "1시간", "1 hour"),
        (3 * HOUR + 20 * MINUTE, "3 h 20 min", "3시간 20분", "3 hours 20 minutes"),
        (24 * HOUR, "24 h", "24시간", "24 hours"),
        (2 * DAY + 4 * HOUR + MINUTE, "2 d 4 h", "2일 4시간", "2 days 4 hours"),
    ],
)
def test_a_duration_is_said_in_its_two_greatest_units(span: int, english: str, korean: str, spoken: str) -> None:
    assert duration(span) == english
    assert duration(span, "ko") == korean
    assert duration(span, spoken=True) == spoken
    assert duration(span, "ko", spoken=True) == korean


def test_an_instant_is_said_in_utc() -> None:
    assert (instant(AT), clock(AT)) == ("2026-11-20 10:00 UTC", "10:00")
    assert (rfc_3339(AT), rfc_3339(AT + 7)) == ("2026-11-20T10:00:00Z", "2026-11-20T10:00:00.007Z")


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("Asia/Seoul", "2026-11-20 19:00 KST"),
        ("America/New_York", "2026-11-20 05:00 EST"),
        ("Asia/Dubai", "2026-11-20 14:00 UTC+04"),
    ],
)
def test_an_instant_is_said_in_a_time_zone_with_its_name(zone: str, text: str) -> None:
    assert instant(AT, ZoneInfo(zone)) == text
    assert text.endswith(f"{clock(AT, ZoneInfo(zone))} {zone_name(AT, ZoneInfo(zone))}")


def test_ago_is_just_now_at_first() -> None:
    assert (ago(900), ago(12 * MINUTE)) == ("just now", "12 min ago")
    assert (ago(900, "ko"), ago(12 * MINUTE, "ko")) == ("방금", "12분 전")


@pytest.mark.parametrize("phrases", PHRASES.values())
def test_every_language_has_a_word_for_everything(phrases: Phrases) -> None:
    assert set(phrases.heads) == set(phrases.openings) == set(get_args(Occasion))
    assert set(phrases.states) == set(get_args(State))
    assert list(phrases.actions) == ["acknowledge", "resolve", "silence"]
    assert [phrases.severity_word(level) for level in Severity] == list(phrases.severities)
    assert all(getattr(phrases, field.name) for field in fields(Phrases))


@pytest.mark.parametrize("phrases", PHRASES.values())
def test_a_channel_can_fill_every_head_with_the_severity_alone(phrases: Phrases) -> None:
    assert all(head.format(severity="x") for head in phrases.heads.values())


def test_both_languages_fill_in_the_same_places() -> None:
    def places(text: object) -> set[str]:
        return set(re.findall(r"{(\w+)}", str(text)))

    for field in fields(Phrases):
        assert places(getattr(PHRASES["en"], field.name)) == places(getattr(PHRASES["ko"], field.name)), field.name
