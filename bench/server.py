"""The servers under measurement, as processes of their own on their own core."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.load import SECRET, Sender, sentry_request

_TICK = os.sysconf("SC_CLK_TCK")
CORES = tuple(sorted(os.sched_getaffinity(0)))
"""Those that were ours when we began: the driver pins itself to one, and then sees no other."""
SERVER_CORE, LOAD_CORE = CORES[0], CORES[min(1, len(CORES) - 1)]

ROUTING = """
sources:
  sentry: {{adapter: sentry, secret: "{secret}"}}
channels:
  out: {{kind: webhook, url: "http://127.0.0.1:{receiver}/", pace: none}}
routes:
  - {{name: everything, to: [out]}}
"""


class Process:
    """A server on one core until `stop`."""

    def __init__(self, command: list[str], log: Path, core: int = SERVER_CORE, **more: str) -> None:
        pinned = ["taskset", "-c", str(core)] if can_pin() else []
        self.started = time.perf_counter()
        self._log = log.open("w")
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), **more}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        self._process = subprocess.Popen([*pinned, *command], stdout=self._log, stderr=self._log, env=environ)

    @property
    def cpu_seconds(self) -> float:
        stat = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(stat[11]) + int(stat[12])) / _TICK

    @property
    def memory_mib(self) -> float:
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def kill(self) -> None:
        """At once: for a store that nobody will look at again."""
        self._process.kill()
        self._process.wait()
        self._log.close()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def bare(port: int, folder: Path) -> Process:
    return Process([sys.executable, "-m", "bench.bare", str(port)], folder / "bare.log")


def gateway(port: int, receiver: int, folder: Path) -> Process:
    """A fresh gateway on an empty database in `folder`."""
    for old in folder.glob("bench.db*"):
        old.unlink()
    return gateway_on(f"sqlite:///{folder / 'bench.db'}", port, receiver, folder)


def gateway_on(database: str, port: int, receiver: int, folder: Path, more: str = "") -> Process:
    """A gateway on this database as it is. `more`: further lines of its routing.yaml."""
    routing = folder / "routing.yaml"
    routing.write_text(ROUTING.format(secret=SECRET, receiver=receiver) + more)
    command = ["-m", "gateway", "serve", "--config", str(routing), "--database", database]
    return Process(
        [sys.executable, *command, "--port", str(port), "--log-level", "warning"], folder / f"gateway-{port}.log"
    )


async def first_202(port: int, process: Process) -> float:
    """Seconds from the start of the process to its first 202."""
    loop = asyncio.get_running_loop()
    for attempt in range(2_000):
        done = loop.create_future()

        def answered(_sender: Sender, status: int, _wait: float, done: asyncio.Future[int] = done) -> None:
            if not done.done():
                done.set_result(status)

        try:
            transport, sender = await loop.create_connection(lambda a=answered: Sender(a), "127.0.0.1", port)  # type: ignore[misc]
        except OSError:
            await asyncio.sleep(0.01)
            continue
        sender.send(sentry_request(attempt, "first"))
        status = await asyncio.wait_for(done, 10)
        transport.close()
        if status == 202:
            return time.perf_counter() - process.started
    raise RuntimeError("the server never answered 202")


def can_pin() -> bool:
    return len(CORES) > 1 and shutil.which("taskset") is not None


def pin(pid: int, core: int) -> None:
    """A process that runs already, and those that it will start."""
    os.sched_setaffinity(pid, {core})


def anywhere() -> list[str]:
    """Before a command that shall see all of our cores again, and share them out by itself."""
    return ["taskset", "-c", ",".join(map(str, CORES))] if can_pin() else []
