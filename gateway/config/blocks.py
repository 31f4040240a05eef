"""Blocks of many entries, by name or in a list: each entry validated by its own settings, all problems kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from pydantic import ValidationError

from gateway.config.problems import LONGEST_NAME, NAME, OR_DEFAULT, Findings
from gateway.fields import Settings
from gateway.rules.documents import Place, Value
from gateway.rules.names import SHARED

S = TypeVar("S", bound=Settings)

_ONE: Final = {"routes": "route", "mutes": "mute", "inhibit": "rule", "expire": "rule", "tests": "test"}


def named(top: Mapping[str, Value], block: str, model: type[S], findings: Findings) -> dict[str, S]:
    """Every good entry of a block like `people:`; what is wrong with the others goes to the findings."""
    findings.add_gaps((block,), OR_DEFAULT)
    read: dict[str, S] = {}
    for name, entry in findings.block(top.get(block), (block,)).items():
        place: Place = (block, name)
        if block in SHARED and not is_entry(place, entry, findings):
            continue
        if (settings := _validated(place, entry, model, findings)) is not None:
            read[name] = settings
    return read


def listed(top: Mapping[str, Value], block: str, model: type[S], findings: Findings) -> tuple[S, ...]:
    """Every good entry of a block like `routes:`; what is wrong with the others goes to the findings."""
    findings.add_gaps((block,), OR_DEFAULT)
    entries = top.get(block)
    if entries is not None and not isinstance(entries, list):
        findings.add((block,), f"must be a list: each {_ONE[block]} begins with '- '")
        return ()
    read = [_validated((block, number), entry, model, findings) for number, entry in enumerate(entries or ())]
    return tuple(settings for settings in read if settings is not None)


def is_entry(place: Place, entry: Value, findings: Findings) -> bool:
    """Whether this is a block that can be read; a name that no URL or command could carry is told as well."""
    name = str(place[-1])
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        findings.add(place, "is no name; use a-z, 0-9, '-' and '_', beginning with a letter or digit, at most 64")
    if not isinstance(entry, dict):
        findings.add(place, "must be a mapping: lines of `key: value`, indented below it")
    return isinstance(entry, dict)


def _validated(place: Place, entry: Value, model: type[S], findings: Findings) -> S | None:
    try:
        return model.model_validate(entry)
    except ValidationError as error:
        findings.add_refusal(place, error, model)
        return None
