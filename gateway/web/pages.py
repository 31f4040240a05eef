"""The pages that people see who follow a link in a letter: small, whole in themselves, good on a phone.

No script, nothing fetched from anywhere, no cookie; whatever a stranger wrote is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

from gateway.model import Digest, Incident, Severity
from gateway.rules.fitting import cut, one_line
from gateway.rules.links import LinkVerb
from gateway.rules.phrases import PHRASES, Language, instant

_TITLE_MOST: Final = 300
_FACT_MOST: Final = 200

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1c2529;--soft:#5b6b73;--paper:#f4f6f7;--card:#fff;--line:#d9e0e3;--go:#1565c0}
@media(prefers-color-scheme:dark){:root{--ink:#e8eef0;--soft:#9fb0b8;--paper:#12181b;--card:#1c2529;--line:#33424a;--go:#1e73d2}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;padding:24px 16px;background:var(--paper);color:var(--ink);display:flex;
align-items:flex-start;justify-content:center;font:17px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",
"Noto Sans KR",sans-serif}
main{width:100%;max-width:480px;margin-top:4vh;padding:24px;background:var(--card);border:1px solid var(--line);
border-top:6px solid var(--bar,var(--soft));border-radius:12px}
h1{margin:0 0 16px;font-size:22px;line-height:1.3;overflow-wrap:anywhere}
.tag{margin:0 0 6px;font-size:14px;font-weight:600;color:var(--soft)}
dl{display:grid;grid-template-columns:auto 1fr;gap:4px 14px;margin:0 0 20px}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
p{margin:0 0 16px;overflow-wrap:anywhere}
:lang(ko){word-break:keep-all}
p:last-child{margin:0}
button{width:100%;min-height:56px;border:0;border-radius:10px;background:var(--go);color:#fff;font:inherit;
font-size:19px;font-weight:600;cursor:pointer}
button:focus-visible{outline:3px solid var(--ink);outline-offset:2px}
form{margin:0 0 12px}
.soft{color:var(--soft);font-size:15px}
.info{--bar:#1565c0}.warning{--bar:#f9a825}.error{--bar:#e65100}.critical{--bar:#c62828}.emergency{--bar:#6a1b9a}
.over{--bar:#2e7d32}
"""
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "x-robots-tag": "noindex, nofollow",
}

_WORDS: Final[Mapping[Language, Mapping[str, str]]] = {
    "en": {
        "acknowledge": "Acknowledge",
        "resolve": "Resolve",
        "silence": "Silence for 1 hour",
        "acknowledge does": "You take it on: nobody else is paged for it, and everybody who heard of it sees that.",
        "resolve does": "It is closed for everybody who heard of it. If it fires again, it is back.",
        "silence does": "For an hour nobody is told of it.",
        "nothing yet": "Nothing has changed yet. The button works once.",
        "is acknowledged": "Acknowledged already, by {by} at {at}.",
        "is resolved": "It is resolved already. Nothing is left to do.",
        "done": "Done",
        "close": "You can close this page.",
        "401": "This link is not valid|It was not made here, or was cut short on its way. Open it from the letter.",
        "404": "Nothing is here|What this link speaks of is not kept any more.",
        "410": "This link is used up|It has expired, or was followed before. The newest letter has a fresh one.",
        "429": "Too many tries|Too many links that are not valid came from your address. Try again in a minute.",
        "503": "Not now|Nothing can be written down at the moment, so nothing has changed. Try again in a minute.",
        "gathered": "{open} open of {members}",
    },
    "ko": {
        "acknowledge": "확인",
        "resolve": "해결",
        "silence": "1시간 알림 중지",
        "acknowledge does": "담당을 맡습니다. 다른 사람은 더 이상 호출되지 않고, 알림을 받은 모두에게 표시됩니다.",
        "resolve does": "알림을 받은 모두에게 해결된 것으로 표시됩니다. 다시 발생하면 다시 열립니다.",
        "silence does": "1시간 동안 아무에게도 알리지 않습니다.",
        "nothing yet": "아직 아무것도 바뀌지 않았습니다. 버튼은 한 번만 쓸 수 있습니다.",
        "is acknowledged": "{at}에 {by} 님이 이미 확인했습니다.",
        "is resolved": "이미 해결되었습니다. 더 하실 일이 없습니다.",
        "done": "처리했습니다",
        "close": "이 페이지를 닫으셔도 됩니다.",
        "401": "올바르지 않은 링크입니다|이곳에서 만들지 않았거나 중간에 잘린 링크입니다. 메일에서 다시 열어 주세요.",
        "404": "내용이 없습니다|이 링크가 가리키는 내용은 더 이상 보관되어 있지 않습니다.",
        "410": "이미 쓴 링크입니다|기한이 지났거나 이미 사용한 링크입니다. 가장 최근 메일의 링크를 이용해 주세요.",
        "429": "시도가 너무 많습니다|올바르지 않은 링크 요청이 너무 많았습니다. 잠시 뒤에 다시 시도해 주세요.",
        "503": "지금은 처리할 수 없습니다|저장할 수 없어 아무것도 바뀌지 않았습니다. 잠시 뒤에 다시 시도해 주세요.",
        "gathered": "{members}건 중 {open}건 진행 중",
    },
}


def answer(page: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(page, status, {**_HEADERS, **(headers or {})}, "text/html; charset=utf-8")


def question(verb: LinkVerb, subject: Incident | Digest, language: Language) -> str:
    """What it is about and what the button does; without a button where it is resolved already."""
    words = _WORDS[language]
    about = _incident(subject, language) if isinstance(subject, Incident) else _digest(subject, language)
    if isinstance(subject, Incident) and subject.state == "resolved" and verb != "silence":
        return _page(about + _p(words["is resolved"]), language, "over")
    if isinstance(subject, Incident) and subject.state == "acknowledged" and verb == "acknowledge":
        at = instant(subject.acknowledged_at or 0)
        about += _p(words["is acknowledged"].format(by=one_line(subject.acknowledged_by) or "?", at=at))
        return _page(about, language, _mark(subject))
    button = f'<form method="post"><button type="submit">{_safe(words[verb])}</button></form>\n'
    return _page(
        about + _p(words[f"{verb} does"]) + button + _p(words["nothing yet"], "soft"), language, _mark(subject)
    )


def outcome(said: str, language: Language) -> str:
    """What came of it, in the pipeline's one line."""
    words = _WORDS[language]
    return _page(_h1(cut(one_line(said), _TITLE_MOST) or words["done"]) + _p(words["close"], "soft"), language, "over")


def refused(status: int, language: Language) -> str:
    """Why the link does nothing, and what to do."""
    words = _WORDS[language]
    title, _, advice = words.get(str(status), words["404"]).partition("|")
    return _page(_h1(title) + _p(advice), language)


def _incident(incident: Incident, language: Language) -> str:
    phrases = PHRASES[language]
    severity = phrases.severity_word(incident.severity)
    place = " · ".join(filter(None, map(one_line, (incident.service, incident.environment))))
    facts = [
        (phrases.where, place),
        (phrases.source, one_line(incident.source)),
        (phrases.since, instant(incident.opened_at)),
    ]
    number = f"#{incident.number} · " if incident.number else ""
    return _p(f"{number}{severity}", "tag") + _h1(one_line(incident.title)) + _facts(facts)


def _digest(digest: Digest, language: Language) -> str:
    phrases = PHRASES[language]
    count = _WORDS[language]["gathered"].format(open=digest.open, members=digest.members)
    return (
        _p(phrases.severity_word(digest.worst), "tag")
        + _h1(one_line(digest.title))
        + _facts([(phrases.count, count), (phrases.since, instant(digest.opened_at))])
    )


def _mark(subject: Incident | Digest) -> str:
    severity: Severity = subject.severity if isinstance(subject, Incident) else subject.worst
    return severity.word


def _facts(facts: list[tuple[str, str]]) -> str:
    rows = "".join(
        f"<dt>{_safe(label)}</dt><dd>{_safe(cut(value, _FACT_MOST))}</dd>\n" for label, value in facts if value
    )
    return f"<dl>\n{rows}</dl>\n"


def _h1(text: str) -> str:
    return f"<h1>{_safe(cut(text, _TITLE_MOST))}</h1>\n"


def _p(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{_safe(text)}</p>\n' if kind else f"<p>{_safe(text)}</p>\n"


def _page(inside: str, language: Language, kind: str = "") -> str:
    return (
        f'<!DOCTYPE html>\n<html lang="{language}"><head><meta charset="utf-8"><title>Tocsin</title>\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">\n'
        f'<style>{_STYLE}</style></head>\n<body><main class="{kind}">\n{inside}</main></body></html>\n'
    )


def _safe(text: str) -> str:
    return html.escape(text.encode("utf-8", "replace").decode())
