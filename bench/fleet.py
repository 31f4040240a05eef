"""Who is measured: a bare route, Tocsin with every feature on, and Alertmanager; each fresh, on its own core.

async with bare(folder) as one: await burst(one.port, …)
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from bench import server
from bench.load import SECRET

ALERTMANAGER = """
route: {{receiver: out, group_by: ['...'], group_wait: {wait}, group_interval: 1s, repeat_interval: 12h}}
receivers: [{{name: out, webhook_configs: [{{url: "http://127.0.0.1:{receiver}/", send_resolved: true}}]}}]
"""


@dataclass(frozen=True, slots=True)
class Running:
    port: int
    process: server.Process


@asynccontextmanager
async def bare(folder: Path) -> AsyncIterator[Running]:
    port = _free_port()
    command = [sys.executable, "-m", "bench.bare", str(port)]
    async with _running(server.Process(command, folder / "bare.log"), port) as one:
        yield one


@asynccontextmanager
async def tocsin(
    folder: Path, receiver: int, database: str = "", core: int = server.SERVER_CORE
) -> AsyncIterator[Running]:
    """On an empty SQLite file, or on `database` as it is."""
    port = _free_port()
    if not database:
        database = _empty(folder)
    routing = _routing(folder, receiver)
    command = ["-m", "gateway", "serve", "--config", str(routing), "--database", database, "--port", str(port)]
    log = folder / f"tocsin-{port}.log"
    process = server.Process([sys.executable, *command, "--log-level", "warning"], log, core)
    async with _running(process, port) as one:
        yield one


@asynccontextmanager
async def alertmanager(folder: Path, receiver: int, wait: str = "0s") -> AsyncIterator[Running]:
    """Debian's, with all in memory and nothing left over: each distinct alert is a group of its own, told after
    `wait`."""
    port = _free_port()
    binary = find_alertmanager()
    assert binary is not None
    configuration = folder / "alertmanager.yml"
    configuration.write_text(ALERTMANAGER.format(receiver=receiver, wait=wait))
    storage = folder / "alertmanager"
    shutil.rmtree(storage, ignore_errors=True)
    command = [
        binary,
        f"--config.file={configuration}",
        f"--storage.path={storage}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=error",
    ]
    process = server.Process(command, folder / "alertmanager.log", GOMAXPROCS="1")
    try:
        await asyncio.to_thread(_wait_for, f"http://127.0.0.1:{port}/-/ready")
        yield Running(port, process)
    finally:
        process.kill()


def find_alertmanager() -> str | None:
    return shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


def version(command: list[str], word: int) -> str:
    """One word of what a program says its version is."""
    said = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    words = (said.stdout or said.stderr).split()
    return words[word].rstrip(",") if len(words) > word else "unknown"


def decided(folder: Path) -> int:
    """Events of Tocsin's SQLite file that have been decided."""
    with closing(sqlite3.connect(f"file:{folder / 'bench.db'}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM events WHERE state = 'done'").fetchone()[0])


@asynccontextmanager
async def _running(process: server.Process, port: int) -> AsyncIterator[Running]:
    try:
        await server.first_202(port, process)
        await asyncio.sleep(0.5)
        yield Running(port, process)
    finally:
        process.kill()


def _empty(folder: Path) -> str:
    for old in folder.glob("bench.db*"):
        old.unlink()
    return f"sqlite:///{folder / 'bench.db'}"


def _routing(folder: Path, receiver: int) -> Path:
    text = (Path(__file__).parent / "full.yaml").read_text()
    routing = folder / "full.yaml"
    routing.write_text(text.replace("@SECRET@", SECRET).replace("@RECEIVER@", str(receiver)))
    return routing


def _wait_for(url: str) -> None:
    for _ in range(500):
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - our own address
                return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError("Alertmanager did not become ready")


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
