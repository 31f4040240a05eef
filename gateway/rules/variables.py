"""`${…}` in the texts of a configuration: filled scalar by scalar, after the parse, never in keys.

`${NAME}` is an environment variable, `${NAME:-default}` has a default, `${file:/run/secrets/x}` is what
stands in a file without its last newline, `$${` is a plain `${`. Pure: who reads files is told by the caller.
A variable that is set but empty counts as not set: an empty password has never been what anybody meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from gateway.rules.documents import Place, Value
from gateway.values import frozen

ReadFile: TypeAlias = Callable[[str], str]
"""A path as written → the file's text. Raises OSError or ValueError (no text)."""

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_NAME: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_FILE: Final = "file:"


@frozen
class Gap:
    """A place whose text could not be filled. `name` is the variable that is not set (`file:…` for a file
    that cannot be read); '' where what is written inside `${…}` is wrong itself."""

    place: Place
    name: str
    what: str


@frozen
class Filled:
    """The tree's value with its variables in. A text with a gap stays as it was written.

    `texts` are those that a variable changed: what stands there now may be a secret."""

    value: Value
    gaps: tuple[Gap, ...]
    texts: Mapping[Place, str]


def fill(value: Value, variables: Mapping[str, str], read_file: ReadFile) -> Filled:
    """Put the variables into every text of a tree. Each place with something missing becomes a gap."""
    filling = _Filling(variables, read_file)
    return Filled(filling.value(value, ()), tuple(filling.gaps), filling.texts)


class _Missing(Exception):
    def __init__(self, name: str, what: str) -> None:
        super().__init__(what)
        self.name = name


@dataclass(slots=True)
class _Filling:
    variables: Mapping[str, str]
    read_file: ReadFile
    gaps: list[Gap] = field(default_factory=list)
    texts: dict[Place, str] = field(default_factory=dict)

    def value(self, value: Value, place: Place) -> Value:
        if isinstance(value, dict):
            return {key: self.value(inner, (*place, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner, (*place, index)) for index, inner in enumerate(value)]
        return self._text(value, place) if isinstance(value, str) and "${" in value else value

    def _text(self, text: str, place: Place) -> str:
        parts: list[str] = []
        whole, end = True, 0
        for found in _REFERENCE.finditer(text):
            parts.append(text[end : found.start()])
            end = found.end()
            try:
                parts.append("${" if found[0] == "$${" else self._looked_up(found[1]))
            except _Missing as missing:
                self.gaps.append(Gap(place, missing.name, str(missing)))
                whole = False
        if whole:
            self.texts[place] = "".join([*parts, text[end:]])
        return self.texts.get(place, text)

    def _looked_up(self, inside: str | None) -> str:
        if inside is not None and inside.startswith(_FILE) and len(inside) > len(_FILE):
            return self._out_of_file(inside.removeprefix(_FILE))
        written = _NAME.fullmatch(inside or "")
        if written is None:
            raise _Missing(
                "", "'${' begins a variable: write ${NAME}, ${NAME:-default} or ${file:/path}, or $${ for a plain '${'"
            )
        name, default = written.groups()
        text = self.variables.get(name, "")
        if not text and default is None:
            empty = "is empty, which counts as not set" if name in self.variables else "is not set"
            raise _Missing(name, f"the variable {name} {empty}")
        if not _encodes(text):
            raise _Missing(name, f"the variable {name} holds bytes that are not UTF-8")
        return text or default or ""

    def _out_of_file(self, path: str) -> str:
        try:
            text = self.read_file(path)
        except OSError as error:
            raise _Missing(_FILE + path, f"the file {path} cannot be read ({error.strerror or 'no file'})") from None
        except ValueError:
            raise _Missing(_FILE + path, f"the file {path} is not UTF-8 text, or is over 1 MiB") from None
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise _Missing(_FILE + path, f"the file {path} is empty, which counts as not set")
        return text


def _encodes(text: str) -> bool:
    """Undecodable bytes of the environment arrive as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
