"""A PostgreSQL for tests: the server that `TOCSIN_TEST_POSTGRES` names, or a cluster of our own in a temporary folder.

with Cluster(durable=True) as cluster:          # a cluster of our own: it can be stopped, killed and started again
    url = cluster.fresh()                       # postgresql://… of a database that is new and empty
    cluster.restart("immediate")

    server = find_server()                      # either of the two; None where there is none, and `why_none()` says why
"""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit, urlunsplit

VARIABLE = "TOCSIN_TEST_POSTGRES"
START_SECONDS = 30.0
Mode = Literal["smart", "fast", "immediate"]
SIGNALS: Mapping[Mode, signal.Signals] = MappingProxyType(
    {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
)
SETTINGS = (
    "listen_addresses=127.0.0.1",
    "max_connections=200",
    "shared_buffers=32MB",
    "logging_collector=off",
    "log_min_messages=warning",
    "max_wal_size=256MB",
)
HASTY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
"""For tests of what is written, not of whether it is still there after the power was cut."""


class Server(Protocol):
    def fresh(self) -> str:
        """The URL of a new and empty database."""
        ...

    def drop(self, url: str) -> None:
        """Away with it, whoever is connected."""
        ...


class Elsewhere:
    """A server that somebody else runs: databases of our own on it, and nothing else of it is touched."""

    def __init__(self, url: str) -> None:
        self._url = url

    def fresh(self) -> str:
        name = f"tocsin_test_{uuid.uuid4().hex}"
        self._do(f'CREATE DATABASE "{name}" TEMPLATE template0')
        parts = urlsplit(self._url)
        return urlunsplit((parts.scheme, parts.netloc, f"/{name}", parts.query, ""))

    def drop(self, url: str) -> None:
        self._do(f'DROP DATABASE IF EXISTS "{urlsplit(url).path[1:]}" WITH (FORCE)')

    def _do(self, statement: str) -> None:
        psycopg = importlib.import_module("psycopg")
        with psycopg.connect(self._url, autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement)


class Cluster:
    """A cluster made by the installed `initdb`; `durable` waits for the disk at each commit, as in production."""

    def __init__(self, *, durable: bool = False, binaries: Path | None = None) -> None:
        found = binaries or find_binaries()
        if found is None:
            raise FileNotFoundError(why_none())
        self._binaries = found
        self._durable = durable
        self._as: dict[str, Any] = unprivileged()
        self.folder = Path(tempfile.mkdtemp(prefix="tocsin-postgres-"))
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._made = False

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Of the postmaster; None while it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://tocsin@127.0.0.1:{self.port}/{database}"

    def fresh(self) -> str:
        name = f"tocsin_test_{uuid.uuid4().hex}"
        self._run("createdb", *self._address, "--template=template0", name)
        return self.url(name)

    def drop(self, url: str) -> None:
        self._run("dropdb", *self._address, "--if-exists", "--force", urlsplit(url).path[1:])

    def start(self) -> None:
        """Start it, and wait until it takes connections. What a killed one left behind is waited for."""
        if not self._made:
            self._make()
        deadline = time.monotonic() + START_SECONDS
        while True:
            self._launch()
            if self._answers(deadline):
                return
            if time.monotonic() > deadline:
                raise TimeoutError(self.log[-2000:])
            time.sleep(0.2)  # "pre-existing shared memory block is still in use": the children of a killed one

    def stop(self, mode: Mode = "fast") -> None:
        self._end(SIGNALS[mode])

    def kill(self) -> None:
        """SIGKILL to the postmaster; its children see that and end."""
        self._end(signal.SIGKILL)

    def restart(self, mode: Mode = "fast") -> None:
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """Stop it, and take everything away."""
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _address(self) -> tuple[str, ...]:
        return ("--host=127.0.0.1", f"--port={self.port}", "--username=tocsin")

    def _make(self) -> None:
        if self._as:
            os.chown(self.folder, self._as["user"], self._as["group"])
        arguments = ["--username=tocsin", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        self._run("initdb", *arguments, f"--pgdata={self.folder / 'pgdata'}")
        self._made = True
        atexit.register(self.close)

    def _launch(self) -> None:
        settings = (*SETTINGS, *(() if self._durable else HASTY), f"unix_socket_directories={self.folder}")
        arguments = [str(self._binaries / "postgres"), "-D", str(self.folder / "pgdata"), "-p", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*arguments, *(part for setting in settings for part in ("-c", setting))],
                cwd=self.folder,
                env=_environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # an interrupted test run stops it at its own end
                **self._as,
            )

    def _answers(self, deadline: float) -> bool:
        """False where it ended instead."""
        asking = [str(self._binaries / "pg_isready"), "-q", *self._address, "--dbname=postgres"]
        while self.pid is not None and time.monotonic() < deadline:
            if subprocess.run(asking, env=_environ(), check=False, timeout=10).returncode == 0:
                return True
            time.sleep(0.02)
        return False

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
        try:
            self._process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._binaries / program), *arguments],
            cwd=self.folder,
            env=_environ(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=60,
            **self._as,
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.decode(errors='replace')}")


def find_server() -> Server | None:
    """The named server, or a hasty cluster of our own, started. `Cluster.close` is called at the end of Python."""
    if named := os.environ.get(VARIABLE):
        return Elsewhere(named) if why_none() is None else None
    if why_none() is not None:
        return None
    cluster = Cluster()
    cluster.start()
    return cluster


def why_none() -> str | None:
    """Why there is no PostgreSQL for tests here; None where there is one."""
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed"
    if not os.environ.get(VARIABLE) and find_binaries() is None:
        return f"PostgreSQL is not installed (initdb), and {VARIABLE} names no server"
    return None


def find_binaries() -> Path | None:
    """The folder of initdb and postgres: on the PATH, or where Debian puts them, the newest first."""
    on_path = shutil.which("initdb")
    places = [Path(on_path).resolve().parent] if on_path else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name))
    return next((place for place in places if _all_there(place)), None)


def _all_there(place: Path) -> bool:
    needed: Sequence[str] = ("initdb", "postgres", "pg_isready", "createdb", "dropdb")
    return all(os.access(place / name, os.X_OK) for name in needed)


def unprivileged() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: as whom instead, in the words of `subprocess`."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    return {}


def _environ() -> dict[str, str]:
    """Without what libpq would read, and in a language that tests can read."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C"}


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
