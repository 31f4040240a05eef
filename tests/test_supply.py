"""What we are made of comes from where we say, in the version we say, and the image holds no more than it needs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).parent.parent
LOCKS = ["requirements.lock", "requirements-dev.lock", "requirements-audit.lock", "requirements-build.lock"]
LINE = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9.-]*)(?:\[[a-z0-9,-]+\])?==(?P<version>[0-9][A-Za-z0-9.+!-]*)"
    r"(?: ; [^#]+?)?(?P<hashes>(?: --hash=sha256:[0-9a-f]{64})+)"
)
# Below these, something that anybody can send to us does harm.
MENDED = {
    "starlette": "0.49.1",  # CVE-2025-54121, CVE-2025-62727: one request holds up all others
    "h11": "0.16.0",  # CVE-2025-43859: chunks that can be read in two ways
    "jinja2": "3.1.6",  # CVE-2024-56326, CVE-2025-27516: out of the sandbox
}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def requirements(lock: str) -> list[str]:
    """The lines of a lock as pip reads them: joined, without comments."""
    whole = text(lock).replace("\\\n", " ")
    lines = (re.sub(r"(^|\s)#.*", "", line) for line in whole.splitlines())
    return [" ".join(line.split()) for line in lines if line.strip()]


def pins(lock: str) -> dict[str, str]:
    found = [match for line in requirements(lock) if (match := LINE.fullmatch(line))]
    return {match["name"]: match["version"] for match in found}


def test_no_lock_is_forgotten_here() -> None:
    assert sorted(LOCKS) == sorted(path.name for path in ROOT.glob("*.lock"))
    assert set(LOCKS) == set(re.findall(r"requirements[a-z-]*\.lock", text("Makefile")))


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_with_hashes_and_no_line_says_anything_else(lock: str) -> None:
    lines = requirements(lock)
    assert len(lines) > 5
    assert [line[:80] for line in lines if not LINE.fullmatch(line)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_place_to_fetch_from(lock: str) -> None:
    assert "://" not in text(lock)
    assert not re.search(r"^\s*-|@ |--(?!hash=)[a-z]", text(lock).replace("    --hash", "x"), re.MULTILINE)


@pytest.mark.parametrize(
    "line",
    [
        "starlette>=1.10 --hash=sha256:" + "0" * 64,
        "starlette==1.10",
        "starlette==1.10 --hash=md5:" + "0" * 32,
        "starlette==1.* --hash=sha256:" + "0" * 64,
        "starlette @ https://example.com/starlette.whl --hash=sha256:" + "0" * 64,
        "--index-url https://example.com/simple",
        "-e .",
    ],
)
def test_a_line_that_pins_nothing_would_be_found(line: str) -> None:
    assert not LINE.fullmatch(line)


def test_every_dependency_is_in_its_lock() -> None:
    project = tomllib.loads(text("pyproject.toml"))
    groups = project["dependency-groups"]
    for lock, wanted in (
        ("requirements.lock", project["project"]["dependencies"]),
        ("requirements-dev.lock", groups["dev"]),
        ("requirements-audit.lock", groups["audit"]),
        ("requirements-build.lock", groups["build"]),
    ):
        names = {re.split(r"[\[<>=;! ]", line)[0].lower() for line in wanted}
        assert names <= set(pins(lock))
    assert groups["build"] == project["build-system"]["requires"]


def test_what_is_tested_is_what_runs() -> None:
    running, tested = pins("requirements.lock"), pins("requirements-dev.lock")
    assert running.items() <= tested.items()


def test_no_tool_enters_what_runs() -> None:
    groups = tomllib.loads(text("pyproject.toml"))["dependency-groups"]
    tools = {re.split(r"[\[<>=;! ]", line)[0].lower() for group in groups.values() for line in group}
    assert not tools & set(pins("requirements.lock"))


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_goes_back_behind_what_was_mended(lock: str) -> None:
    for name, version in pins(lock).items():
        assert Version(version) >= Version(MENDED.get(name, "0")), name


def test_the_image_begins_with_a_named_python_and_installs_nothing_without_hashes() -> None:
    file = text("Dockerfile").replace("\\\n", " ")
    begun = re.findall(r"^FROM (\S+)", file, re.MULTILINE)
    assert len(begun) == 2
    assert all(re.fullmatch(r"python:3\.\d+-slim(@sha256:[0-9a-f]{64})?", image) for image in begun)
    assert len(set(begun)) == 1
    installed = [step for step in re.split(r"&&|\n", file) if re.search(r"\bpip\b.* (install|wheel) ", step)]
    assert len(installed) == 4
    for step in installed:
        assert "--require-hashes --only-binary :all:" in step or "--no-deps" in step
        assert "pip wheel" not in step or "--no-build-isolation" in step
    assert not re.search(r"^ADD|\bcurl\b|\bwget\b|https?://(?!127\.0\.0\.1)", file, re.MULTILINE)


def test_the_image_runs_as_a_user_of_its_own() -> None:
    last = text("Dockerfile").rpartition("\nFROM ")[2]
    assert "--uid 10001" in last
    assert re.findall(r"^USER (\S+)", last, re.MULTILINE) == ["tocsin"]
    assert last.index("USER tocsin") < last.index("ENTRYPOINT")
    assert "-m 0700 /data" in last


def test_what_knows_of_holes_runs_strictly_and_beside_the_gateway() -> None:
    makefile = text("Makefile")
    (audit,) = re.findall(r"^audit:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    for word in ("--strict", "--require-hashes", "$(LOCKS:%=-r %)"):
        assert word in audit  # without --strict a service that knows nothing of a package is good news
    (sbom,) = re.findall(r"^sbom:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert "requirements.lock" in sbom
    assert makefile.count(".venv-audit/bin/") >= 3
