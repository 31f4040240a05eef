"""A list has everything that was asked for, in its order, however few rows a page may look at."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from gateway.contracts import Store
from gateway.model import Incident, Severity
from gateway.store import searching
from gateway.store.searching import Wanted
from tests.stage import HOUR, NOON
from tests.store.things import an_incident

STATES: Any = ("open", "acknowledged", "resolved")


@pytest.fixture
async def many(store: Store) -> list[Incident]:
    """Three hundred of every sort, two at each hour."""
    dice = random.Random(7)
    made = [
        an_incident(
            opened_at=NOON + number // 2 * HOUR,
            updated_at=NOON + (number // 2 + dice.choice((0, 0, 0, 50))) * HOUR,
            state=dice.choice(STATES),
            severity=dice.choice(list(Severity)),
            source=dice.choice(("sentry", "generic")),
            service=dice.choice(("db-1", "web", "")),
            title=dice.choice(("Disk full", "100% CPU", "out of memory")),
        )
        for number in range(300)
    ]
    await store.write(lambda ledger: ledger.incidents.save(made, []))
    return made


async def listed(store: Any, wanted: Wanted, most: int) -> list[str]:
    """Every page to the last one, put together."""
    found: list[str] = []
    before = None
    while True:
        page, before = await store.read(lambda ledger, b=before: ledger.incidents.page(wanted, b, most))
        assert len(page) <= most
        found += [incident.id for incident in page]
        if before is None:
            return found


def fits(wanted: Wanted, incident: Incident) -> bool:
    return (
        (not wanted.states or incident.state in wanted.states)
        and (not wanted.severities or incident.severity in wanted.severities)
        and wanted.source in {None, incident.source}
        and wanted.service in {None, incident.service}
        and wanted.text.lower() in incident.title.lower()
        and (wanted.since is None or incident.updated_at >= wanted.since)
    )


QUESTIONS = [
    Wanted(*asked)
    for asked in itertools.product(
        (frozenset(), frozenset(("open",)), frozenset(("open", "acknowledged")), frozenset(("resolved", "open"))),
        (frozenset(), frozenset((Severity.CRITICAL,)), frozenset((Severity.INFO, Severity.EMERGENCY))),
        (None, "sentry"),
        (None, "web"),
        ("", "DISK"),
        (None, NOON + 40 * HOUR, NOON + 149 * HOUR),
    )
]


@pytest.mark.parametrize("sifted", [7, 5_000])
async def test_every_question_finds_what_fits_newest_first(
    store: Store, many: list[Incident], sifted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "MOST_SIFTED", sifted)
    monkeypatch.setattr(searching, "MOST_SCATTERED", sifted)
    monkeypatch.setattr(searching, "FEW", 20)
    ordered = sorted(many, key=lambda incident: (incident.opened_at, incident.id), reverse=True)
    # Where a page sifts 7, every question has dozens of pages: a fifth of them has every filter beside every other.
    for wanted in QUESTIONS[:: 5 if sifted == 7 else 1]:
        expected = [incident.id for incident in ordered if fits(wanted, incident)]
        assert await listed(store, wanted, 6) == expected, wanted


async def test_a_page_that_had_to_sift_too_much_is_short_and_says_where_to_go_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "MOST_SIFTED", 10)
    old = an_incident(title="rare")
    rest = [an_incident(opened_at=NOON + number * HOUR, title="common") for number in range(1, 30)]
    await store.write(lambda ledger: ledger.incidents.save([old, *rest], []))
    page, place = await store.read(lambda ledger: ledger.incidents.page(Wanted(text="rare"), None, 5))  # type: ignore[attr-defined]
    assert page == []
    assert place == (rest[19].opened_at, rest[19].id)
    assert await listed(store, Wanted(text="rare"), 5) == [old.id]
