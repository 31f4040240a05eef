"""One message as a letter: MIME with a plain and an HTML half. Pure; the channel `email` posts it.

The HTML is a table with inline styles, because that is what mail programs show; nothing in it is
fetched from anywhere, and all that a stranger wrote is escaped.
"""

from __future__ import annotations

import dataclasses
import email.policy
import email.utils
import html
from collections.abc import Sequence
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Final

from gateway.model import Message, Millis, Severity
from gateway.rules.reading import clean
from gateway.values import frozen

# 7 bits pass every server, whatever it says it can do.
_POLICY: Final = email.policy.SMTP.clone(cte_type="7bit")
_MOST_BODY: Final = 20_000  # Gmail hides what is over 102 KB, and nobody reads it on a phone
_MOST_FACTS: Final = 50
_MOST_FACT: Final = 1_000
_MOST_SUBJECT: Final = 200
_TAGS: Final = {
    "en": ("INFO", "WARNING", "ERROR", "CRITICAL", "EMERGENCY", "RESOLVED", "ACKNOWLEDGED", "TEST", "Open"),
    "ko": ("정보", "경고", "오류", "심각", "긴급", "해결됨", "확인됨", "테스트", "열기"),
}
_TOLD: Final = {
    "en": {
        "noted": "NOTE",
        "assigned": "ASSIGNED",
        "escalated": "ESCALATED",
        "reminded": "STILL OPEN",
        "unanswered": "NOBODY ANSWERED",
        "muted": "MUTED",
        "unmuted": "STILL OPEN",
        "flapping": "FLAPPING",
        "steadied": "STEADY",
    },
    "ko": {
        "noted": "메모",
        "assigned": "담당 지정",
        "escalated": "상위 호출",
        "reminded": "미해결",
        "unanswered": "응답 없음",
        "muted": "알림 중지",
        "unmuted": "미해결",
        "flapping": "불안정",
        "steadied": "안정됨",
    },
}
_BARS: Final = {
    Severity.INFO: "#1565c0",
    Severity.WARNING: "#f9a825",
    Severity.ERROR: "#e65100",
    Severity.CRITICAL: "#c62828",
    Severity.EMERGENCY: "#6a1b9a",
}
_GREEN: Final = "#2e7d32"
_GREY: Final = "#546e7a"
_BLACK: Final = "#263238"
_VERBS: Final = {"acknowledge": "#1565c0", "resolve": _GREEN, "silence": _GREY}


@frozen
class Envelope:
    """Who writes to whom, when, and where in which thread. Ids with their angle brackets."""

    sender: Address
    to: Sequence[Address]
    at: Millis
    message_id: str
    answers: str
    references: Sequence[str]


def letter(message: Message, envelope: Envelope) -> bytes:
    """The whole letter, lines ended by CRLF, ASCII only."""
    message = _bounded(message)
    mail = EmailMessage(policy=_POLICY)
    mail["From"] = envelope.sender
    mail["To"] = list(envelope.to)
    mail["Subject"] = subject(message)
    mail["Date"] = email.utils.format_datetime(datetime.fromtimestamp(envelope.at / 1000, UTC))
    mail["Message-ID"] = envelope.message_id
    mail["In-Reply-To"] = envelope.answers
    mail["References"] = " ".join(envelope.references)
    # No holiday greeting shall come back. RFC 3834 §5; the second is Exchange's own.
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    mail.set_content(clean("\n".join((message.text, *_links(message)))) + "\n")
    mail.add_alternative(_page(message), subtype="html")
    return mail.as_bytes()


def subject(message: Message) -> str:
    """'[CRITICAL] shop is down', then '[RESOLVED] shop is down': one stem for an incident's whole life."""
    if message.custom_title is not None:
        return _one_line(message.custom_title)
    return _one_line(f"[{_tag(message)}] {message.incident.title or message.title}")


def _one_line(text: str) -> str:
    # A stranger's "=?utf-8?…" would be decoded by the reader's mail program.
    line = " ".join(clean(text).split()).replace("=?", "= ?")
    return line if len(line) <= _MOST_SUBJECT else line[: _MOST_SUBJECT - 1] + "…"


def _tag(message: Message) -> str:
    tags = _TAGS[message.language]
    match message.occasion:
        case "resolved" | "over":
            return tags[5]
        case "acknowledged":
            return tags[6]
        case "test":
            return tags[7]
        case "opened" | "worsened" | "eased" | "reopened" | "linked":
            return tags[message.incident.severity]
        case _:
            return _TOLD[message.language][message.occasion]


def _bounded(message: Message) -> Message:
    facts = tuple((_cut(label, _MOST_FACT), _cut(value, _MOST_FACT)) for label, value in message.facts[:_MOST_FACTS])
    custom = None if message.custom_body is None else _cut(message.custom_body, _MOST_BODY)
    return dataclasses.replace(message, facts=facts, body=_cut(message.body, _MOST_BODY), custom_body=custom)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _page(message: Message) -> str:
    title = message.title if message.custom_title is None else message.custom_title
    parts = [f'<h1 style="margin:0 0 12px;font-size:20px;line-height:1.3">{_safe(title)}</h1>']
    if message.custom_body is None:
        parts += [_facts(message.facts), _prose(message.body), _button(message)]
    else:
        parts += [_prose(message.custom_body)]
    parts.append(_actions(message))
    if message.footer:
        parts.append(f'<p style="margin:16px 0 0;font-size:12px;color:{_GREY}">{_safe(message.footer)}</p>')
    inside = "\n".join(part for part in parts if part)
    return (
        f'<!DOCTYPE html>\n<html lang="{message.language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark"></head>\n<body style="margin:0;padding:12px;'
        'font-family:-apple-system,Segoe UI,Roboto,Helvetica,Arial,sans-serif;font-size:16px;line-height:1.45">\n'
        '<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="max-width:600px;margin:0 auto">'
        f'<tr><td style="border-left:6px solid {_bar(message)};padding:4px 0 4px 14px">\n{inside}\n'
        "</td></tr></table>\n</body></html>\n"
    )


def _bar(message: Message) -> str:
    if message.occasion in ("resolved", "over"):
        return _GREEN
    return _GREY if message.occasion in ("acknowledged", "muted") else _BARS[message.incident.severity]


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    cell = "padding:2px 0;vertical-align:top"
    rows = "\n".join(
        f'<tr><td style="{cell};padding-right:14px;color:{_GREY};white-space:nowrap">{_safe(label)}</td>'
        f'<td style="{cell};word-break:break-word">{_safe(value)}</td></tr>'
        for label, value in facts
    )
    return f'<table role="presentation" cellpadding="0" cellspacing="0">\n{rows}\n</table>' if rows else ""


def _prose(text: str) -> str:
    style = "margin:14px 0 0;white-space:pre-wrap;word-break:break-word"
    return f'<div style="{style}">{_safe(text)}</div>' if text else ""


def _links(message: Message) -> list[str]:
    """What can be done from here, a line each: mail can only hold links."""
    return [f"{action.label or action.verb}: {action.url}" for action in message.actions if action.url]


def _button(message: Message) -> str:
    if not message.url:
        return ""
    return f'<p style="margin:18px 0 0">{_link(message.url, _TAGS[message.language][8], _BLACK)}</p>'


def _actions(message: Message) -> str:
    """Each opens a page with one button: following a link changes nothing, for scanners follow every link."""
    shown = [
        _link(action.url, action.label or action.verb, _VERBS[action.verb]) for action in message.actions if action.url
    ]
    return f'<p style="margin:18px 0 0">{" ".join(shown)}</p>' if shown else ""


def _link(url: str, word: str, colour: str) -> str:
    style = (
        f"display:inline-block;margin:0 8px 8px 0;padding:12px 22px;border-radius:6px;background:{colour};"
        "color:#ffffff;text-decoration:none"
    )
    return f'<a href="{_safe(url)}" style="{style}">{_safe(word)}</a>'


def _safe(text: str) -> str:
    return html.escape(clean(text))
