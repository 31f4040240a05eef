"""Many incidents in one message, which counts every one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from gateway.model import Action, Delivery, Digest, Gathered, Incident, Message, Severity, State
from gateway.rules import templates
from gateway.rules.digesting import digest_message, face
from gateway.rules.wording import Voice

AT = 1_795_168_800_000  # 2026-11-20 10:00 UTC
MINUTE = 60_000
CRITICAL, WARNING, INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO
DIGEST = Digest(
    "g1", "group", 'group all ["checkout-api"]', "service checkout-api", "all", AT, AT + MINUTE, 7, CRITICAL
)
DISK = Incident(
    "i1",
    "scripts",
    "generic",
    "disk",
    "Disk full",
    CRITICAL,
    AT,
    AT,
    number=12,
    kind="disk",
    service="checkout-api",
    environment="production",
    url="https://monitor.example/12",
    body="94 %",
    count=40,
)
SLOW = replace(DISK, id="i2", number=13, title="Slow\nanswers", severity=WARNING, state="acknowledged", kind="latency")
TWELVE = Gathered(
    DIGEST,
    {("open", CRITICAL): 2, ("open", WARNING): 8, ("acknowledged", WARNING): 1, ("resolved", WARNING): 1},
    (DISK, SLOW),
)
ONE = Gathered(DIGEST, {("open", CRITICAL): 1}, (DISK,))
DELIVERY = Delivery("d1", "g1", "team", wanted=7, promised_at=AT, is_digest=True)
HEARD = replace(DELIVERY, said=3, said_severity=CRITICAL)
ENGLISH = Voice("team", "en", None, str)
KOREAN = replace(ENGLISH, language="ko")
ACTIONS = (Action("acknowledge", ""), Action("resolve", "", "https://t.example/links/x"), Action("silence", ""))


def of(counts: Mapping[tuple[State, Severity], int], *named: Incident, **digest: Any) -> Gathered:
    return Gathered(replace(DIGEST, **digest), counts, named)


def told(
    gathered: Gathered = TWELVE, delivery: Delivery = DELIVERY, voice: Voice = ENGLISH, *, aloud: bool = False
) -> Message:
    return digest_message(delivery, gathered, voice, AT + 5 * MINUTE, ACTIONS, aloud=aloud)


class TestTheFace:
    def test_it_stands_for_all_under_the_digests_name(self) -> None:
        shown = face(TWELVE)
        assert (shown.id, shown.number, shown.count, shown.revision) == ("g1", 0, 12, 7)
        assert (shown.title, shown.severity, shown.worst) == ("12 problems: service checkout-api", CRITICAL, CRITICAL)
        assert (shown.opened_at, shown.updated_at, shown.resolved_at) == (AT, AT + MINUTE, None)

    def test_it_has_what_all_of_those_named_share_and_no_more(self) -> None:
        both = of({("open", CRITICAL): 1, ("acknowledged", WARNING): 1}, DISK, SLOW)
        shown = face(both)
        assert (shown.source, shown.service, shown.environment) == ("scripts", "checkout-api", "production")
        assert ("Where", "checkout-api · production") in told(both).facts
        unnamed = face(TWELVE)  # ten more that nobody looked at
        assert (unnamed.source, unnamed.service, unnamed.environment) == ("tocsin", "", "")
        assert shown.kind == ""
        mixed = face(of({("open", WARNING): 2}, DISK, replace(DISK, source="github", adapter="github")))
        assert (mixed.source, mixed.adapter) == ("tocsin", "tocsin")

    @pytest.mark.parametrize(
        ("counts", "state", "severity"),
        [
            ({("open", INFO): 1, ("resolved", CRITICAL): 3}, "open", INFO),
            ({("acknowledged", WARNING): 1, ("resolved", CRITICAL): 3}, "acknowledged", WARNING),
            ({("resolved", WARNING): 1, ("resolved", INFO): 3, ("open", CRITICAL): 0}, "resolved", WARNING),
            ({}, "resolved", CRITICAL),
        ],
    )
    def test_it_is_as_bad_as_the_worst_of_what_lives(
        self, counts: dict[tuple[State, Severity], int], state: str, severity: Severity
    ) -> None:
        shown = face(of(counts))
        assert (shown.state, shown.severity) == (state, severity)
        assert shown.resolved_at == (AT + MINUTE if state == "resolved" else None)

    def test_of_one_it_is_the_likeness(self) -> None:
        shown = face(ONE)
        assert (shown.id, shown.title, shown.number, shown.count) == ("g1", "Disk full", 12, 1)
        assert (shown.url, shown.body, shown.kind) == ("https://monitor.example/12", "94 %", "disk")

    @pytest.mark.parametrize(
        ("gathered", "title"),
        [
            (of({("open", INFO): 37}, DISK, kind="storm", title=""), "37 problems beyond this channel's budget"),
            (of({("open", INFO): 9_990}, title=""), "9,990 problems"),
            (of({("open", INFO): 1}), "1 problem: service checkout-api"),
        ],
    )
    def test_the_title_says_how_many_and_of_what(self, gathered: Gathered, title: str) -> None:
        assert face(gathered).title == title

    def test_its_title_is_in_the_language_asked_for(self) -> None:
        assert face(TWELVE, "ko").title == "문제 12건: service checkout-api"


class TestTheWords:
    def test_twelve_are_counted_and_the_worst_are_named(self) -> None:
        message = told()
        assert (message.id, message.delivery, message.occasion) == ("d1.7", "d1", "opened")
        assert message.title == "CRITICAL 12 problems: service checkout-api"
        assert message.body.splitlines() == [
            "12 problems: 10 open, 1 acknowledged, 1 resolved; 2 critical, 10 warning",
            "#12 CRITICAL checkout-api: Disk full (open)",
            "#13 WARNING checkout-api: Slow answers (acknowledged)",
            "… and 10 more",
        ]
        assert message.facts == (
            ("Severity", "critical"),
            ("Since", "2026-11-20 10:00 UTC, for 5 min"),
        )
        assert message.incident.count == 12
        assert message.brief == "CRITICAL 12 problems: service checkout-api, 10 open, 1 acknowledged, 1 resolved"
        assert message.speech.endswith("Open for 5 minutes. 10 open, 1 acknowledged, 1 resolved.")

    def test_one_is_told_as_itself(self) -> None:
        message = told(ONE)
        assert message.title == "CRITICAL Disk full"
        assert message.body == "94 %"
        assert message.brief.endswith("#12 https://monitor.example/12")
        assert ("Number", "#12") in message.facts

    def test_ten_thousand_fit_and_none_is_forgotten(self) -> None:
        wordy = [replace(DISK, number=n, service="s" * 99, title="word " * 400) for n in range(10)]
        message = told(of({("open", CRITICAL): 9_000, ("resolved", INFO): 1_000}, *wordy, title="service checkout"))
        lines = message.body.splitlines()
        assert lines[0] == "10,000 problems: 9,000 open, 1,000 resolved; 9,000 critical, 1,000 info"
        assert lines[-1] == "… and 9,990 more"
        assert max(map(len, lines)) < 180
        assert len(message.brief) <= 160

    def test_all_that_retention_took_leaves_a_sentence(self) -> None:
        assert told(of({})).body == "0 problems"

    def test_what_has_no_service_is_named_by_its_title(self) -> None:
        body = told(of({("open", CRITICAL): 2}, replace(DISK, service=""), SLOW)).body
        assert body.splitlines()[1] == "#12 CRITICAL Disk full (open)"
        assert "more" not in body

    def test_all_of_it_is_korean_where_the_channel_is(self) -> None:
        message = told(voice=KOREAN)
        assert message.title == "심각 문제 12건: service checkout-api"
        assert message.incident.title == "문제 12건: service checkout-api"
        assert message.body.splitlines() == [
            "문제 12건: 열림 10, 확인됨 1, 해결됨 1; 심각 2, 경고 10",
            "#12 심각 checkout-api: Disk full (열림)",
            "#13 경고 checkout-api: Slow answers (확인됨)",
            "… 외 10건",
        ]
        assert len(message.brief) <= 70
        storm = told(of({("open", INFO): 37}, DISK, kind="storm"), voice=KOREAN)
        assert storm.title == "정보 이 채널의 한도를 넘은 문제 37건"

    def test_a_channels_own_templates_tell_of_one_and_never_of_many(self) -> None:
        own = replace(ENGLISH, templates=templates.compile("{{ title }}!", None))
        assert told(ONE, voice=own).custom_title == "Disk full!"
        assert told(voice=own).custom_title is None

    def test_what_is_stranger_than_our_words_is_told_in_the_plainest(self) -> None:
        message = told(replace(TWELVE, digest=replace(DIGEST, opened_at=10**30)))
        assert message.title == "12 problems: service checkout-api"
        assert "OverflowError" in message.footer
        assert message.delivery == "d1"


class TestTheOccasion:
    def test_mere_growth_rings_only_where_nothing_can_be_edited(self) -> None:
        message = told(delivery=HEARD)
        assert (message.occasion, message.quiet) == ("linked", True)
        assert message.title == "CRITICAL 12 problems: service checkout-api"
        assert not told(delivery=HEARD, aloud=True).quiet

    def test_worse_than_what_was_said_rings(self) -> None:
        message = told(delivery=replace(HEARD, said_severity=WARNING))
        assert (message.occasion, message.quiet) == ("worsened", False)
        assert message.facts[0] == ("Severity", "warning → critical")
        assert told(delivery=replace(HEARD, said_severity=None)).occasion == "linked"

    def test_it_is_over_when_all_of_it_is(self) -> None:
        done = of({("resolved", CRITICAL): 2}, replace(DISK, state="resolved", resolved_at=AT))
        message = told(done, HEARD)
        assert (message.occasion, message.title, message.quiet, message.actions) == (
            "resolved",
            "RESOLVED 2 problems: service checkout-api",
            False,
            (),
        )
        assert told(done).occasion == "over"

    def test_pushes_are_never_over(self) -> None:
        push = replace(DISK, state="resolved", momentary=True, resolved_at=AT, severity=INFO)
        pushes = of({("resolved", INFO): 3}, push, push, push)
        assert (told(pushes).occasion, told(pushes, HEARD).occasion) == ("opened", "linked")
        assert told(pushes).actions == ()


def test_what_can_be_done_stands_below_in_the_channels_language() -> None:
    assert [action.label for action in told().actions] == ["Acknowledge", "Resolve", "Silence 1 h"]
    assert told().actions[1].url == "https://t.example/links/x"
    seen = of({("acknowledged", CRITICAL): 2}, SLOW)
    assert [action.label for action in told(seen, voice=KOREAN).actions] == ["해결", "1시간 무음"]
