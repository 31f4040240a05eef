"""Part e: a store of a million, by `python -m bench.growth` in a process of its own; its table is read here."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import signal
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import server
from bench.figures import Chart, Figure, Part, sign
from bench.plan import Plan

TITLE = "e. Growth to one million"
_MEMORY = "memory, most in"
_WANTED = Figure("memory, 1,000,000 stored and 10 min at 100/s", "MiB", 150, 90)
_HEAD = re.compile(r"^figure\s+hold\s+seen\s*$")
_ROW = re.compile(
    r"^(?P<name>\S.*?)\s{2,}(?:(?P<hold>[≥≤] \S+ ?\S*)\s{2,})?"
    r"(?P<seen>\S+)(?: (?P<unit>(?!MISSED)\S+))?(?P<missed>\s+MISSED)?\s*$"
)
_MEDIANS = re.compile(r"^  (?P<name>\S.*?)\s+p50\s+(?P<before>\S+) → +(?P<after>\S+) ms")


_SHOWN = re.compile(
    r"^  (?P<name>\S[^→]*?)\s{2,}(?P<seen>[\d.]+(?:e[+-]?\d+)?) (?P<unit>(?!MISSED)\S*)(?P<missed>\s+MISSED)?\s*$"
)


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
    stopped: bool = False
    """Before its table: the lines are those it showed while it measured."""


def read(text: str) -> Read:
    """What the growth bench printed, whole or stopped in its midst. Raises ValueError where no figure is there."""
    before, head, after = _parted(text)
    seen = Read(stopped=not head)
    for line in before:
        if found := _MEDIANS.match(line):
            seen.lists[found["name"]] = (float(found["before"]), float(found["after"]))
    for row in filter(None, map(_ROW.match, after) if head else map(_SHOWN.match, before)):
        hold = (row.groupdict().get("hold") or "").strip()
        seen.lines.append(Line(row["name"], hold, float(row["seen"]), row["unit"] or "", bool(row["missed"])))
    if not seen.lines:
        raise ValueError("the growth bench told no figure")
    return seen


def _parted(text: str) -> tuple[list[str], bool, list[str]]:
    """The lines before its table, whether there is one, and those of the table."""
    lines = text.splitlines()
    at = next((place for place, line in enumerate(lines) if _HEAD.match(line)), len(lines))
    return lines[:at], at < len(lines), lines[at + 1 :]


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
        text, ended = await self._call(command)
        try:
            return self._part(read(text), ended)
        except ValueError as error:
            return _none(f"{error}; it {ended}")

    async def _call(self, command: list[str]) -> tuple[str, str]:
        """What it printed, shown as it comes, and how it ended."""
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
                return "".join(said), f"ended with exit code {await process.wait()}"
        except TimeoutError:
            return "".join(said), f"was stopped after {self._seconds:.0f} s"
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)  # its own group: the server that it started, too
                await process.wait()

    def _part(self, seen: Read, ended: str) -> Part:
        plan = self._plan
        whole = plan.incidents >= 1_000_000 and plan.growth_steady >= 600
        memory = [line.seen for line in seen.lines if line.name.startswith(_MEMORY)]
        if whole:
            figures = [replace(_WANTED, seen=memory, because="" if memory else f"the growth bench {ended}")]
        else:
            name = f"memory, {plan.incidents:,} stored and {plan.growth_steady:g} s at 100/s"
            figures = [replace(_WANTED, because="this was the short form")]
            figures += [Figure(name, "MiB", None, None, memory)] if memory else []
        figures += _promised(seen, plan.incidents, whole=whole)
        slowest = sorted(seen.lists, key=lambda name: -seen.lists[name][1])[:12]
        short = "" if whole else (
            f"A short form: {plan.incidents:,} incidents and {plan.growth_steady:g} s at 100/s, where the figure is"
            ' for 1,000,000 and 600 s: `make bench ARGS="--only e"`. '
        )  # fmt: skip
        return Part(
            TITLE,
            how=f"{short}One round of `python -m bench.growth`, which says what each line is; it {ended}.",
            head=["figure", "hold", "seen", "held"],
            rows=[
                [
                    line.name,
                    line.hold or "–",
                    f"{sign(line.seen)} {line.unit}".strip(),
                    "no" if line.missed else "yes" if line.hold else "–",
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


def _promised(seen: Read, stored: int, *, whole: bool) -> list[Figure]:
    """What is promised of a full store, where it was measured with a million."""
    accept = [line.seen for line in seen.lines if line.name.startswith("accept rate")]
    lists = [line.seen for line in seen.lines if line.name.endswith(", p99") and line.hold]
    bites = [line.seen for line in seen.lines if line.name.startswith("one bite, p99")]
    figures = [
        Figure(f"accept, {stored:,} stored, of an empty store's", "×", 0.9, None, accept, at_least=True),
        Figure(f"the slowest list's p99, {stored:,} stored", "ms", 50, None, [max(lists)] if lists else []),
        Figure("a bite of what is old, p99, its waiting included", "ms", 50, None, bites),
    ]
    return [one if whole else replace(one, hold=None) for one in figures if one.seen]


def _none(why: str) -> Part:
    note = f'Not measured in this run: {why}. `make bench ARGS="--only e"` gives it all its time.'
    return Part(TITLE, figures=[replace(_WANTED, because=why)], notes=[note])
