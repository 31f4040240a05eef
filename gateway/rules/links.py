"""Links that do something, for whoever can only follow links: signed, short, and good for a time. Pure.

    version 1 byte | seal 16 bytes | verb 1 | expires 6 | incident, delivery, channel, each after its length

in the URL's own base64, without padding. That a link works once is the store's business: whoever follows it burns it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Final, Literal, TypeAlias

from gateway.errors import BadCredential, TocsinError
from gateway.model import Millis
from gateway.values import frozen

LinkVerb: TypeAlias = Literal["acknowledge", "resolve", "silence"]

_VERSION: Final = b"\x01"
_PURPOSE: Final = b"tocsin link"
_SEAL: Final = 16
_LONGEST: Final = 1_024
_VERBS: Final[tuple[LinkVerb, ...]] = ("acknowledge", "resolve", "silence")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UUID_BYTES: Final = 16
_IS_UUID: Final = 0  # in the place of a length plus one


class Forged(BadCredential):
    """We did not make this link."""


class Expired(TocsinError):
    """The link was good once."""


@frozen
class Link:
    """What following it does. `subject`: the id of the incident, or of the digest. `delivery`, `channel`: whose
    message it stood in. Good while now < `expires`."""

    subject: str
    verb: LinkVerb
    channel: str
    delivery: str
    expires: Millis


def sign(link: Link, key: bytes) -> str:
    """The last part of the link's address. Raises ValueError for a name of more than 254 bytes."""
    said = bytes([_VERBS.index(link.verb)]) + link.expires.to_bytes(6, "big")
    said += b"".join(map(_packed, (link.subject, link.delivery, link.channel)))
    return base64.urlsafe_b64encode(_VERSION + _seal(said, key) + said).decode().rstrip("=")


def read(token: str, key: bytes, now: Millis) -> Link:
    """The link, if we made it and it is still good. Raises Forged, Expired."""
    said = _opened(token, key)
    expires, rest = int.from_bytes(said[1:7], "big"), said[7:]
    names = []
    for _ in range(3):
        name, rest = _unpacked(rest)
        names.append(name)
    if now >= expires:
        raise Expired("This link has expired.")
    return Link(names[0], _VERBS[said[0]], names[2], names[1], expires)


def mark(token: str) -> str:
    """By what a token is known when it is burned; nobody can make the token of it."""
    return "link:" + hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _opened(token: str, key: bytes) -> bytes:
    forged = Forged("This link is none of ours, or was cut short on its way.")
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)) if len(token) <= _LONGEST else b""
    except ValueError:
        raise forged from None
    # The last sign has bits that mean nothing: there is one way to write a token, and no second one is good.
    written = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    said = raw[1 + _SEAL :]
    good = hmac.compare_digest(raw[1 : 1 + _SEAL], _seal(said, key))
    if not good or raw[:1] != _VERSION or written != token:
        raise forged
    return said


def _seal(said: bytes, key: bytes) -> bytes:
    return hmac.new(key, _PURPOSE + _VERSION + said, hashlib.sha256).digest()[:_SEAL]


def _packed(name: str) -> bytes:
    if _UUID.fullmatch(name):
        return bytes([_IS_UUID]) + bytes.fromhex(name.replace("-", ""))
    raw = name.encode()
    return bytes([len(raw) + 1]) + raw


def _unpacked(said: bytes) -> tuple[str, bytes]:
    """The first name, and what stands behind it."""
    if said[0] == _IS_UUID:
        digits, rest = said[1 : 1 + _UUID_BYTES].hex(), said[1 + _UUID_BYTES :]
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])), rest
    end = said[0]
    return said[1:end].decode(), said[end:]
