"""`make chaos`: play the faults of the test plan, print what was seen against what must hold, and write it down.

Exits 1 where a figure does not hold. What lacks its tool is named as not run.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chaos import FAMILIES, report
from chaos.needs import why_not
from chaos.registry import FAULTS, Engine, Fault, NotRun
from chaos.report import Row
from chaos.run import Run
from tests.postgres import Cluster

OVER: Final = "minutes were over"
LEAST_SHARE: Final = 0.02


class Stage:
    """Plays one after the other, as long as there is time. `keep`: leave the folders of what did not hold."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self._asked = asked
        self._ends = time.monotonic() + asked.minutes * 60
        self._cluster: Cluster | None = None

    async def play(self, fault: Fault, engine: Engine) -> Row:
        if why := lacking(fault, engine):
            return Row(fault, engine, "not run", "; ".join(why))
        if time.monotonic() + (0 if self._asked.part == "ci" else 0.6 * fault.lasts(self._asked.share)) > self._ends:
            return Row(fault, engine, "not run", f"the {self._asked.minutes:g} {OVER}")
        folder = Path(tempfile.mkdtemp(prefix=f"tocsin-chaos-{fault.id}-"))
        run = Run(engine, folder, self._asked.part == "ci", self._asked.share, self._one_cluster)
        began = time.monotonic()
        try:
            async with asyncio.timeout(max(4 * fault.seconds, 120)):
                outcome = await fault.play(run)
        except NotRun as why:
            row = Row(fault, engine, "not run", str(why))
        except Exception as error:  # noqa: BLE001  # a play that breaks is a figure that does not hold
            traceback.print_exc()
            row = Row(fault, engine, "NOT HELD", f"broke off: {type(error).__name__}: {str(error)[-300:]}")
        else:
            verdict = "held" if outcome.held else "NOT HELD"
            row = Row(fault, engine, verdict, outcome.seen, note=outcome.note)  # type: ignore[arg-type]
        took = time.monotonic() - began
        if row.verdict == "NOT HELD" and self._asked.keep:
            print(f"{'':16} its folder: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        return Row(row.fault, row.engine, row.verdict, row.seen, took, row.note)

    def close(self) -> None:
        if self._cluster is not None:
            self._cluster.close()

    def _one_cluster(self) -> Cluster:
        if self._cluster is None:
            self._cluster = Cluster(durable=True)
            self._cluster.start()
        return self._cluster


def chosen(asked: argparse.Namespace) -> list[tuple[Fault, Engine]]:
    """In the order of their numbers, so that neither engine is left out where the time ends."""
    engines: Sequence[str] = ("sqlite", "postgresql") if asked.engine == "both" else (asked.engine,)
    only = {one.strip().upper() for one in asked.only.split(",") if one.strip()}
    unknown = only - {fault.id for fault in FAULTS}
    if unknown:
        raise SystemExit(f"there is no {', '.join(sorted(unknown))}; there are T1 to T30")
    faults = sorted(FAULTS, key=lambda fault: fault.number)
    faults = [fault for fault in faults if (fault.id in only if only else asked.part == "all" or fault.ci)]
    return [(fault, engine) for fault in faults for engine in engines if engine in fault.engines]  # type: ignore[misc]


def affordable(faults: Sequence[tuple[Fault, Engine]], minutes: float) -> float:
    """The share of the repetitions, at most 1, for which there is time in so many minutes: of those that can be played
    here, and after what no share makes shorter."""
    playable = [fault for fault, engine in faults if not lacking(fault, engine)]
    least = sum(fault.lasts(0) for fault in playable)
    repeated = sum(fault.lasts(1) for fault in playable) - least
    return min(max((60 * minutes - least) / max(repeated, 1.0), LEAST_SHARE), 1.0)


def lacking(fault: Fault, engine: Engine) -> list[str]:
    """Why it cannot be played here."""
    needs = [*fault.needs, *(["postgresql", "own cluster"] if engine == "postgresql" else [])]
    return list(dict.fromkeys(why for why in map(why_not, needs) if why is not None))


async def perform(asked: argparse.Namespace) -> list[Row]:
    faults = chosen(asked)
    if asked.part == "all" and not asked.only:
        asked.share = min(asked.share, affordable(faults, asked.minutes))
        print(
            f"{len(faults)} to be played, {asked.share:.0%} of the repetitions that the figures ask for\n", flush=True
        )
    stage = Stage(asked)
    rows: list[Row] = []
    try:
        for fault, engine in faults:
            rows.append(await stage.play(fault, engine))
            print(report.line(rows[-1]), flush=True)
    finally:
        stage.close()
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--only", default="", help="such as T1,T5")
    parser.add_argument("--engine", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--part", choices=("ci", "all"), default="all", help="ci: a few minutes")
    parser.add_argument("--minutes", type=float, default=60, help="begin nothing that would end later")
    parser.add_argument("--share", type=float, default=1.0, help="of the repetitions that the figures ask for")
    parser.add_argument("--keep", action="store_true", help="leave the folders of what did not hold")
    parser.add_argument("--page", type=Path, help="where to write; by default docs/proof/faults.md after a whole run")
    asked = parser.parse_args()
    began = time.monotonic()
    for family in FAMILIES:
        __import__(f"chaos.{family}")
    rows = asyncio.run(perform(asked))
    minutes = (time.monotonic() - began) / 60
    whole = asked.part == "all" and not asked.only
    if asked.page or whole:
        report.write(rows, report.said_by(), minutes, asked.share, asked.page or report.PAGE)
    broken = [row for row in rows if row.verdict == "NOT HELD"]
    counted = {verdict: sum(row.verdict == verdict for row in rows) for verdict in ("held", "NOT HELD", "not run")}
    late = sum(row.verdict == "not run" and row.seen.endswith(OVER) for row in rows)
    said = ", ".join(f"{number} {verdict}" for verdict, number in counted.items())
    print(f"\n{said}{f' ({late} for want of time)' if late else ''}; {minutes:.1f} minutes")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
