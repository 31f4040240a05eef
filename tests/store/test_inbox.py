"""Events are kept once, in their order, and each sender's id is burned with its event or not at all."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
import sqlalchemy as sa

from gateway.contracts import MOST_BYTES, Accepted, Ledger, Store
from gateway.errors import StoreUnavailable
from gateway.model import Event
from gateway.store.driver import Prepared
from gateway.store.inbox import LARGE
from gateway.store.schema import events
from tests.stage import HOUR, NOON
from tests.store.things import an_event


async def get(store: Store, id_: str) -> Event | None:
    return await store.read(lambda ledger: ledger.inbox.get(id_))


async def test_an_event_comes_back_to_the_byte(store: Store) -> None:
    event = an_event(body=bytes(range(256)), headers={"x-github-event": "push", "이름": "값"}, reason="why")
    assert await store.accept(event, None, 0) == Accepted(event.id)
    assert await get(store, event.id) == event


async def test_headers_that_cannot_be_read_keep_nothing_behind_them_from_being_read(store: Store) -> None:
    first, second = an_event(), an_event()
    for event in (first, second):
        await store.accept(event, None, 0)
    broken = Prepared(sa.update(events).where(events.c.id == first.id).values(headers="{"))
    await store.write(lambda ledger: ledger.inbox._connection.run(broken))  # type: ignore[attr-defined]
    read = await store.read(lambda ledger: ledger.inbox.waiting(9))
    assert [(one.id, bool(one.headers)) for one in read] == [(first.id, False), (second.id, True)]


async def test_an_empty_body_stays_empty(store: Store) -> None:
    event = an_event(body=b"", headers={})
    await store.accept(event, None, 0)
    assert await get(store, event.id) == event


async def test_there_is_no_event_that_nobody_sent(store: Store) -> None:
    assert await get(store, "nobody") is None


async def test_a_second_event_with_the_same_key_is_not_kept_and_learns_of_the_first(store: Store) -> None:
    first, second = an_event(), an_event()
    await store.accept(first, "id:1", NOON + HOUR)
    assert await store.accept(second, "id:1", NOON + HOUR) == Accepted(first.id, duplicate=True)
    assert await get(store, second.id) is None


async def test_the_same_key_of_another_source_is_another_key(store: Store) -> None:
    await store.accept(an_event(), "id:1", NOON + HOUR)
    other = an_event(source="other")
    assert await store.accept(other, "id:1", NOON + HOUR) == Accepted(other.id)


async def test_a_key_whose_time_is_over_can_be_burned_again(store: Store) -> None:
    await store.accept(an_event(), "id:1", NOON + HOUR)
    at_the_end = an_event(received_at=NOON + HOUR)
    assert (await store.accept(at_the_end, "id:1", NOON + 2 * HOUR)).duplicate
    later = an_event(received_at=NOON + HOUR + 1)
    assert await store.accept(later, "id:1", NOON + 2 * HOUR) == Accepted(later.id)
    again = an_event(received_at=NOON + HOUR + 2)
    assert await store.accept(again, "id:1", NOON + 2 * HOUR) == Accepted(later.id, duplicate=True)


@pytest.mark.parametrize("posts", [2, 40])
async def test_of_many_at_once_with_one_key_exactly_one_is_kept(store: Store, posts: int) -> None:
    for number in range(10):
        events = [an_event() for _ in range(posts)]
        answers = await asyncio.gather(*(store.accept(event, f"id:{number}", NOON + HOUR) for event in events))
        (owner,) = {answer.event for answer in answers}
        assert [answer.duplicate for answer in answers].count(False) == 1
        assert [event.id for event in events if await get(store, event.id)] == [owner]


@pytest.mark.parametrize(("posts", "known_at"), [(3, 1), (20, 9), (82, 0), (82, 20), (82, 35), (166, 40), (166, 80)])
async def test_many_at_once_of_which_few_are_known_are_each_told_the_truth(
    store: Store, posts: int, known_at: int
) -> None:
    """Those whose keys are burned before the known one's are new all the same, and so are those behind it, in the same
    statement, in its next run and in the next statement."""
    known, last = an_event(), an_event()
    keys = [f"id:{number:03}" for number in range(posts)]
    await store.accept(known, keys[known_at], NOON + HOUR)
    await store.accept(last, keys[-1], NOON + HOUR)
    keys[2] = keys[1]
    events = [an_event() for _ in range(posts)]
    answers = await asyncio.gather(
        *(store.accept(event, key, NOON + HOUR) for event, key in zip(events, keys, strict=True))
    )
    first = known.id if known_at == 1 else events[1].id
    expected = [Accepted(event.id) for event in events]
    expected[-1] = Accepted(last.id, duplicate=True)
    expected[known_at] = Accepted(known.id, duplicate=True)
    expected[2] = Accepted(first, duplicate=True)
    assert answers == expected
    kept = [event.id for event in events if await get(store, event.id)]
    assert kept == [answer.event for answer in answers if not answer.duplicate]
    again = await asyncio.gather(*(store.accept(an_event(), key, NOON + HOUR) for key in keys))
    assert [answer.event for answer in again] == [answer.event for answer in answers]


async def test_one_that_cannot_be_stored_beside_one_that_is_known_harms_neither_it_nor_the_new(store: Store) -> None:
    known = an_event()
    await store.accept(known, "id:1", NOON + HOUR)
    unfit, new = an_event(reason="\ud800"), an_event()
    of_unfit, of_known, of_new = await asyncio.gather(
        store.accept(unfit, "id:0", NOON + HOUR),
        store.accept(an_event(), "id:1", NOON + HOUR),
        store.accept(new, "id:2", NOON + HOUR),
        return_exceptions=True,
    )
    assert isinstance(of_unfit, UnicodeError)
    assert (of_known, of_new) == (Accepted(known.id, duplicate=True), Accepted(new.id))
    again = an_event()
    assert await store.accept(again, "id:0", NOON + HOUR) == Accepted(again.id)


async def test_a_list_is_accepted_whole_and_each_of_it_has_its_own_key(store: Store) -> None:
    known = an_event()
    await store.accept(known, "k:1", NOON + HOUR)
    events = [an_event() for _ in range(3)]
    entries = [(event, f"k:{number}", NOON + HOUR) for number, event in enumerate(events)]
    answers = await store.write(lambda ledger: ledger.inbox.accept(entries))
    assert answers == [Accepted(events[0].id), Accepted(known.id, duplicate=True), Accepted(events[2].id)]


async def test_a_transaction_that_fails_keeps_neither_event_nor_key(store: Store) -> None:
    event = an_event()

    async def fail(ledger: Ledger) -> None:
        await ledger.inbox.accept([(event, "id:1", NOON + HOUR)])
        raise KeyError("x")

    with pytest.raises(KeyError):
        await store.write(fail)
    assert await get(store, event.id) is None
    assert await store.accept(event, "id:1", NOON + HOUR) == Accepted(event.id)


async def test_what_waits_is_read_oldest_first_and_only_once_it_is_decided_no_more(store: Store) -> None:
    events = [an_event() for _ in range(5)]
    for event in reversed(events):
        await store.accept(event, None, 0)
    assert await store.read(lambda ledger: ledger.inbox.waiting(3)) == events[:3]
    done, unreadable = events[0], events[1]
    await store.write(lambda ledger: ledger.inbox.finish([done.id], {unreadable.id: "no shape"}))
    assert await store.read(lambda ledger: ledger.inbox.waiting(9)) == events[2:]
    assert await get(store, done.id) == dataclasses.replace(done, state="done")
    assert await get(store, unreadable.id) == dataclasses.replace(unreadable, state="unreadable", reason="no shape")
    await store.write(lambda ledger: ledger.inbox.finish([], {}))


async def test_what_waits_is_read_until_its_bodies_are_enough_for_a_batch(store: Store) -> None:
    """One body that is larger than that by itself is read all the same."""
    sizes = [10, LARGE, LARGE + 1, MOST_BYTES - 2 * LARGE - 12, 1, 1, MOST_BYTES + 1, 1]
    events = [an_event(body=bytes([number]) * size) for number, size in enumerate(sizes)]
    for event in events:
        await store.accept(event, None, 0)
    read = []
    while some := await store.read(lambda ledger: ledger.inbox.waiting(64)):
        read.append(some)
        await store.write(lambda ledger, some=some: ledger.inbox.finish([event.id for event in some], {}))
    assert read == [events[:5], events[5:7], events[7:]]


async def test_unreadable_events_are_counted_by_source(store: Store) -> None:
    for source in ("a", "a", "b"):
        event = an_event(source=source)
        await store.accept(event, None, 0)
        await store.write(lambda ledger, id_=event.id: ledger.inbox.finish([], {id_: "x"}))
    counts = [await store.read(lambda ledger, s=source: ledger.inbox.unreadable(s)) for source in ("a", "b", "c")]
    assert counts == [2, 1, 0]


@pytest.mark.parametrize(("reason", "then"), [("no shape", "no shape"), ("", "replayed")])
async def test_an_event_that_waits_again_says_that_it_is_a_second_reading(store: Store, reason: str, then: str) -> None:
    event = an_event(state="unreadable", reason=reason)
    await store.write(lambda ledger: ledger.inbox.add(event))
    await store.write(lambda ledger: ledger.inbox.again(event.id))
    assert await get(store, event.id) == dataclasses.replace(event, state="waiting", reason=then)


async def test_pages_go_backwards_in_time_and_leave_the_bodies_out(store: Store) -> None:
    events = [an_event(source=source) for source in "aabab"]
    for event in events:
        await store.accept(event, None, 0)
    await store.write(lambda ledger: ledger.inbox.finish([events[4].id], {}))

    async def page(*asked: object) -> list[str]:
        found = await store.read(lambda ledger: ledger.inbox.page(*asked))
        assert {event.body for event in found} <= {b""}
        return [event.id for event in found]

    ids = [event.id for event in events]
    assert await page(frozenset(), None, None, 2) == [ids[4], ids[3]]
    assert await page(frozenset(), None, ids[3], 9) == [ids[2], ids[1], ids[0]]
    assert await page({"waiting"}, "b", None, 9) == [ids[2]]
    assert await page({"done", "unreadable"}, None, None, 9) == [ids[4]]


async def test_the_depth_is_how_many_wait_and_since_when(store: Store) -> None:
    assert await store.read(lambda ledger: ledger.inbox.depth()) == (0, None)
    await store.accept(an_event(received_at=NOON), None, 0)
    await store.accept(an_event(received_at=NOON + 5), None, 0)
    assert await store.read(lambda ledger: ledger.inbox.depth()) == (2, NOON)


async def test_who_looks_can_write_nothing(store: Store) -> None:
    with pytest.raises(StoreUnavailable, match=r"read-?only"):
        await store.read(lambda ledger: ledger.inbox.add(an_event()))
    assert await store.read(lambda ledger: ledger.inbox.depth()) == (0, None)
