"""The vendors' own types as judges of what we send: TypeScript checks each request as a typed constant.

slack.ts, telegram.ts and notion.ts name one type for each call that a channel makes; package.json pins where
they come from. Types know no lengths: those are held by the tests of each channel. Twilio's package is left
out for its size (over 20 MB beside these 46)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.model import Json

HERE = Path(__file__).parent
INSTALL = "npm ci --prefix tests/oracles --ignore-scripts --no-audit --no-fund"

_TSC = HERE / "node_modules" / ".bin" / "tsc"
_MOST_SECONDS = 60
_COMPLAINT = re.compile(r"(?P<vendor>\w+)_says\.ts\((?P<line>\d+),\d+\): (?P<words>.*)")


@dataclass(frozen=True)
class Said:
    """Everything that one request says: its JSON, and what stands in its address. `type` is `vendor.Type`."""

    name: str
    type: str
    value: Json

    @property
    def vendor(self) -> str:
        return self.type.partition(".")[0]


def missing() -> str:
    """Why nothing can be judged here, with what to do; '' where it can."""
    if shutil.which("node") is None:
        return f"node is not installed; install Node.js 20 or later, then: {INSTALL}"
    return "" if _TSC.exists() else f"tests/oracles/node_modules is not there; run: {INSTALL}"


def complaints(said: Sequence[Said], folder: Path) -> dict[str, str]:
    """What TypeScript has against each, by its name; those that it finds right are not in it."""
    vendors = sorted({one.vendor for one in said})
    lines = {vendor: [one for one in said if one.vendor == vendor] for vendor in vendors}
    for vendor, all_of_it in lines.items():
        (folder / f"{vendor}_says.ts").write_text(_typescript(vendor, all_of_it), encoding="utf-8")
    files = [f"{vendor}_says.ts" for vendor in vendors]
    (folder / "tsconfig.json").write_text(json.dumps({"extends": str(HERE / "tsconfig.json"), "files": files}))
    found: dict[str, str] = {}
    name = ""
    for line in _tsc(folder):
        if complaint := _COMPLAINT.match(line):
            # The first line of each file is the import.
            name = lines[complaint["vendor"]][int(complaint["line"]) - 2].name
            found[name] = "\n".join(part for part in (found.get(name), complaint["words"]) if part)
        else:
            # An indented line explains the one before; anything else is trouble of the oracle's own.
            assert line.startswith(" "), line
            found[name] += f"\n{line}"
    return found


def _typescript(vendor: str, said: Sequence[Said]) -> str:
    """One line each, so that a line of TypeScript's complaint names it. JSON in ASCII is TypeScript as it stands."""
    constants = [f"export const _{n}: {one.type} = {json.dumps(one.value)};\n" for n, one in enumerate(said)]
    return f"import type * as {vendor} from {json.dumps(str(HERE / vendor))};\n" + "".join(constants)


def _tsc(folder: Path) -> list[str]:
    # Files are named as they are seen from where it runs.
    command = [str(_TSC), "--project", ".", "--pretty", "false"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_MOST_SECONDS, check=False)
    written = (done.stdout + done.stderr).splitlines()
    assert bool(written) == bool(done.returncode), (done.returncode, written)
    return [line for line in written if line.strip()]
