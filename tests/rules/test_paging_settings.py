"""What the entries of `rotations:` and `people:` refuse, and escalations that lead back to themselves."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.rules.escalation import loops
from gateway.rules.rotations import RotationSettings

LAYER = {"members": ["kim"]}


def problems(tree: dict[str, Any]) -> dict[tuple[Any, ...], str]:
    with pytest.raises(ValidationError) as caught:
        RotationSettings.model_validate({"time_zone": "Asia/Seoul", **tree})
    return {error["loc"]: error["msg"].removeprefix("Value error, ") for error in caught.value.errors()}


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({}, {(): "has no members; name at least one person"}),
        ({"members": []}, {(): "has no members; name at least one person"}),
        ({"layers": [{"members": []}]}, {("layers", 0, "members"): "has no members; name at least one person"}),
        (
            {"members": "kim", "layers": [LAYER], "handoff": {}, "start": "2026-01-05"},
            {("members",): "stands beside layers; move it into a layer"},
        ),
        (
            {"members": "kim", "handoff": {"every": "day", "day": "mon", "at": "24:00"}},
            {
                ("handoff", "day"): "says nothing where it is handed on every day; remove it",
                ("handoff", "at"): "is the end of a day; write 00:00",
            },
        ),
        (
            {"members": "kim", "handoff": {"day": "mon-fri"}},
            {("handoff", "day"): "is no single day; write it like mon"},
        ),
        (
            {
                "members": "kim",
                "overrides": [
                    {"member": "lee", "from": "2026-01-05T09:00", "to": "2026-01-05T00:00Z"},
                    {"member": "lee", "from": "2026-01-05T09:00", "to": "2026-01-05T00:01Z"},
                ],
            },
            {("overrides", 0, "to"): "is not after its beginning; give it a later one"},
        ),
    ],
)
def test_a_rotation_that_cannot_turn_is_refused(tree: dict[str, Any], expected: dict[tuple[Any, ...], str]) -> None:
    assert problems(tree) == expected


def test_a_rotation_has_members_or_layers() -> None:
    read = RotationSettings.model_validate({"time_zone": "UTC", "members": "kim", "handoff": {"day": "Friday"}})
    assert (read.members, read.handoff.day, read.handoff.at) == (("kim",), 4, 540)
    assert RotationSettings.model_validate({"time_zone": "UTC", "layers": [LAYER]}).layers[0].during is None


# --- loops -------------------------------------------------------------------------------------------


def ways(**named: str) -> list[str]:
    return [what for _, what in loops({name: [((name, to), to) for to in others] for name, others in named.items()})]


def test_what_meets_again_without_leading_back_is_no_loop() -> None:
    assert ways(a="bc", b="d", c="d", d="") == []
    assert ways(d="", c="d", b="dc", a="bcd") == []


def test_every_loop_is_told_once() -> None:
    last = "; let one of them name somebody else"
    assert ways(a="a") == [f"loops: a → a{last}"]
    assert ways(a="b", b="ca", c="b") == [f"loops: b → c → b{last}", f"loops: a → b → a{last}"]


def test_a_long_way_is_cut_in_its_middle() -> None:
    names = "abcdefghij"
    (said,) = ways(**{name: names[(number + 1) % 10] for number, name in enumerate(names)})
    assert said.startswith("loops: a → b → c → d → e → f → g → … → a;")
    (whole,) = ways(**{name: names[(number + 1) % 8] for number, name in enumerate(names[:8])})
    assert whole.startswith("loops: a → b → c → d → e → f → g → h → a;")
