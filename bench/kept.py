"""What each part measured last, in bench/out, so that a run of some parts does not wipe the others off the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Part


@dataclass(frozen=True, slots=True)
class Kept:
    path: Path

    def read(self, facts: Mapping[str, str]) -> dict[str, Part]:
        """By letter; nothing where the machine, a version or the code was another."""
        try:
            document = json.loads(self.path.read_text())
            if document["facts"] != dict(facts):
                return {}
            return {letter: Part.of(plain) for letter, plain in document["parts"].items()}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def write(self, parts: Mapping[str, Part], facts: Mapping[str, str]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        plain = {letter: part.plain() for letter, part in parts.items()}
        self.path.write_text(json.dumps({"facts": dict(facts), "parts": plain}))
