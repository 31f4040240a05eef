"""`make bench`: what the project promises about speed, measured here, in at most twenty minutes.

Writes docs/proof/speed.md and its pictures. `--gate` measures a few figures alone, writes nothing, and ends with 1
where one is missed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from bench import gate, machine, server
from bench.accepting import Accepting
from bench.figures import Part
from bench.growing import Growing
from bench.kept import Kept
from bench.page import NAMES, page
from bench.plan import WHOLE, Plan
from bench.plot import draw
from bench.replicas import Replicas
from bench.sustaining import Sustaining
from bench.telling import Telling

ROOT = Path(__file__).parent.parent


async def measure(letter: str, plan: Plan, folder: Path, left: float) -> Part:
    """One part. `left`: seconds until the whole run must be over."""
    before, (all_before, stolen_before) = machine.load(), machine.times()
    started = time.monotonic()
    match letter:
        case "a":
            part = await Accepting(plan, folder).run()
        case "b":
            part = await Telling(plan, folder).run()
        case "c":
            part = await Sustaining(plan, folder).run()
        case "d":
            part = await Replicas(plan, folder).run()
        case _:
            part = await Growing(plan, folder, left).run()
    part.scale, part.rounds = min(plan.scale, 1.0), plan.rounds
    part.minutes = (time.monotonic() - started) / 60
    part.date = dt.datetime.now(dt.UTC).date().isoformat()
    all_after, stolen_after = machine.times()
    stolen = (stolen_after - stolen_before) / max(all_after - all_before, 1)
    quiet = "a quiet machine" if before < 1 and stolen < 0.02 else "**not a quiet machine**"
    part.notes.append(f"Load average before it began {before:.1f}, taken by the host meanwhile {stolen:.1%}: {quiet}.")
    return part


def run(letters: str, plan: Plan, command: str, out: Path, place: str) -> None:
    began = time.monotonic()
    kept = Kept(ROOT / "bench" / "out" / "speed.json")
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-", dir=place or _on_disk()) as name:
        folder = Path(name)
        facts = machine.facts(folder)
        parts = kept.read(facts)
        for letter in letters:
            left = 60 * plan.minutes - (time.monotonic() - began)
            print(f"\n{NAMES[letter]}", flush=True)
            parts[letter] = uvloop.run(measure(letter, plan, folder, left))
            parts[letter].command = command
            kept.write(parts, facts)
            _write(out, parts, facts)  # an interrupted run leaves what it has
    print(f"\n{(time.monotonic() - began) / 60:.1f} min")


def _on_disk() -> Path:
    """Where temporary files go, unless that is in memory: then bench/out."""
    usual, ours = Path(tempfile.gettempdir()), ROOT / "bench" / "out"
    if not machine.no_disk(machine.filesystem(usual)):
        return usual
    ours.mkdir(exist_ok=True)
    return ours


def _write(out: Path, parts: dict[str, Part], facts: dict[str, str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for part in parts.values():
        for chart in part.charts:
            (out / chart.file).write_text(draw(chart))
    (out / "speed.md").write_text(page(parts, facts))


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--gate", action="store_true", help="a few figures, nothing written; 1 where one is missed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="with --gate: how long a burst lasts")
    parser.add_argument("--minutes", type=float, default=WHOLE, help="scales the lengths")
    parser.add_argument(
        "--only", default=",".join(NAMES), help="some parts: a,b; what the others measured last is kept on the page"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "proof", help="where the page goes")
    parser.add_argument("--folder", default="", help="where the stores are put for the time; default: TMPDIR, on disk")
    asked = parser.parse_args()
    letters = "".join(letter for letter in NAMES if letter in asked.only.split(","))
    if not letters or set(asked.only.split(",")) - set(NAMES):
        parser.error(f"--only takes some of {', '.join(NAMES)}")
    if len(server.CORES) > 1:
        os.sched_setaffinity(0, {server.LOAD_CORE})
    if asked.gate:
        return gate.run(asked.rounds, asked.seconds)
    plan = Plan(asked.rounds, asked.minutes, alone=letters == "e")
    run(letters, plan, _command(parser, asked), asked.out, asked.folder)
    return 0


def _command(parser: argparse.ArgumentParser, asked: argparse.Namespace) -> str:
    """How to do it again; where its files went is nobody's business."""
    given = [
        f"--{name} {value:g}" if isinstance(value := getattr(asked, name), float) else f"--{name} {value}"
        for name in ("only", "rounds", "minutes")
        if getattr(asked, name) != parser.get_default(name)
    ]
    return f'make bench ARGS="{" ".join(given)}"' if given else "make bench"


if __name__ == "__main__":
    sys.exit(main())
