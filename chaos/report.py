"""The table, live and as a page: what was played, what it must hold, what was seen, and what was not played and why."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal

from chaos.needs import ROOT
from chaos.registry import Engine, Fault
from tests import postgres

PAGE: Final = ROOT / "docs/proof/faults.md"
SHOWN: Final = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
EXPLAINED: Final = """\
Each row starts real gateways in processes of their own, hurts them as the row says, and judges by what the database
holds and what the receiver heard. Two kinds of rows do not: those that name a test of the suite, and the hour of T11,
whose gateway runs in the process of the play, on a clock that is pushed.
*Lost*: answered 202 and not in the database. *Untold*: in the database and never heard by the receiver. *Extra*: heard
again under the same `webhook-id`.
Where a title names a number of times, the run did its share of that, and at the least a small part; what it did stands
in the figure seen. Lengths of time that decide a figure are kept whole.
On a machine that others use at the same time, times and extra messages are worse than they need be."""
Verdict = Literal["held", "NOT HELD", "not run"]


@dataclass(frozen=True, slots=True)
class Row:
    fault: Fault
    engine: Engine
    verdict: Verdict
    seen: str
    seconds: float = 0.0
    note: str = ""


def line(row: Row) -> str:
    """One line of the table on the terminal."""
    return (
        f"{row.fault.id:>4} {SHOWN[row.engine]:10} {row.verdict:8} {row.seconds:6.1f} s  {row.fault.title}\n"
        f"{'':16} to hold: {row.fault.hold}\n{'':16} seen:    {row.seen}"
    )


def write(rows: Sequence[Row], command: str, minutes: float, share: float, page: Path = PAGE) -> None:
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(document(rows, command, minutes, share), encoding="utf-8")


def document(rows: Sequence[Row], command: str, minutes: float, share: float) -> str:
    played = [row for row in rows if row.verdict != "not run"]
    missing = [row for row in rows if row.verdict == "not run"]
    broken = [row for row in played if row.verdict == "NOT HELD"]
    counted = f"{len(played)} played, {len(played) - len(broken)} held, {len(broken)} not held, {len(missing)} not run."
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    lines = [
        "# Faults, played",
        "",
        f"Written by `{command}` on {day}, in {minutes:.0f} minutes, with {share:.0%} of the plan's repetitions.",
        counted,
        "",
        f"Machine: {_machine()}. {_versions()}.",
        "",
        *EXPLAINED.splitlines(),
        "",
        "| test | what is done | engine | figure to hold | figure seen | |",
        "|---|---|---|---|---|---|",
        *(
            f"| {row.fault.id} | {row.fault.title} | {SHOWN[row.engine]} | {row.fault.hold} | {_cell(row)} |"
            f" {'held' if row.verdict == 'held' else '**not held**'} |"
            for row in sorted(played, key=_order)
        ),
        "",
        "## Not run here",
        "",
    ]
    lines += [
        f"- {row.fault.id}, {row.fault.title} ({SHOWN[row.engine]}): {row.seen}." for row in sorted(missing, key=_order)
    ] or ["Nothing was left out."]
    alone = [
        f"- {row.fault.id}, {row.fault.title}: {row.fault.alone}" for row in sorted(rows, key=_order) if row.fault.alone
    ]
    if alone:
        lines += ["", "## Played on one engine only", "", *dict.fromkeys(alone)]
    notes = [f"- {row.fault.id}, {row.fault.title}: {row.note}" for row in sorted(played, key=_order) if row.note]
    if notes:
        lines += ["", "## Notes", "", *dict.fromkeys(notes)]
    return "\n".join(lines) + "\n"


def _cell(row: Row) -> str:
    """What was seen, without the folder that it was seen in."""
    return " ".join(re.sub(r"/\S*/tocsin-chaos-[^/\s]+/", "", row.seen).replace("|", "·").split())


def _order(row: Row) -> tuple[int, str, str]:
    return row.fault.number, row.fault.title, row.engine


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return f"{cores} cores, {memory:.0f} GiB of memory, {system}, Linux {platform.release().split('-')[0]}"


def _versions() -> str:
    parts = [f"Tocsin {version_of_ours()}", f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}"]
    binaries = postgres.find_binaries()
    if binaries is not None:
        said = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
        parts.append(f"PostgreSQL {said.split()[2] if len(said.split()) > 2 else '?'}")
    parts += [f"{name} {version(name)}" for name in ("uvicorn", "SQLAlchemy", "httpx2", "hypothesis")]
    return ", ".join(parts)


def version_of_ours() -> str:
    from gateway import __version__

    return __version__


def said_by() -> str:
    """The command as it was given, but for where the page goes: that says something of a machine."""
    return re.sub(r" --page[ =]\S+", "", " ".join(["python -m chaos", *sys.argv[1:]]))
