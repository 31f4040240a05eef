"""`escalations:` of routing.yaml: who is told next while nobody acknowledges.

`after` counts from the first page. When the last step has waited as long as the one before it, the whole begins
again, `repeat` times; then nobody was reached.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Final

from pydantic import AfterValidator, Field, model_validator

from gateway.fields import Duration, Settings, Texts
from gateway.model import Millis
from gateway.rules.calendars import located
from gateway.rules.documents import Place

LAST_WAIT: Millis = 5 * 60_000
"""How long the only step of an escalation waits before it is over."""

_LONGEST_WAY: Final = 8


def _somebody(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("names nobody; give it at least one")
    return names


class StepSettings(Settings):
    to: Annotated[Texts, AfterValidator(_somebody)]
    after: Duration = 0


class EscalationSettings(Settings):
    """One entry of `escalations:`."""

    steps: tuple[StepSettings, ...]
    repeat: int = Field(default=0, ge=0, le=100)

    @model_validator(mode="after")
    def _rises(self) -> EscalationSettings:
        if not self.steps:
            raise ValueError("has no steps; give it at least one")
        wrong = [
            (("steps", number, "after"), "is not later than the step before it; let each step wait longer")
            for number, (before, step) in enumerate(zip(self.steps, self.steps[1:], strict=False), start=1)
            if step.after <= before.after
        ]
        if wrong:
            raise located("escalation", wrong)
        return self

    @property
    def last_wait(self) -> Millis:
        """How long the last step waits before the next round, or before nobody was reached."""
        return self.steps[-1].after - self.steps[-2].after if len(self.steps) > 1 else LAST_WAIT

    @property
    def round(self) -> Millis:
        """How long one round of all steps takes."""
        return self.steps[-1].after + self.last_wait


def due(escalation: EscalationSettings, number: int) -> Millis | None:
    """How long after the first page step `number` is due, counted through all rounds from 0. The number behind the
    last one is the end, when nobody was reached; None for those beyond."""
    count = len(escalation.steps)
    rounds, step = divmod(number, count)
    if rounds > escalation.repeat:
        return (escalation.repeat + 1) * escalation.round if (rounds, step) == (escalation.repeat + 1, 0) else None
    return rounds * escalation.round + escalation.steps[step].after


def loops(named: Mapping[str, Sequence[tuple[Place, str]]]) -> list[tuple[Place, str]]:
    """Escalations that lead back to themselves. `named`: for each the escalations that its steps name, with the
    places. A loop is told once, where it closes, with the way round: `page → leads → page`."""
    found: list[tuple[Place, str]] = []
    done: set[str] = set()
    for start in named:
        way: dict[str, Iterator[tuple[Place, str]]] = {} if start in done else {start: iter(named[start])}
        while way:
            last, ahead = next(reversed(way.items()))
            place, name = next(ahead, ((), ""))
            if not place:
                done.add(last)
                del way[last]
            elif name in way:
                found.append((place, f"loops: {_way_round(list(way), name)}; let one of them name somebody else"))
            elif name not in done:
                way[name] = iter(named[name])
    return found


def _way_round(way: list[str], name: str) -> str:
    there = way[way.index(name) :]
    middle = there if len(there) <= _LONGEST_WAY else [*there[: _LONGEST_WAY - 1], "…"]
    return " → ".join([*middle, name])
