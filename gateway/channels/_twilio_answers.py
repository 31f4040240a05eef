"""What Twilio's answers to a text or a call mean."""

from __future__ import annotations

from typing import Final

from gateway.channels._http import Answer, judge, retry_after
from gateway.model import Receipt, Rejected, Retry, Unknown
from gateway.values import frozen

BAD_ADDRESS: Final = 21609
# twilio.com/docs/api/errors
_PASSING: Final = {
    10004: "too many calls at once",
    20429: "too many requests",
    21611: "the queue of the sending number is full",
}
_LASTING: Final = {
    20003: "the login is refused; check account_sid and auth_token",
    21211: "a number of `to` does not exist",
    21408: "this account may not reach the country of a number of `to`",
    21606: "`from` is no number of this account that can do this",
    21608: "a trial account reaches verified numbers only",
    21610: "a recipient has answered STOP",
    21614: "a number of `to` takes no text messages",
}


@frozen
class Taken:
    """Twilio has it, under this id."""

    sid: str


def code_of(answer: Answer) -> int | None:
    """Twilio's own number for what is wrong; None where it named none."""
    said = answer.json if isinstance(answer.json, dict) else {}
    code = said.get("code")
    return code if isinstance(code, int) and 10_000 <= code <= 99_999 else None


def read(answer: Answer) -> Taken | Receipt:
    """Only numbers of Twilio's words are kept: its sentences repeat phone numbers."""
    said = answer.json if isinstance(answer.json, dict) else {}
    code = code_of(answer)
    if 200 <= answer.status < 300:
        sid = said.get("sid")
        return Taken(sid[:64]) if isinstance(sid, str) and sid else Unknown("the answer is not Twilio's")
    if answer.status >= 500:
        return Unknown(f"HTTP {answer.status}: it may have been sent" + (f" (Twilio {code})" if code else ""))
    if code in _PASSING:
        return Retry(f"Twilio {code}: {_PASSING[code]}", retry_after(answer.headers))
    if code is not None:
        return Rejected(f"Twilio {code}" + (f": {_LASTING[code]}" if code in _LASTING else ""))
    return judge(answer)
