"""How long what is over is kept. Pure: the file's words in, instants out."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator

from gateway.fields import Duration, Settings
from gateway.model import Millis
from gateway.rules.routing import RouteSettings
from gateway.values import frozen

SECOND: Final[Millis] = 1_000
DAY: Final[Millis] = 86_400_000


def _long_enough(span: Millis) -> Millis:
    if span < SECOND:
        raise ValueError("must be at least 1s")
    return span


Kept = Annotated[Duration, AfterValidator(_long_enough)]


class RetentionSettings(Settings):
    """`events`: since they were received. `incidents`: since they were resolved."""

    events: Kept = 30 * DAY
    incidents: Kept = 400 * DAY


@frozen
class Bounds:
    """What was received before `events`, and what was over before `incidents`, may go. Instants."""

    events: Millis
    incidents: Millis


def bounds(asked: RetentionSettings, now: Millis, reopen_within: Millis, routes: tuple[RouteSettings, ...]) -> Bounds:
    """An incident stays for as long as it may reopen, or counts for a route's `flap`, however short `incidents` is."""
    flaps = [route.flap.within for route in routes if route.flap is not None]
    return Bounds(now - asked.events, now - max(asked.incidents, reopen_within, *flaps, 0))
