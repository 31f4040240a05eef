"""A message in Telegram's HTML: within 4,096 characters as Telegram counts them, and never cut inside a tag.

Only `&`, `<` and `>` need escaping. The limit holds after the tags and entities are read, and is counted here
in UTF-16 units, which are never fewer than what Telegram counts. core.telegram.org/bots/api#html-style
"""

from __future__ import annotations

import html
import re
from typing import Final

from gateway.model import Message, Severity
from gateway.rules.facts import news_of
from gateway.rules.saying import head

MOST: Final = 4_096
MOST_IN_TITLE: Final = 300
MOST_IN_LABEL: Final = 60
MOST_IN_VALUE: Final = 300
MOST_FACTS: Final = 20
MOST_IN_FACTS: Final = 2_000
MOST_IN_FOOTER: Final = 300
MOST_IN_URL: Final = 2_000
MOST_IN_REPLY: Final = 500

_OPEN: Final = {"en": "Open", "ko": "열기"}
_MARKS: Final = {
    Severity.INFO: "🔵",
    Severity.WARNING: "🟡",
    Severity.ERROR: "🟠",
    Severity.CRITICAL: "🔴",
    Severity.EMERGENCY: "🚨",
}
_OVER: Final = "🟢"
# Telegram makes a mention of @name wherever it stands alone, and rings for whoever is called so.
_MENTION = re.compile(r"(?<!\w)@(?=\w)")
_TAG = re.compile(r"<[^<>]*>")


def escape(text: str) -> str:
    """Foreign text for HTML: no tag and no entity of its making, and no `@name` that rings."""
    broken = _MENTION.sub("@\u2060", text)
    return broken.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def whole(message: Message) -> str:
    """The whole message. A template's body that is too long loses its markup, not its end alone."""
    title, link, footer = _title(message), "", ""
    if message.footer.strip():
        footer = f"\n\n<i>{escape(cut(message.footer, MOST_IN_FOOTER))}</i>"
    if message.custom_body is not None:
        body = _fitting(message.custom_body, MOST - _length(title + footer) - 2)
    else:
        if message.url and len(message.url) <= MOST_IN_URL:
            link = f'\n\n<a href="{html.escape(message.url)}">{_OPEN[message.language]}</a>'
        body = _built_in(message, MOST - _length(title + link + footer) - 2)
    said = (f"{title}\n{body}" if title and body else title or body) + link + footer
    return said.strip() or _headline(message)


def in_reply(message: Message) -> str:
    """What changed, in short: the message that it replies to says all the rest."""
    title = _title(message)
    if message.custom_title is not None:
        title = f"<b>{escape(head(message.occasion, message.incident, message.language))}</b> {title}".strip()
    body = "" if message.custom_body is not None else escape(cut(_news(message), MOST_IN_REPLY))
    return "\n".join(part for part in (title, body) if part.strip())


def _news(message: Message) -> str:
    """Who and when, where that is the news; else, while it lasts, what the sender wrote."""
    if news := news_of(message):
        return "\n".join(f"{label}: {value}" for label, value in news)
    return "" if message.occasion in ("resolved", "over") else message.body


def plain(said: str) -> str:
    """The same without any markup, short enough beyond doubt: for when Telegram cannot read what we wrote."""
    return cut(html.unescape(_TAG.sub("", said)), MOST // 2)


def cut(text: str, most: int) -> str:
    """At most so many UTF-16 units of plain text, ended with … where something is missing."""
    if _units(text) <= most:
        return text
    return text.encode("utf-16-le")[: 2 * max(most - 1, 0)].decode("utf-16-le", "ignore") + "…"


def _title(message: Message) -> str:
    if message.custom_title is not None:
        return _fitting(message.custom_title, MOST_IN_TITLE)
    return _headline(message)


def _headline(message: Message) -> str:
    incident = message.incident
    over = incident.state == "resolved" and not incident.momentary
    title = cut(" ".join(message.title.split()), MOST_IN_TITLE)
    return f"{_OVER if over else _MARKS[incident.severity]} <b>{escape(title)}</b>"


def _built_in(message: Message, most: int) -> str:
    facts, left = [], MOST_IN_FACTS
    for label, value in message.facts[:MOST_FACTS]:
        name, words = escape(cut(label, MOST_IN_LABEL)), escape(cut(value, MOST_IN_VALUE))
        left -= _length(name + words) + 3
        if left < 0:
            break
        facts.append(f"<b>{name}:</b> {words}")
    shown = "\n".join(facts)
    body = message.body.strip()
    if not body:
        return shown
    # Room is counted for the escaped text: breaking up mentions makes it longer.
    room = most - _length(shown) - 2
    broken = escape(body)
    return "\n\n".join(part for part in (shown, _escaped_within(broken, room)) if part)


def _escaped_within(escaped: str, most: int) -> str:
    if _length(escaped) <= most:
        return escaped
    # Already broken up: it is escaped again without growing.
    return html.escape(cut(html.unescape(escaped), most), quote=False)


def _fitting(markup: str, most: int) -> str:
    """A template's own markup as it is; as plain words where it is longer than may be."""
    if _length(markup) <= most:
        return markup
    return html.escape(cut(html.unescape(_TAG.sub("", markup)), most), quote=False)


def _length(markup: str) -> int:
    """How long Telegram finds it once tags and entities are read."""
    return _units(html.unescape(_TAG.sub("", markup)))


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
