"""The storm budget of a channel: how many messages may ring in a window, and who may still ring beyond it. Pure.

    n messages of any severity          one by one
    beyond them, what is not critical   in one summary
    beyond them, what is critical       one by one, for nearly n more, then in the summary, which pages

A few of the second n are kept for the summary itself: for its first saying, and for each time it gets critical or
worse. Never more than twice n ring in a window, where n is 6 or more.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.fields import Rate
from gateway.model import Millis, Severity
from gateway.values import frozen

Budget = Rate
STRICT_FROM = 6
"""So small a budget has no room to keep twice its size to the letter."""


@frozen
class Room:
    """How many may ring now: of any severity, and beyond that of what is critical."""

    plain: int
    extra: int


def room(budget: Rate, spent: Sequence[tuple[Millis, bool]], under_way: int, summary: Severity | None) -> Room:
    """`spent`: when each message of the window rang, and whether it was over the plain budget. `summary`: the worst
    that the channel's summary has said or is about to say; None where there is none."""
    total = len(spent) + under_way
    plain = max(budget.count - total, 0)
    if plain:
        return Room(plain, 0)
    kept = max(1, min(5, budget.count // 3))
    left = budget.count - kept - sum(over for _, over in spent)
    if budget.count >= STRICT_FROM:
        left = min(left, 2 * budget.count - total - risings(summary))
    return Room(0, max(left, 0))


def may_grow(budget: Budget, spent: Sequence[tuple[Millis, bool]], under_way: int, summary: Severity) -> bool:
    """Whether the summary may ring only because it has grown: what it needs to get worse is kept."""
    return budget.count < STRICT_FROM or len(spent) + under_way < 2 * budget.count - risings(summary)


def risings(summary: Severity | None) -> int:
    """How often the summary may still have to ring: for the first time, and for critical, and for emergency."""
    if summary is None or summary < Severity.CRITICAL:
        return 2 + (summary is None)
    return 1 if summary < Severity.EMERGENCY else 0
