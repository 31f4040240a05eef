"""Incidents come back as they were saved, by key, by id, by number and in pages."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from gateway.contracts import Store
from gateway.model import Incident, Severity
from gateway.store.searching import Wanted
from tests.stage import HOUR, NOON
from tests.store.things import an_incident


async def save(store: Store, new: Sequence[Incident] = (), moved: Sequence[Incident] = ()) -> None:
    await store.write(lambda ledger: ledger.incidents.save(list(new), list(moved)))


async def find(store: Store, name: str) -> Incident | None:
    return await store.read(lambda ledger: ledger.incidents.find(name))


async def test_every_field_comes_back(store: Store) -> None:
    full = an_incident(
        state="acknowledged",
        revision=7,
        kind="disk",
        service="db-1",
        environment="production",
        body="two\nlines — 한국어",
        url="https://x.example",
        labels={"team": "data"},
        fields={"used": "94 %"},
        value=94.5,
        occurred_at=NOON - 1,
        acknowledged_at=NOON + 1,
        acknowledged_by="kim",
        resolved_at=NOON + 2,
        count=9,
        unrouted=True,
        muted_by="nightly",
        assigned_to="lee",
        previous="another",
        momentary=True,
    )
    await save(store, [full])
    assert await find(store, full.id) == dataclasses.replace(full, number=1)


async def test_numbers_rise_and_are_never_used_twice(store: Store) -> None:
    some = [an_incident() for _ in range(3)]
    await save(store, some)
    assert [found.number for one in some if (found := await find(store, one.id))] == [1, 2, 3]
    third = await find(store, "3")
    assert third is not None
    assert third.id == some[2].id


@pytest.mark.parametrize("name", ["0", "99", "9" * 30, "٣", "no-such-id", ""])
async def test_a_name_that_is_none_finds_nothing(store: Store, name: str) -> None:
    await save(store, [an_incident()])
    assert await find(store, name) is None


async def test_what_moved_is_saved_and_what_never_moves_stays(store: Store) -> None:
    one, other = an_incident(), an_incident()
    await save(store, [one, other])
    moved = dataclasses.replace(one, state="resolved", severity=Severity.INFO, labels={"a": "b"}, resolved_at=NOON + 5)
    await save(store, moved=[dataclasses.replace(moved, opened_at=1, number=77)])
    assert await find(store, one.id) == dataclasses.replace(moved, number=1)
    assert await find(store, other.id) == dataclasses.replace(other, number=2)
    await save(store)


async def test_living_ones_are_found_by_source_and_fingerprint(store: Store) -> None:
    one = an_incident(fingerprint="disk")
    elsewhere = an_incident(fingerprint="disk", source="other")
    known = an_incident(fingerprint="cpu", state="acknowledged")
    over = an_incident(fingerprint="net", state="resolved")
    await save(store, [one, elsewhere, known, over])
    keys = [("scripts", "disk"), ("scripts", "cpu"), ("scripts", "net"), ("other", "cpu")]
    found = await store.read(lambda ledger: ledger.incidents.living(keys))
    assert {key: incident.id for key, incident in found.items()} == {keys[0]: one.id, keys[1]: known.id}


async def test_the_newest_resolved_one_of_each_key_is_found(store: Store) -> None:
    for number in range(3):
        await save(store, [an_incident(fingerprint="disk", state="resolved", title=f"{number}")])
    await save(store, [an_incident(fingerprint="cpu", state="resolved"), an_incident(fingerprint="net")])
    keys = [("scripts", name) for name in ("disk", "cpu", "net", "none")]
    found = await store.read(lambda ledger: ledger.incidents.last_resolved(keys))
    assert {fingerprint: incident.title for (_, fingerprint), incident in found.items()} == {"disk": "2", "cpu": "disk"}


async def test_hundreds_of_keys_and_ids_are_asked_for_at_once(store: Store) -> None:
    many = [an_incident(fingerprint=f"'{number}\"", state="open") for number in range(450)]
    await save(store, many)
    keys = [(one.source, one.fingerprint) for one in many]
    assert len(await store.read(lambda ledger: ledger.incidents.living(keys))) == 450
    assert len(await store.read(lambda ledger: ledger.incidents.last_resolved(keys))) == 0
    assert len(await store.read(lambda ledger: ledger.incidents.by_id([one.id for one in many]))) == 450


async def test_nothing_asked_is_nothing_found(store: Store) -> None:
    assert await store.read(lambda ledger: ledger.incidents.living([])) == {}
    assert await store.read(lambda ledger: ledger.incidents.last_resolved([])) == {}
    assert await store.read(lambda ledger: ledger.incidents.by_id([])) == {}


async def test_two_living_ones_with_one_key_cannot_be(store: Store) -> None:
    await save(store, [an_incident(fingerprint="disk")])
    with pytest.raises(Exception, match=r"UNIQUE|unique"):
        await save(store, [an_incident(fingerprint="disk")])
    await save(store, [an_incident(fingerprint="disk", state="resolved")])


async def test_pages_go_from_the_newest_back_and_skip_none(store: Store) -> None:
    some = [an_incident(opened_at=NOON + (number // 2) * HOUR) for number in range(6)]
    await save(store, some)
    seen: list[str] = []
    before = None
    while len(seen) < 6:
        page, before = await store.read(lambda ledger, b=before: ledger.incidents.page(Wanted(), b, 2))
        seen += [incident.id for incident in page]
    assert seen == [incident.id for incident in reversed(some)]
    assert before is None


async def test_living_ones_are_counted_by_source(store: Store) -> None:
    await save(store, [an_incident(), an_incident(state="acknowledged"), an_incident(state="resolved")])
    await save(store, [an_incident(source="other")])
    assert await store.read(lambda ledger: ledger.incidents.count_living()) == {"scripts": 2, "other": 1}
