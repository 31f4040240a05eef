"""What stands in `adapters/` and `gateway/channels/`: a file there is a name in routing.yaml, no list to edit.

A file whose name begins with `_` is shared by its neighbours and is no plug. Importing all of them is
cheap: a file with something heavy (Apprise) imports it at the first use.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import MappingProxyType, ModuleType
from typing import Any, Final, TypeAlias, TypeVar

import adapters as adapter_files
from gateway import channels as channel_files
from gateway.contracts import Adapter, Channel, ChannelSettings, Surroundings
from gateway.errors import BadConfiguration, Problem
from gateway.values import frozen

Connect: TypeAlias = Callable[[Any, Surroundings], Channel]
"""(the channel's own settings, surroundings) → a channel that has opened nothing yet."""

_Plug = TypeVar("_Plug")
_ADAPTER_PARTS: Final = ("signs", "keeps", "max_body", "signed", "verify", "admit", "parse")


@frozen
class ChannelKind:
    """One file of `gateway/channels/`: `name` is what `kind:` says."""

    name: str
    settings: type[ChannelSettings]
    connect: Connect


@cache
def adapters() -> Mapping[str, Adapter]:
    """Every adapter by its file's name. Raises BadConfiguration for a file that is none."""
    return find_adapters(adapter_files)


@cache
def channel_kinds() -> Mapping[str, ChannelKind]:
    """Every kind of channel by its file's name. Raises BadConfiguration for a file that is none."""
    return find_channel_kinds(channel_files)


def find_adapters(package: ModuleType) -> Mapping[str, Adapter]:
    """The adapters among a package's files. Raises BadConfiguration with every file that is not right."""
    found: dict[str, Adapter] = {}
    problems: list[Problem] = []
    for name, file, module in _files(package, problems):
        adapter = getattr(module, "adapter", None)
        lacking = [part for part in _ADAPTER_PARTS if not hasattr(adapter, part)]
        if adapter is None:
            problems.append(_unfit(file, "has no 'adapter'", "add an adapter"))
        elif lacking:
            problems.append(_unfit(file, f"its 'adapter' has no {_listed(lacking)}", "add an adapter"))
        else:
            found[name] = adapter
    return _all_or_nothing(found, problems)


def find_channel_kinds(package: ModuleType) -> Mapping[str, ChannelKind]:
    """The channels among a package's files. Raises BadConfiguration with every file that is not right."""
    found: dict[str, ChannelKind] = {}
    problems: list[Problem] = []
    for name, file, module in _files(package, problems):
        lacking = [part for part in ("Settings", "connect") if not hasattr(module, part)]
        settings = getattr(module, "Settings", None)
        if lacking:
            problems.append(_unfit(file, f"has no {_listed(lacking)}", "add a channel"))
        elif not (isinstance(settings, type) and issubclass(settings, ChannelSettings)):
            problems.append(_unfit(file, "its 'Settings' does not extend ChannelSettings", "add a channel"))
        elif not callable(module.connect):
            problems.append(_unfit(file, "its 'connect' is no function", "add a channel"))
        else:
            found[name] = ChannelKind(name, settings, module.connect)
    return _all_or_nothing(found, problems)


def _files(package: ModuleType, problems: list[Problem]) -> Iterator[tuple[str, str, ModuleType]]:
    """(name, path to show, module) of each public file; those that cannot be imported become problems."""
    folder = package.__name__.replace(".", "/")
    for name in sorted(found.name for found in pkgutil.iter_modules(package.__path__)):
        if name.startswith("_"):
            continue
        file = f"{folder}/{name}.py"
        try:
            module = importlib.import_module(f"{package.__name__}.{name}")
        except (ImportError, SyntaxError) as error:
            # Any other exception is a bug in the file, and its traceback the best answer.
            problems.append(Problem(file, getattr(error, "lineno", None) or 0, "", f"cannot be imported ({error.msg})"))
        else:
            yield name, file, module


def _unfit(file: str, what: str, chapter: str) -> Problem:
    return Problem(file, 0, "", f'{what}; see CONTRIBUTING, "{chapter}"')


def _listed(parts: list[str]) -> str:
    return " and no ".join(f"'{part}'" for part in parts)


def _all_or_nothing(found: dict[str, _Plug], problems: list[Problem]) -> Mapping[str, _Plug]:
    if problems:
        raise BadConfiguration(problems)
    return MappingProxyType(found)
