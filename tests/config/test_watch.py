"""A save is seen however it is made, and only a real one. Here with a real disk and a real clock."""

# ruff: noqa: ASYNC240  (this test has the loop for itself)
from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config.files import ABSENT, digest
from gateway.config.watch import Watch

EVERY = 0.1
"""Five times as often as in earnest, so that the tests are short; one test below keeps the real pace."""


def read(*paths: Path) -> dict[Path, str]:
    return {path: digest(path.read_bytes()) if path.exists() else ABSENT for path in paths}


def watching(*paths: Path) -> Watch:
    return Watch(read(*paths), EVERY)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "routing.yaml"
    path.write_text("a: 1")
    return path


async def is_seen(watch: Watch, save: Callable[[], object], after: float = 0.0, within: float = 4 * EVERY) -> bool:
    """Whether the watch tells of a save made `after` seconds, and tells `within` so many more."""
    waiting = asyncio.create_task(watch.changed())
    await asyncio.sleep(after)
    assert not waiting.done()
    save()
    done, _ = await asyncio.wait([waiting], timeout=within)
    waiting.cancel()
    return bool(done)


def renamed_over(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


async def test_at_its_own_pace_a_save_is_seen_within_a_second(file: Path) -> None:
    assert await is_seen(Watch(read(file)), lambda: file.write_text("a: 2"), after=1.2, within=1.0)


@pytest.mark.parametrize("after", [0.0, 0.15, 0.35])
async def test_a_file_written_in_place_is_seen(file: Path, after: float) -> None:
    assert await is_seen(watching(file), lambda: file.write_text("a: 2"), after)


async def test_a_file_renamed_over_is_seen(file: Path) -> None:
    assert await is_seen(watching(file), lambda: renamed_over(file, "a: 2"), 0.15)


async def test_a_configmap_is_seen_when_its_link_is_switched(tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "routing.yaml").write_text(f"a: {version}")
    current, path = tmp_path / "..data", tmp_path / "routing.yaml"
    current.symlink_to("v1")
    path.symlink_to("..data/routing.yaml")

    def switch() -> None:
        (tmp_path / "..new").symlink_to("v2")
        (tmp_path / "..new").rename(current)

    assert await is_seen(watching(path), switch, 0.15)


async def test_a_secret_that_was_missing_is_seen_when_it_comes(file: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    assert await is_seen(watching(file, secret), lambda: secret.write_text("s"), 0.15)


async def test_what_was_saved_before_the_watch_began_is_seen(file: Path) -> None:
    contents = read(file)
    assert await is_seen(Watch(contents, EVERY), lambda: None) is False
    file.write_text("a: 2")
    assert await is_seen(Watch(contents, EVERY), lambda: None)


async def test_a_save_that_keeps_size_and_times_is_seen_while_the_file_is_fresh(file: Path) -> None:
    stat = file.stat()

    def save() -> None:
        file.write_text("a: 2")
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert await is_seen(watching(file), save, 0.02)


async def test_a_touch_and_a_save_of_the_same_are_no_change(file: Path) -> None:
    watch = watching(file)
    assert not await is_seen(watch, file.touch)
    assert not await is_seen(watch, lambda: renamed_over(file, "a: 1"))


async def test_a_file_that_is_away_for_a_moment_is_waited_for(file: Path) -> None:
    watch = watching(file)
    assert not await is_seen(watch, file.unlink)
    assert not await is_seen(watch, lambda: file.write_text("a: 1"))
    assert not await is_seen(watch, file.unlink)
    assert await is_seen(watch, lambda: file.write_text("a: 2"))


async def test_half_a_save_is_no_file(file: Path) -> None:
    """A slow writer is waited for: what is seen is what it wrote at last."""
    waiting = asyncio.create_task(Watch(read(file)).changed())
    await asyncio.sleep(0.1)
    for length in range(1, 41):
        file.write_text("b" * length)
        await asyncio.sleep(0.02)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 1.0)


async def test_each_change_is_told_once_and_the_next_again(file: Path) -> None:
    watch = watching(file)
    assert await is_seen(watch, lambda: file.write_text("a: 2"))
    assert not await is_seen(watch, lambda: None)
    assert await is_seen(watch, lambda: file.write_text("a: 1"))


async def test_other_files_can_be_followed(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("x")
    watch = watching(file)
    watch.follow(read(other))
    assert not await is_seen(watch, lambda: file.write_text("a: 2"))
    assert await is_seen(watch, lambda: other.write_text("y"))


async def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    """A pipe would be waited for without end."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    began = time.monotonic()
    assert not await is_seen(Watch({pipe: ABSENT}, EVERY), lambda: None)
    assert time.monotonic() - began < 3
