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

_lock = threading.Lock()
_last = {False: 0, True: 0}
"""Of ids by the machine's own clock, and by another: neither drags the other along."""
# The two upper bits of a digit are the variant, 0b10; the two lower ones are noise.
_VARIANT: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


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


def new_id(now: Millis | None = None) -> str:
    """A UUIDv7 (RFC 9562 §5.7): sorts by time, and within one process strictly by the order of making.

    `now`: on a clock that others go by as well, so that what they make sorts with it; None for the machine's own. The
    12 bits after the milliseconds are a fraction of the millisecond, stepped on where it repeats."""
    with _lock:
        ticks = (time.time_ns() << 12) // 1_000_000 if now is None else now << 12
        _last[now is None] = ticks = max(ticks, _last[now is None] + 1)
    stamp, noise = f"{ticks:015x}", os.urandom(8).hex()
    return f"{stamp[:8]}-{stamp[8:12]}-7{stamp[12:]}-{_VARIANT[noise[0]]}{noise[1:4]}-{noise[4:]}"
