"""Standard Webhooks signatures (v1, symmetric): standardwebhooks.com, specification "Signature scheme"."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final

from gateway.model import Millis

TOLERANCE: Final[Millis] = 300_000
"""How far the sender's clock may be from ours, either way: the specification's libraries allow five minutes."""

_PREFIX: Final = "whsec_"
_SECONDS = re.compile(r"[0-9]{1,12}")
_MOST_SIGNATURES: Final = 16


def signed(headers: Mapping[str, str]) -> bool:
    """Whether there is a signature, good or bad."""
    return "webhook-signature" in headers


def fits(headers: Mapping[str, str], body: bytes, secret: str, now: Millis) -> bool:
    """Whether this secret signed id, moment and raw body, and the moment is within five minutes of `now`.

    `whsec_…` is a key in base64; a secret without that prefix is the key itself. Any of the signatures in
    the space-separated list will do: senders give two while they rotate. Never an exception."""
    sender_id = headers.get("webhook-id", "")
    moment = headers.get("webhook-timestamp", "").strip()
    key = _key(secret)
    if not key or not sender_id or not _SECONDS.fullmatch(moment) or abs(int(moment) * 1000 - now) > TOLERANCE:
        return False
    content = b".".join((_bytes(sender_id), _bytes(moment), body))
    wanted = b"v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256))
    given = headers.get("webhook-signature", "").split(maxsplit=_MOST_SIGNATURES)[:_MOST_SIGNATURES]
    # All are compared, so that the time tells nothing of which one fitted.
    return sum(hmac.compare_digest(_bytes(one), wanted) for one in given) > 0


def _key(secret: str) -> bytes:
    """The bytes to sign with; b"" where the secret is empty or no base64."""
    if not secret.startswith(_PREFIX):
        return _bytes(secret)
    encoded = secret.removeprefix(_PREFIX).rstrip("=")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _bytes(words: str) -> bytes:
    # Headers arrive as Latin-1 text: whatever a stranger writes must become bytes.
    return words.encode("utf-8", "surrogatepass")
