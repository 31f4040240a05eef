"""How fast one lane may speak: at most so many starts in any window, exactly, and for every rate at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from gateway.fields import Rate
from gateway.model import Millis


class Pacer:
    """Sliding windows over the newest starts. Remembers `count` instants for each rate and no more.

    A window is half open: `1/s` lets a start at 0 ms be followed by one at 1,000 ms."""

    def __init__(self, paces: tuple[Rate, ...]) -> None:
        self._windows = tuple((rate, deque[Millis](maxlen=rate.count)) for rate in paces)

    def recall(self, starts: Iterable[Millis]) -> None:
        """These were the starts, in place of what is remembered."""
        known = list(starts)
        for _, remembered in self._windows:
            remembered.clear()
            remembered.extend(known)

    def starts(self) -> list[Millis]:
        """The newest starts, as many as the widest rate needs."""
        return max((list(starts) for _, starts in self._windows), key=len, default=[])

    def wait(self, now: Millis) -> Millis:
        """How long until the next start may be, 0 for now; never longer than the longest window."""
        longest = 0
        for rate, starts in self._windows:
            _settle(starts, rate.window, now)
            if len(starts) == rate.count:
                longest = max(longest, starts[0] + rate.window - now)
        return longest

    def spent(self, now: Millis) -> None:
        """A send has started."""
        for rate, starts in self._windows:
            _settle(starts, rate.window, now)
            starts.append(now)


def _settle(starts: deque[Millis], window: Millis, now: Millis) -> None:
    """Bring back what a clock that jumped back has left in the future: a far jump is forgotten, a near one is now."""
    if not starts or starts[-1] <= now:
        return
    kept = [min(start, now) for start in starts if start - now <= window]
    starts.clear()
    starts.extend(kept)
