"""What the run stood on, in words without names of hosts or paths."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from importlib.metadata import version as package
from pathlib import Path

import gateway
from bench import fleet, server
from tests.postgres import find_binaries

_NO_DISK = frozenset(("tmpfs", "ramfs"))


def filesystem(folder: Path) -> str:
    """The type of what `folder` is on, by the longest mount point above it."""
    best, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, at, type_, *_ = line.split()
        inside = folder.resolve().is_relative_to(at)
        if inside and len(at) >= len(best):
            best, kind = at, type_
    return kind


def no_disk(kind: str) -> bool:
    return kind in _NO_DISK


def times() -> tuple[int, int]:
    """Ticks of all cores since the start of the machine: all, and those that its host gave to others."""
    ticks = [int(number) for number in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(ticks), ticks[7]


def load() -> float:
    """How many others wanted the processor in the last minute."""
    return os.getloadavg()[0]


def facts(folder: Path) -> dict[str, str]:
    binaries = find_binaries()
    peer = fleet.find_alertmanager()
    pinned = (
        "server and driver each on a core of their own"
        if server.can_pin()
        else "nothing was pinned: there is one core, or no taskset"
    )
    return {
        "processor": _processor(),
        "cores": f"{len(server.CORES)}; {pinned}",
        "kernel": platform.release().split("-")[0],
        "filesystem": filesystem(folder)
        + (", in memory: nothing here is durable" if no_disk(filesystem(folder)) else ""),
        "Tocsin": _code(),
        "Python": platform.python_version(),
        "Starlette, Uvicorn": f"{package('starlette')}, {package('uvicorn')}",
        "SQLite": sqlite3.sqlite_version,
        "PostgreSQL": fleet.version([str(binaries / "postgres")], 2) if binaries else "not installed",
        "Alertmanager": fleet.version([peer], 2) if peer else "not installed",
    }


def _code() -> str:
    """Its version, and the last commit that touched what runs."""
    root = Path(__file__).parent.parent
    asked = ["git", "-C", str(root), "log", "-1", "--format=%h", "--", "gateway", "adapters"]
    try:
        commit = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = ""
    return gateway.__version__ + (f", as of {commit}" if commit else "")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
