"""A message in Slack's own writing: blocks within every limit, and the text that stands for them.

The headline stands in `blocks`, the rest in one attachment, for an attachment is all that has a colour.
An attachment with blocks may have nothing else: with `text` beside them Slack says `invalid_attachments`.
Limits: docs.slack.dev/reference/block-kit (header 150, text 3,000, fields 10 of 2,000 each). The total is
not documented; Slack says `msg_blocks_too_long` from about 13,200 characters (slackapi/bolt-js#2509).
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Final

from gateway.channels._slack_hearing import buttons
from gateway.model import Incident, Json, Message, Severity
from gateway.rules.facts import news_of
from gateway.rules.phrases import PHRASES
from gateway.rules.saying import head as head_of

MOST_IN_HEADER: Final = 150
MOST_IN_TEXT: Final = 3_000
MOST_FIELDS: Final = 10
MOST_IN_FIELD: Final = 400  # Slack takes 2,000; ten of those would be more than the whole may be
MOST_IN_FALLBACK: Final = 2_000
MOST_IN_FOOTER: Final = 300
MOST_IN_URL: Final = 1_000
MOST_IN_ALL: Final = 13_000
_BODIES: Final = (MOST_IN_TEXT, 2_000, 1_000, 300)

_GREEN: Final = "#2eb67d"
_COLOURS: Final = {
    Severity.INFO: "#36a2eb",
    Severity.WARNING: "#ecb22e",
    Severity.ERROR: "#f2761d",
    Severity.CRITICAL: "#e01e5a",
    Severity.EMERGENCY: "#a30d2d",
}
_OPEN: Final = {"en": "Open", "ko": "열기"}
_BROADCAST = re.compile(r"@(?=(?:here|channel|everyone)\b)", re.IGNORECASE)
_BRACKET = re.compile(r"<(?=[!@#]|\w+:)")
_JOINER: Final = "\u2060"  # a word joiner: no width, no break
_CUT_ENTITY = re.compile(r"&[a-zA-Z]{0,4}$")
_CUT_BRACKET = re.compile(r"<[^<>]*$")


def escape(text: str) -> str:
    """Foreign text for mrkdwn: `<!channel>`, `<@U1>` and `<url|words>` are only what they look like, and
    `@here` rings for nobody. docs.slack.dev/messaging/formatting-message-text#escaping"""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _BROADCAST.sub("@" + _JOINER, escaped)


def whole(message: Message, *, answered: bool = False) -> dict[str, Json]:
    """`text`, `blocks` and `attachments` that say the whole message; with its buttons where they can be `answered`.

    They stand below the headline: the end of a long attachment is folded away."""
    said: dict[str, Json] = {}
    pressed = buttons(message.actions, message.incident.id) if answered else []
    for most in _BODIES:
        said = {"blocks": [*_headline(message), *pressed], "attachments": _rest(message, most)}
        if len(json.dumps(said, ensure_ascii=False)) < MOST_IN_ALL:
            break
    return {"text": fallback(message), **said}


def in_thread(message: Message) -> dict[str, Json]:
    """The same keys for a reply that says what changed; the message at the root says all the rest."""
    if message.custom_title is None:
        line = f"*{escape(message.title)}*" if message.title.strip() else head(message)
    else:
        line = f"*{head(message)}* {message.custom_title}".rstrip()
    told = "" if message.custom_body is not None else _news(message)
    below = [_coloured(message, [_plain_section(told, 500)])] if told else []
    return {"text": cut(line, MOST_IN_FALLBACK), "blocks": [_mrkdwn_section(line)], "attachments": below}


def _news(message: Message) -> str:
    """Who and when, where that is the news; else, while it lasts, what the sender wrote."""
    if news := news_of(message):
        return "\n".join(f"{label}: {value}" for label, value in news)
    return "" if message.occasion in ("resolved", "over") else message.body


def fallback(message: Message) -> str:
    """The message as plain mrkdwn: for notifications, screen readers, and where Slack refuses our blocks."""
    title = message.custom_title if message.custom_title is not None else escape(message.title)
    if message.custom_body is not None:
        body = message.custom_body
    else:
        facts = [f"{label}: {value}" for label, value in message.facts]
        body = escape("\n".join(part for part in (*facts, message.body, message.url) if part))
    words = "\n".join(part for part in (title, body, escape(message.footer)) if part.strip())
    return cut(words, MOST_IN_FALLBACK) or escape(message.title) or "Tocsin"


def head(message: Message) -> str:
    """Why we speak, for titles that do not say it: `WORSE: CRITICAL`."""
    return head_of(message.occasion, message.incident, message.language)


def cut(mrkdwn: str, most: int) -> str:
    """At most so many characters, ended with … and never inside an entity or a `<…>`."""
    if len(mrkdwn) <= most:
        return mrkdwn
    return _CUT_BRACKET.sub("", _CUT_ENTITY.sub("", mrkdwn[: most - 1])) + "…"


def _headline(message: Message) -> list[Json]:
    if message.custom_title is not None:
        return [_mrkdwn_section(message.custom_title)] if message.custom_title.strip() else []
    if not message.title.strip():
        return []
    title = " ".join(message.title.split())
    return [{"type": "header", "text": _plain(title, MOST_IN_HEADER)}]


def _rest(message: Message, most: int) -> list[Json]:
    """All but the headline; of the body at most so many characters."""
    if message.custom_body is None:
        shown = _built_in(message, most)
    else:
        shown = [_mrkdwn_section(message.custom_body, most)] if message.custom_body.strip() else []
    small = [_mrkdwn(_origin(message.incident), MOST_IN_TEXT)]
    if message.footer.strip():
        small.append(_plain(message.footer, MOST_IN_FOOTER))
    return [_coloured(message, [*shown, {"type": "context", "elements": small}])]


def _built_in(message: Message, most: int) -> list[Json]:
    shown: list[Json] = []
    facts = [fact for fact in message.facts if not _told_below(fact, message)]
    facts, more = facts[:MOST_FIELDS], facts[MOST_FIELDS:]
    if facts:
        shown.append({"type": "section", "fields": [_field(label, value) for label, value in facts]})
    body = "\n".join([*(f"{label}: {value}" for label, value in more), message.body])
    if body.strip():
        shown.append(_plain_section(body, most))
    if message.url and len(message.url) <= MOST_IN_URL:
        shown.append(_mrkdwn_section(f"<{_address(message.url)}|{_OPEN[message.language]}>"))
    return shown


def _told_below(fact: tuple[str, str], message: Message) -> bool:
    """Whether the small line at the end says the same: source and number."""
    phrases, incident = PHRASES[message.language], message.incident
    label, value = fact
    if label == phrases.source:
        return value == incident.source
    return label == phrases.number and value == f"#{incident.number}"


def _coloured(message: Message, blocks: list[Json]) -> Json:
    incident = message.incident
    over = incident.state == "resolved" and not incident.momentary
    return {"color": _GREEN if over else _COLOURS[incident.severity], "blocks": blocks}


def _origin(incident: Incident) -> str:
    # Slack shows `<!date^…>` in each reader's own time zone.
    seconds = incident.opened_at // 1000
    plain = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    since = f"<!date^{seconds}^{{date_short_pretty}} {{time}}|{plain}>"
    number = f"#{incident.number}" if incident.number else ""
    return " · ".join(part for part in (number, escape(incident.source)[:200], since) if part)


def _field(label: str, value: str) -> Json:
    return _mrkdwn(f"*{cut(escape(label), 60)}*\n{escape(value) or '–'}", MOST_IN_FIELD)


def _mrkdwn_section(text: str, most: int = MOST_IN_TEXT) -> Json:
    return {"type": "section", "text": _mrkdwn(text, most)}


def _plain_section(text: str, most: int) -> Json:
    # A sender's body is plain_text: his asterisks, underscores and brackets stay what they are.
    return {"type": "section", "text": _plain(text, most)}


def _mrkdwn(text: str, most: int) -> Json:
    # verbatim: Slack makes no mention and no link of what only looks like one.
    return {"type": "mrkdwn", "text": cut(text, most), "verbatim": True}


def _plain(text: str, most: int) -> Json:
    # Not escaped, for plain_text has no markup; only what would be a mention elsewhere is broken up.
    text = _BRACKET.sub("<" + _JOINER, _BROADCAST.sub("@" + _JOINER, text))
    return {"type": "plain_text", "text": text if len(text) <= most else text[: most - 1] + "…", "emoji": False}


def _address(url: str) -> str:
    for sign, code in (("|", "%7C"), ("<", "%3C"), (">", "%3E"), (" ", "%20"), ("&", "&amp;")):
        url = url.replace(sign, code)
    return url
