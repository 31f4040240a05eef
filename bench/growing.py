"""Part e: a store of a million, by `python -m bench.growth` in a process of its own; its table is read here."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from bench import server
from bench.figures import Chart, Figure, Part, sign
from bench.plan import Plan

TITLE = "e. Growth to one million"
_MEMORY = "memory, most in"
_HEAD = re.compile(r"^figure\s+hold\s+seen\s*$")
_ROW = re.compile(
    r"^(?P<name>\S.*?)\s{2,}(?:(?P<hold>[≥≤] \S+ ?\S*)\s{2,})?"
    r"(?P<seen>\S+)(?: (?P<unit>(?!MISSED)\S+))?(?P<missed>\s+MISSED)?\s*$"
)
_MEDIANS = re.compile(r"^  (?P<name>\S.*?)\s+p50\s+(?P<before>\S+) → +(?P<after>\S+) ms")


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table: `hold` is empty where nothing is wanted."""

    name: str
    hold: str
    seen: float
    unit: str
    missed: bool


@dataclass(slots=True)
class Read:
    lines: list[Line] = field(default_factory=list)
    lists: dict[str, tuple[float, float]] = field(default_factory=dict)
    """p50 of each list in ms: of the store that is as good as empty, and of the full one."""


def read(text: str) -> Read:
    """What the growth bench printed. Raises ValueError where its table is not there."""
    seen = Read()
    head = False
    for line in text.splitlines():
        if found := _MEDIANS.match(line):
            seen.lists[found["name"]] = (float(found["before"]), float(found["after"]))
        if _HEAD.match(line):
            head = True
        elif head and (row := _ROW.match(line)):
            name, hold, unit = row["name"], (row["hold"] or "").strip(), row["unit"] or ""
            seen.lines.append(Line(name, hold, float(row["seen"]), unit, bool(row["missed"])))
    if not seen.lines:
        raise ValueError("the growth bench printed no table")
    return seen


class Growing:
    def __init__(self, plan: Plan, folder: Path, seconds: float) -> None:
        """`seconds`: what is left of the run."""
        self._plan = plan
        self._folder = folder
        self._seconds = plan.growth_most(seconds)

    async def run(self) -> Part:
        if importlib.util.find_spec("bench.growth") is None:
            return _none("there is no bench.growth")
        plan = self._plan
        options = {
            "incidents": plan.incidents,
            "folder": self._folder,
            "rounds": plan.rounds,
            "seconds": max(1.0, plan.step / (1 if plan.alone else 3)),
            "steady": plan.growth_steady,
            "sweep": max(plan.growth_steady / 5, 2.0),
        }
        command = [*server.anywhere(), sys.executable, "-m", "bench.growth"]
        command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
        try:
            text, code = await self._call(command)
            return self._part(read(text), code)
        except TimeoutError:
            return _none(f"it was not done after {self._seconds:.0f} s")
        except ValueError as error:
            return _none(str(error))

    async def _call(self, command: list[str]) -> tuple[str, int]:
        """What it printed, shown as it comes, and how it ended. Raises TimeoutError when the time is over."""
        environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, start_new_session=True, env=environ, limit=2**20
        )
        said: list[str] = []
        assert process.stdout is not None
        try:
            async with asyncio.timeout(max(self._seconds, 1.0)):
                async for raw in process.stdout:
                    said.append(raw.decode())
                    print(f"  {said[-1].rstrip()}", flush=True)
                return "".join(said), await process.wait()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)  # its own group: the server that it started, too
                await process.wait()

    def _part(self, seen: Read, code: int) -> Part:
        plan = self._plan
        whole = plan.incidents >= 1_000_000 and plan.growth_steady >= 600
        figures = [
            Figure(
                f"memory, {plan.incidents:,} stored and {plan.growth_steady / 60:.3g} min at 100/s", line.unit,
                150, 90, [line.seen],
            )
            for line in seen.lines
            if line.name.startswith(_MEMORY)
        ]  # fmt: skip
        slowest = sorted(seen.lists, key=lambda name: -seen.lists[name][1])[:12]
        short = "" if whole else (
            f"A short form: {plan.incidents:,} incidents and {plan.growth_steady:g} s at 100/s, where the figure is"
            ' for 1,000,000 and 600 s: `make bench ARGS="--only e"`. '
        )  # fmt: skip
        return Part(
            TITLE,
            how=f"{short}One round of `python -m bench.growth`, which says what each line is; it ended with {code}.",
            head=["figure", "hold", "seen", "held"],
            rows=[
                [
                    line.name,
                    line.hold or "–",
                    f"{sign(line.seen)} {line.unit}".strip(),
                    ("no" if line.missed else "yes") if line.hold else "–",
                ]
                for line in seen.lines
            ],
            figures=figures,
            charts=[
                Chart(
                    "growth.svg",
                    "bars",
                    f"The slowest lists with {plan.incidents:,} incidents, p50",
                    "",
                    "ms",
                    slowest,
                    {
                        "as good as empty": [seen.lists[name][0] for name in slowest],
                        f"{plan.incidents:,} incidents": [seen.lists[name][1] for name in slowest],
                    },
                )
            ]
            if slowest
            else [],
        )


def _none(why: str) -> Part:
    missing = Figure("memory, 1,000,000 stored and 10 min at 100/s", "MiB", 150, 90, because=why)
    note = f'Not measured in this run: {why}. `make bench ARGS="--only e"` gives it all its time.'
    return Part(TITLE, figures=[missing], notes=[note])
