"""The only clock and the only dice: everything above takes `now` as an argument or is given these."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Final

from gateway.model import Millis

JUMP: Final[Millis] = 2_000
"""So far from the wall clock is a jump; less is a drift."""
SLEW: Final[Millis] = 5

_VARIANTS: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""A hexadecimal digit with its upper two bits 10."""
_lock = threading.Lock()
_last = [0]


def now_ms() -> Millis:
    """The wall clock in milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


class Steady:
    """A clock that goes on evenly when the wall clock is put forward or back, until it is told to `follow`.

    It starts as the wall clock and runs by the monotonic one, so that what waits for a span of time waits for just
    that. A wall clock that only drifts is followed without a word."""

    def __init__(self, wall: Callable[[], Millis] = now_ms, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - self._ran()

    def __call__(self) -> Millis:
        """Milliseconds since 1970, UTC."""
        return self._ran() + self._offset

    def jump(self) -> Millis:
        """By how much the wall clock was put forward (or back: negative) since it was followed last; 0 for a drift."""
        ahead = self._wall() - self()
        if abs(ahead) >= JUMP:
            return ahead
        self._offset += max(min(ahead, SLEW), -SLEW)
        return 0

    def follow(self, jump: Millis) -> None:
        self._offset += jump

    def _ran(self) -> Millis:
        return int(self._monotonic() * 1000)


class Told:
    """A clock that another machine tells, the database's: between two tellings it goes on evenly."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._offset = now_ms() - int(monotonic() * 1000)

    def __call__(self) -> Millis:
        """Milliseconds since 1970, UTC."""
        return int(self._monotonic() * 1000) + self._offset

    def tell(self, now: Millis) -> None:
        self._offset = now - int(self._monotonic() * 1000)


def new_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7): sorts by time, and within one process strictly by the order of making.

    The 12 bits after the milliseconds are a fraction of the millisecond, stepped on where it repeats."""
    with _lock:
        ticks = (time.time_ns() << 12) // 1_000_000
        _last[0] = ticks = max(ticks, _last[0] + 1)
    made = (ticks >> 12 & 0xFFFFFFFFFFFF) << 16 | 0x7000 | ticks & 0xFFF
    digits = (made.to_bytes(8) + os.urandom(8)).hex()
    variant = _VARIANTS[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{variant}{digits[17:20]}-{digits[20:]}"
