"""The only clock and the only dice: everything above takes `now` as an argument or is given these."""

from __future__ import annotations

import os
import threading
import time

from gateway.model import Millis

_lock = threading.Lock()
_last = [0]


def now_ms() -> Millis:
    """The wall clock in milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7): sorts by time, and within one process strictly by the order of making.

    The 12 bits after the milliseconds are a fraction of the millisecond, stepped on where it repeats."""
    with _lock:
        ticks = (time.time_ns() << 12) // 1_000_000
        _last[0] = ticks = max(ticks, _last[0] + 1)
    stamp = f"{ticks >> 12 & 0xFFFFFFFFFFFF:012x}"
    tail = os.urandom(8)
    rest = f"{tail[0] & 0x3F | 0x80:02x}{tail[1:].hex()}"
    return f"{stamp[:8]}-{stamp[8:]}-7{ticks & 0xFFF:03x}-{rest[:4]}-{rest[4:]}"
