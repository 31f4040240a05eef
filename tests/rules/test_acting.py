"""What a person does to an incident, and what is so already."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from gateway.errors import Conflict
from gateway.model import Act, Incident, Severity, Verb
from gateway.rules.acting import act

AT = 1_795_168_800_000
OPEN = Incident("i1", "s", "generic", "f", "t", Severity.ERROR, AT, AT, number=12)
OVER = replace(OPEN, state="resolved", resolved_at=AT)
NUMBERS = count(1)


def new_id() -> str:
    return f"c{next(NUMBERS)}"


@pytest.mark.parametrize(
    ("incident", "wish"),
    [
        (OVER, Act("resolve", "kim")),
        (OPEN, Act("reopen", "kim")),
        (replace(OPEN, assigned_to="lee"), Act("assign", "kim", person="lee")),
        (replace(OPEN, state="acknowledged", acknowledged_by="kim"), Act("acknowledge", "kim")),
        (OPEN, Act("silence", "kim")),
    ],
)
def test_what_is_so_already_changes_nothing(incident: Incident, wish: Act) -> None:
    acted = act(incident, wish, AT + 1, new_id)
    assert (acted.incident, acted.change) == (incident, None)


@pytest.mark.parametrize(
    ("verb", "state", "what"),
    [
        ("acknowledge", "acknowledged", "acknowledged"),
        ("resolve", "resolved", "resolved"),
        ("note", "open", "noted"),
        ("assign", "open", "assigned"),
    ],
)
def test_an_act_is_a_change_by_whoever_did_it(verb: Verb, state: str, what: str) -> None:
    acted = act(OPEN, Act(verb, "kim", person="lee", via="ops"), AT + 5, new_id)
    assert acted.change is not None
    assert (acted.change.what, acted.change.by, acted.change.via, acted.change.revision) == (what, "kim", "ops", 2)
    assert (acted.incident.state, acted.incident.updated_at) == (state, AT + 5)


def test_what_is_over_can_be_opened_again_and_not_be_acknowledged() -> None:
    assert act(OVER, Act("reopen", "kim"), AT, new_id).incident.state == "open"
    with pytest.raises(Conflict, match="#12 is resolved already"):
        act(OVER, Act("acknowledge", "kim"), AT, new_id)


@pytest.mark.parametrize(
    ("ended_by", "resolved_at", "said"),
    [
        ("lee", AT, "by lee, 2026-11-20 10:00 UTC"),
        ("gateway", AT, "by the gateway, 2026-11-20 10:00 UTC"),
        ("01a1fbf8-9e28-71b6-ba99-285c060ecc0c", AT, "by its sender, 2026-11-20 10:00 UTC"),
        ("", None, "by its sender, some time ago"),
    ],
)
def test_who_ended_it_is_named_to_who_comes_too_late(ended_by: str, resolved_at: int | None, said: str) -> None:
    over = replace(OVER, resolved_at=resolved_at)
    with pytest.raises(Conflict, match=f"^#12 is resolved already, {said}; there is nothing to acknowledge.$"):
        act(over, Act("acknowledge", "kim"), AT, new_id, ended_by)


def test_who_was_first_is_named() -> None:
    had = replace(OPEN, state="acknowledged", acknowledged_by="lee", acknowledged_at=AT)
    with pytest.raises(Conflict, match="acknowledged by lee first, at 2026"):
        act(had, Act("acknowledge", "kim"), AT, new_id)
    with pytest.raises(Conflict, match=r"acknowledged by lee first\.$"):
        act(replace(had, acknowledged_at=None), Act("acknowledge", "kim"), AT, new_id)
