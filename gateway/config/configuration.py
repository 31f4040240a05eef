"""A configuration that can be used, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gateway.config.entries import ChannelEntry, Source
from gateway.config.files import Contents
from gateway.fields import Network
from gateway.model import Millis
from gateway.rules.expectations import ExpectationSettings
from gateway.rules.retention import RetentionSettings
from gateway.rules.routing import Routing
from gateway.values import frozen


@frozen
class Configuration:
    """A file that can be used. `hash` is the first 12 hex digits of the SHA-256 of its bytes.

    `sleeping` names, for each optional source or channel, the variables (or `file:…`) it waits for, as
    `sources.github` or `channels.audit`. `contents` are the files that were read: whoever follows changes
    watches these. `tests` are read here, and run elsewhere."""

    hash: str
    sources: Mapping[str, Source]
    channels: Mapping[str, ChannelEntry]
    routing: Routing
    sleeping_sources: Mapping[str, tuple[str, ...]]
    sleeping_channels: Mapping[str, tuple[str, ...]]
    public_url: str
    trusted_proxies: tuple[Network, ...]
    reopen_within: Millis
    contents: Contents
    retention: RetentionSettings
    tests: tuple[ExpectationSettings, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(self.contents)
