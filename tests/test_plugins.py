"""A file in `adapters/` or `gateway/channels/` is a name in routing.yaml, or stops the start with a sentence."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import ModuleType

import pytest

from gateway import plugins
from gateway.errors import BadConfiguration

ROOT = Path(__file__).parent.parent
_NUMBERS = count()

GOOD_ADAPTER = """
class Bell:
    signs = True
    keeps = frozenset()
    max_body = 1
    def signed(self, headers): ...
    def verify(self, headers, body, secret, now): ...
    def admit(self, headers, document): ...
    def parse(self, event, document): ...
adapter = Bell()
"""
GOOD_CHANNEL = """
from gateway.contracts import ChannelSettings
class Settings(ChannelSettings):
    bell: str
def connect(settings, surroundings): ...
"""

Package = Callable[..., ModuleType]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    """Makes an importable package of the given files."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def make(**files: str) -> ModuleType:
        name = f"plugs{next(_NUMBERS)}"
        (tmp_path / name).mkdir()
        for file, text in {"__init__": "", **files}.items():
            (tmp_path / name / f"{file}.py").write_text(text)
        made.append(name)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield make
    for module in [module for module in sys.modules if module.partition(".")[0] in made]:
        del sys.modules[module]


def refusal(find: Callable[[ModuleType], object], module: ModuleType) -> list[str]:
    with pytest.raises(BadConfiguration) as refused:
        find(module)
    return [str(problem).removeprefix(module.__name__ + "/") for problem in refused.value.problems]


def test_the_shipped_adapters_and_channels_are_found_by_their_files() -> None:
    for found, folder in ((plugins.adapters(), "adapters"), (plugins.channel_kinds(), "gateway/channels")):
        files = {path.stem for path in (ROOT / folder).glob("*.py") if not path.name.startswith("_")}
        assert set(found) == files


def test_a_new_file_is_a_new_name(package: Package) -> None:
    assert list(plugins.find_adapters(package(bell=GOOD_ADAPTER, _shared="x = 1"))) == ["bell"]
    kinds = plugins.find_channel_kinds(package(bell=GOOD_CHANNEL, _shared="x = 1"))
    assert kinds["bell"].name == "bell"
    assert "bell" in kinds["bell"].settings.model_fields


def test_a_file_without_its_socket_is_named_with_the_chapter_to_read(package: Package) -> None:
    assert refusal(plugins.find_adapters, package(foo="")) == [
        "foo.py: has no 'adapter'; see CONTRIBUTING, \"add an adapter\""
    ]
    assert refusal(plugins.find_channel_kinds, package(foo="")) == [
        "foo.py: has no 'Settings' and no 'connect'; see CONTRIBUTING, \"add a channel\""
    ]


def test_an_adapter_that_lacks_a_part_says_which(package: Package) -> None:
    half = GOOD_ADAPTER.replace("def parse", "def read").replace("max_body", "size")
    assert refusal(plugins.find_adapters, package(foo=half)) == [
        "foo.py: its 'adapter' has no 'max_body' and no 'parse'; see CONTRIBUTING, \"add an adapter\""
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Settings = 1\ndef connect(): ...", "foo.py: its 'Settings' does not extend ChannelSettings"),
        ("class Settings: ...\ndef connect(): ...", "foo.py: its 'Settings' does not extend ChannelSettings"),
        (
            GOOD_CHANNEL.replace("def connect(settings, surroundings): ...", "connect = 1"),
            "foo.py: its 'connect' is no",
        ),
    ],
)
def test_a_channel_of_the_wrong_shape_says_what_is_wrong(package: Package, text: str, said: str) -> None:
    assert [line[: len(said)] for line in refusal(plugins.find_channel_kinds, package(foo=text))] == [said]


def test_every_file_that_cannot_be_imported_is_named_at_once(package: Package) -> None:
    module = package(a="import no_such_module_anywhere", b="x = = 1", c=GOOD_ADAPTER, d="")
    assert refusal(plugins.find_adapters, module) == [
        "a.py: cannot be imported (No module named 'no_such_module_anywhere')",
        "b.py:1: cannot be imported (invalid syntax)",
        "d.py: has no 'adapter'; see CONTRIBUTING, \"add an adapter\"",
    ]


def test_looking_up_every_plug_imports_nothing_heavy() -> None:
    look = "import sys; from gateway import plugins; plugins.adapters(); plugins.channel_kinds(); "
    code = look + "print(*(name for name in ('apprise', 'sqlalchemy', 'uvicorn') if name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
