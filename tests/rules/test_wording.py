"""What a channel hears of an incident: why, in which words, and that it always hears something."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Action, Change, Delivery, Incident, Message, Severity, State, What
from gateway.rules import templates, wording
from gateway.rules.facts import news_of
from gateway.rules.phrases import Language
from gateway.rules.wording import Voice

AT = 1_795_168_800_000  # 2026-11-20 10:00 UTC
EVENT = "01990000-0000-7000-8000-0000000000e1"
MINUTE = 60_000
NOW = AT + 12 * MINUTE
INCIDENT = Incident(
    id="0192",
    source="hetrixtools",
    adapter="hetrixtools",
    fingerprint="disk:db-1",
    title="Disk 94% full",
    severity=Severity.CRITICAL,
    worst=Severity.CRITICAL,
    opened_at=AT,
    updated_at=AT,
    number=12,
    kind="disk",
    service="db-1",
    environment="production",
    body="Filesystem /data\nis filling up",
    url="https://monitor.example/12",
)
RESOLVED = replace(INCIDENT, state="resolved", resolved_at=NOW, revision=2)
DELIVERY = Delivery(id="d7", incident="0192", channel="ops", wanted=1, promised_at=AT)
ENGLISH = Voice("ops", "en", None, html.escape)
KOREAN = replace(ENGLISH, language="ko")


def moved(*moves: What | tuple[What, Severity], first: int = 1) -> list[Change]:
    changes = []
    for revision, move in enumerate(moves, first):
        what, severity = move if isinstance(move, tuple) else (move, Severity.CRITICAL)
        state = "resolved" if what == "resolved" else "open"
        changes.append(Change(f"c{revision}", "0192", revision, AT, what, state, severity, EVENT))
    return changes


def heard(
    since: Sequence[Change] = (), said: int = 0, incident: Incident = INCIDENT, voice: Voice = ENGLISH, now: int = NOW
) -> Message:
    newest = replace(incident, revision=max(incident.revision, said, *(change.revision for change in since), 1))
    return wording.message(replace(DELIVERY, said=said), newest, since, voice, {"slack": "https://s.example"}, now)


class TestTheOccasion:
    def test_the_first_message_opens(self) -> None:
        message = heard(moved("opened"))
        assert (message.occasion, message.title, message.quiet) == ("opened", "CRITICAL Disk 94% full", False)

    def test_what_worsened_before_it_was_told_still_opens(self) -> None:
        assert heard(moved("opened", "worsened")).occasion == "opened"

    def test_what_opened_and_closed_untold_is_one_message_with_both_times(self) -> None:
        message = heard(moved("opened", "resolved"), incident=RESOLVED)
        assert (message.occasion, message.title) == ("over", "OVER: CRITICAL Disk 94% full")
        facts = dict(message.facts)
        assert facts["Since"] == "2026-11-20 10:00 UTC"
        assert facts["Resolved"] == "2026-11-20 10:12 UTC, after 12 min"
        assert "10:00-10:12 UTC" in message.brief

    def test_times_alone_stand_in_the_brief_where_there_is_no_place(self) -> None:
        nowhere = replace(RESOLVED, service="", environment="")
        assert heard(moved("opened", "resolved"), incident=nowhere).brief.startswith(
            "OVER: CRITICAL Disk 94% full, 10:00-10:12 UTC #12"
        )

    def test_a_resolve_says_how_long_it_lasted(self) -> None:
        message = heard(moved("resolved", first=2), said=1, incident=RESOLVED)
        assert (message.occasion, message.title) == ("resolved", "RESOLVED Disk 94% full")
        assert dict(message.facts)["Resolved"] == "2026-11-20 10:12 UTC, after 12 min"
        assert message.speech == (
            "Resolved. Disk 94 percent full. db 1, production. It lasted 12 minutes. Incident number 12."
        )

    def test_a_rise_says_from_where_when_it_is_known(self) -> None:
        message = heard(moved(("opened", Severity.ERROR), "worsened"), said=1)
        assert (message.occasion, message.title) == ("worsened", "WORSE: CRITICAL Disk 94% full")
        assert message.facts[0] == ("Severity", "error → critical")
        assert heard(moved("worsened", first=2), said=1).facts[0] == ("Severity", "critical")

    def test_a_reopening_says_again(self) -> None:
        message = heard(moved("resolved", "reopened"), said=1)
        assert (message.occasion, message.title) == ("reopened", "AGAIN: CRITICAL Disk 94% full")

    def test_who_heard_that_it_was_over_hears_that_it_is_back_even_if_it_is_worse_by_now(self) -> None:
        assert heard(moved("resolved", "reopened", "worsened"), said=1).occasion == "reopened"

    def test_the_newest_reason_is_the_one_that_is_told(self) -> None:
        assert heard(moved("worsened", "resolved", "linked", first=2), said=1, incident=RESOLVED).occasion == "resolved"

    def test_a_fall_is_an_edit_without_a_bell(self) -> None:
        message = heard(moved(("opened", Severity.EMERGENCY), "eased"), said=1)
        assert (message.occasion, message.title, message.quiet) == ("eased", "EASED: CRITICAL Disk 94% full", True)
        assert message.facts[0] == ("Severity", "emergency → critical")

    def test_a_rise_that_fell_again_untold_is_not_worse(self) -> None:
        warning = replace(INCIDENT, severity=Severity.WARNING, worst=Severity.CRITICAL)
        message = heard(
            moved(("opened", Severity.ERROR), "worsened", ("eased", Severity.WARNING)), said=1, incident=warning
        )
        assert (message.occasion, message.quiet) == ("eased", True)
        assert message.facts[0] == ("Severity", "error → warning (at worst critical)")

    def test_a_rise_that_fell_back_to_where_it_was_leaves_things_as_they_stand(self) -> None:
        message = heard(moved("opened", ("worsened", Severity.EMERGENCY), "eased"), said=1)
        assert (message.occasion, message.title) == ("linked", "CRITICAL Disk 94% full")

    @pytest.mark.parametrize(
        ("incident", "title"),
        [
            (INCIDENT, "CRITICAL Disk 94% full"),
            (RESOLVED, "RESOLVED Disk 94% full"),
            (replace(INCIDENT, state="acknowledged"), "ACKNOWLEDGED: CRITICAL Disk 94% full"),
        ],
    )
    def test_a_link_alone_shows_how_things_stand_and_rings_no_bell(self, incident: Incident, title: str) -> None:
        message = heard(moved("linked", first=3), said=2, incident=incident)
        assert (message.occasion, message.title, message.quiet) == ("linked", title, True)

    @pytest.mark.parametrize(
        ("incident", "occasion"),
        [(INCIDENT, "opened"), (RESOLVED, "resolved"), (replace(INCIDENT, state="acknowledged"), "acknowledged")],
    )
    def test_saying_it_once_more_says_how_things_stand_aloud(self, incident: Incident, occasion: str) -> None:
        message = heard(said=2, incident=incident)
        assert (message.occasion, message.quiet) == (occasion, False)

    def test_a_momentary_incident_is_told_without_a_word_of_its_end(self) -> None:
        push = replace(RESOLVED, momentary=True, severity=Severity.INFO, title="3 commits to main", worst=Severity.INFO)
        message = heard(moved("opened", "resolved"), incident=push)
        assert (message.occasion, message.title) == ("opened", "INFO 3 commits to main")
        assert "resolved" not in (message.text + message.brief + message.speech).lower()
        assert dict(message.facts)["At"] == "2026-11-20 10:00 UTC"
        after = heard(moved("opened", "resolved"), said=1, incident=push)
        assert (after.occasion, after.quiet) == ("opened", True)


class TestTheWords:
    def test_the_facts_come_in_reading_order(self) -> None:
        full = replace(
            INCIDENT,
            count=7,
            value=94.5,
            fields={"used": "94 %", "nothing": "", "free": "6 %"},
            state="acknowledged",
            acknowledged_at=AT + MINUTE,
            acknowledged_by="kim",
            assigned_to="lee",
            previous="0191",
        )
        noted = replace(moved("noted", first=2)[0], by="kim", note="looking\ninto it")
        assert heard([noted], said=1, incident=full).facts == (
            ("Severity", "critical"),
            ("Where", "db-1 · production"),
            ("Source", "hetrixtools (disk)"),
            ("Since", "2026-11-20 10:00 UTC, for 12 min"),
            ("Count", "7 times"),
            ("Value", "94.5"),
            ("Number", "#12"),
            ("used", "94 %"),
            ("free", "6 %"),
            ("Acknowledged", "kim, 2026-11-20 10:01 UTC"),
            ("Assigned to", "lee"),
            ("Note", "kim: looking into it"),
            ("Follows", "0191"),
        )

    def test_what_is_absent_is_not_said(self) -> None:
        bare = replace(INCIDENT, kind="", service="", environment="", number=0, url="", body="")
        message = heard(moved("opened"), incident=bare, now=AT)
        assert message.facts == (("Severity", "critical"), ("Source", "hetrixtools"), ("Since", "2026-11-20 10:00 UTC"))
        assert message.brief == "CRITICAL Disk 94% full"
        assert message.speech == "Critical. Disk 94 percent full."

    @pytest.mark.parametrize(("place", "label"), [("service", "서비스"), ("environment", "환경")])
    def test_half_a_place_is_named_for_what_it_is(self, place: str, label: str) -> None:
        half = replace(replace(INCIDENT, service="", environment=""), **{place: "here"})
        assert heard(moved("opened"), incident=half, voice=KOREAN).facts[1] == (label, "here")

    def test_the_id_is_the_same_for_every_attempt_at_one_revision(self) -> None:
        assert heard(moved("opened")).id == "d7.1" == heard(moved("opened"), now=NOW + MINUTE).id
        assert heard(moved("worsened", first=2), said=1).id == "d7.2"

    def test_a_title_is_one_line_of_at_most_150_characters(self) -> None:
        message = heard(moved("opened"), incident=replace(INCIDENT, title="a\nb\t" + "long " * 100))
        assert message.title.startswith("CRITICAL a b long")
        assert len(message.title) <= 150
        assert message.title.endswith("long…")

    def test_a_body_is_cut_at_a_word(self) -> None:
        body = heard(moved("opened"), incident=replace(INCIDENT, body="word " * 2_000)).body
        assert len(body) <= 3_500
        assert body.endswith("word…")

    @pytest.mark.parametrize("url", ["javascript:alert(1)", "https://x/" + "a" * 2_048, "file:///etc/passwd"])
    def test_only_a_web_address_is_a_link(self, url: str) -> None:
        assert heard(moved("opened"), incident=replace(INCIDENT, url=url)).url == ""

    def test_many_fields_are_ten_and_long_ones_are_cut(self) -> None:
        many = replace(INCIDENT, fields={f"name{n} " + "n" * 99: "v" * 999 for n in range(40)})
        facts = [fact for fact in heard(moved("opened"), incident=many).facts if fact[0].startswith("name")]
        assert len(facts) == 10
        assert max(len(label) for label, _ in facts) <= 60
        assert max(len(value) for _, value in facts) <= 200

    def test_an_acknowledgement_without_a_name_still_has_its_time(self) -> None:
        acknowledged = replace(INCIDENT, state="acknowledged", acknowledged_at=AT)
        assert dict(heard(said=1, incident=acknowledged).facts)["Acknowledged"] == "2026-11-20 10:00 UTC"

    def test_the_brief_has_what_where_number_and_link(self) -> None:
        assert heard(moved("opened")).brief == (
            "CRITICAL Disk 94% full, db-1/production #12 https://monitor.example/12"
        )

    def test_the_speech_can_be_read_aloud(self) -> None:
        assert heard(moved("opened")).speech == (
            "Critical. Disk 94 percent full. db 1, production. Open for 12 minutes. Incident number 12."
        )

    def test_short_forms_are_not_made_for_who_has_no_use_for_them(self) -> None:
        whole, short = heard(moved("opened")), heard(moved("opened"), voice=replace(ENGLISH, short_forms=False))
        assert (short.brief, short.speech) == ("", "")
        assert replace(short, brief=whole.brief, speech=whole.speech) == whole

    def test_what_only_opened_is_told_alike_without_its_one_change(self) -> None:
        assert heard() == heard(moved("opened"))

    def test_links_and_language_go_along(self) -> None:
        message = heard(moved("opened"), voice=KOREAN)
        assert (message.links, message.language) == ({"slack": "https://s.example"}, "ko")


def news(what: What, note: str = "", by: str = "gateway") -> list[Change]:
    """The channel has heard that it opened; then this happened."""
    opened, change = moved("opened", what)
    return [opened, replace(change, note=note, by=by)]


class TestWhatPeopleAndTimersDo:
    @pytest.mark.parametrize(
        ("what", "english", "korean"),
        [
            ("acknowledged", "ACKNOWLEDGED: CRITICAL", "확인됨: 심각"),
            ("noted", "NOTE: CRITICAL", "메모: 심각"),
            ("assigned", "ASSIGNED: CRITICAL", "담당 지정: 심각"),
            ("escalated", "ESCALATED: CRITICAL", "상위 호출: 심각"),
            ("reminded", "STILL OPEN: CRITICAL", "미해결: 심각"),
            ("unanswered", "NOBODY ANSWERED: CRITICAL", "응답 없음: 심각"),
            ("muted", "MUTED: CRITICAL", "알림 중지: 심각"),
            ("unmuted", "STILL OPEN: CRITICAL", "미해결: 심각"),
            ("flapping", "FLAPPING: CRITICAL", "불안정: 심각"),
            ("steadied", "STEADY, open: CRITICAL", "안정됨, 열림: 심각"),
        ],
    )
    def test_every_occasion_has_its_head(self, what: What, english: str, korean: str) -> None:
        assert heard(news(what), said=1).title == f"{english} Disk 94% full"
        assert heard(news(what), said=1, voice=KOREAN).title == f"{korean} Disk 94% full"

    def test_what_stands_still_says_how(self) -> None:
        assert heard(news("steadied"), 1, RESOLVED).title == "STEADY, resolved: CRITICAL Disk 94% full"
        assert heard(news("steadied"), 1, RESOLVED, KOREAN).title == "안정됨, 해결됨: 심각 Disk 94% full"

    @pytest.mark.parametrize(
        ("what", "note", "fact"),
        [
            ("escalated", "page: step 2 of 3", ("Escalation", "page: step 2 of 3")),
            ("unanswered", "page: nobody", ("Nobody answered", "page: nobody")),
            ("failed_over", "kim_sms: 30003", ("Failed over", "kim_sms: 30003")),
            ("flapping", "7 changes within 10 min", ("Flapping", "7 changes within 10 min")),
            ("resolved", "expired: silent for 24 h", ("Note", "expired: silent for 24 h")),
        ],
    )
    def test_why_is_a_fact(self, what: What, note: str, fact: tuple[str, str]) -> None:
        assert fact in heard(news(what, note), said=1).facts

    def test_of_several_steps_the_newest_is_told_even_to_who_heard_nothing(self) -> None:
        steps = [replace(change, note=f"step {change.revision}") for change in moved("escalated", "escalated", first=2)]
        message = heard([*moved("opened"), *steps])
        assert message.occasion == "opened"
        assert [value for label, value in message.facts if label == "Escalation"] == ["step 3"]

    def test_what_keeps_it_quiet_is_a_fact(self) -> None:
        muted = replace(INCIDENT, muted_by="mute backup: backups")
        assert ("Muted", "mute backup: backups") in heard(news("muted"), 1, muted).facts

    def test_a_note_has_its_author_in_every_form(self) -> None:
        message = heard(news("noted", "looking", "kim"), said=1)
        assert ("Note", "kim: looking") in message.facts
        assert message.brief.startswith("NOTE: CRITICAL Disk 94% full, kim: looking #12")
        assert "kim looking. " in message.speech

    def test_whom_it_is_assigned_to_is_no_note(self) -> None:
        message = heard(news("assigned", "to lee", "kim"), 1, replace(INCIDENT, assigned_to="lee"))
        assert ("Assigned to", "lee") in message.facts
        assert "Note" not in dict(message.facts)
        assert "Disk 94% full, lee #12" in message.brief

    def test_who_acknowledged_is_read_aloud(self) -> None:
        seen = replace(INCIDENT, state="acknowledged", acknowledged_by="kim", acknowledged_at=AT)
        assert heard(news("acknowledged", by="kim"), 1, seen).speech.startswith(
            "Acknowledged, critical. Disk 94 percent full. kim. "
        )

    @pytest.mark.parametrize("voice", [ENGLISH, KOREAN])
    @pytest.mark.parametrize("what", get_args(What))
    @pytest.mark.parametrize("said", [0, 1])
    def test_an_sms_and_a_call_stay_within_their_limits(self, what: What, voice: Voice, said: int) -> None:
        wordy = replace(
            INCIDENT, title="디스크 full " * 60, service="s" * 300, assigned_to="누구 " * 99, acknowledged_by="k" * 300
        )
        for incident in (
            wordy,
            replace(wordy, state="acknowledged"),
            replace(wordy, state="resolved", resolved_at=NOW),
        ):
            message = heard(news(what, "a note " * 99, "김" * 99), said, incident, voice)
            plain = heard(news(what, "note " * 99, "kim"), said, replace(incident, title="disk " * 99), voice)
            for text in (message.brief, plain.brief):
                assert len(text) <= (70 if re.search("[가-힣]", text) else 160)
            assert len(message.speech) <= 1_000
            assert re.fullmatch(r"(?:[^\W_]|[., ])*", message.speech)
            assert len(message.title) <= 150

    def test_who_ended_it_is_named(self) -> None:
        message = heard(news("resolved", by="kim"), 1, RESOLVED)
        assert dict(message.facts)["Resolved"] == "2026-11-20 10:12 UTC, after 12 min, by kim"
        assert message.brief.startswith("RESOLVED Disk 94% full, by kim #12")
        expired = dict(heard(news("resolved", "expired: silent for 2 h"), 1, RESOLVED).facts)
        assert (expired["Resolved"], expired["Note"]) == (
            "2026-11-20 10:12 UTC, after 12 min",
            "expired: silent for 2 h",
        )

    def test_who_hears_first_of_what_somebody_has_hears_who(self) -> None:
        seen = replace(INCIDENT, state="acknowledged", acknowledged_by="kim", acknowledged_at=AT)
        assert heard(moved("opened", "acknowledged"), incident=seen).brief.startswith(
            "CRITICAL Disk 94% full, kim has it #12"
        )

    def test_that_nobody_answered_is_told_even_to_who_heard_nothing(self) -> None:
        message = heard(moved("opened", "escalated", "unanswered"))
        assert message.title == "NOBODY ANSWERED: CRITICAL Disk 94% full"
        assert message.brief.startswith("NOBODY ANSWERED: CRITICAL Disk 94% full, db-1/production #12")

    @pytest.mark.parametrize(
        ("muted_by", "english", "korean"),
        [
            ("silenced until 2026-11-20T11:00:00.000Z by kim", "silenced until 11:00 UTC by kim",
             "kim 님이 11:00 UTC까지 중지"),
            ("silenced until 2026-11-30T11:00:00.000Z by kim: work, more: all",
             "silenced until 2026-11-30 11:00 UTC by kim: work, more: all",
             "kim 님이 2026-11-30 11:00 UTC까지 중지: work, more: all"),
            ("silenced until 2026-11-20T11:00:00.000Z: work", "silenced until 11:00 UTC: work",
             "11:00 UTC까지 사용자가 중지: work"),
            ("silenced by kim: work", "silenced by kim: work", "kim 님이 중지: work"),
            ("silenced until 9999-12-31T23:59:59.999Z by kim", "silenced by kim", "kim 님이 중지"),
            ("silenced until 2026-13-30T11:00:00Z", "silenced", "사용자가 중지"),
            ("mute nightly backup: backups", "mute nightly backup: backups", "mute nightly backup: backups"),
        ],
    )  # fmt: skip
    def test_a_silence_is_told_by_whose_it_is_and_until_when(self, muted_by: str, english: str, korean: str) -> None:
        muted = replace(INCIDENT, muted_by=muted_by)
        assert dict(heard(news("muted"), 1, muted).facts)["Muted"] == english
        assert dict(heard(news("muted"), 1, muted, KOREAN).facts)["알림 중지"] == korean

    def test_the_end_of_a_silence_is_told_in_the_readers_time(self) -> None:
        muted = replace(INCIDENT, muted_by="silenced until 2026-11-20T11:00:00.000Z by anna: deploy")
        in_seoul = replace(ENGLISH, zone=ZoneInfo("Asia/Seoul"))
        assert dict(heard(news("muted"), 1, muted, in_seoul).facts)["Muted"] == (
            "silenced until 20:00 KST by anna: deploy"
        )

    def test_a_template_shows_a_silence_in_the_readers_words(self) -> None:
        muted = replace(INCIDENT, muted_by="silenced until 2026-11-20T11:00:00.000Z by anna: deploy")
        own = replace(KOREAN, templates=templates.compile("{{ muted_by }}", None))
        assert heard(news("muted"), 1, muted, own).custom_title == "anna 님이 11:00 UTC까지 중지: deploy"

    @pytest.mark.parametrize(
        ("what", "state", "standing"),
        [
            ("noted", "open", "CRITICAL Disk 94% full"),
            ("noted", "acknowledged", "ACKNOWLEDGED: CRITICAL Disk 94% full"),
            ("assigned", "open", "CRITICAL Disk 94% full"),
            ("worsened", "open", ""),
        ],
    )
    def test_what_only_passes_leaves_the_title_that_stands(self, what: What, state: State, standing: str) -> None:
        message = heard(news(what, "looking", "kim"), 1, replace(INCIDENT, state=state))
        assert message.standing == standing
        assert message.title != standing

    @pytest.mark.parametrize(
        ("what", "note", "korean"),
        [
            ("escalated", "page: step 2 of 3", "page: 3단계 중 2단계"),
            ("escalated", "page: step 2 of 3, round 2", "page: 3단계 중 2단계, 2회차"),
            ("unanswered", "page: no step of it was acknowledged", "page: 모든 단계에서 아무도 확인하지 않음"),
            ("unanswered", "page: it is not in the file any more", "page: 설정 파일에 더 이상 없음"),
            ("failed_over", "kim: kim-sms did not reach (30003), kim-tg is next",
             "kim: kim-sms 전달 실패(30003), 다음은 kim-tg"),
            ("flapping", "7 changes within 10 min", "10분 동안 7회 변경"),
            ("resolved", "expired: silent for 2h", "만료: 2시간 동안 새 알림 없음"),
            ("escalated", "something else", "something else"),
        ],
    )  # fmt: skip
    def test_our_own_notes_are_korean_where_the_channel_is(self, what: What, note: str, korean: str) -> None:
        incident = RESOLVED if what == "resolved" else INCIDENT
        assert korean in [value for _, value in heard(news(what, note), 1, incident, KOREAN).facts]

    def test_what_people_write_is_not_translated(self) -> None:
        assert ("메모", "kim: page: step 2 of 3") in heard(
            news("noted", "page: step 2 of 3", "kim"), 1, voice=KOREAN
        ).facts


class TestTheTimeZone:
    def test_every_instant_is_said_in_it(self) -> None:
        voice = replace(ENGLISH, zone=ZoneInfo("Asia/Seoul"))
        seen = replace(RESOLVED, acknowledged_at=AT, acknowledged_by="kim")
        message = heard(moved("opened", "resolved"), incident=seen, voice=voice)
        facts = dict(message.facts)
        assert facts["Since"] == "2026-11-20 19:00 KST"
        assert facts["Acknowledged"] == "kim, 2026-11-20 19:00 KST"
        assert facts["Resolved"] == "2026-11-20 19:12 KST, after 12 min"
        assert "19:00-19:12 KST" in message.brief
        assert "UTC" not in message.text


class TestWhatCanBeDone:
    ACTIONS = (Action("acknowledge", ""), Action("resolve", "", "https://t.example/links/x"), Action("silence", ""))

    def labels(self, incident: Incident, voice: Voice = ENGLISH) -> list[str]:
        message = wording.message(DELIVERY, incident, moved("opened"), voice, {}, NOW, self.ACTIONS)
        assert message.delivery == "d7"
        return [action.label for action in message.actions]

    def test_it_stands_below_in_the_channels_language(self) -> None:
        assert self.labels(INCIDENT) == ["Acknowledge", "Resolve", "Silence 1 h"]
        assert self.labels(INCIDENT, KOREAN) == ["확인", "해결", "1시간 무음"]

    def test_what_is_acknowledged_is_not_acknowledged_again(self) -> None:
        assert self.labels(replace(INCIDENT, state="acknowledged")) == ["Resolve", "Silence 1 h"]

    @pytest.mark.parametrize("incident", [RESOLVED, replace(INCIDENT, momentary=True)])
    def test_nothing_can_be_done_about_what_is_over(self, incident: Incident) -> None:
        assert self.labels(incident) == []

    def test_a_link_goes_along_and_so_it_does_in_the_plainest_words(self) -> None:
        for incident in (INCIDENT, replace(INCIDENT, opened_at=10**30)):
            message = wording.message(DELIVERY, incident, moved("opened"), ENGLISH, {}, NOW, self.ACTIONS)
            assert message.actions[1] == Action("resolve", "Resolve", "https://t.example/links/x")

    def test_a_channel_that_nobody_answers_over_has_none(self) -> None:
        assert heard(moved("opened")).actions == ()


class TestKorean:
    @pytest.mark.parametrize(
        ("since", "said", "incident", "title"),
        [
            (moved("opened"), 0, INCIDENT, "심각 Disk 94% full"),
            (moved("worsened", first=2), 1, INCIDENT, "악화: 심각 Disk 94% full"),
            (moved("eased", first=2), 1, INCIDENT, "완화: 심각 Disk 94% full"),
            (moved("reopened", first=2), 1, INCIDENT, "재발: 심각 Disk 94% full"),
            (moved("resolved", first=2), 1, RESOLVED, "해결됨 Disk 94% full"),
            (moved("opened", "resolved"), 0, RESOLVED, "이미 해결됨: 심각 Disk 94% full"),
            ([], 1, replace(INCIDENT, state="acknowledged"), "확인됨: 심각 Disk 94% full"),
        ],
    )
    def test_every_occasion_has_its_word(self, since: list[Change], said: int, incident: Incident, title: str) -> None:
        assert heard(since, said, incident, KOREAN).title == title

    def test_the_facts_are_korean(self) -> None:
        message = heard(moved("opened"), incident=replace(INCIDENT, count=7), voice=KOREAN)
        assert message.facts == (
            ("심각도", "심각"),
            ("서비스 · 환경", "db-1 · production"),
            ("출처", "hetrixtools (disk)"),
            ("발생 시각", "2026-11-20 10:00 UTC (12분 경과)"),
            ("횟수", "7회"),
            ("번호", "#12"),
        )

    def test_the_brief_keeps_to_seventy_and_the_speech_to_korean(self) -> None:
        message = heard(moved("opened"), voice=KOREAN)
        assert message.brief == "심각 Disk 94% full, db-1/production #12 https://monitor.example/12"
        assert message.speech == (
            "심각 알림입니다. Disk 94 퍼센트 full. db 1, production. 12분째 계속되고 있습니다. 장애 번호 12번."
        )


class TestTheLadder:
    def own(self, title: str | None = None, body: str | None = None, language: Language = "en") -> Voice:
        return Voice("ops", language, templates.compile(title, body), html.escape, "https://alerts.example")

    def test_a_channels_own_words_are_used_as_they_are(self) -> None:
        voice = self.own("<b>{{ severity }}</b>\n{{ title }}", "{{ change.what }} {{ opened_at|ago }} {{ public_url }}")
        message = heard(moved("opened"), incident=replace(INCIDENT, title="a < b"), voice=voice)
        assert message.custom_title == "<b>critical</b> a &lt; b"
        assert message.custom_body == "opened 12 min ago https://alerts.example"
        assert message.footer == ""
        assert message.title == "CRITICAL a < b"

    def test_one_template_alone_leaves_the_other_to_us(self) -> None:
        message = heard(moved("opened"), voice=self.own(body=""))
        assert (message.custom_title, message.custom_body) == (None, "")

    def test_a_template_that_fails_gives_way_to_our_words_and_says_so(self) -> None:
        message = heard(moved("opened"), voice=self.own("{{ 1 / (count - 1) }}", "{{ number }}"))
        assert (message.custom_title, message.custom_body) == (None, "12")
        assert message.title == "CRITICAL Disk 94% full"
        assert message.footer == "The template for the title failed (ZeroDivisionError); built-in words are shown."

    def test_both_can_fail_at_once_in_either_language(self) -> None:
        message = heard(moved("opened"), voice=self.own("{{ labels.none }}", "{{ 1 / 0 }}", "ko"))
        assert message.footer == "제목과 본문 템플릿을 적용하지 못해(Empty, ZeroDivisionError) 기본 문구로 보냅니다."
        assert message.text.startswith("심각 Disk 94% full\n심각도: 심각\n")

    def test_an_incident_stranger_than_our_words_is_told_in_the_plainest(self) -> None:
        strange = replace(INCIDENT, opened_at=10**30, title="Disk\nfull ➜ “now”")
        message = heard(moved("opened"), incident=strange)
        assert message.title == message.text.splitlines()[0] == "Disk full ➜ “now”"
        assert (message.id, message.occasion) == ("d7.1", "opened")
        assert message.footer == "Composing this message failed (OverflowError); only its title is shown."
        assert message.brief == 'Disk full "now"'
        assert message.speech == "Disk full now"

    @pytest.mark.parametrize("title", ["", None, 7])
    def test_even_a_title_that_is_none_is_told(self, title: object) -> None:
        message = heard(moved("opened"), incident=replace(INCIDENT, title=title, value="x"))  # type: ignore[arg-type]
        assert message.title == (str(title) if title != "" else "?")

    @given(
        st.builds(
            Incident,
            id=st.text(),
            source=st.text(),
            adapter=st.text(),
            fingerprint=st.text(),
            title=st.text(),
            severity=st.sampled_from(Severity),
            opened_at=st.integers(-(10**20), 10**20),
            updated_at=st.integers(),
            state=st.sampled_from(["open", "acknowledged", "resolved"]),
            number=st.integers(0),
            kind=st.text(),
            service=st.text(),
            environment=st.text(),
            body=st.text(),
            url=st.text() | st.just("https://x.example/1"),
            fields=st.dictionaries(st.text(), st.text()),
            value=st.none() | st.floats(),
            acknowledged_at=st.none() | st.integers(0, 10**13),
            acknowledged_by=st.text(),
            resolved_at=st.none() | st.integers(0, 10**13),
            count=st.integers(1),
            previous=st.text(),
            momentary=st.booleans(),
        ),
        st.lists(st.sampled_from([what for what in get_args(What) if what != "opened"]), max_size=4),
        st.integers(0, 1),
        st.sampled_from([ENGLISH, KOREAN, Voice("ops", "en", templates.compile("{{ title }}", "{{ facts }}"), str)]),
    )
    def test_whatever_happened_something_is_said(
        self, incident: Incident, whats: list[What], said: int, voice: Voice
    ) -> None:
        message = heard(moved("opened", *whats), said, incident, voice)
        assert message.title
        assert len(message.title) <= 150
        assert len(message.title.splitlines()) == 1
        assert message.brief
        assert len(message.brief) <= 160
        assert re.fullmatch(r"(?:[^\W_]|[., ])*", message.speech)


class TestTheTestMessage:
    def test_nobody_takes_it_for_a_page(self) -> None:
        message = wording.test_message("ops-slack", ENGLISH, AT)
        assert (message.occasion, message.title) == ("test", "TEST Tocsin can reach ops-slack")
        assert message.incident.severity == Severity.INFO
        assert message.body == "This is a test message. Nothing is wrong and nobody needs to act."
        assert message.speech.startswith("This is a test. ")
        assert not message.quiet

    def test_it_is_korean_where_the_channel_is(self) -> None:
        message = wording.test_message("ops-slack", KOREAN, AT)
        assert message.title == "테스트 Tocsin에서 ops-slack 채널로 보내는 테스트"
        assert "실제 장애가 아니므로" in message.body

    def test_it_tries_the_channels_own_templates(self) -> None:
        voice = replace(ENGLISH, templates=templates.compile("{{ 1 / 0 }}", None))
        assert "ZeroDivisionError" in wording.test_message("ops", voice, AT).footer


def test_a_reply_tells_who_and_when_and_nothing_where_the_occasion_says_all() -> None:
    seen = replace(INCIDENT, state="acknowledged", acknowledged_by="kim", acknowledged_at=AT)
    message = heard(news("acknowledged", by="kim"), 1, seen)
    assert news_of(message) == (("Acknowledged", "kim, 2026-11-20 10:00 UTC"),)
    assert news_of(heard(moved("opened"))) == ()


def test_what_was_done_over_this_channel_is_loud_unless_a_reply_has_told_it() -> None:
    acted = [replace(change, via="ops") for change in news("acknowledged", by="kim")]
    assert not heard(acted, 1).quiet
    assert heard(acted, 1, voice=replace(ENGLISH, hears_own=False)).quiet
