"""What coverage leads to: each adapter, each signature, and what reads matches, templates and files, fed bytes by
atheris, which keeps those that reach further. `python -m chaos.guided TARGET --seconds 20`; without a target, their
names. What comes out that may not is printed with its bytes, and the exit is not 0."""

from __future__ import annotations

import argparse
import html
import importlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from chaos.needs import ROOT

CORPUS: Final = ROOT / "chaos/corpus"
NOW: Final = 1_795_176_000_000
CONTROLS: Final = bytes({*range(32), 127} - {ord("\t"), ord("\n")})
LONGEST: Final = 32_768
SECRET: Final = "a secret that nobody has guessed"  # noqa: S105
Target = Callable[[bytes], object]


def targets() -> Mapping[str, Target]:
    """By name: `adapter.github`, `signature.github`, `matcher`, `template`, `configuration`."""
    from gateway.plugins import adapters

    found: dict[str, Target] = {}
    for name in sorted(adapters()):
        found[f"adapter.{name}"] = _adapter(name)
        found[f"signature.{name}"] = _signature(name)
    return {**found, "matcher": _matcher(), "template": _template(), "configuration": _configuration()}


def split(fed: bytes) -> tuple[dict[str, str], bytes]:
    """As a request: lines `name: value`, an empty line, and the body; without an empty line all of it is the body. A
    header has no control characters: the server refuses them (httptools)."""
    head, blank, body = fed.partition(b"\n\n")
    if not blank:
        return {}, fed
    head = head.translate(None, CONTROLS)
    pairs = (line.partition(b":") for line in head.split(b"\n"))
    return {name.decode("latin-1").lower(): value.strip().decode("latin-1") for name, _, value in pairs}, body


def _adapter(name: str) -> Target:
    """As a batch reads an event. What `Batch` would log as a failed adapter comes out here."""
    from gateway.contracts import Handshake, Keep
    from gateway.errors import NotJson, Unreadable, WrongType
    from gateway.model import Event
    from gateway.plugins import adapters
    from gateway.rules import reading

    adapter = adapters()[name]

    def read(fed: bytes) -> None:
        headers, body = split(fed)
        with suppress(Unreadable, NotJson, WrongType):
            raw = reading.decode(headers.get("content-type", ""), body)
            assert isinstance(adapter.admit(headers, raw), Keep | Handshake)
            document = reading.normalise(raw)
            kept = {key: value for key, value in headers.items() if key in adapter.keeps}
            for alert in adapter.parse(Event("e", "source", name, NOW, kept, body), document):
                shown = reading.bounded(alert)
                assert shown.title.strip()
                assert shown.fingerprint.strip()
                assert "\x00" not in shown.title + shown.body + shown.fingerprint

    return read


def _signature(name: str) -> Target:
    from gateway.plugins import adapters

    adapter = adapters()[name]

    def verify(fed: bytes) -> None:
        headers, body = split(fed)
        if adapter.signed(headers):
            assert adapter.verify(headers, body, SECRET, NOW) is False

    return verify


def _matcher() -> Target:
    from pydantic import ValidationError

    from gateway.errors import NotJson, WrongType
    from gateway.rules import reading
    from gateway.rules.matching import Match, Seen

    incident = _incident()

    def match(fed: bytes) -> None:
        with suppress(NotJson, WrongType, ValidationError):
            read = Match.read(reading.normalise(reading.decode("", fed)))
            if not read.calendars:
                read.missed(Seen(incident, {}, NOW))

    return match


def _template() -> Target:
    from gateway.rules import templates
    from gateway.rules.sandbox import Run

    said = templates.variables(_incident(), (), (("used", "94 %"),), "https://vendor.example/1", "https://a.example")

    def render(fed: bytes) -> None:
        with suppress(ValueError):
            compiled = templates.compile(fed.decode("utf-8", "replace"), None)
            if compiled.title is not None:
                templates.render(compiled.title, said, Run(html.escape, NOW))

    return render


def _configuration() -> Target:
    from gateway import config
    from gateway.errors import BadConfiguration

    path = Path(tempfile.mkdtemp(prefix="tocsin-guided-")) / "routing.yaml"

    def load(fed: bytes) -> None:
        path.write_bytes(fed)
        with suppress(BadConfiguration):
            config.load(path, {"TOKEN": "t"})

    return load


def _incident() -> Any:
    from gateway.model import Incident, Severity

    return Incident(
        "1", "s", "generic", "f", "Disk full", Severity.ERROR, 0, 0, service="db", labels={"team": "data"}, number=1
    )


def seeds(target: str, payloads: Path) -> Iterator[bytes]:
    """What to begin with: real requests where they are at hand, and the documents of the adapter's tests."""
    kind, _, name = target.partition(".")
    if name and (payloads / "manifest.json").is_file():
        for entry in json.loads((payloads / "manifest.json").read_bytes()):
            if entry["source"] == name:
                head = "\n".join(f"{key}: {value}" for key, value in entry["headers"].items())
                document = json.loads((payloads / entry["file"]).read_bytes())
                yield f"{head}\n\n{json.dumps(document, separators=(',', ':'))}".encode()
    if name:
        told = vars(importlib.import_module(f"tests.adapters.test_{name}"))
        documents = [value for key, value in told.items() if key.isupper() and isinstance(value, dict)]
        head = "".join(f"{header}: 1\n" for header in sorted(_kept(name)))
        yield from (f"{head}\n{json.dumps(document, default=str)}".encode() for document in documents)
        yield b'content-type: application/json\nx-hub-signature-256: sha256=00\n\n{"title": "x", "severity": "error"}'
        yield b"webhook-id: 1\nwebhook-timestamp: 1795176000\nwebhook-signature: v1,AA\nsentry-hook-signature: 0\n\n{}"
    elif kind == "matcher":
        yield b'{"any": [{"label.team": ["data", "~d.*"]}, {"not": {"severity": ">=error"}}], "title": "*full*"}'
    elif kind == "template":
        yield b"{{ title|upper }} {% if labels.team %}{{ severity }}{% endif %} {{ opened_at }}"
    else:
        yield from (path.read_bytes() for path in sorted((ROOT / "tests/config").glob("*/*.yaml")))
        yield (ROOT / "routing.yaml").read_bytes()


def _kept(name: str) -> Collection[str]:
    from gateway.plugins import adapters

    return adapters()[name].keeps


def sow(target: str, corpus: Path, payloads: Path) -> Path:
    """The target's own folder of the corpus, with its seeds in it."""
    folder = corpus / target
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(target, payloads)):
        if len(seed) <= LONGEST:  # half a document is none
            (folder / f"seed-{number:03}").write_bytes(seed)
    return folder


def vocabulary(target: str, corpus: Path) -> Path:
    """libFuzzer's dictionary: what stands in quotation marks in the files that read what the target is fed."""
    kind, _, name = target.partition(".")
    places = {
        "matcher": "gateway/rules/matching.py",
        "template": "gateway/rules/templates.py",
        "configuration": "gateway/rules/*.py",
    }
    files = sorted(ROOT.glob(places.get(kind, f"adapters/*{name}*.py")))
    words = {word for file in files for word in re.findall(r'"([\w.:/ -]{2,30})"', file.read_text())}
    path = corpus / f"{target}.words"
    path.write_text("".join(f'"{word}"\n' for word in sorted(words) if word.isascii()))
    return path


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos.guided", description=__doc__)
    parser.add_argument("target", nargs="?")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--payloads", type=Path, default=ROOT.parent / "shared/payloads", help="real requests")
    asked = parser.parse_args()
    if asked.target is None:
        print("\n".join(targets()))
        return 0
    import atheris

    with atheris.instrument_imports(include=["adapters", "gateway"]):
        target = targets()[asked.target]
    folder = sow(asked.target, asked.corpus, asked.payloads)
    words = vocabulary(asked.target, asked.corpus)
    arguments = [
        sys.argv[0], str(folder), f"-max_total_time={asked.seconds}", f"-max_len={LONGEST}", "-timeout=10",
        "-rss_limit_mb=2048", f"-artifact_prefix={folder}{os.sep}", f"-dict={words}", "-print_final_stats=1",
    ]  # fmt: skip
    atheris.Setup(arguments, target)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
