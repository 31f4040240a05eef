"""For how long a gateway may stand still for a move: then what is under way is cancelled, and the gateway goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from gateway.errors import TocsinError

MOST_SECONDS: Final = 600.0
TOLD_SECONDS: Final = 60.0
_AGAIN_SECONDS: Final = 0.2

Overdue = Callable[[], bool]
"""Whether the time is up: whoever is at work ends at once."""


@contextmanager
def bounded(since: float | None, cancel: Callable[[], None], tell: Callable[[str], None]) -> Iterator[Overdue]:
    """Within, at most MOST_SECONDS pass after `since`, of `monotonic`; without bound where that is None. `tell` hears
    once a minute how many have. `cancel` ends what the other database is doing, and is called again until the block
    has ended.

    Raises TocsinError where the time was up, whatever the block raised, and even if it has come to its end."""
    if since is None:
        yield lambda: False
        return
    ended, over = threading.Event(), threading.Event()

    def watch() -> None:
        while not ended.wait(min(TOLD_SECONDS, max(since + MOST_SECONDS - time.monotonic(), 0))):
            stood = time.monotonic() - since
            if stood >= MOST_SECONDS:
                break
            tell(f"the gateway has stood still for {stood:.0f} s, and does for {MOST_SECONDS:.0f} s at most …")
        while not ended.is_set():
            over.set()
            cancel()
            ended.wait(_AGAIN_SECONDS)

    watching = threading.Thread(target=watch, name="bound", daemon=True)
    watching.start()
    try:
        yield over.is_set
    finally:
        ended.set()
        watching.join()
        if over.is_set():
            raise TocsinError(
                f"the gateway stood still for {MOST_SECONDS:.0f} s and the rest was not copied; nothing was kept, and "
                "it goes on as before; stop it, and copy once more"
            )
