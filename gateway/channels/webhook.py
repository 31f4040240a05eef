"""`kind: webhook`: POSTs each change to any address as JSON, signed by Standard Webhooks.

    {"change":   {what, revision, at, severity, state},
     "incident": {the API's own shape},
     "message":  {id, occasion, title, text, url}}

`webhook-id` is the same for every attempt to say one revision, so that a receiver can drop what it has
heard. Signature: base64 of HMAC-SHA256 over `id.timestamp.body`, one for each secret.
standardwebhooks.com, spec/standard-webhooks.md
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
import urllib.parse
from collections.abc import Callable
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, SecretStr
from pydantic_core import to_json

from gateway.channels._http import Answer, Wire, judge
from gateway.contracts import ChannelSettings, Surroundings
from gateway.fields import Rate, Secrets
from gateway.model import Json, Message, Millis, Receipt, Ref
from gateway.rules.shapes import incident_json, rfc3339

_PACES: Final = (Rate(20, 1_000),)
_WIDTH: Final = 16
_PREFIX: Final = "whsec_"


def _address(url: SecretStr) -> SecretStr:
    # Kept to the letter: to many receivers a slash at the end is another address.
    if not re.fullmatch(r"https?://[^/?#\s]+\S*", url.get_secret_value()):
        raise ValueError("is no address; it must start with https:// or http:// and have no blanks")
    return url


def _usable(secrets: Secrets) -> Secrets:
    for secret in secrets:
        _key(secret)
    return secrets


class Settings(ChannelSettings):
    """`url`: where to; it may hold a token, so it is never shown. `secret`: one, or a list while one is
    rotated: `whsec_` and base64, or any other text, whose bytes are the key. Without one, nothing is signed."""

    short_forms: ClassVar[bool] = False

    url: Annotated[SecretStr, AfterValidator(_address)]
    secret: Annotated[Secrets, AfterValidator(_usable)] = ()


def connect(settings: Settings, surroundings: Surroundings) -> Webhook:
    return Webhook(settings, surroundings)


class Webhook:
    """One receiver. Every 2xx is Sent, with an empty ref."""

    edits = False
    one_call = True  # whose deadline is enough
    width = _WIDTH
    unknown_again: int | None = None

    def __init__(self, settings: Settings, surroundings: Surroundings) -> None:
        self.paces = _PACES if settings.pace is None else settings.pace
        self._url = settings.url.get_secret_value()
        self._keys = tuple(_key(secret) for secret in settings.secret)
        self._now: Callable[[], Millis] = surroundings.now
        self._wire = Wire(timeout=settings.timeout, width=_WIDTH, transport=surroundings.transport)

    def escape(self, text: str) -> str:
        return text  # JSON has no markup

    async def send(self, message: Message, ref: Ref) -> Receipt:  # noqa: ARG002
        body = to_json(_document(message))
        # A channel's name may be Korean, a header may not.
        message_id = urllib.parse.quote(message.id, safe=":")
        headers = self._headers(message_id, body)
        await asyncio.sleep(0)  # those beside it are written and signed first: between calls it costs twice as much
        answer = await self._wire.call("POST", self._url, content=body, headers=headers)
        return judge(answer) if isinstance(answer, Answer) else answer

    async def close(self) -> None:
        await self._wire.close()

    def _headers(self, message_id: str, body: bytes) -> dict[str, str]:
        timestamp = str(self._now() // 1000)
        headers = {"content-type": "application/json", "webhook-id": message_id, "webhook-timestamp": timestamp}
        if self._keys:
            signed = f"{message_id}.{timestamp}.".encode() + body
            headers["webhook-signature"] = " ".join([f"v1,{_signature(key, signed)}" for key in self._keys])
        return headers


def _document(message: Message) -> dict[str, Json]:
    incident = message.incident
    return {
        "change": {
            "what": "resolved" if message.occasion == "over" else message.occasion,
            "revision": message.revision,
            "at": rfc3339(incident.updated_at),
            "severity": incident.severity.word,
            "state": incident.state,
        },
        "incident": incident_json(incident),
        "message": {
            "id": message.id,
            "occasion": message.occasion,
            "title": message.title if message.custom_title is None else message.custom_title,
            "text": message.text,
            "url": message.url,
        },
    }


def _key(secret: SecretStr) -> bytes:
    """The bytes to sign with; '=' at the end may be missing. Raises ValueError where there are none."""
    text = secret.get_secret_value()
    if not text.startswith(_PREFIX):
        key = text.encode()
    else:
        digits = text.removeprefix(_PREFIX).rstrip("=")
        try:
            key = base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("starts with whsec_ but is no base64 after that") from None
    if not key:
        raise ValueError("is empty; leave the key out to send without a signature")
    return key


def _signature(key: bytes, signed: bytes) -> str:
    return binascii.b2a_base64(hmac.digest(key, signed, hashlib.sha256), newline=False).decode()
