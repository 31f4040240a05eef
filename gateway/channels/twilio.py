"""`kind: twilio`: a text message or a phone call to each number.

Twilio's POSTs know no idempotency key: where an answer is lost, a second one may be a second message
(twilio.com/docs/api/errors/20500), so `when_unknown` decides. 201 says accepted, not delivered.
"""

from __future__ import annotations

import asyncio
import html
import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from gateway.channels._http import Answer, Wire, judge, retry_after
from gateway.contracts import ChannelSettings, Surroundings
from gateway.fields import HttpUrl, Rate, Texts
from gateway.model import Message, Receipt, Ref, Rejected, Retry, Sent, Unknown
from gateway.rules.reading import clean

_PACES: Final = (Rate(1, 1_000),)
_AT_ONCE: Final = 8
_MOST_BODY: Final = 1_600
_MOST_TWIML: Final = 4_000
_VOICES: Final = {"en": "en-US", "ko": "ko-KR"}
_NO_XML: Final = re.compile("[\ufffe\uffff]")
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


def _number(text: str) -> str:
    number = re.sub(r"[ ().-]", "", text)
    if not re.fullmatch(r"\+[1-9][0-9]{5,14}", number):
        raise ValueError("is no phone number; write it with + and the country, like +821012345678")
    return number


def _numbers(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not texts:
        raise ValueError("names nobody; write at least one phone number")
    return tuple(dict.fromkeys(_number(text) for text in texts))


def _sender(text: str) -> str:
    """A number, a short code, or a name of at most 11 letters and digits."""
    return text if re.fullmatch(r"[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}", text) else _number(text)


class Settings(ChannelSettings):
    """The login is account_sid with auth_token, or api_key (SK…) with api_secret where those are written."""

    account_sid: str = Field(pattern=r"^AC[A-Za-z0-9_-]+$")
    auth_token: SecretStr | None = None
    api_key: str | None = Field(default=None, pattern=r"^SK[A-Za-z0-9_-]+$")
    api_secret: SecretStr | None = None
    from_: Annotated[str, AfterValidator(_sender)] | None = Field(default=None, alias="from")
    messaging_service_sid: str | None = Field(default=None, pattern=r"^MG[A-Za-z0-9_-]+$")
    to: Annotated[Texts, AfterValidator(_numbers)]
    via: Literal["sms", "voice"] = "sms"
    when_unknown: Literal["send_again", "let_be"] = "send_again"
    api_url: HttpUrl = "https://api.twilio.com"

    @model_validator(mode="after")
    def _fits(self) -> Settings:
        if (self.api_key is None) != (self.api_secret is None):
            raise ValueError("api_key and api_secret are written both or not at all")
        if self.auth_token is None and self.api_key is None:
            raise ValueError("auth_token is missing (or api_key with api_secret)")
        if (self.from_ is None) == (self.messaging_service_sid is None):
            raise ValueError("one of from and messaging_service_sid is needed, not both")
        if self.via == "voice" and (self.from_ is None or not self.from_.startswith("+")):
            raise ValueError("via: voice needs a phone number in from")
        return self

    @property
    def login(self) -> tuple[str, str]:
        secret = self.auth_token if self.api_secret is None else self.api_secret
        return self.api_key or self.account_sid, "" if secret is None else secret.get_secret_value()


def connect(settings: Settings, surroundings: Surroundings) -> Twilio:
    return Twilio(settings, surroundings)


@dataclass(frozen=True, slots=True)
class _Taken:
    """Twilio has it, under this id."""

    sid: str


class Twilio:
    """All numbers at once: at night nobody waits for another's phone.

    `ref`: {"sid": {number: id}} once all was said; before, {"told": {"id": the message under way, "sid": …}},
    where an id is '' if no answer came and `when_unknown` is let_be."""

    edits = False
    width = 2

    def __init__(self, settings: Settings, surroundings: Surroundings) -> None:
        self.paces = _PACES if settings.pace is None else settings.pace
        self.unknown_again: int | None = 1 if settings.when_unknown == "send_again" else 0
        self._settings = settings
        kind = "Calls" if settings.via == "voice" else "Messages"
        self._url = f"{settings.api_url}/2010-04-01/Accounts/{settings.account_sid}/{kind}.json"
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._wire = Wire(
            timeout=settings.timeout, width=_AT_ONCE, transport=surroundings.transport, auth=settings.login
        )

    def escape(self, text: str) -> str:
        return clean(text)

    async def send(self, message: Message, ref: Ref) -> Receipt:
        """Retry and Unknown carry who has heard, so that nobody hears twice because of another's phone."""
        if message.quiet:
            return Sent(ref, "no bell: nothing sent")
        if message.occasion == "over" and self._settings.via == "voice":
            return Sent(ref, "over before it was told: no call")
        form = self._form(message)
        told = _told(ref, message.id)
        rest = [number for number in self._settings.to if number not in told]
        answers = await asyncio.gather(*(self._tell(number, form) for number in rest))
        return self._receipt(message, told, dict(zip(rest, answers, strict=True)))

    async def close(self) -> None:
        await self._wire.close()

    def _form(self, message: Message) -> dict[str, str]:
        sender = {"From": self._settings.from_, "MessagingServiceSid": self._settings.messaging_service_sid}
        words = {"Twiml": _twiml(message)} if self._settings.via == "voice" else {"Body": _body(message)}
        return {**{key: value for key, value in sender.items() if value is not None}, **words}

    async def _tell(self, number: str, form: dict[str, str]) -> _Taken | Receipt:
        async with self._slots:
            answer = await self._wire.call("POST", self._url, form={"To": number, **form})
        return _read(answer) if isinstance(answer, Answer) else answer

    def _receipt(self, message: Message, told: dict[str, str], answers: dict[str, _Taken | Receipt]) -> Receipt:
        """One receipt for all numbers: whoever can still hear comes first, then what is not known."""
        told = told | {number: answer.sid for number, answer in answers.items() if isinstance(answer, _Taken)}
        later = [answer for answer in answers.values() if isinstance(answer, Retry)]
        unknown = {number: answer for number, answer in answers.items() if isinstance(answer, Unknown)}
        never = [answer for answer in answers.values() if isinstance(answer, Rejected)]
        if later:
            left = dict.fromkeys(unknown, "") if self._settings.when_unknown == "let_be" else {}
            waits = [answer.after for answer in later if answer.after is not None]
            return Retry(later[0].reason, max(waits, default=None), _under_way(message, told | left))
        if unknown:
            return Unknown(next(iter(unknown.values())).reason, _under_way(message, told))
        if never and not told:
            return Rejected(never[0].reason)
        silent = sum(not sid for sid in told.values())
        refused = f"{len(never)} of {len(self._settings.to)} refused ({never[0].reason})" if never else ""
        detail = f"no answer for {silent} of {len(self._settings.to)}" if silent else ""
        return Sent({"sid": told}, detail, refused)


def _under_way(message: Message, told: dict[str, str]) -> dict[str, Any] | None:
    return {"told": {"id": message.id, "sid": told}} if told else None


def _told(ref: Ref, message_id: str) -> dict[str, str]:
    """Who has heard this very message, with Twilio's ids."""
    match ref.get("told"):
        case {"id": str(known), "sid": dict(sids)} if known == message_id:
            return {str(number): str(sid) for number, sid in sids.items()}
    return {}


def _read(answer: Answer) -> _Taken | Receipt:
    """Only numbers of Twilio's words are kept: its sentences repeat phone numbers."""
    document = answer.json
    said = document if isinstance(document, dict) else {}
    code = said.get("code")
    if 200 <= answer.status < 300:
        sid = said.get("sid")
        return _Taken(sid[:64]) if isinstance(sid, str) and sid else Unknown("the answer is not Twilio's")
    if not isinstance(code, int) or not 10_000 <= code <= 99_999:
        code = None
    if answer.status >= 500:
        return Unknown(f"HTTP {answer.status}: it may have been sent" + (f" (Twilio {code})" if code else ""))
    if code in _PASSING:
        return Retry(f"Twilio {code}: {_PASSING[code]}", retry_after(answer.headers))
    if code is not None:
        return Rejected(f"Twilio {code}" + (f": {_LASTING[code]}" if code in _LASTING else ""))
    return judge(answer)


def _body(message: Message) -> str:
    words = _own_words(message) or message.brief or message.text or message.incident.title or "-"
    footer = f"\n{message.footer}" if message.footer and message.footer not in words else ""
    return _cut(clean(words + footer), _MOST_BODY)


def _own_words(message: Message) -> str:
    """What the channel's templates made; '' where there are none."""
    if message.custom_body is None:
        return "\n".join(part for part in (message.custom_title, message.url) if part) if message.custom_title else ""
    return "\n".join(part for part in (message.custom_title, message.custom_body) if part)


def _twiml(message: Message) -> str:
    """Said twice: the first time, one is still waking up."""
    words = _own_words(message) or message.speech or message.text or message.incident.title or "-"
    frame = '<Response><Say language="{0}">{1}</Say><Pause length="1"/><Say language="{0}">{1}</Say></Response>'
    voice = _VOICES[message.language]
    room = (_MOST_TWIML - len(frame.format(voice, ""))) // 2
    return frame.format(voice, _escaped(_NO_XML.sub("", clean(words)), room))


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
