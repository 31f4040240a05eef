"""What Twilio calls us for, verified and read: what became of a message, a text in answer, a key in a call. Pure.

twilio.com/docs/usage/security#validating-requests, twilio.com/docs/messaging/guides/track-outbound-message-status,
twilio.com/docs/voice/api/call-resource#statuscallback
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import unicodedata
import urllib.parse
from collections.abc import Collection, Iterator, Mapping
from typing import Final, Literal

from gateway.channels._callbacks import form, same
from gateway.contracts import Call, Heard, Ignored, Pressed, Reported
from gateway.errors import BadCredential
from gateway.model import Reached

STRANGER: Final = Ignored("from a number that is not in `to`")
NO_SUCH_KEY: Final = Ignored("a key that means nothing")

_REACHED: Final[Mapping[str, Reached]] = {
    **dict.fromkeys(("delivered", "read"), "delivered"),
    **dict.fromkeys(("in-progress", "answered", "completed"), "answered"),
    **dict.fromkeys(("undelivered", "failed", "busy", "no-answer", "canceled"), "undelivered"),
}
_KEYS: Final[Mapping[str, Literal["acknowledge", "resolve"]]] = {"1": "acknowledge", "2": "resolve"}
_SAYS: Final[Mapping[str, Literal["acknowledge", "resolve"]]] = {
    **_KEYS,
    **dict.fromkeys(
        ("ack", "acknowledge", "acknowledged", "ok", "okay", "확인", "확인함", "확인했습니다"), "acknowledge"
    ),
    **dict.fromkeys(("resolve", "resolved", "done", "fixed", "해결", "해결됨", "해결했습니다", "완료"), "resolve"),
}
_ANSWER: Final = re.compile(r"([12](?![0-9])|[^\W\d_]+)\s*#?\s*([0-9]{1,9})?")


def hear(call: Call, auth_token: str, numbers: Collection[str]) -> Heard:
    """Raises BadCredential where Twilio did not sign it for this account and this address."""
    pairs = form(call.body)
    shown = call.headers.get("x-twilio-signature", "")
    # All are compared, so that the time tells nothing of which address was right.
    if True not in [same(shown, signature(auth_token, url, pairs)) for url in _written(call.url)]:
        raise BadCredential("Twilio's signature is missing or wrong for this address.")
    said = dict(pairs)
    if "Digits" in said:
        return _key(call, said, numbers)
    if "MessageStatus" in said or ("CallStatus" in said and "Body" not in said):
        return _report(call, said)
    return _text(said, numbers)


def signature(auth_token: str, url: str, pairs: Collection[tuple[str, str]]) -> str:
    """Base64 of HMAC-SHA1 over the address and every name with its values, all sorted, none twice."""
    signed = url + "".join(name + value for name, value in sorted(set(pairs)))
    digest = hmac.new(auth_token.encode(), signed.encode("utf-8", "surrogatepass"), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def _written(url: str) -> Iterator[str]:
    """The address without its port and with it: which of them Twilio signs depends on its mood and on the scheme."""
    yield url
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:  # a public_url that is none: nothing can be signed for it
        return
    host = parts.netloc.rpartition("@")[2]
    bare = re.sub(r":[0-9]+$", "", host)
    port = 443 if parts.scheme == "https" else 80
    for netloc in (bare, f"{bare}:{port}"):
        # The rest stays as it was written, for that is what was signed.
        yield url.replace(parts.netloc, netloc, 1)


def _report(call: Call, said: Mapping[str, str]) -> Heard:
    delivery, sid = call.query.get("delivery", ""), said.get("MessageSid") or said.get("CallSid", "")
    status = said.get("MessageStatus") or said.get("CallStatus", "")
    reached = _REACHED.get(status)
    if reached is None or not delivery or not sid:
        return Ignored("a status on the way, or of a message that is not ours")
    code = said.get("ErrorCode", "")
    why = f"Twilio {code}" if re.fullmatch(r"[0-9]{5}", code) else status
    return Reported(
        key=f"{sid[:64]}.{status}",
        delivery=delivery,
        reached=reached,
        sid=sid[:64],
        address=said.get("To", ""),
        reason=why if reached == "undelivered" else "",
    )


def _text(said: Mapping[str, str], numbers: Collection[str]) -> Heard:
    """A text in answer: a word for what to do, and the incident's number where it is not the newest."""
    sender, sid = said.get("From", ""), said.get("MessageSid", "")
    if sender not in numbers:
        return STRANGER
    words = unicodedata.normalize("NFKC", said.get("Body", "")).strip().rstrip(".!").lower()
    answer = _ANSWER.fullmatch(words)
    verb = _SAYS.get(answer[1]) if answer else None
    if answer is None or verb is None or not sid:
        # Nobody is told so: two machines that answer each other would never end. STOP and HELP are Twilio's own.
        return Ignored("a text that asks for nothing we know")
    number = int(answer[2]) if answer[2] else None
    where = {"number": sender}
    return Pressed(
        key=sid[:64], verb=verb, by=sender, number=number, where=where, address=sender, about={"kind": "sms"}
    )


def _key(call: Call, said: Mapping[str, str], numbers: Collection[str]) -> Heard:
    """A key in a call of ours. Which incident it was about stands in the address, which is signed as well."""
    called, sid, digit = said.get("To", ""), said.get("CallSid", ""), said["Digits"]
    if called not in numbers:
        return STRANGER
    if digit not in _KEYS or not sid:
        return NO_SUCH_KEY
    subject = call.query.get("incident", "")
    return Pressed(
        key=f"{sid[:64]}.{digit}",
        verb=_KEYS[digit],
        by=called,
        subject=subject,
        where={"number": called, **({"call": sid[:64]} if subject else {})},
        address=called,
        about={"kind": "voice"},
    )
