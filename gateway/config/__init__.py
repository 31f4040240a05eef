"""routing.yaml as one frozen value, or every reason why it is none.

Each part validates its own block; here they are only put together. `load` is all or nothing: a file that is
wrong anywhere is refused whole, with every problem at once, so that a reload can keep the last good one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError

from gateway import plugins
from gateway.config import files
from gateway.config.blocks import listed
from gateway.config.configuration import Configuration
from gateway.config.coverage import aged
from gateway.config.entries import ChannelEntry, Entries, Source, read_channels, read_sources
from gateway.config.files import Contents
from gateway.config.outline import summary
from gateway.config.problems import OR_DEFAULT, Findings, few
from gateway.config.routes import Around, read_routing
from gateway.contracts import Adapter
from gateway.errors import BadConfiguration, Problem
from gateway.fields import Duration, HttpUrl, Network, Settings
from gateway.model import Millis
from gateway.rules import documents, variables
from gateway.rules.documents import Value
from gateway.rules.expectations import ExpectationSettings
from gateway.rules.lifecycle import REOPEN_WITHIN
from gateway.rules.retention import RetentionSettings
from gateway.values import frozen

__all__ = ["ChannelEntry", "Configuration", "Plugs", "Refused", "Source", "load", "outdated", "summary"]

_HASH_DIGITS: Final = 12
_OWN: Final = ("public_url", "trusted_proxies", "reopen_within", "retention")


class Refused(BadConfiguration):
    """A file that cannot be used. `contents` are the files that were read before it was refused: once one
    of them changes, it is worth reading again."""

    def __init__(self, refusal: BadConfiguration, contents: Contents) -> None:
        super().__init__(few(refusal.problems))
        self.contents = contents


@frozen
class Plugs:
    """What routing.yaml may name in `adapter:` and `kind:`."""

    adapters: Mapping[str, Adapter]
    kinds: Mapping[str, plugins.ChannelKind]


def load(
    path: Path, environ: Mapping[str, str], plugs: Plugs | None = None, now: Millis | None = None
) -> Configuration:
    """Read the file and those that its `${file:…}` name. Without `plugs`, with those that are installed. With `now`,
    what only the hour makes wrong is a problem, too: a calendar whose dates are over, a holiday of the year to come
    that leaves nobody on call. A gateway asks without, and warns of it: see `outdated`.

    Raises Refused, a BadConfiguration, with the problems sorted by line: all, or the first 100 and how many more."""
    plugs = plugs or Plugs(plugins.adapters(), plugins.channel_kinds())
    contents: dict[Path, str] = {path: files.ABSENT}
    reader = files.Reader(path.parent, contents)
    try:
        raw = _read(path, contents)
        tree = documents.read(raw, str(path))
        filled = variables.fill(tree.value, environ, reader.text)
        findings = Findings(str(path), tree, filled, list(tree.problems))
        return _compose(filled.value, plugs, findings, contents, now)
    except BadConfiguration as refusal:
        raise Refused(refusal, contents) from None


def outdated(configuration: Configuration, now: Millis) -> list[str]:
    """What has become wrong with a good file, or soon will: `path: what is wrong; what to do`, as `load` with `now`
    refuses it. Looks a year ahead: with many rotations call it in a thread."""
    routing = configuration.routing
    return [f"{documents.dotted(place)}: {what}" for place, what in aged(routing.rotations, routing.calendars, now)]


class _House(Settings):
    """What stands at the top of the file. The blocks are validated by their own rooms."""

    sources: Any = None
    channels: Any = None
    routes: Any = None
    calendars: Any = None
    default: Any = None
    people: Any = None
    rotations: Any = None
    escalations: Any = None
    mutes: Any = None
    inhibit: Any = None
    expire: Any = None
    tests: Any = None
    public_url: HttpUrl = ""
    trusted_proxies: tuple[Network, ...] = ()
    reopen_within: Duration = REOPEN_WITHIN
    retention: RetentionSettings = RetentionSettings()


def _read(path: Path, contents: dict[Path, str]) -> bytes:
    try:
        raw = files.read_bytes(path)
    except OSError as error:
        what = f"cannot be read ({error.strerror or 'no such file'}); name the file by --config or TOCSIN_CONFIG"
        raise BadConfiguration([Problem(str(path), 0, "", what)]) from None
    contents[path] = files.digest(raw)
    return raw


def _compose(
    top: Mapping[str, Value], plugs: Plugs, findings: Findings, contents: Contents, now: Millis | None
) -> Configuration:
    """Every block, even where another is wrong; then all or nothing."""
    house = _house(top, findings)
    entries = Entries()
    read_sources(findings.block(top.get("sources"), ("sources",)), plugs.adapters, findings, entries)
    read_channels(findings.block(top.get("channels"), ("channels",)), plugs.kinds, findings, entries)
    hash_ = next(iter(contents.values()))[:_HASH_DIGITS]
    routing = read_routing(top, Around(plugs.adapters, entries.sleeping_channels, hash_, now), findings)
    tests = listed(top, "tests", ExpectationSettings, findings)
    if findings.problems or house is None:
        raise BadConfiguration(findings.problems)
    return Configuration(
        hash=hash_,
        sources=MappingProxyType(entries.sources),
        channels=MappingProxyType(entries.channels),
        routing=routing,
        sleeping_sources=MappingProxyType(entries.sleeping_sources),
        sleeping_channels=MappingProxyType(entries.sleeping_channels),
        public_url=house.public_url,
        trusted_proxies=house.trusted_proxies,
        reopen_within=house.reopen_within,
        contents=MappingProxyType(contents),
        retention=house.retention,
        tests=tests,
    )


def _house(top: Mapping[str, Value], findings: Findings) -> _House | None:
    for key in _OWN:
        findings.add_gaps((key,), OR_DEFAULT)
    try:
        # A block of which nothing is left but its key is not there: its entries are commented out.
        return _House.model_validate({key: value for key, value in top.items() if value is not None})
    except ValidationError as error:
        findings.add_refusal((), error, _House)
        return None
