"""The entries of `sources:` and `channels:`: each validated by its own settings, all of their problems kept."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel, SecretStr, ValidationError

from gateway.config.blocks import is_entry
from gateway.config.problems import Findings, unknown
from gateway.contracts import Adapter, ChannelSettings, SourceSettings, Templates
from gateway.model import GATEWAY
from gateway.plugins import ChannelKind
from gateway.rules.documents import Place, Value
from gateway.values import frozen

_SLEEP: Final = ", or write optional: true to let the {what} sleep"


@frozen
class Source:
    """A configured sender. `name` stands in its URL."""

    name: str
    adapter_name: str
    adapter: Adapter
    settings: SourceSettings


@frozen
class ChannelEntry:
    """A configured way out, not connected yet."""

    name: str
    kind: ChannelKind
    settings: ChannelSettings


@dataclass(slots=True)
class Entries:
    """What was read. `sleeping_*` name the variables (or `file:…`) that an optional entry waits for."""

    sources: dict[str, Source] = field(default_factory=dict)
    channels: dict[str, ChannelEntry] = field(default_factory=dict)
    sleeping_sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sleeping_channels: dict[str, tuple[str, ...]] = field(default_factory=dict)


def read_sources(
    block: Mapping[str, Value], adapters: Mapping[str, Adapter], findings: Findings, entries: Entries
) -> None:
    """Every good entry of `sources:`, put into `entries`; what is wrong with the others goes to the findings."""
    for name, entry in block.items():
        place: Place = ("sources", name)
        if name == GATEWAY:
            findings.add(place, "the name is reserved for the gateway's own alerts; choose another")
        if not is_entry(place, entry, findings):
            continue
        adapter_name = _plug(place, entry, "adapter", adapters, findings)
        asleep = _waits_for(place, entry, "source", findings)
        settings = _validated(place, entry, SourceSettings, findings, asleep=bool(asleep))
        if asleep:
            entries.sleeping_sources[name] = asleep
        elif adapter_name is not None and isinstance(settings, SourceSettings):
            adapter = adapters[adapter_name]
            _check_credentials(place, settings, adapter_name, adapter, findings)
            entries.sources[name] = Source(name, adapter_name, adapter, settings)
    _check_shared_credentials(entries.sources, findings)


def read_channels(
    block: Mapping[str, Value], kinds: Mapping[str, ChannelKind], findings: Findings, entries: Entries
) -> None:
    """Every good entry of `channels:`, put into `entries`; what is wrong goes to the findings."""
    for name, entry in block.items():
        place: Place = ("channels", name)
        if not is_entry(place, entry, findings):
            continue
        kind_name = _plug(place, entry, "kind", kinds, findings)
        asleep = _waits_for(place, entry, "channel", findings)
        if asleep:
            entries.sleeping_channels[name] = asleep
        if kind_name is None:
            continue
        kind = kinds[kind_name]
        settings = _validated(place, entry, kind.settings, findings, asleep=bool(asleep))
        if not asleep and isinstance(settings, ChannelSettings):
            entries.channels[name] = ChannelEntry(name, kind, settings)


def _plug(
    place: Place, entry: Mapping[str, Value], key: str, known: Mapping[str, Any], findings: Findings
) -> str | None:
    """The adapter or kind that the entry names; None where it names none, said once here or by its settings."""
    name = entry.get(key)
    if isinstance(name, str) and name in known:
        return name
    here = (*place, key)
    if isinstance(name, str) and name:
        if not findings.gaps_in(here):
            findings.add(here, unknown(key, name, known))
    elif key == "kind":
        what = "is missing; add it" if name is None else "must be text"
        findings.add(here, f"{what}, one of {', '.join(sorted(known))}")
    return None


def _waits_for(place: Place, entry: Mapping[str, Value], what: str, findings: Findings) -> tuple[str, ...]:
    """The variables without which an optional entry sleeps; of any other, each is a problem."""
    names = tuple(dict.fromkeys(gap.name for gap in findings.gaps_in(place)))
    if entry.get("optional") == "true" and all(names):
        return names
    findings.add_gaps(place, _SLEEP.format(what=what))
    return ()


def _validated(
    place: Place, entry: Mapping[str, Value], model: type[BaseModel], findings: Findings, *, asleep: bool
) -> BaseModel | None:
    try:
        settings = model.model_validate(entry)
    except ValidationError as error:
        findings.add_refusal(place, error, model, asleep=asleep)
        if issubclass(model, ChannelSettings) and not asleep:
            with suppress(ValidationError):  # what is wrong with its shape has been said
                _check_templates(place, Templates.model_validate(entry.get("templates", {})), findings)
        return None
    if isinstance(settings, ChannelSettings) and not asleep:
        _check_templates(place, settings.templates, findings)
    if not asleep:
        for name, info in type(settings).model_fields.items():
            for secret in _secrets(getattr(settings, name)):
                if not secret.get_secret_value():
                    findings.add((*place, info.alias or name), "is empty; give it a value, or remove it")
    return settings


def _check_templates(place: Place, own: Templates, findings: Findings) -> None:
    if own.title is None and own.body is None:
        return
    from gateway.rules import templates  # Jinja costs 70 ms: only where somebody has templates

    try:
        templates.compile(own.title, own.body)
    except ValueError as wrong:
        findings.add((*place, "templates"), str(wrong))


def _secrets(value: object) -> list[SecretStr]:
    many = value if isinstance(value, (tuple, list)) else (value,)
    return [secret for secret in many if isinstance(secret, SecretStr)]


def _check_credentials(
    place: Place, settings: SourceSettings, adapter_name: str, adapter: Adapter, findings: Findings
) -> None:
    if settings.secret and not adapter.signs:
        what = f"{adapter_name} signs nothing, so that a secret proves nothing; use token instead"
        findings.add((*place, "secret"), what)
    elif not (settings.secret or settings.token or settings.unauthenticated):
        credential = "secret or token" if adapter.signs else "token"
        what = f"has no credential; add {credential}, or write unauthenticated: true to take bodies from anyone"
        findings.add(place, what)


def _check_shared_credentials(sources: Mapping[str, Source], findings: Findings) -> None:
    """A generic alert belongs to the source whose credential fits: no two may have the same."""
    owners: dict[str, str] = {}
    for name, source in sources.items():
        if source.adapter_name != "generic":
            continue
        for key in ("token", "secret"):
            for secret in getattr(source.settings, key):
                owner = owners.setdefault(secret.get_secret_value(), name)
                if owner != name:
                    what = f"is the same as that of source '{owner}'; generic alerts are told apart by it: make another"
                    findings.add(("sources", name, key), what)
