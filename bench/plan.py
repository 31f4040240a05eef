"""How long each thing is measured, so that the whole keeps to the minutes that were asked for."""

from __future__ import annotations

from dataclasses import dataclass

WHOLE = 20.0
"""Minutes that the lengths below are made for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All lengths in seconds. `alone`: nothing but part e is asked for, so it has all the time."""

    rounds: int = 3
    minutes: float = WHOLE
    alone: bool = False

    @property
    def scale(self) -> float:
        return self.minutes / WHOLE

    @property
    def burst(self) -> float:
        """Ten, as promised, wherever there is time for it."""
        return max(10.0 * min(self.scale, 1.0), 1.0)

    @property
    def short(self) -> float:
        return max(2.5 * self.scale, 0.5)

    @property
    def rate(self) -> float:
        return max(5.0 * self.scale, 1.0)

    @property
    def step(self) -> float:
        return max(3.0 * self.scale, 1.0)

    @property
    def sustain(self) -> float:
        return max(6.0 * self.scale, 2.0)

    @property
    def growth_steady(self) -> float:
        """Ten minutes at 100/s and a million want all the time there is: they are for a run of part e alone."""
        return max((600.0 if self.alone else 40.0) * self.scale, 2.0)

    @property
    def incidents(self) -> int:
        return max(int((1_000_000 if self.alone else 50_000) * min(self.scale, 1.0)), 1_000)

    def growth_most(self, left: float) -> float:
        """Seconds after which part e is given up, where `left` are left of the whole run; alone it may take longer."""
        return 2 * 60 * self.minutes if self.alone else left
