"""What Twilio is given to say: the body of a text message, and TwiML for a call. Pure.

twilio.com/docs/voice/twiml, twilio.com/docs/messaging/twiml
"""

from __future__ import annotations

import html
import re
from typing import Final, Literal

from gateway.model import Message
from gateway.rules.fitting import fits_one_sms
from gateway.rules.reading import clean

_MOST_BODY: Final = 1_600
_MOST_TWIML: Final = 4_000
_MOST_ADDRESS: Final = 2_000  # beyond it no room is left for the words, which matter more than the keys
_VOICES: Final = {"en": "en-US", "ko": "ko-KR"}
_NO_XML: Final = re.compile("[\ufffe\uffff]")
_REPLY: Final = {"en": "Reply ACK {0}", "ko": "확인 {0} 회신"}
_KEYS: Final = {
    "en": {"acknowledge": "1 to acknowledge", "resolve": "2 to resolve", "frame": "Press {0}."},
    "ko": {"acknowledge": "확인은 1번", "resolve": "해결은 2번", "frame": "{0}을 눌러 주세요."},
}
_PAUSE: Final = '<Pause length="1"/>'
_GATHER: Final = '<Gather numDigits="1" timeout="10"'
Language = Literal["en", "ko"]


def body(message: Message, *, answered: bool) -> str:
    """The words of a text. Where it can be `answered`, how: if that still fits into the one message."""
    words = _own_words(message) or message.brief or message.text or message.incident.title or "-"
    footer = f"\n{message.footer}" if message.footer and message.footer not in words else ""
    words = clean(words + footer)
    number, verbs = message.incident.number, {action.verb for action in message.actions}
    if answered and number and "acknowledge" in verbs:
        hinted = f"{words} {_REPLY[message.language].format(number)}"
        words = hinted if fits_one_sms(hinted) else words
    return _cut(words, _MOST_BODY)


def call(message: Message, keys_to: str) -> str:
    """What a call says, twice: the first time, one is still waking up. `keys_to`: the address that hears which key
    is pressed meanwhile, and within ten seconds after; '' for nobody."""
    words = _own_words(message) or message.speech or message.text or message.incident.title or "-"
    keys = _keys(message) if keys_to else ""
    before, after = "", ""
    if keys:
        before, after = f'{_GATHER} action="{html.escape(keys_to)}" method="POST">', "</Gather>"
    if _length(before) > _MOST_ADDRESS:
        keys, before, after = "", "", ""
    say = f'<Say language="{_VOICES[message.language]}">', f"{keys}</Say>"
    parts = "<Response>" + before + say[0], say[1] + _PAUSE + say[0], say[1] + after + "</Response>"
    room = (_MOST_TWIML - sum(map(_length, parts))) // 2
    return _escaped(_plain(words), room).join(parts)


def spoken(text: str, language: Language) -> str:
    """The end of a call: what came of a key; nothing where there is nothing to say."""
    if not text.strip():
        return "<Response/>"
    return f'<Response><Say language="{_VOICES[language]}">{_escaped(_plain(text), _MOST_TWIML // 2)}</Say></Response>'


def another_key(language: Language) -> str:
    """After a key that means nothing: the call goes on. Without an action, the next key comes to the same address."""
    words = _KEYS[language]
    said = words["frame"].format(f"{words['acknowledge']}, {words['resolve']}")
    return f'<Response>{_GATHER}><Say language="{_VOICES[language]}">{said}</Say></Gather></Response>'


def texted(text: str) -> str:
    """The answer to a text message; none where there is nothing to say."""
    said = f"<Message>{html.escape(_cut(_plain(text), _MOST_BODY))}</Message>" if text else ""
    return f"<Response>{said}</Response>"


def _plain(text: str) -> str:
    return _NO_XML.sub("", clean(text))


def _own_words(message: Message) -> str:
    """What the channel's templates made; '' where there are none."""
    if message.custom_body is None:
        return "\n".join(part for part in (message.custom_title, message.url) if part) if message.custom_title else ""
    return "\n".join(part for part in (message.custom_title, message.custom_body) if part)


def _keys(message: Message) -> str:
    """Which keys there are: ` Press 1 to acknowledge, 2 to resolve.`; '' where none does anything."""
    words = _KEYS[message.language]
    keys = [words[action.verb] for action in message.actions if action.verb in words]
    return " " + words["frame"].format(", ".join(keys)) if keys else ""


def _escaped(text: str, most: int) -> str:
    """As much of the text as fits when it is escaped for XML."""
    while _length(escaped := html.escape(text)) > most:
        text = text[: min(len(text) - 1, len(text) * most // _length(escaped))]
    return escaped


def _cut(text: str, most: int) -> str:
    if _length(text) <= most:
        return text
    # Three dots, not one sign: "…" would make Twilio pay for another alphabet. Never half a pair.
    return text.encode("utf-16-le")[: 2 * (most - 3)].decode("utf-16-le", "ignore") + "..."


def _length(text: str) -> int:
    """In UTF-16 units, which is how text messages are counted."""
    return len(text.encode("utf-16-le")) // 2
