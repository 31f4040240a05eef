"""Signatures of the plain kind: hexadecimal HMAC-SHA256 over the raw body."""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache


def signature(body: bytes, secret: str) -> str:
    """What an honest sender writes: 64 hexadecimal digits in lower case."""
    keyed = _keyed(secret).copy()
    keyed.update(body)
    return keyed.hexdigest()


def fits(given: str, body: bytes, secret: str, prefix: str = "") -> bool:
    """Whether `given`, a header's value, is this secret's signature of the raw body, with `prefix`
    (such as `sha256=`) before it. Compares bytes in constant time; False for an empty secret and for
    whatever else a stranger may write, never an exception."""
    if not secret or not given.startswith(prefix):
        return False
    # hmac.compare_digest raises on text outside ASCII, and headers arrive as Latin-1: so bytes.
    claimed = given.removeprefix(prefix).strip().lower().encode("utf-8", "surrogatepass")
    return hmac.compare_digest(claimed, signature(body, secret).encode("ascii"))


@lru_cache(maxsize=256)
def _keyed(secret: str) -> hmac.HMAC:
    """The signing of an empty body, to go on from: there are few secrets, and what comes of the key is always the
    same."""
    return hmac.new(secret.encode("utf-8", "surrogatepass"), digestmod=hashlib.sha256)
