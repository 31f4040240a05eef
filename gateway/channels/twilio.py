"""`kind: twilio`: a text message or a phone call to each number.

Twilio's POSTs know no idempotency key: where an answer is lost, a second one may be a second message
(twilio.com/docs/api/errors/20500), so `when_unknown` decides. 201 says accepted, not delivered: where we have a
public address, Twilio tells there what became of it, and brings replies and keys.
"""

from __future__ import annotations

import asyncio
import re
import urllib.parse
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from gateway.channels import _twilio_hearing as hearing
from gateway.channels import _twilio_words as words
from gateway.channels._http import Answer, Wire
from gateway.channels._twilio_answers import BAD_ADDRESS, Taken, code_of, read
from gateway.contracts import Call, ChannelSettings, Heard, Pressed, Reply, Reported, Surroundings
from gateway.errors import BadCredential
from gateway.fields import HttpUrl, Rate, Texts
from gateway.model import Json, Message, Occasion, Receipt, Ref, Rejected, Retry, Sent, Unknown
from gateway.rules.reading import clean

_PACES: Final = (Rate(1, 1_000),)
_AT_ONCE: Final = 8
_CALLS_FOR: Final[frozenset[Occasion]] = frozenset(
    {"opened", "worsened", "reopened", "reminded", "escalated", "unanswered", "unmuted", "flapping", "test"}
)
_TEXTS_FOR: Final = _CALLS_FOR | {"resolved", "over", "steadied", "acknowledged"}


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


class Twilio:
    """All numbers at once: at night nobody waits for another's phone.

    `ref`: {"sid": {number: id}} once all was said; before, {"told": {"id": the message under way, "sid": …}},
    where an id is '' if no answer came and `when_unknown` is let_be; beside it those that heard an earlier one."""

    edits = False
    width = 2

    def __init__(self, settings: Settings, surroundings: Surroundings) -> None:
        self.paces = _PACES if settings.pace is None else settings.pace
        self.unknown_again: int | None = 1 if settings.when_unknown == "send_again" else 0
        self._settings = settings
        self._told_at = _address(settings, surroundings)
        kind = "Calls" if settings.via == "voice" else "Messages"
        self._url = f"{settings.api_url}/2010-04-01/Accounts/{settings.account_sid}/{kind}.json"
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._wire = Wire(
            timeout=settings.timeout, width=_AT_ONCE, transport=surroundings.transport, auth=settings.login
        )

    @property
    def listens(self) -> bool:
        """Twilio signs with the account's own token, over our public address."""
        return bool(self._told_at)

    def escape(self, text: str) -> str:
        return clean(text)

    async def send(self, message: Message, ref: Ref) -> Receipt:
        """Retry and Unknown carry who has heard, so that nobody hears twice because of another's phone."""
        if message.quiet:
            return Sent(ref, "no bell: nothing sent")
        if message.occasion == "over" and self._settings.via == "voice":
            return Sent(ref, "over before it was told: no call")
        if message.occasion not in (_CALLS_FOR if self._settings.via == "voice" else _TEXTS_FOR):
            return Sent(ref, f"{message.occasion}: no reason to ring")
        form = self._form(message)
        told = _told(ref, message.id)
        rest = [number for number in self._settings.to if number not in told]
        answers = await asyncio.gather(*(self._tell(number, form) for number in rest))
        return self._receipt(message, ref, told, dict(zip(rest, answers, strict=True)))

    def hear(self, call: Call) -> Heard:
        """A report, a text or a key; Ignored where it comes from a number that is not in `to`."""
        token = self._settings.auth_token
        if token is None:
            raise BadCredential("There is no auth_token to verify it by.")
        return hearing.hear(call, token.get_secret_value(), self._settings.to)

    async def agrees(self, where: Mapping[str, Json], ref: Ref) -> bool:
        """Whether this number was told. A key in a call about one incident says so itself: the address that only
        this call knew is signed, and the ref may not be written yet."""
        return "call" in where or where.get("number") in {**_heard(ref), **_under_way_in(ref)}

    async def reply(self, heard: Heard, text: str) -> Reply:
        """TwiML: a text for a text, a sentence for a key, nothing for a stranger."""
        match heard:
            case Reported():
                return Reply(204)
            case Pressed() if heard.about.get("kind") == "voice":
                said = words.spoken(text, self._settings.language)
            case Pressed():
                said = words.texted(text)
            case hearing.NO_SUCH_KEY:
                said = words.another_key(self._settings.language)
            case _:
                said = words.texted("")
        return Reply(200, said, "text/xml")

    async def close(self) -> None:
        await self._wire.close()

    def _form(self, message: Message) -> dict[str, Any]:
        sender = {"From": self._settings.from_, "MessagingServiceSid": self._settings.messaging_service_sid}
        about = {"delivery": message.delivery}
        told_at = f"{self._told_at}?{urllib.parse.urlencode(about)}" if self._told_at and message.delivery else ""
        back: dict[str, Any] = {"StatusCallback": told_at} if told_at else {}
        if self._settings.via == "voice":
            keys = {**about, "incident": message.incident.id}
            said = {"Twiml": words.call(message, f"{self._told_at}?{urllib.parse.urlencode(keys)}" if told_at else "")}
            back |= {"StatusCallbackEvent": ["answered", "completed"]} if told_at else {}
        else:
            said = {"Body": words.body(message, answered=bool(told_at) and _takes_replies(self._settings.from_))}
        return {**{key: value for key, value in sender.items() if value is not None}, **said, **back}

    async def _tell(self, number: str, form: dict[str, Any]) -> Taken | Receipt:
        async with self._slots:
            answer = await self._wire.call("POST", self._url, form={"To": number, **form})
            if isinstance(answer, Answer) and code_of(answer) == BAD_ADDRESS and "StatusCallback" in form:
                # Twilio cannot call us there. That costs us the report, never the page.
                plain = {key: value for key, value in form.items() if not key.startswith("StatusCallback")}
                answer = await self._wire.call("POST", self._url, form={"To": number, **plain})
        return read(answer) if isinstance(answer, Answer) else answer

    def _receipt(
        self, message: Message, ref: Ref, told: dict[str, str], answers: dict[str, Taken | Receipt]
    ) -> Receipt:
        """One receipt for all numbers: whoever can still hear comes first, then what is not known."""
        told = told | {number: answer.sid for number, answer in answers.items() if isinstance(answer, Taken)}
        before = {number: sid for number, sid in _heard(ref).items() if number in self._settings.to}
        later = [answer for answer in answers.values() if isinstance(answer, Retry)]
        unknown = {number: answer for number, answer in answers.items() if isinstance(answer, Unknown)}
        never = [answer for answer in answers.values() if isinstance(answer, Rejected)]
        if later:
            left = dict.fromkeys(unknown, "") if self._settings.when_unknown == "let_be" else {}
            waits = [answer.after for answer in later if answer.after is not None]
            return Retry(later[0].reason, max(waits, default=None), _under_way(message, before, told | left))
        if unknown:
            return Unknown(next(iter(unknown.values())).reason, _under_way(message, before, told))
        if never and not told:
            return Rejected(never[0].reason)
        silent = sum(not sid for sid in told.values())
        refused = f"{len(never)} of {len(self._settings.to)} refused ({never[0].reason})" if never else ""
        detail = f"no answer for {silent} of {len(self._settings.to)}" if silent else ""
        return Sent({"sid": before | told}, detail, refused)


def _address(settings: Settings, surroundings: Surroundings) -> str:
    """Where Twilio calls us; '' where we have no public address, or could not verify who calls."""
    if settings.auth_token is None or not surroundings.public_url:
        return ""
    return f"{surroundings.public_url}/callbacks/twilio/{urllib.parse.quote(surroundings.name)}"


def _takes_replies(sender: str | None) -> bool:
    """A name takes none; of the numbers of a messaging service any may be the sender."""
    return sender is None or not re.search("[A-Za-z]", sender)


def _under_way(message: Message, before: dict[str, str], told: dict[str, str]) -> dict[str, Any] | None:
    known = {"told": {"id": message.id, "sid": told}} if told else None
    return {"sid": before, **known} if known and before else known


def _heard(ref: Ref) -> dict[str, str]:
    """Who has heard something of it, with Twilio's ids of the newest."""
    sids = ref.get("sid")
    return {str(number): str(sid) for number, sid in sids.items()} if isinstance(sids, dict) else {}


def _under_way_in(ref: Ref) -> dict[str, str]:
    """The same of a message that not everybody has heard yet."""
    told = ref.get("told")
    return _heard(told) if isinstance(told, dict) else {}


def _told(ref: Ref, message_id: str) -> dict[str, str]:
    """Who has heard this very message, with Twilio's ids."""
    told = ref.get("told")
    return _heard(told) if isinstance(told, dict) and told.get("id") == message_id else {}
