"""The documentation is held to the code: what it shows loads, parses and runs; what the code knows, it tells."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import inspect
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast, get_type_hints

import click
import httpx2
import pytest
import yaml
from pydantic import BaseModel

import gateway
from adapters import _signing
from gateway import batch, config, contracts, lane, model, pipeline, plugins, settling, telemetry, workers
from gateway.channels import _notion_fields
from gateway.cli import main
from gateway.contracts import Channel, ChannelSettings, SourceSettings, Surroundings, Templates
from gateway.errors import BadConfiguration
from gateway.model import Sent
from gateway.rules import (
    calendars,
    escalation,
    expectations,
    matching,
    people,
    retention,
    rotations,
    routing,
    silencing,
    syntax,
    templates,
)
from gateway.rules.folding import MOST_LIVING
from tests.channels.suite import HttpContract, a_message

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")],
    key=lambda page: page.relative_to(ROOT).as_posix(),
)
# For people, at the prompt; the pages for contributors tell of `make`.
FOR_USERS = [page for page in PAGES if page.name == "README.md" or page.parent.name == "docs"]
ENVIRON = {
    "SLACK_WEBHOOK_URL": "https://hooks.example.com/services/made-up",
    "SLACK_BOT_TOKEN": "xoxb-made-up",
    "TELEGRAM_BOT_TOKEN": "123456:made-up",
    "TELEGRAM_CHAT_ID": "-1001234567890",
    "TWILIO_ACCOUNT_SID": "AC0123456789",
    "TWILIO_API_KEY": "SK0123456789",
    "NOTION_DATABASE_ID": "0123456789abcdef0123456789abcdef",
    "DISCORD_WEBHOOK_ID": "123456789012345678",
    "DISCORD_WEBHOOK_TOKEN": "made-up-made-up-made-up-made-up-made-up-made-up-made-up-made-up-made",
}

_FENCE = re.compile(
    r"^(?P<indent> *)(?:<!-- (?P<mark>[^>]*?) -->\n(?P=indent))?```(?P<kind>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """One fenced block; `mark` is what a comment on the line before says of it."""

    page: Path
    line: int
    kind: str
    text: str
    mark: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(pages: list[Path]) -> Iterator[Block]:
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for found in _FENCE.finditer(text):
            line = text.count("\n", 0, found.start("text")) + 1
            inside = re.sub(rf"^{found['indent']}", "", found["text"], flags=re.MULTILINE)
            yield Block(page, line, found["kind"], inside, found["mark"] or "")


def marked(mark: str) -> Block:
    (block,) = [block for block in blocks(PAGES) if block.mark == mark]
    return block


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def chapter(page: str, heading: str) -> str:
    """The text below a heading of the second level, up to the next one."""
    (found,) = re.findall(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", _page(page), re.DOTALL | re.MULTILINE)
    return str(found)


def _page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def spans(text: str) -> set[str]:
    """All that stands in backticks."""
    return set(re.findall(r"`([^`\n]+)`", text))


# --- routing.yaml -------------------------------------------------------------------------------------

YAML = [block for block in blocks(FOR_USERS) if block.kind == "yaml"]


def environ_for(text: str) -> dict[str, str]:
    return {name: ENVIRON.get(name, f"made-up-{name}") for name in re.findall(r"\$\{([A-Z_]+)", text)}


def whole(text: str) -> str:
    """A part of a file with what it leaves out: channels that its routes name are screens."""
    tree: dict[str, Any] = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  # the base loader makes texts only
    named = [*tree.get("default", ()), *(name for route in tree.get("routes", ()) for name in route["to"])]
    named += [name for person in tree.get("people", {}).values() for name in person["channels"]]
    steps = [step for escalation in tree.get("escalations", {}).values() for step in escalation["steps"]]
    named += [name for step in steps for name in ([step["to"]] if isinstance(step["to"], str) else step["to"])]
    others = {name for block in ("people", "rotations", "escalations") for name in tree.get(block, ())}
    named = [name for name in named if name not in others]
    channels = {name: {"kind": "screen"} for name in named} | tree.get("channels", {})
    routes = tree.get("routes") or [{"to": list(channels)[:1] or ["screen"]}]
    return yaml.safe_dump({**tree, "channels": channels or {"screen": {"kind": "screen"}}, "routes": routes})


@pytest.mark.parametrize("block", YAML, ids=str)
def test_every_routing_file_shown_is_one(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "routing.yaml"
    file.write_text(block.text if block.mark == "a whole file" else whole(block.text), encoding="utf-8")
    loaded = config.load(file, environ_for(block.text))
    assert loaded.channels


def test_a_page_that_shows_a_wrong_key_would_be_found(tmp_path: Path) -> None:
    file = tmp_path / "routing.yaml"
    file.write_text(whole("routes:\n  - {name: x, to: [a], mach: {}}\n"), encoding="utf-8")
    with pytest.raises(BadConfiguration):
        config.load(file, {})


QUIET = {"cooldown", "repeat_every", "only_after", "group_by", "group_wait", "flap", "max_messages"}


def keys(settings: type[BaseModel]) -> set[str]:
    return {info.alias or name for name, info in settings.model_fields.items()}


def table_keys(text: str) -> set[str]:
    """The keys in the first column of the tables of a chapter."""
    return {key for row in re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE) for key in spans(row)}


@pytest.mark.parametrize(
    ("page", "heading", "known"),
    [
        ("docs/routing.md", "Top", keys(config._House)),
        ("docs/routing.md", "sources", keys(SourceSettings)),
        ("docs/routing.md", "routes", keys(routing.RouteSettings)),
        ("docs/routing.md", "Quiet", QUIET),
        ("docs/routing.md", "calendars", keys(calendars.CalendarSettings)),
        ("docs/routing.md", "people", keys(people.PersonSettings)),
        ("docs/routing.md", "rotations", keys(rotations.RotationSettings)),
        ("docs/routing.md", "escalations", keys(escalation.EscalationSettings)),
        (
            "docs/routing.md",
            "mutes, inhibit, expire",
            keys(silencing.MuteSettings) | keys(silencing.InhibitSettings) | keys(silencing.ExpireSettings),
        ),
        ("docs/routing.md", "retention", keys(retention.RetentionSettings)),
        ("docs/routing.md", "tests", keys(expectations.ExpectationSettings)),
        ("docs/channels.md", "What every channel may say", keys(ChannelSettings)),
        *(
            ("docs/channels.md", name, keys(kind.settings) - keys(ChannelSettings))
            for name, kind in plugins.channel_kinds().items()
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_key_has_a_line_and_every_line_a_key(page: str, heading: str, known: set[str]) -> None:
    assert table_keys(chapter(page, heading)) == known


def test_every_condition_of_a_match_has_a_line() -> None:
    told = {key.partition(".")[0] for key in table_keys(chapter("docs/routing.md", "match"))}
    assert told == set(matching._KEYS)


def test_the_inner_keys_are_told() -> None:
    hours = spans(chapter("docs/routing.md", "calendars"))
    assert keys(calendars.Weekly) | keys(calendars.Span) <= hours
    assert keys(people.QuietSettings) <= spans(chapter("docs/routing.md", "people"))
    assert keys(rotations.LayerSettings) | keys(rotations.OverrideSettings) <= spans(
        chapter("docs/routing.md", "rotations")
    )
    assert keys(escalation.StepSettings) <= spans(chapter("docs/routing.md", "escalations"))
    assert keys(expectations.StepSettings) <= spans(chapter("docs/routing.md", "tests"))
    assert keys(routing.FlapSettings) <= spans(chapter("docs/routing.md", "Quiet"))
    assert keys(Templates) <= spans(chapter("docs/channels.md", "What every channel may say"))


def test_everything_that_a_template_may_say_is_told() -> None:
    told = spans(chapter("docs/channels.md", "Own words"))
    assert templates.NAMES - {"incident"} <= told
    assert set(syntax.FILTERS) <= told


def test_every_field_for_a_page_in_notion_is_told() -> None:
    told = spans(chapter("docs/channels.md", "notion"))
    assert set(_notion_fields._FIELDS) <= told
    assert {f"{group}.{rest}" for group, rest in zip(("labels", "fields"), ("<name>", "<name>"), strict=True)} <= told


def test_every_kind_stands_in_the_table_of_kinds() -> None:
    for name in plugins.channel_kinds():
        assert re.search(rf"^\| `{name}`.* \| .* \| ", chapter("docs/channels.md", "The kinds"), re.MULTILINE)


def test_every_adapter_has_a_chapter() -> None:
    told = " ".join(re.findall(r"^## (.*)$", _page("docs/sources.md"), re.MULTILINE)).lower()
    assert [name for name in plugins.adapters() if name not in told] == []


# --- commands and variables ---------------------------------------------------------------------------


def commands_in(block: Block) -> Iterator[str]:
    """The `tocsin …` parts of shell lines."""
    for line in block.text.replace("\\\n", " ").splitlines():
        for part in re.split(r"[|;]|&&", re.sub(r"(?<!\S)#.*", "", line)):
            found = re.search(
                r"(?:^|\s|/)tocsin\s+((?!/|\.)[a-z].*)", part.replace("exec tocsin tocsin", "exec tocsin")
            )
            if found and not re.search(r"\b(useradd|compose (logs|up)|systemctl|journalctl|alias|u tocsin)\b", part):
                yield found[1]


LINES = [
    (f"{block} {line}", line) for block in blocks(FOR_USERS) if block.kind == "sh" for line in commands_in(block)
] + [
    (f"{page.name} {span}", span.removeprefix("tocsin "))
    for page in PAGES
    for span in sorted(spans(prose(page)))
    if re.match(r"tocsin [a-z]", span)
]


@pytest.mark.parametrize("line", [line for _, line in LINES], ids=[where for where, _ in LINES])
def test_every_command_shown_is_one(line: str) -> None:
    words = shlex.split(re.sub(r"\$\(.*?\)|\$\w+", "x", line))
    command: click.Command = main
    path = []
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        path.append(words[0])
        command = command.commands[words.pop(0)]
    assert path, f"tocsin has no command {words[:1]}"
    try:
        command.make_context(" ".join(path), words)
    except click.MissingParameter:
        assert not words, line  # a command named in prose, without what it wants
    except click.exceptions.NoArgsIsHelpError:
        assert not words


def test_the_commands_were_found() -> None:
    found = {line.split()[0] for _, line in LINES}
    assert set(main.commands) <= found


def test_every_command_has_help_with_an_example() -> None:
    for name, command in main.commands.items():
        assert "Example:" in (command.help or ""), name


def test_every_variable_of_the_code_is_told_and_no_other() -> None:
    pattern = r"TOCSIN_[A-Z_]+"
    code = {
        name
        for file in (ROOT / "gateway").rglob("*.py")
        for name in re.findall(pattern, file.read_text(encoding="utf-8"))
    }
    told = set(re.findall(pattern, chapter("docs/running.md", "The environment")))
    assert told == code
    for page in [*PAGES, ROOT / "Dockerfile", ROOT / "compose.yaml", ROOT / "docs/systemd/tocsin.service"]:
        assert set(re.findall(pattern, page.read_text(encoding="utf-8"))) <= code, page


def test_every_metric_is_told_and_no_other() -> None:
    known = set()
    for metric in telemetry.REGISTRY.collect():
        known.add(f"{metric.name}_total" if metric.type == "counter" else metric.name)
    told = {span.partition("{")[0] for page in PAGES for span in spans(prose(page)) if re.match(r"tocsin_[a-z]", span)}
    assert told == known


def test_the_readme_begins_with_the_two_commands() -> None:
    assert {"make run", "make test"} <= set(_page("README.md").splitlines()) | spans(_page("README.md"))
    targets = set(re.findall(r"^([a-z]+):", _page("Makefile"), re.MULTILINE))
    named = {target for page in PAGES for target in re.findall(r"(?:`|^)make ([a-z]+)", page.read_text(), re.MULTILINE)}
    assert named <= targets


# --- architecture -------------------------------------------------------------------------------------


def test_the_floors_are_those_that_are_held() -> None:
    contracts_held = tomllib.loads(_page("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts_held if contract["type"] == "layers"]
    told = [re.split(r"\s{2,}", line)[0] for line in marked("floors").text.splitlines()]
    assert told == layers


def test_every_adapter_and_every_channel_is_kept_apart_from_its_neighbours() -> None:
    contracts_held = tomllib.loads(_page("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    apart = {name for contract in contracts_held if contract["type"] == "independence" for name in contract["modules"]}
    assert apart == {
        *(f"adapters.{name}" for name in plugins.adapters()),
        *(f"gateway.channels.{name}" for name in plugins.channel_kinds()),
    }


_NAME = re.compile(r"(?<![\w./-])([a-z_]+(?:\.[A-Za-z_]\w*)+)(?![\w/])")
_FILES = (".py", ".md", ".yaml", ".toml", ".lock", ".db", ".json", ".service", ".env")


def names_in(page: str) -> set[str]:
    shown = "\n".join([*spans(prose(ROOT / page)), *(b.text for b in blocks([ROOT / page]) if b.mark == "names")])
    found = {name for name in _NAME.findall(shown) if not name.endswith(_FILES)}
    # `web.intake.read_body · inflate`
    return found | {
        f"{first.rpartition('.')[0]}.{second}" for first, second in re.findall(r"([\w.]+) · ([a-z]\w+)", shown)
    }


def exists(name: str) -> bool:
    """Whether a dotted name is something in one of our packages, attributes of values included."""
    for prefix in ("gateway.", "", "gateway.rules."):
        words = (prefix + name).split(".")
        for cut in range(len(words), 0, -1):
            try:
                found: Any = importlib.import_module(".".join(words[:cut]))
            except ModuleNotFoundError:
                continue
            if (words[0] in ("gateway", "adapters")) and _has(found, words[cut:]):
                return True
            break
    return False


def _has(found: Any, rest: list[str]) -> bool:
    for word in rest:
        if hasattr(found, word):
            found = getattr(found, word)
        else:
            return inspect.isclass(found) and word in get_type_hints(found)
    return True


def test_every_function_named_in_the_architecture_is_there() -> None:
    names = names_in("ARCHITECTURE.md")
    assert len(names) > 25
    assert sorted(name for name in names if not exists(name)) == []
    assert not exists("pipeline.Pipeline.recieve")


def test_every_file_named_as_the_place_of_a_promise_is_there() -> None:
    named = {span for span in spans(_page("SECURITY.md")) if "/" in span and not span.startswith("/")}
    assert len(named) > 15
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize(
    "module", [model, contracts, pipeline, batch, settling, workers, lane], ids=lambda m: m.__name__
)
def test_every_noun_of_the_code_stands_in_the_glossary(module: ModuleType) -> None:
    own = {name for name, thing in vars(module).items() if getattr(thing, "__module__", "") == module.__name__}
    nouns = {name for name in own if name[0].isupper() and len(name) > 1}  # not the type variable T
    told = chapter("ARCHITECTURE.md", "Glossary")
    assert sorted(noun for noun in nouns if not re.search(rf"\b{noun}\b", told)) == []


def test_figures_in_words_are_those_of_the_code() -> None:
    page = _page("ARCHITECTURE.md")
    assert f"{workers.BATCH} events, {workers.BATCH_UNDER_PRESSURE} while senders queue" in page
    assert f"{MOST_LIVING:,} open ones" in page
    assert f"{pipeline.LEASE // 1000} s, renewed" in page.replace("\n", " ")


# --- contributing -------------------------------------------------------------------------------------


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], ModuleType]:
    """Loads a file shown in CONTRIBUTING under the name that it would have."""

    def load(file: str) -> ModuleType:
        name = file.removesuffix(".py").replace("/", ".")
        return load_example(file, name, tmp_path, lambda module: monkeypatch.setitem(sys.modules, name, module))

    return load


def load_example(file: str, name: str, folder: Path, register: Callable[[ModuleType], None]) -> ModuleType:
    path = folder / name
    path.write_text(marked(f"file: {file}").text, encoding="utf-8")
    loader = importlib.machinery.SourceFileLoader(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    register(module)
    loader.exec_module(module)
    return module


def test_the_adapter_of_the_guide_is_one_and_passes_its_own_tests(example: Callable[[str], ModuleType]) -> None:
    module = example("adapters/lighthouse.py")
    assert all(hasattr(module.adapter, part) for part in plugins._ADAPTER_PARTS)
    tests = example("tests/adapters/test_lighthouse.py")
    tests.test_a_lamp_that_is_lit_again_ends_its_own_problem()
    (strange,) = [mark.args[1] for mark in tests.test_what_is_no_lamp_is_unreadable.pytestmark]
    for body in strange:
        tests.test_what_is_no_lamp_is_unreadable(body)
    good, bad = ({module.SIGNATURE: _signing.signature(b"{}", secret)} for secret in ("secret", "another"))
    assert module.adapter.signed(good)
    assert module.adapter.verify(good, b"{}", "secret", 0)
    assert not module.adapter.verify(bad, b"{}", "secret", 0)
    assert module.adapter.admit({}, {}).once_per_body


def test_the_plugs_of_the_guide_are_found_by_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for package, file in (("shownadapters", "adapters/lighthouse.py"), ("shownchannels", "gateway/channels/pigeon.py")):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
        (tmp_path / package / Path(file).name).write_text(marked(f"file: {file}").text, encoding="utf-8")
    assert list(plugins.find_adapters(importlib.import_module("shownadapters"))) == ["lighthouse"]
    assert list(plugins.find_channel_kinds(importlib.import_module("shownchannels"))) == ["pigeon"]
    for name in [name for name in sys.modules if name.startswith("shown")]:
        monkeypatch.delitem(sys.modules, name)


async def test_the_channel_of_the_guide_sends(example: Callable[[str], ModuleType]) -> None:
    module = example("gateway/channels/pigeon.py")
    letters: list[httpx2.Request] = []

    def loft(request: httpx2.Request) -> httpx2.Response:
        letters.append(request)
        return httpx2.Response(202)

    settings = module.Settings.model_validate({"kind": "pigeon", "token": "key", "to": "north"})
    pigeon = module.connect(settings, Surroundings("roof", transport=httpx2.MockTransport(loft)))
    assert await pigeon.send(a_message(), {}) == Sent()
    assert letters[0].headers["authorization"] == "Bearer key"
    assert b"shop is down" in letters[0].content
    await pigeon.close()


class TestTheChannelOfTheGuide(HttpContract):
    """As its own test in the guide says: under the suite of all channels."""

    @pytest.fixture(autouse=True)
    def _shown(self, example: Callable[[str], ModuleType]) -> None:
        example("gateway/channels/pigeon.py")
        self.guide = example("tests/channels/test_pigeon.py").TestPigeon()
        type(self).secrets = self.guide.secrets

    def connect(self, transport: httpx2.AsyncBaseTransport) -> Channel:
        return cast("Channel", self.guide.connect(transport))

    def vendor(self) -> httpx2.AsyncBaseTransport:
        return cast("httpx2.AsyncBaseTransport", self.guide.vendor())


# --- the pages themselves -----------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.replace("`", "")).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        at = (page.parent / name).resolve() if name else page
        if not at.exists() or (anchor and anchor not in anchors(at)):
            lost.append(target)
    assert lost == []


def test_every_decision_has_a_number_and_one_short_page() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {int(page.name[:4])}. "), page.name
        assert text.count("\n") <= 30, page.name


def test_the_version_is_the_same_everywhere() -> None:
    version = tomllib.loads(_page("pyproject.toml"))["project"]["version"]
    assert gateway.__version__ == version
    assert re.findall(r"^## \[(.*?)\]", _page("CHANGELOG.md"), re.MULTILINE)[0] in (version, "Unreleased")
    assert f"image: tocsin:{version}" in _page("compose.yaml")


def test_the_licence_is_whole() -> None:
    licence = _page("LICENSE")
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    assert tomllib.loads(_page("pyproject.toml"))["project"]["license"] == "Apache-2.0"


# --- packaging ----------------------------------------------------------------------------------------


def test_the_image_is_made_of_what_may_enter_it() -> None:
    let_in = set(re.findall(r"^!(\S+)", _page(".dockerignore"), re.MULTILINE))
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", _page("Dockerfile"), re.MULTILINE)
        for name in line.split()
    }
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)
    assert "pyproject.toml" in copied


def test_the_image_runs_as_nobody_special_and_can_be_asked_how_it_is() -> None:
    file = _page("Dockerfile")
    last = file[file.rindex("\nFROM ") :]
    for line in ("USER tocsin", "VOLUME /data", "EXPOSE 8080", "STOPSIGNAL SIGTERM", "HEALTHCHECK "):
        assert f"\n{line}" in last
    (check,) = re.findall(r'CMD \["python", "-c", "(.*)"\]', last)
    compile(check, "HEALTHCHECK", "exec")
    assert "--require-hashes" in file


def test_compose_keeps_the_container_small() -> None:
    service = yaml.safe_load(_page("compose.yaml"))["services"]["tocsin"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "./config:/etc/tocsin:ro" in service["volumes"]


# --- the repository -----------------------------------------------------------------------------------


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git clone")
    return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_names_this_machine() -> None:
    here = [str(path) for path in (ROOT, Path.home(), Path(sys.base_prefix)) if len(path.parts) > 2]
    homes = re.compile(r"/(?:home|Users|root)/[a-z]")
    found = []
    for path in tracked():
        text = path.read_text(encoding="utf-8", errors="replace")
        if any(f"{place}/" in text for place in here) or homes.search(text):
            found.append(path.relative_to(ROOT).as_posix())
    assert [name for name in found if name != "tests/test_docs.py"] == []
