"""What is to be played: each fault with its number, the figure to hold, and what it needs. `@fault(…)` enters one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from chaos.run import Run

Engine: TypeAlias = Literal["sqlite", "postgresql"]
SQLITE: Final[tuple[Engine, ...]] = ("sqlite",)
POSTGRESQL: Final[tuple[Engine, ...]] = ("postgresql",)
BOTH: Final[tuple[Engine, ...]] = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen, in a few words with figures, and whether it held. `note`: what else a reader must know."""

    held: bool
    seen: str
    note: str = ""


class NotRun(Exception):
    """It cannot be played here; the text says why, by the name of what is lacking."""


Play: TypeAlias = "Callable[[Run], Awaitable[Outcome]]"


@dataclass(frozen=True, slots=True)
class Fault:
    """`ci`: part of the few minutes that every change pays for. `seconds`: about how long it takes on two cores, with
    all its repetitions; `least`: how much of that is left where there are none. `alone`: why it is played on one engine
    only."""

    id: str
    title: str
    hold: str
    play: Play
    engines: tuple[Engine, ...] = SQLITE
    seconds: float = 30.0
    least: float = 0.0
    needs: tuple[str, ...] = ()
    ci: bool = False
    alone: str = ""

    @property
    def number(self) -> int:
        return int(self.id[1:])

    def lasts(self, share: float) -> float:
        """Seconds, with this share of the repetitions."""
        return self.least + (self.seconds - self.least) * share


FAULTS: Final[list[Fault]] = []


def fault(
    id_: str,
    title: str,
    hold: str,
    **more: object,
) -> Callable[[Play], Play]:
    """Enter the function below in the list. Further arguments are those of `Fault`."""

    def enter(play: Play) -> Play:
        FAULTS.append(Fault(id_, title, hold, play, **more))  # type: ignore[arg-type]
        return play

    return enter


def held(condition: bool, seen: str, note: str = "") -> Outcome:
    return Outcome(bool(condition), seen, note)
