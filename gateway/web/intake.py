"""A body read within its bounds, and the limits on how often: enforced while reading, not after."""

from __future__ import annotations

import time
import zlib
from collections import OrderedDict

from starlette.types import Receive

from gateway.errors import WrongType
from gateway.fields import Rate
from gateway.web.problems import Refused

MOST_ADDRESSES = 10_000
FAILURES_A_MINUTE = 300
LARGEST_RATIO = 20
"""Inflated bytes for each byte sent; JSON compresses ten to one."""


class _UnderWay:
    """The memory of all bodies that are still being read, of whoever sends them."""

    most = 128 * 1024 * 1024
    held = 0


async def read_body(receive: Receive, declared: str, most: int) -> bytes:
    """The whole body, at most `most` bytes; Refused (413) as soon as more is announced or comes, and Refused (503)
    while too many large ones are under way at once."""
    # Digits beyond any size we take are compared by their number: int() refuses thousands of them.
    if declared.isascii() and declared.isdigit() and (len(declared) > 18 or int(declared) > most):
        raise too_large(most)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > most:
            raise too_large(most)
        return body
    pieces = bytearray()
    try:
        while True:
            if message["type"] == "http.disconnect":
                raise Refused(400, "The sender hung up in mid-body.", "hung_up")
            piece = message.get("body", b"")
            pieces += piece
            _UnderWay.held += len(piece)
            if len(pieces) > most:
                raise too_large(most)
            if _UnderWay.held > _UnderWay.most:
                raise Refused(
                    503, "Too much is being received at once.", "too_many_bodies", headers={"retry-after": "5"}
                )
            if not message.get("more_body"):
                return bytes(pieces)
            message = await receive()
    finally:
        _UnderWay.held -= len(pieces)


def inflate(body: bytes, encoding: str, most: int, *, allowed: bool) -> bytes:
    """The body behind its Content-Encoding. Raises WrongType where the source does not allow it, Refused (413)
    where it would grow over `most` bytes or twenty times its size."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip" or not allowed:
        raise WrongType(f"content encoding {encoding[:40]!r} is not read here; send the body as it is")
    inflater = zlib.decompressobj(31)
    bound = min(most, max(len(body) * LARGEST_RATIO, 64 * 1024))
    try:
        plain = inflater.decompress(body, bound + 1)
    except zlib.error:
        raise Refused(400, "The body is no gzip.", "not_gzip") from None
    if len(plain) > bound:
        raise too_large(bound)
    if not inflater.eof or inflater.unused_data:
        raise Refused(400, "The gzip body ends too early, or goes on behind its end.", "not_gzip")
    return plain


class Limit:
    """A token bucket: `count` in any window on average, all of them at once if need be."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._left = float(rate.count)
        self._at = time.monotonic()

    def take(self) -> float:
        """0 where there is room, else the seconds until there is."""
        now = time.monotonic()
        per_second = self.rate.count / (self.rate.window / 1000)
        self._left = min(self.rate.count, self._left + (now - self._at) * per_second)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / per_second


class Strangers:
    """Failed credentials by client address; the least recent address is forgotten first."""

    def __init__(self) -> None:
        self._limits: OrderedDict[str, Limit] = OrderedDict()

    def failed(self, client: str) -> float:
        """0, or the seconds an address must wait that guesses too often."""
        limit = self._limits.pop(client, None) or Limit(Rate(FAILURES_A_MINUTE, 60_000))
        self._limits[client] = limit
        if len(self._limits) > MOST_ADDRESSES:
            self._limits.popitem(last=False)
        return limit.take()


def too_large(most: int) -> Refused:
    # The connection stays: what still comes is thrown away until its ten seconds are over. Hanging up at once would
    # reset the connection of a sender who is still writing, and he would never read why.
    return Refused(413, f"The body is larger than {most} bytes.", "too_large")
