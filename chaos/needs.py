"""What this machine has: each thing a fault needs, by the name that the page shows where it is lacking."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

from tests import postgres

ROOT: Final = Path(__file__).parent.parent
FAKETIME: Final = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
FIU: Final = sorted(Path("/usr/lib").glob("**/fiu_posix_preload.so")) if Path("/usr/lib/fiu").exists() else []


@cache
def why_not(need: str) -> str | None:
    """Why what is needed is not there; None where it is."""
    match need:
        case "root":
            return None if os.geteuid() == 0 else "needs root"
        case "strace":
            return None if shutil.which("strace") else "strace is not installed"
        case "libfaketime":
            return None if FAKETIME else "libfaketime is not installed"
        case "libfiu":
            return None if FIU and shutil.which("fiu-run") else "libfiu is not installed (fiu-utils)"
        case "schemathesis":
            return None if schemathesis() else "schemathesis is not installed"
        case "atheris":
            return None if importlib.util.find_spec("atheris") else "atheris is not installed: pip install atheris"
        case "postgresql":
            return postgres.why_none() or _gateway_and_postgresql()
        case "own cluster":
            found = postgres.find_binaries()
            return None if found else "PostgreSQL's binaries are not installed (initdb)"
    raise ValueError(need)


def schemathesis() -> str | None:
    """The command, beside this Python or on the PATH."""
    beside = Path(sys.executable).parent / "schemathesis"
    return str(beside) if beside.exists() else shutil.which("schemathesis")


def _gateway_and_postgresql() -> str | None:
    """A gateway that knows PostgreSQL fails on a port where nobody listens; one that does not says that it does not."""
    asked = subprocess.run(
        [sys.executable, "-c", "import sys; from gateway.store.safe import Safe; Safe(sys.argv[1])", _NOBODY],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return "this version of the gateway has no PostgreSQL" if "not supported by this version" in asked.stderr else None


_NOBODY: Final = "postgresql://nobody@127.0.0.1:1/none"
