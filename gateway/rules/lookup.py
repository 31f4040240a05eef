"""Many match blocks against one incident, at little more than the cost of a few.

Blocks repeat one another: a condition that stands in many is asked once. A text condition is asked only where the
value begins as one of its patterns does; all others of its kind are known to miss without being looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.rules.matching import Condition, Match, Seen, beginnings

HOLDS: Final = -2
"""In the place of a missed condition: all of them hold."""


@dataclass(slots=True)
class _Shelf:
    """The text conditions on one key, by how their patterns begin: for each length the beginnings of that length."""

    asks: Condition
    by_length: dict[int, dict[str, list[int]]] = field(default_factory=dict)


class Lookup:
    """`misses` tells for each block the place of the first condition that does not hold."""

    def __init__(self, matches: Sequence[Match]) -> None:
        self._conditions: list[Condition] = []
        self._always: list[int] = []
        self._shelves: dict[str, _Shelf] = {}
        known: dict[tuple[str, str], int] = {}
        self._blocks = [tuple(self._number(known, one) for one in match.conditions) for match in matches]
        self._first = [block[0] if block else None for block in self._blocks]
        # What stands first in no block is often not reached: it is asked when it is.
        self._at_once = sorted({number for number in self._first if number is not None}.intersection(self._always))
        self._later = frozenset(self._always).difference(self._at_once)

    def misses(self, seen: Seen) -> list[int]:
        """For each block the place of the first condition that does not hold, or HOLDS."""
        holding: set[int | None] = {number for number in self._asked(seen) if self._conditions[number].holds(seen)}
        holding.add(None)
        found = [0 if first not in holding else HOLDS for first in self._first]
        missing: set[int] = set()
        for number in [number for number, place in enumerate(found) if place]:
            for place, condition in enumerate(self._blocks[number]):
                if condition in self._later and condition not in missing and condition not in holding:
                    (holding if self._conditions[condition].holds(seen) else missing).add(condition)
                if condition not in holding:
                    found[number] = place
                    break
        return found

    def was(self, seen: Seen) -> Mapping[str, str]:
        """What the incident was, for every condition that may have been missed: by its key, or where one key may mean
        many things by what it wanted as well."""
        shown: dict[str, str] = {}
        for key, shelf in self._shelves.items():
            shown[key] = shelf.asks.was(seen)
        for number in self._always:
            condition = self._conditions[number]
            shown[named(condition.key, condition.wanted)] = condition.was(seen)
        return shown

    def _asked(self, seen: Seen) -> list[int]:
        """The conditions that may hold, but for those asked later."""
        asked = list(self._at_once)
        for shelf in self._shelves.values():
            value = shelf.asks.was(seen).casefold()
            for length, heads in shelf.by_length.items():
                asked += heads.get(value[:length], ())
        return asked

    def _number(self, known: dict[tuple[str, str], int], condition: Condition) -> int:
        key = condition.key, condition.wanted
        if key not in known:
            known[key] = len(self._conditions)
            self._conditions.append(condition)
            self._shelve(known[key], condition)
        return known[key]

    def _shelve(self, number: int, condition: Condition) -> None:
        heads = beginnings(condition)
        if not heads:
            self._always.append(number)
            return
        shelf = self._shelves.setdefault(condition.key, _Shelf(condition))
        for head in heads:
            shelf.by_length.setdefault(len(head), {}).setdefault(head, []).append(number)


def named(key: str, wanted: str) -> str:
    """How what an incident was is kept, where one key may mean many things."""
    return f"{key} {wanted}"
