"""Timers that are acted on one by one: seen without being taken, and each taken once."""

from __future__ import annotations

from dataclasses import replace

from gateway.contracts import Store
from gateway.model import Timer
from tests.stage import HOUR, NOON

ONE = Timer("escalate", "incident", NOON, "page", about={"number": 1})
TWO = Timer("repeat", "incident", NOON + 1, "team", wall=True, about={"route": "all"})
LATE = Timer("expire", "incident", NOON + HOUR)


async def test_what_is_due_is_seen_without_what_it_is_about_and_stays(store: Store) -> None:
    await store.write(lambda ledger: ledger.timers.set([TWO, LATE, ONE]))
    for _ in range(2):
        seen = await store.read(lambda ledger: ledger.timers.look(NOON + 1, 9))
        assert seen == [replace(ONE, about={}), replace(TWO, about={})]
    assert await store.read(lambda ledger: ledger.timers.look(NOON + 1, 1)) == seen[:1]


async def test_one_is_taken_whole_and_once_and_not_before_its_time(store: Store) -> None:
    await store.write(lambda ledger: ledger.timers.set([ONE, TWO]))
    taken = [await store.write(lambda ledger: ledger.timers.take(replace(ONE, about={}), NOON)) for _ in range(2)]
    assert taken == [ONE, None]
    assert await store.write(lambda ledger: ledger.timers.take(TWO, NOON)) is None
    assert await store.read(lambda ledger: ledger.timers.of(["incident"])) == {"incident": [TWO]}


async def test_what_is_put_off_waits_and_what_was_armed_anew_meanwhile_does_not(store: Store) -> None:
    await store.write(lambda ledger: ledger.timers.set([ONE, replace(TWO, due_at=NOON + 5)]))
    await store.write(lambda ledger: ledger.timers.put_off([ONE, TWO], NOON + 1, NOON + HOUR))
    standing = await store.read(lambda ledger: ledger.timers.of(["incident"]))
    assert standing == {"incident": [replace(TWO, due_at=NOON + 5), replace(ONE, due_at=NOON + HOUR)]}
