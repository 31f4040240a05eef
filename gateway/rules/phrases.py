"""The words in English and Korean, and time in either. What we never say ourselves stays as its sender wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias

from gateway.model import Millis, Occasion, Severity

Language: TypeAlias = Literal["en", "ko"]


@dataclass(frozen=True, slots=True)
class Phrases:
    """Everything we say in one language. `heads` stand before a title, `openings` begin what is read aloud;
    `{severity}`, `{at}`, `{span}`, `{what}` and the like are filled in."""

    severities: tuple[str, ...]
    heads: Mapping[Occasion, str]
    openings: Mapping[Occasion, str]
    severity: str
    worst: str
    where: str
    service: str
    environment: str
    source: str
    since: str
    since_value: str
    happened: str
    count: str
    count_value: str
    value: str
    number: str
    acknowledged: str
    assigned: str
    note: str
    resolved: str
    resolved_value: str
    follows: str
    ago: str
    just_now: str
    units: tuple[str, ...]
    spoken_units: tuple[str, ...]
    spoken_for: str
    spoken_after: str
    spoken_number: str
    spoken_signs: Mapping[str, str]
    template_failed: str
    both_templates: str
    the_title: str
    the_body: str
    wording_failed: str
    test_title: str
    test_body: str

    def severity_word(self, severity: Severity) -> str:
        return self.severities[severity]


_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000

_EN = Phrases(
    severities=("info", "warning", "error", "critical", "emergency"),
    heads={
        "opened": "{severity}",
        "worsened": "WORSE: {severity}",
        "eased": "EASED: {severity}",
        "acknowledged": "ACKNOWLEDGED: {severity}",
        "resolved": "RESOLVED",
        "reopened": "AGAIN: {severity}",
        "over": "OVER: {severity}",
        "linked": "{severity}",
        "test": "TEST",
    },
    openings={
        "opened": "{severity}",
        "worsened": "It got worse, now {severity}",
        "eased": "It eased, now {severity}",
        "acknowledged": "Acknowledged, {severity}",
        "resolved": "Resolved",
        "reopened": "It is back, {severity}",
        "over": "Already over, {severity}",
        "linked": "{severity}",
        "test": "This is a test",
    },
    severity="Severity",
    worst="{now} (at worst {worst})",
    where="Where",
    service="Where",
    environment="Where",
    source="Source",
    since="Since",
    since_value="{at}, for {span}",
    happened="At",
    count="Count",
    count_value="{count} times",
    value="Value",
    number="Number",
    acknowledged="Acknowledged",
    assigned="Assigned to",
    note="Note",
    resolved="Resolved",
    resolved_value="{at}, after {span}",
    follows="Follows",
    ago="{span} ago",
    just_now="just now",
    units=(" d", " h", " min", " s"),
    spoken_units=(" day", " hour", " minute", " second"),
    spoken_for="Open for {span}",
    spoken_after="It lasted {span}",
    spoken_number="Incident number {number}",
    spoken_signs={"%": " percent ", "&": " and ", "°": " degrees ", "≥": " at least ", "≤": " at most ", "→": " to "},
    template_failed="The template for {what} failed ({reason}); built-in words are shown.",
    both_templates="{title} and {body}",
    the_title="the title",
    the_body="the body",
    wording_failed="Composing this message failed ({reason}); only its title is shown.",
    test_title="Tocsin can reach {channel}",
    test_body="This is a test message. Nothing is wrong and nobody needs to act.",
)

_KO = Phrases(
    severities=("정보", "경고", "오류", "심각", "긴급"),
    heads={
        "opened": "{severity}",
        "worsened": "악화: {severity}",
        "eased": "완화: {severity}",
        "acknowledged": "확인됨: {severity}",
        "resolved": "해결됨",
        "reopened": "재발: {severity}",
        "over": "이미 해결됨: {severity}",
        "linked": "{severity}",
        "test": "테스트",
    },
    openings={
        "opened": "{severity} 알림입니다",
        "worsened": "상황이 악화되어 {severity} 단계입니다",
        "eased": "상황이 완화되어 {severity} 단계입니다",
        "acknowledged": "담당자가 확인한 {severity} 알림입니다",
        "resolved": "해결되었습니다",
        "reopened": "{severity} 알림이 재발했습니다",
        "over": "{severity} 알림이 발생했다가 이미 해결되었습니다",
        "linked": "{severity} 알림입니다",
        "test": "테스트 알림입니다",
    },
    severity="심각도",
    worst="{now} (최고 {worst})",
    where="서비스 · 환경",
    service="서비스",
    environment="환경",
    source="출처",
    since="발생 시각",
    since_value="{at} ({span} 경과)",
    happened="발생 시각",
    count="횟수",
    count_value="{count}회",
    value="측정값",
    number="번호",
    acknowledged="확인",
    assigned="담당자",
    note="메모",
    resolved="해결 시각",
    resolved_value="{at} ({span} 만에 해결)",
    follows="이전 장애",
    ago="{span} 전",
    just_now="방금",
    units=("일", "시간", "분", "초"),
    spoken_units=("일", "시간", "분", "초"),
    spoken_for="{span}째 계속되고 있습니다",
    spoken_after="{span} 동안 이어졌습니다",
    spoken_number="장애 번호 {number}번",
    spoken_signs={"%": " 퍼센트 ", "&": " 그리고 ", "°": "도 ", "≥": " 이상 ", "≤": " 이하 ", "→": " 에서 "},
    template_failed="{what} 템플릿을 적용하지 못해({reason}) 기본 문구로 보냅니다.",
    both_templates="{title}과 {body}",
    the_title="제목",
    the_body="본문",
    wording_failed="메시지를 작성하지 못해({reason}) 제목만 보냅니다.",
    test_title="Tocsin에서 {channel} 채널로 보내는 테스트",
    test_body="테스트 메시지입니다. 실제 장애가 아니므로 조치하지 않으셔도 됩니다.",
)

PHRASES: Final[Mapping[Language, Phrases]] = {"en": _EN, "ko": _KO}


# --- time ---------------------------------------------------------------------------------------------


def instant(at: Millis) -> str:
    """`2026-11-20 10:00 UTC`. Raises OverflowError beyond the years 1 to 9999."""
    return f"{_moment(at):%Y-%m-%d %H:%M} UTC"


def clock(at: Millis) -> str:
    """`10:00`, in UTC."""
    return f"{_moment(at):%H:%M}"


def rfc_3339(at: Millis) -> str:
    """`2026-11-20T10:00:00Z`, with milliseconds only where there are any."""
    return _moment(at).isoformat(timespec="milliseconds" if at % 1_000 else "seconds").replace("+00:00", "Z")


def duration(span: Millis, language: Language = "en", *, spoken: bool = False) -> str:
    """`45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`: days from 48 h on, seconds below a minute; never less than 0 s."""
    phrases = PHRASES[language]
    names = dict(zip((_DAY, _HOUR, _MINUTE, _SECOND), phrases.spoken_units if spoken else phrases.units, strict=True))
    rest = max(span, 0)
    parts = []
    for length in _scale(rest):
        count, rest = divmod(rest, length)
        if count or length == _SECOND:
            plural = "s" if spoken and language == "en" and count != 1 else ""
            parts.append(f"{count}{names[length]}{plural}")
    return " ".join(parts)


def _scale(span: Millis) -> tuple[Millis, ...]:
    if span >= 2 * _DAY:
        return (_DAY, _HOUR)
    return (_HOUR, _MINUTE) if span >= _MINUTE else (_SECOND,)


def ago(span: Millis, language: Language = "en") -> str:
    """`12 min ago`, `just now`."""
    phrases = PHRASES[language]
    return phrases.just_now if span < 5 * _SECOND else phrases.ago.format(span=duration(span, language))


def _moment(at: Millis) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)
