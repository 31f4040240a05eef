"""What a part of the bench hands on: figures against what they must hold, a table, notes and charts. Plain data."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Figure:
    """One promise: at least (or at most) `hold`, better `reach`; `seen` in each round, and the median counts.

    Without `hold` it is only told. `because` says why it was not measured; then `seen` is empty."""

    name: str
    unit: str
    hold: float | None
    reach: float | None
    seen: list[float] = field(default_factory=list)
    at_least: bool = False
    because: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.seen)

    def fits(self, wanted: float) -> bool:
        return self.median >= wanted if self.at_least else self.median <= wanted


@dataclass(slots=True)
class Chart:
    """`lines` over numbers of `x`, or `bars` at words of `x`. None: not measured there."""

    file: str
    kind: str
    title: str
    x_title: str
    y_title: str
    x: list[Any]
    series: dict[str, list[float | None]]
    log: bool = False


@dataclass(slots=True)
class Part:
    """One part of the run. `head` and `rows` are a table of words.

    `minutes` is what it took, `scale` the share of the whole run's lengths that it was given."""

    title: str
    date: str = ""
    minutes: float = 0.0
    scale: float = 1.0
    rounds: int = 3
    command: str = ""
    how: str = ""
    head: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Part:
        return cls(
            **{
                **plain,
                "figures": [Figure(**one) for one in plain["figures"]],
                "charts": [Chart(**one) for one in plain["charts"]],
            }
        )


def percentile(numbers: Sequence[float], share: float) -> float:
    """The smallest number that at least `share` (0 to 1) of all are not above. Raises ValueError for none."""
    if not numbers:
        raise ValueError("a percentile of nothing")
    ordered = sorted(numbers)
    rank = math.ceil(round(len(ordered) * share, 9))
    return ordered[max(rank, 1) - 1]


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round: each stood beside its neighbour, in the same noise."""
    return [one / other for one, other in zip(ours, theirs, strict=False) if other]


def median(numbers: Sequence[float]) -> float:
    return statistics.median(numbers)


def sign(number: float) -> str:
    """A number for people: three digits that count."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
