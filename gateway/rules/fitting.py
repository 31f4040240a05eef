"""Foreign text made to fit: one line, cut where it may be cut, an SMS, a voice. Nothing here knows an incident."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

from gateway.rules.reading import clean

GSM_7_MOST: Final = 160
UCS_2_MOST: Final = 70
URL_MOST: Final = 2_048
_LINE_MOST: Final = 2_000
_WHERE_MOST: Final = 40
_TITLE_LEAST: Final = 30
"""Below so many characters of title, where it happened is left out instead."""

_HTTP_URL = re.compile(r"https?://[^\\/?#\s]+\S*", re.IGNORECASE)
_UNSAFE_IN_URL = re.compile(r'["<>\\^`{|}]')
_LINK = re.compile(r"[a-z]+://\S*", re.IGNORECASE)
_DOT_IN_NAME = re.compile(r"(?<=[^\W_])\.(?=[^\W\d_])")
_APOSTROPHE = re.compile(r"(?<=[^\W_])['’](?=[^\W_])")
_SAYABLE = re.compile(r"[^\W_]+(?: [^\W_]+)*")
_SILENT = re.compile(r"(?<!\d)[.,](?!\s|$)|[.,](?![\s\d]|$)|[^\w\s.,]|_")

# 3GPP TS 23.038 §6.2.1: the default alphabet, and the extension table, whose characters count twice.
_GSM_TWICE: Final = frozenset("^{}\\[~]|€")
_GSM: Final = _GSM_TWICE | frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_PLAINER: Final[Mapping[str, str]] = {
    **dict.fromkeys("–—‐‑‒―−·", "-"),
    **dict.fromkeys("“”„‟«»″", '"'),
    **dict.fromkeys("‘’‚‛′`´", "'"),
    "…": "...",
    "→": "->",
    "←": "<-",
    "•": "*",
    "×": "x",
    "≥": ">=",
    "≤": "<=",
    "≠": "!=",
    "≈": "~",
    "°": "deg",
    "\t": " ",
    **dict(zip("łŁđĐı", "lLdDi", strict=True)),
    "œ": "oe",
    "Œ": "OE",
}


def one_line(text: str) -> str:
    """The text without newlines, control characters and double spaces; what is beyond 2,000 characters is gone."""
    return " ".join(clean(text[:_LINE_MOST]).split())


def cut(text: str, most: int) -> str:
    """At most `most` characters, ended by … where some are missing: at a space where one is near, never in a URL."""
    if len(text) <= most:
        return text
    kept = text[: max(most - 1, 0)]
    at = max(kept.rfind(" "), kept.rfind("\n"))
    if not text[len(kept)].isspace() and ("://" in kept[at + 1 :] or at >= most * 0.6):
        kept = kept[: at + 1]
    while kept and (kept[-1].isspace() or unicodedata.category(kept[-1]) in ("Mn", "Me", "Cf")):
        # A joiner or an accent at the end belongs to what was cut away.
        kept = kept[:-1]
    return kept + "…"


def web_address(text: str) -> str:
    """The http(s) URL, with what breaks out of markup percent-encoded; '' for anything else or beyond 2,048."""
    url = clean(text[: URL_MOST + 1]).strip()
    if not _HTTP_URL.fullmatch(url):
        return ""
    safe = _UNSAFE_IN_URL.sub(lambda match: f"%{ord(match[0]):02X}", url)
    return safe if len(safe) <= URL_MOST else ""


# --- for an SMS ---------------------------------------------------------------------------------------


def brief(title: str, where: str, tail: str, url: str) -> str:
    """The words for one SMS: 160 GSM-7 characters, or 70 of UCS-2 where a script needs it.

    The URL comes whole or not at all; the title is cut last."""
    where = cut(where, _WHERE_MOST)
    for address in (url, "") if url else ("",):
        text = _as_sms(_joined(title, where, tail, address))
        if _excess(text) <= 0:
            return text
    short = _shortened(title, where, tail)
    return short if short is not None else _shortened(title, "", tail) or _as_sms(cut(title, UCS_2_MOST))


def fits_one_sms(text: str) -> bool:
    """Whether the text is one SMS, in the alphabet it needs."""
    return _excess(text) <= 0


def _shortened(title: str, where: str, tail: str) -> str | None:
    """The title cut until all fits; None where too little of it would be left."""
    room = len(title)
    text = _as_sms(_joined(title, where, tail, ""))
    while (excess := _excess(text)) > 0:
        # An extension character counts twice: never take so much that more than needed is lost.
        room -= max(excess // 2, 1)
        if room < _TITLE_LEAST:
            return None
        text = _as_sms(_joined(cut(title, room), where, tail, ""))
    return text


def _joined(title: str, where: str, tail: str, url: str) -> str:
    return " ".join(part for part in (f"{title}, {where}" if where else title, tail, url) if part)


def _excess(text: str) -> int:
    """By how much the text is over one SMS, in the units of the alphabet it needs."""
    if set(text) <= _GSM:
        return len(text) + sum(text.count(sign) for sign in _GSM_TWICE) - GSM_7_MOST
    return len(text.encode("utf-16-le", "replace")) // 2 - UCS_2_MOST


def _as_sms(text: str) -> str:
    """In GSM-7 where nothing is lost but typography, accents and emoji; else as it was."""
    if set(text) <= _GSM:
        return text
    plain = " ".join("".join(_plainer(sign) for sign in text).split())
    return plain if plain and set(plain) <= _GSM else text


def _plainer(sign: str) -> str:
    if sign in _GSM:
        return sign
    if sign in _PLAINER:
        return _PLAINER[sign]
    if unicodedata.category(sign) in ("So", "Sk", "Mn", "Me", "Cf", "Co", "Cn"):
        return ""
    base = "".join(part for part in unicodedata.normalize("NFKD", sign) if not unicodedata.combining(part))
    return base if base and set(base) <= _GSM else sign


# --- for a voice --------------------------------------------------------------------------------------


def spoken(text: str, signs: Mapping[str, str], dot: str) -> str:
    """The text as a voice can read it: no URLs, no symbols; `signs`, none of them a letter, are said as words, `dot`
    is the one in a name."""
    if _SAYABLE.fullmatch(text):
        return text
    words = _LINK.sub(" ", text)
    for sign, word in signs.items():
        words = words.replace(sign, word)
    words = _DOT_IN_NAME.sub(dot, _APOSTROPHE.sub("", words))
    return " ".join(_SILENT.sub(" ", words).split())
